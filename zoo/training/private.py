"""What a private training has that others have not: the noise that its promise takes, its key, and what it spent."""

import hashlib
import math
import secrets
from dataclasses import dataclass
from typing import Any

import keras

from zoo.config import privacy
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.data.batches import private as private_batches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.objectives.losses import CrossEntropy
from zoo.objectives.private import Private, unfit
from zoo.reports.page import text
from zoo.runs.folder import RunFolder
from zoo.training import accounting

# TensorFlow's vectorised map turns gradients of convolutions into a loop of its own, which took as long as a loop over
# examples and three times as long to trace. On JAX so many examples are one operation.
AT_ONCE = 32
KEY_BYTES = 32


@dataclass(frozen=True)
class Plan:
    """How a training keeps its promise.

    Args:
        promise: what was asked for.
        noise: standard deviation of the noise in units of the clipping norm.
        batch: examples that are expected in a step.
        rate: probability of each example to be in it.
        steps: in an epoch.
        total: in the training.
        key: what sampling and noise follow from.
        secret: whether nobody knows the key, or whoever knows `--seed`.
    """

    promise: privacy.DP
    noise: float
    batch: int
    rate: float
    steps: int
    total: int
    key: bytes
    secret: bool


def planned(config: TrainConfig, run: RunFolder, examples: int, steps: int) -> Plan:
    """Return the plan of a training, with the key of its folder where it goes on.

    Args:
        config: resolved, with `private`.
        run: its folder.
        examples: that are trained on.
        steps: in an epoch.
    """
    promise = privacy.parse(config.private)
    rate, total = config.batch_size / examples, steps * config.epochs
    if config.deterministic:
        key = hashlib.blake2b(f"seed {config.seed}".encode(), digest_size=KEY_BYTES).digest()
    else:
        key = run.key_file.read_bytes() if run.key_file.is_file() else secrets.token_bytes(KEY_BYTES)
    noise = accounting.noise_of(promise, rate, total)
    return Plan(promise, noise, config.batch_size, rate, steps, total, key, not config.deterministic)


def keep_key(plan: Plan, run: RunFolder) -> None:
    """Write the key into the folder until the run is finished, for its owner alone: a run that resumes needs it."""
    if plan.secret:
        run.key_file.touch(mode=0o600)
        run.key_file.write_bytes(plan.key)


def around(plan: Plan, config: TrainConfig, model: keras.Model) -> Private:
    """Return what `fit` trains.

    Raises:
        UsageError: a model whose gradient of an example cannot be told from that of others.
    """
    if reason := unfit(model):
        raise UsageError(f"--private: expected a model that takes each example by itself, received {reason}")
    loss = CrossEntropy(config.label_smoothing).call
    return Private(model, loss, clip=plan.promise.clip, noise=plan.noise, batch=plan.batch, at_once=_at_once(plan))


def batches(plan: Plan, config: TrainConfig, data: Dataset, model: Private, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`."""
    return private_batches.training_batches(
        data.train,
        key=plan.key,
        batch_size=plan.batch,
        total=plan.total,
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        multiple=model.at_once,
        start=start,
        stop=stop,
        seed=config.seed,
        shift=config.shift,
    )


def _at_once(plan: Plan) -> int:
    return 1 if on_tensorflow() else min(AT_ONCE, plan.batch)


def record(plan: Plan, model: Private, epochs: int) -> dict[str, Any]:
    """Return `private` of metrics.json: what the epochs that were trained came to.

    Args:
        plan: of the run.
        model: after its last step.
        epochs: that were trained, those before a resume among them.
    """
    steps = epochs * plan.steps
    seen, clipped = (float(keras.ops.convert_to_numpy(v)) for v in (model.seen, model.clipped))
    return {
        "epsilon": accounting.spent(plan.noise, plan.rate, steps, plan.promise.delta),
        "delta": plan.promise.delta,
        "noise": plan.noise,
        "clip": plan.promise.clip,
        "steps": steps,
        "sampling_rate": plan.rate,
        "sampling": "poisson",
        "clipped": clipped / max(seen, 1),
        "key": "secret" if plan.secret else "seed",
    }


def section(found: dict[str, Any]) -> str:
    """Return what the report says of it."""
    return (
        f"<section><h2>Privacy</h2><p>{text(privacy.headline(found))}.</p><p><small>The promise is about the weights in"
        " model.keras and the training examples alone. Training loss, training accuracy and the share of clipped"
        " gradients are computed without noise, validation examples choose the epoch, and this page shows test"
        " examples.</small></p></section>"
    )
