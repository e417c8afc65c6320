"""The linear and integer programs behind bounds and optima, on HiGHS (``einthoven[plan]``).

A variable for each option; a row for each request; and *cuts*: at any prices ``q`` of the resources a
feasible set costs at most ``sum(q)``, so ``sum(h(q) y) <= sum(q)``.
"""

from typing import Any, Final

import numpy as np

from einthoven.errors import InputInvalid, SolverFailed
from einthoven.placement.offloading.duality import least_utilisation
from einthoven.placement.offloading.feasibility import gram
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.sharing import costs_at

__all__ = ["Program", "has_solver", "load_solver"]

_THREADS: Final = 1
"""HiGHS has one scheduler a process: another number elsewhere would make it refuse to run."""
_TINY: Final = 1e-12


def has_solver() -> bool:
    """Whether HiGHS is installed."""
    try:
        load_solver()
    except InputInvalid:
        return False
    return True


def load_solver() -> Any:
    """The module of HiGHS; raises InputInvalid where it is not installed."""
    try:
        import highspy  # noqa: PLC0415 - an extra, and not light
    except ImportError:
        raise InputInvalid(
            "highspy, the optimiser, is not installed.",
            where="method",
            remedy="Run: pip install 'einthoven[plan]'; or use ldg, which needs none.",
        ) from None
    return highspy


