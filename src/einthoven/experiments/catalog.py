"""The experiments by name."""

from collections.abc import Callable
from typing import Final

import msgspec

from einthoven.experiments.blockchain_edge import blockchain_edge
from einthoven.experiments.costs import cost
from einthoven.experiments.evolution import evolution
from einthoven.experiments.federated_learning import federated_learning
from einthoven.experiments.federation import calibration, instances, response, saturation, throughput
from einthoven.experiments.figures import Found, Setup
from einthoven.experiments.measured import faults, validation
from einthoven.experiments.measured import federation as real_federation
from einthoven.experiments.offline_batches import makespan, speedup, vm_baseline
from einthoven.experiments.offloading import offloading
from einthoven.experiments.prewarming import prewarming
from einthoven.experiments.site_deployments import deployment
from einthoven.experiments.treatment_path import treatment_path

__all__ = ["EXPERIMENTS", "Experiment"]


class Experiment(msgspec.Struct, frozen=True):
    """One that can be run."""

    about: str
    run: Callable[[Setup], Found]
    is_real: bool = False
    """On real processes of this machine, in real seconds, ten of them at most for each run."""
    needs_data: bool = False
    """Real recordings."""


EXPERIMENTS: Final = {
    "calibration": Experiment("the model of a region against all published load tests", calibration),
    "saturation": Experiment("one region under more and more load, and what changes it", saturation),
    "throughput": Experiment("four regions, 100 to 533 requests/s each (the article's Fig. 5)", throughput),
    "instances": Experiment("instances that are active meanwhile (Fig. 6)", instances),
    "response": Experiment("how long answers take at 4 x 533 requests/s", response),
    "makespan": Experiment("batches of 1, 2 and 12 hours (Fig. 7)", makespan),
    "speedup": Experiment("their speed-up (Fig. 8)", speedup),
    "vm-baseline": Experiment(
        "three virtual machines that do not scale out, against serverless", vm_baseline
    ),
    "federation": Experiment("what one to four real regions carry", real_federation, True),
    "faults": Experiment("what it costs that a real region fails", faults, True),
    "validation": Experiment("the simulation against real regions at a small scale", validation, True),
    "prewarming": Experiment("a burst that was seen coming, and what it costs to be ready", prewarming),
    "offloading": Experiment("who is accepted under deadlines, and what that takes", offloading),
    "blockchain-edge": Experiment("what evidence of everything adds, by tier and algorithm", blockchain_edge),
    "evolution": Experiment(
        "the cloud alone, two tiers, three: latency, network, a failing uplink", evolution
    ),
    "federated-learning": Experiment(
        "the beat classifier learnt by three sites that keep their records",
        federated_learning,
        needs_data=True,
    ),
    "deployment": Experiment("a nanoservice on a fresh node, and on hundreds at once", deployment),
    "treatment-path": Experiment(
        "from home over the ambulance to the hospital, and the services that go along", treatment_path
    ),
    "cost": Experiment("a patient's day in dollars; egress against makespan", cost),
}
