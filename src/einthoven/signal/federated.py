"""Federated learning of the beat classifier: sites that keep their rows, and one coordinator.

Federated averaging [1]_ of the recipe in `einthoven.signal.learning`. First the sites say how many rows of
which kind they have and what sums the columns have, then how far the rows lie from the common mean; then in
each round every site trains from the common parameters through its part of the schedule, and the coordinator
takes the mean of what comes back. Deviations from the paper:

- rows are scaled alike everywhere, and kinds weighed by their counts at all sites;
- the rate follows one schedule over all rounds, each round being a part of it;
- the moments of AdamW travel and are merged as the parameters are, so that no round begins without them;
- a site counts by the weight of its rows, as they are weighed in training, not by their number;
- all sites that answer take part in every round.

One site alone learns, bit for bit, what `fit` learns from its rows. Only the messages of this module cross;
their size does not depend on the number of rows. What they tell is in docs/experiments.md.

References
----------
.. [1] H. B. McMahan et al. Communication-Efficient Learning of Deep Networks from Decentralized Data.
   AISTATS 2017. arXiv:1602.05629
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DestinationUnavailable, InputInvalid
from einthoven.signal.learning import (
    LEARNER,
    NETWORKS,
    RHYTHM,
    SHAPE,
    Ensemble,
    Floats,
    Head,
    Integers,
    Lesson,
    Recipe,
    begun,
    layers_of,
    lessons_of,
    portion_of,
    scaling,
    steps_of,
    train_on,
    weight_of_kinds,
)
from einthoven.signal.perceptron import column_squares, column_sums

__all__ = [
    "LEAST_BEATS",
    "LEAST_OF_KIND",
    "LEAST_RECORDS",
    "PROTOCOL",
    "Answered",
    "Asked",
    "Coordinator",
    "Count",
    "Counted",
    "HeadCounted",
    "HeadMeans",
    "HeadMeasured",
    "HeadTerms",
    "Learn",
    "Learned",
    "Measure",
    "Measured",
    "Plan",
    "Refused",
    "Site",
    "answer",
    "answer_packed",
    "learn_together",
    "merged",
    "site_of",
]

PROTOCOL: Final = 1
"""Of the messages."""
LEAST_BEATS: Final = 1000
LEAST_RECORDS: Final = 3
"""With less a site gives nothing: the sums of one record are that patient's."""
LEAST_OF_KIND: Final = 10
"""Beats of a class of which there are fewer are left out."""
MOST_ROUNDS: Final = 1000
MOST_NETWORKS: Final = 64
_MOST_ROWS: Final = 10**9
_MOST_MEAN: Final = 1e6
"""Features are multiples of what is usual; none comes near."""
_MOST_WEIGHT: Final = 1e4
"""Of one row."""
_MOST_CHANGE: Final = 20.0
"""Norm of what one round may change in a perceptron."""
_MOST_MOMENT: Final = 1e3
_RECIPES: Final = (SHAPE, RHYTHM)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sites learn together."""

    rounds: int = 14
    networks: int = NETWORKS
    """Perceptrons a head."""
    seed: int = 0


# -------------------------------------------------------------------- messages


class Count(msgspec.Struct, frozen=True, kw_only=True, tag="count", forbid_unknown_fields=True):
    """The question how many rows there are, and what their columns add up to."""

    version: int = PROTOCOL


class HeadCounted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of what one head learns from."""

    rows: int
    kinds: tuple[int, ...]
    sums: tuple[float, ...]
    """Of each column."""


class Counted(msgspec.Struct, frozen=True, kw_only=True, tag="counted", forbid_unknown_fields=True):
    """The answer to `Count`; shape first, as everywhere."""

    heads: tuple[HeadCounted, HeadCounted]
    version: int = PROTOCOL