class Program:
    """The most value, or with a count the least cost, under the cuts so far.

    Parameters
    ----------
    count : how many requests must be accepted at least; then the objective is the least of what `bound_cost`
        says of the cost, instead of the value.
    slack : by how much, in parts, cuts are loosened: for a fixed count, sets exactly on the border would else
    be
        cut off by rounding.
    """

    def __init__(self, instance: Instance, *, count: int | None = None, slack: float = 0.0) -> None:
        self._highspy = load_solver()
        self._instance = instance
        self._slack = slack
        self._size = len(instance.owners)
        self._costs_column = count is not None
        self._all = np.arange(self._size)
        self.cuts: list[FloatArray] = []
        """Vectors whose squares are the prices, in the order of their rows."""
        self._rows_of_cuts: list[int] = []
        # Not Highs itself: making one prints a line, in releases of late.
        self._solver = solver = self._highspy.Highs.__base__()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", _THREADS)
        # With rows as dense as ours this heuristic has run for ever, and looks at no limit (HiGHS 1.16).
        solver.setOptionValue("mip_heuristic_run_feasibility_jump", False)
        columns = self._size + int(self._costs_column)
        costs = np.zeros(columns)
        upper = np.ones(columns)
        if self._costs_column:
            costs[-1], upper[-1] = 1.0, self._highspy.kHighsInf
        else:
            costs[: self._size] = -instance.values[instance.owners]
        nothing = np.zeros(0, dtype=np.int32)
        solver.addCols(columns, costs, np.zeros(columns), upper, 0, nothing, nothing, np.zeros(0))
        for request in np.flatnonzero(np.diff(instance.starts) > 1).tolist():
            options = instance.options_of(request)
            self._row(-np.inf, 1.0, np.arange(options.start, options.stop), np.ones(len(options)))
        for vector in np.eye(len(instance.capacities)):
            self.cut(vector)
        if count is not None:
            self._row(float(count), np.inf, self._all, np.ones(self._size))

    def cut(self, vector: FloatArray) -> None:
        """At prices ``vector²`` nothing feasible costs more than their sum.

        Of an additive instance any vector will do, also one with negative numbers: ``zᵀMz <= zᵀz``.
        """
        instance = self._instance
        if instance.is_additive:
            costs = (instance.roots * vector[instance.paths]).sum(axis=1) ** 2
        else:
            costs = costs_at(instance, self._all, vector**2)
        some = np.flatnonzero(costs > _TINY)
        self._rows_of_cuts.append(self._solver.getNumRow())
        self.cuts.append(vector)
        self._row(-np.inf, float(vector @ vector) * (1 + self._slack), some, costs[some])

    def cut_pairs(self) -> None:
        """Cuts for two resources that some option uses both; they spare rounds."""
        instance = self._instance
        size = len(instance.capacities)
        used = instance.loads > 0
        both = np.zeros((size, size), dtype=bool)
        for a in range(used.shape[1]):
            for b in range(used.shape[1]):
                some = used[:, a] & used[:, b]
                both[instance.paths[some, a], instance.paths[some, b]] = True
        for i, j in np.argwhere(np.triu(both, 1)):
            for other in (0.5, 1.0, 2.0):
                vector = np.zeros(size)
                vector[i], vector[j] = 1.0, other
                self.cut(vector)

    def separate(self, taken: FloatArray, tolerance: float) -> float:
        """Cut a point off that needs more than there is; gives the utilisation that it needs."""
        some = np.flatnonzero(taken > _TINY)
        if not self._instance.is_additive:
            balance = least_utilisation(self._instance, some, taken[some])
            if balance.lower > 1 + tolerance:
                self.cut(np.sqrt(np.maximum(balance.prices, _TINY)))
            return balance.upper
        values, vectors = np.linalg.eigh(gram(self._instance, some, taken[some]))
        for number in np.flatnonzero(values > 1 + tolerance):
            self.cut(np.abs(vectors[:, number]))
        return float(values[-1])

    def forbid(self, options: IntArray) -> None:
        """Never again exactly this set, nor one that contains it."""
        self._row(-np.inf, len(options) - 1.0, options, np.ones(len(options)))

    def demand_value(self, least: float) -> None:
        """Only sets of at least this value."""
        self._row(least, np.inf, self._all, self._instance.values[self._instance.owners])

    def bound_cost(self, costs: FloatArray, offset: float) -> None:
        """The cost is at least ``sum(costs y) - offset``."""
        columns = np.arange(self._size + 1)
        self._row(-offset, np.inf, columns, np.append(-costs, 1.0))

    def make_integer(self) -> None:
        """From now on options are taken whole or not."""
        kinds = np.full(self._size, self._highspy.HighsVarType.kInteger.value, dtype=np.uint8)
        self._solver.changeColsIntegrality(self._size, self._all.astype(np.int32), kinds)

    def start_from(self, options: IntArray) -> None:
        """A point to begin with."""
        point = np.zeros(self._size + int(self._costs_column))
        point[options] = 1.0
        solution = self._highspy.HighsSolution()
        solution.col_value = point.tolist()
        self._solver.setSolution(solution)

    def solve(self, *, nodes: int | None = None, seconds: float = np.inf) -> "_Point":
        """The best point.

        Raises
        ------
        SolverFailed : HiGHS did not run, or stopped for another reason than a limit.
        """
        if nodes is not None:
            self._solver.setOptionValue("mip_max_nodes", nodes)
        if seconds < np.inf:
            self._solver.setOptionValue("time_limit", max(0.1, seconds))
        ran = self._solver.run()
        status = self._solver.getModelStatus()
        statuses = self._highspy.HighsModelStatus
        limited = {statuses.kTimeLimit, statuses.kSolutionLimit, statuses.kIterationLimit}
        settled = {statuses.kOptimal, statuses.kInfeasible, statuses.kModelEmpty}
        if ran == self._highspy.HighsStatus.kError or status not in settled | limited:
            raise SolverFailed(
                f"HiGHS ended with {self._solver.modelStatusToString(status)!r}.",
                where="method",
                remedy="If this process uses HiGHS elsewhere, let it use one thread there as well.",
            )
        information = self._solver.getInfo()
        found = np.array(self._solver.getSolution().col_value)
        has_point = information.primal_solution_status == self._highspy.SolutionStatus.kSolutionStatusFeasible
        return _Point(
            taken=found[: self._size] if has_point else None,
            objective=float(information.objective_function_value),
            bound=float(information.mip_dual_bound),
            is_infeasible=status == statuses.kInfeasible,
            is_done=status in settled,
        )

    def weights(self) -> FloatArray:
        """Of the cuts, after a relaxation: what loosening each would be worth."""
        duals: FloatArray = np.array(self._solver.getSolution().row_dual, dtype=np.float64)
        return np.maximum(0.0, -duals[self._rows_of_cuts])

    def _row(self, low: float, high: float, columns: IntArray, numbers: FloatArray) -> None:
        infinity = self._highspy.kHighsInf
        self._solver.addRow(
            -infinity if low == -np.inf else low,
            infinity if high == np.inf else high,
            len(columns),
            columns.astype(np.int32),
            np.ascontiguousarray(numbers, dtype=np.float64),
        )


class _Point:
    """What one run of the solver found."""

    def __init__(
        self,
        *,
        taken: FloatArray | None,
        objective: float,
        bound: float,
        is_infeasible: bool,
        is_done: bool,
    ) -> None:
        self.taken = taken
        self.objective = objective
        self.bound = bound
        self.is_infeasible = is_infeasible
        self.is_done = is_done
