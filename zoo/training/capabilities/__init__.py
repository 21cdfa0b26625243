"""Capabilities of the training loop: what a training can do beyond a plain `fit`, one file each.

`base` has their interface and says how one is added.
"""

from zoo.training.capabilities.adversarial import AdversarialTraining
from zoo.training.capabilities.averaging import Averaging
from zoo.training.capabilities.base import Capability, Start, Training
from zoo.training.capabilities.baseline import Baseline
from zoo.training.capabilities.executions import KerasStepsPerExecution, StepsPerExecution
from zoo.training.capabilities.layer_decay import LayerDecay
from zoo.training.capabilities.moments import Moments
from zoo.training.capabilities.private import PrivateTraining
from zoo.training.capabilities.probe import Probe
from zoo.training.capabilities.snapshots import Snapshots
from zoo.training.capabilities.tracking import Tracking
from zoo.training.capabilities.transfer import Transfer
from zoo.training.capabilities.unfreezing import Unfreezing
from zoo.training.capabilities.workers import Workers

__all__ = ["REGISTRY", "Capability", "Start", "Training", "active"]

# The order of the calls of a hook. Contexts end in the reverse order: executions are single steps again when the
# averaged weights are measured, which is before all layers are unfrozen.
REGISTRY: tuple[type[Capability], ...] = (
    Workers,
    Probe,  # before Transfer, which writes the first checkpoint
    Transfer,
    Unfreezing,  # after Transfer, which says what is random, and before the graph of an execution is traced
    LayerDecay,
    Moments,
    AdversarialTraining,
    PrivateTraining,
    Averaging,
    Snapshots,
    StepsPerExecution,
    KerasStepsPerExecution,
    Baseline,
    Tracking,
)


def active(training: Training) -> list[Capability]:
    """Return the capabilities of a training, in the order of the registry."""
    return [kind(training) for kind in REGISTRY if kind.wanted(training.config, training.strategy)]