class HeadMeans(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Over all sites."""

    mean: tuple[float, ...]
    kinds: tuple[int, ...]


class Measure(msgspec.Struct, frozen=True, kw_only=True, tag="measure", forbid_unknown_fields=True):
    """The question how far the rows lie from the common mean, and how much they weigh."""

    networks: int
    heads: tuple[HeadMeans, HeadMeans]
    version: int = PROTOCOL


class HeadMeasured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of what one head learns from."""

    squares: tuple[float, ...]
    """Sums of squared distances from the mean, of each column."""
    shown: tuple[int, ...]
    """Rows that each perceptron is shown."""
    weights: tuple[float, ...]
    """Sum of their weights."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured", forbid_unknown_fields=True):
    """The answer to `Measure`."""

    heads: tuple[HeadMeasured, HeadMeasured]
    version: int = PROTOCOL


class HeadTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On which one head is trained, the same at all sites."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    kinds: tuple[int, ...]
    scales: tuple[float, ...]
    """Of the weights, for each perceptron."""
    learners: bytes
    """Of each perceptron the parameters and both moments, little-endian float32."""


class Learn(msgspec.Struct, frozen=True, kw_only=True, tag="learn", forbid_unknown_fields=True):
    """The question what comes of these parameters in this round."""

    plan: Plan
    number: int
    """Of the round, from 0."""
    heads: tuple[HeadTerms, HeadTerms]
    version: int = PROTOCOL


class Learned(msgspec.Struct, frozen=True, kw_only=True, tag="learned", forbid_unknown_fields=True):
    """The answer to `Learn`: `HeadTerms.learners` after it."""

    number: int
    heads: tuple[bytes, bytes]
    version: int = PROTOCOL


Asked = Count | Measure | Learn
Answered = Counted | Measured | Learned
_Answer = TypeVar("_Answer", Counted, Measured, Learned)


# -------------------------------------------------------------------- a site


class Site(NamedTuple):
    """What a site learns from; it stays there."""

    shape: Lesson
    rhythm: Lesson


def site_of(features: Floats, labels: Integers, records: Integers, rows_of_beat: int = 1) -> Site:
    """A site with these rows; see `einthoven.signal.learning.fit`.

    Parameters
    ----------
    rows_of_beat : as many rows are of the same beat, seen otherwise.

    Raises
    ------
    InputInvalid : there is too little, so that what is told of it would be told of patients.
    """
    found = np.unique(records).size
    if labels.size < LEAST_BEATS * rows_of_beat or found < LEAST_RECORDS:
        raise InputInvalid(
            f"a site gives nothing of fewer than {LEAST_RECORDS} records and {LEAST_BEATS} beats.",
            where="the site's records",
            remedy="Add annotated records.",
        )
    told = (np.bincount(labels) >= LEAST_OF_KIND * rows_of_beat)[labels]
    return Site(*lessons_of(features[told], labels[told], records[told]))


def answer(site: Site, asked: Asked) -> Answered:
    """What a site gives when it is asked.

    Raises
    ------
    InputInvalid : the question is of another version, or not of these perceptrons.
    """
    _check_question(asked)
    if isinstance(asked, Count):
        return Counted(heads=(_counted(site.shape), _counted(site.rhythm)))
    if isinstance(asked, Measure):
        shape, rhythm = asked.heads
        return Measured(
            heads=(
                _measured(site.shape, shape, asked.networks),
                _measured(site.rhythm, rhythm, asked.networks),
            )
        )
    first, second = asked.heads
    return Learned(
        number=asked.number,
        heads=(_learned(site.shape, first, asked), _learned(site.rhythm, second, asked)),
    )


def answer_packed(site: Site, question: bytes) -> bytes:
    """`answer`, from MessagePack to MessagePack."""
    try:
        asked: Asked = msgspec.msgpack.decode(question, type=Asked)
    except msgspec.DecodeError:
        raise InputInvalid("it is no question to a site.", where="message") from None
    return msgspec.msgpack.encode(answer(site, asked))


def _counted(lesson: Lesson) -> HeadCounted:
    return HeadCounted(
        rows=lesson.kinds.size,
        kinds=tuple(lesson.counts.tolist()),
        sums=tuple(column_sums(lesson.x).tolist()),
    )


def _measured(lesson: Lesson, common: HeadMeans, networks: int) -> HeadMeasured:
    mean = np.array(common.mean)
    scaled_by = scaling(mean, np.ones_like(mean))
    by_kind = weight_of_kinds(np.array(common.kinds))
    portions = [portion_of(lesson, *scaled_by, by_kind, number) for number in range(networks)]
    return HeadMeasured(
        squares=tuple(column_squares(lesson.x, mean).tolist()),
        shown=tuple(one.kinds.size for one in portions),
        weights=tuple(one.weight for one in portions),
    )


def _learned(lesson: Lesson, terms: HeadTerms, asked: Learn) -> bytes:
    mean, spread = (np.array(one, np.float32) for one in (terms.mean, terms.spread))
    by_kind = weight_of_kinds(np.array(terms.kinds))
    learners = _unpacked(terms.learners, lesson.recipe, asked.plan.networks)
    for number, learner in enumerate(learners):
        portion = portion_of(lesson, mean, spread, by_kind, number)
        train_on(
            learner,
            lesson.recipe,
            portion,
            terms.scales[number],
            steps_of(lesson.recipe, portion.kinds.size),
            number,
            asked.plan.seed,
            asked.number,
            asked.plan.rounds,
        )
    return _packed(learners)


def _check_question(asked: Asked) -> None:
    _check_version(asked.version)
    if isinstance(asked, Count):
        return
    if isinstance(asked, Measure):
        _require(1 <= asked.networks <= MOST_NETWORKS, "the number of networks")
    else:
        _check_plan(asked.plan)
        _require(0 <= asked.number < asked.plan.rounds, "the number of the round")
    heads: tuple[HeadMeans | HeadTerms, ...] = asked.heads
    for recipe, head in zip(_RECIPES, heads, strict=True):
        _check_numbers(head.mean, len(recipe.columns), _MOST_MEAN, "a mean")
        _check_counts(head.kinds, recipe.outputs, _MOST_ROWS, "a count")
        if isinstance(head, HeadTerms) and isinstance(asked, Learn):
            _check_numbers(head.spread, len(recipe.columns), _MOST_MEAN, "a spread", least=0.0)
            _require(min(head.spread) > 0, "a spread")
            _check_numbers(head.scales, asked.plan.networks, _MOST_WEIGHT, "a scale", least=0.0)
            _check_learners(_unpacked(head.learners, recipe, asked.plan.networks))


# -------------------------------------------------------------------- the coordinator


class Refused(NamedTuple):
    """An answer that was not taken."""

    site: str
    stage: str
    why: str


class Coordinator:
    """Asks sites and merges what they answer; it sends nothing itself.

    ``question`` is what is to be sent to every site, ``receive`` takes the answers by the sites' names. A
    site that does not answer, or whose answer is refused, is left out of that round. Those that did not count
    and measure are left out of all.
    """

    def __init__(self, plan: Plan) -> None:
        _check_plan(plan)
        self.plan = plan
        self.number = 0
        """Rounds that are over."""
        self.refused: list[Refused] = []
        self.taken: list[tuple[str, ...]] = []
        """Of each round, the sites whose answers were merged."""
        self._asked: Asked = Count()
        self._counted: dict[str, Counted] = {}
        self._measured: dict[str, Measured] = {}

    @property
    def question(self) -> Asked:
        """What is asked now."""
        return self._asked

    @property
    def is_done(self) -> bool:
        """Whether all rounds are over."""
        return self.number >= self.plan.rounds

    def receive(self, answers: Mapping[str, bytes]) -> None:
        """Take the answers, MessagePack, to the question.

        Raises
        ------
        DestinationUnavailable : there is none that can be used.
        """
        if isinstance(self._asked, Count):
            self._counted = self._sound(answers, Counted)
            self._asked = _measuring(self.plan, self._counted)
        elif isinstance(self._asked, Measure):
            known = {name: content for name, content in answers.items() if name in self._counted}
            self._measured = self._sound(known, Measured)
            self._asked = _beginning(self.plan, self._counted, self._asked, self._measured)
        elif not self.is_done:
            known = {name: content for name, content in answers.items() if name in self._measured}
            learned = self._sound(known, Learned)
            self._asked = merged(self._asked, self._measured, learned)
            self.taken.append(tuple(sorted(learned)))
            self.number += 1

    def ensemble(self) -> Ensemble:
        """What was learnt so far, after one round at least."""
        if not isinstance(self._asked, Learn):
            raise InputInvalid("nothing was learnt yet.", where="the coordinator")
        return Ensemble(
            *(
                _head(recipe, terms, self.plan.networks)
                for recipe, terms in zip(_RECIPES, self._asked.heads, strict=True)
            )
        )

    def _sound(self, answers: Mapping[str, bytes], kind: type[_Answer]) -> dict[str, _Answer]:
        found: dict[str, _Answer] = {}
        for name, content in sorted(answers.items()):
            try:
                one = msgspec.msgpack.decode(content, type=kind)
                _check_version(one.version)
                self._check(name, one)
            except msgspec.DecodeError:
                self.refused.append(Refused(name, kind.__name__.lower(), "it is no such message."))
            except InputInvalid as error:
                self.refused.append(Refused(name, kind.__name__.lower(), error.what))
            else:
                found[name] = one
        if not found:
            raise DestinationUnavailable(
                "no site gave an answer that can be used.",
                where=kind.__name__.lower(),
                remedy="See which sites are reached, and why answers were refused.",
            )
        return found

    def _check(self, name: str, one: Answered) -> None:
        if isinstance(one, Counted):
            for recipe, counted in zip(_RECIPES, one.heads, strict=True):
                _check_counted(recipe, counted)
        elif isinstance(one, Measured):
            for recipe, counted, measured in zip(_RECIPES, self._counted[name].heads, one.heads, strict=True):
                _check_measured(recipe, counted, measured, self.plan.networks)
        elif isinstance(self._asked, Learn):
            _require(one.number == self.number, "the number of the round")
            for recipe, terms, content in zip(_RECIPES, self._asked.heads, one.heads, strict=True):
                learners = _unpacked(content, recipe, self.plan.networks)
                _check_learners(learners)
                before = _unpacked(terms.learners, recipe, self.plan.networks)
                change = np.linalg.norm((learners - before)[:, 0], axis=1)
                _require(bool(change.max() <= _MOST_CHANGE), "the norm of a change")


def _measuring(plan: Plan, counted: Mapping[str, Counted]) -> Measure:
    first, second = (
        HeadMeans(
            mean=tuple(
                (_added([one.sums for one in heads]) / max(sum(one.rows for one in heads), 1)).tolist()
            ),
            kinds=tuple(int(sum(of_kind)) for of_kind in zip(*(one.kinds for one in heads), strict=True)),
        )
        for heads in _by_head(counted)
    )
    return Measure(networks=plan.networks, heads=(first, second))


def _beginning(
    plan: Plan, counted: Mapping[str, Counted], asked: Measure, measured: Mapping[str, Measured]
) -> Learn:
    there = {name: counted[name] for name in measured}
    first, second = (
        _terms(plan, recipe, sum(one.rows for one in rows), means, heads)
        for recipe, rows, means, heads in zip(
            _RECIPES, _by_head(there), asked.heads, _by_head(measured), strict=True
        )
    )
    return Learn(plan=plan, number=0, heads=(first, second))


def _terms(
    plan: Plan, recipe: Recipe, rows: int, means: HeadMeans, measured: Sequence[HeadMeasured]
) -> HeadTerms:
    deviation = np.sqrt(_added([one.squares for one in measured]) / max(rows, 1))
    mean, spread = scaling(np.array(means.mean), deviation)
    shown, weights = _added([one.shown for one in measured]), _added([one.weights for one in measured])
    return HeadTerms(
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        kinds=means.kinds,
        scales=tuple((shown / weights).tolist()),
        learners=_packed(np.stack([begun(recipe, number, plan.seed) for number in range(plan.networks)])),
    )


def merged(asked: Learn, measured: Mapping[str, Measured], learned: Mapping[str, Learned]) -> Learn:
    """The next question: the means of what was learnt, by the weight of each site's rows.

    In the order of the sites' names, so that it does not matter who answered first.
    """
    names = sorted(learned)
    heads = []
    for at, (recipe, terms) in enumerate(zip(_RECIPES, asked.heads, strict=True)):
        total = np.zeros((asked.plan.networks, LEARNER, recipe.parameters))
        weight = np.zeros((asked.plan.networks, 1, 1))
        for name in names:
            counts = np.array(measured[name].heads[at].weights).reshape(-1, 1, 1)
            total += counts * _unpacked(learned[name].heads[at], recipe, asked.plan.networks)
            weight += counts
        learners = _packed((total / weight).astype(np.float32))
        heads.append(msgspec.structs.replace(terms, learners=learners))
    return msgspec.structs.replace(asked, number=asked.number + 1, heads=(heads[0], heads[1]))


def learn_together(plan: Plan, sites: Mapping[str, Site]) -> Coordinator:
    """All rounds in this process, over the very bytes that would cross."""
    coordinator = Coordinator(plan)
    while not coordinator.is_done:
        question = msgspec.msgpack.encode(coordinator.question)
        coordinator.receive({name: answer_packed(site, question) for name, site in sites.items()})
    return coordinator


def _by_head(answers: Mapping[str, Counted] | Mapping[str, Measured]) -> Iterable[tuple[Any, ...]]:
    """What the sites, in the order of their names, answer of each head."""
    return zip(*(answers[name].heads for name in sorted(answers)), strict=True)


def _added(rows: Iterable[Sequence[float]]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.sum(np.array(list(rows), np.float64), axis=0)
    return total


def _head(recipe: Recipe, terms: HeadTerms, networks: int) -> Head:
    return Head(
        np.array(recipe.columns),
        np.array(terms.mean, np.float32),
        np.array(terms.spread, np.float32),
        [layers_of(one, recipe) for one in _unpacked(terms.learners, recipe, networks)],
    )


# -------------------------------------------------------------------- bytes and bounds


def _packed(learners: Floats) -> bytes:
    return learners.astype("<f4").tobytes()


def _unpacked(content: bytes, recipe: Recipe, networks: int) -> Floats:
    _require(len(content) == 4 * networks * LEARNER * recipe.parameters, "the size of the parameters")
    flat = np.frombuffer(content, "<f4").astype(np.float32)
    return flat.reshape(networks, LEARNER, recipe.parameters)


def _check_version(version: int) -> None:
    if version != PROTOCOL:
        raise InputInvalid(
            f"the message is of version {version}, and {PROTOCOL} is spoken here.",
            where="version",
            remedy="Use the same release at all sites.",
        )


def _check_plan(plan: Plan) -> None:
    _require(1 <= plan.rounds <= MOST_ROUNDS, "the number of rounds")
    _require(1 <= plan.networks <= MOST_NETWORKS, "the number of networks")
    _require(0 <= plan.seed < 2**31, "the seed")


def _check_counted(recipe: Recipe, counted: HeadCounted) -> None:
    _require(1 <= counted.rows <= _MOST_ROWS, "the number of rows")
    _check_counts(counted.kinds, recipe.outputs, counted.rows, "a count")
    _require(sum(counted.kinds) == counted.rows, "the counts together")
    _check_numbers(counted.sums, len(recipe.columns), _MOST_MEAN * counted.rows, "a sum")


def _check_measured(recipe: Recipe, counted: HeadCounted, measured: HeadMeasured, networks: int) -> None:
    _check_numbers(
        measured.squares, len(recipe.columns), _MOST_MEAN**2 * counted.rows, "a sum of squares", least=0.0
    )
    _check_counts(measured.shown, networks, counted.rows, "a number of rows")
    _check_numbers(measured.weights, networks, _MOST_WEIGHT * counted.rows, "a weight", least=0.0)
    _require(min(measured.weights) > 0, "a weight")


def _check_learners(learners: Floats) -> None:
    _require(bool(np.isfinite(learners).all()), "a parameter")
    _require(bool((np.abs(learners) <= _MOST_MOMENT).all()), "a parameter")
    _require(bool((learners[:, 2] >= 0).all()), "a second moment")


def _check_counts(values: Sequence[int], size: int, most: int, what: str) -> None:
    _require(len(values) == size and all(0 <= value <= most for value in values), what)


def _check_numbers(
    values: Sequence[float], size: int, most: float, what: str, least: float = -math.inf
) -> None:
    _require(len(values) == size, f"the number of values of {what}")
    _require(all(max(least, -most) <= value <= most for value in values), what)


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise InputInvalid(f"{what} is not what it can be.", where="message")
