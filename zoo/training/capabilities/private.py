"""Differentially private training (`--private`): clipped gradients, noise and its key, and the privacy spent."""

import contextlib
import hashlib
import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from zoo.config import privacy
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.augmentation import augmenter
from zoo.data.batches import private as private_batches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.objectives.private import Private, unfit
from zoo.reports.page import text
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing
from zoo.training import accounting
from zoo.training.capabilities.base import Capability

# Number of per-example gradients in one vectorised operation, on JAX. TensorFlow's vectorised map turns gradients of
# convolutions into a loop, which took as long as a loop over examples and three times as long to trace.
AT_ONCE = 32
KEY_BYTES = 32


class PrivateTraining(Capability):
    """Train by DP-SGD and record the epsilon that was spent."""

    makes_batches = True

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.private is not None

    def check(self) -> None:
        """Raise UsageError unless the privacy that is asked for can be had with these data."""
        promise, data = privacy.parse(self.training.config.private), self.training.data
        spec = data.spec
        privacy.check_inputs(f"--private with {spec.name}", spec.task, spec.kind, spec.per_step)
        privacy.check_examples(promise, len(data.train))

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        yield
        self.training.run.key_file.unlink(missing_ok=True)  # nothing is left to resume

    def begin(self) -> None:
        """Make the plan.

        Raises:
            UsageError: The key in the folder, or the noise, is not the one that the checkpoint was made with.
        """
        training = self.training
        self.plan = planned(training.config, training.run, len(training.data.train), training.steps)
        key, noise, snapshot = hashlib.sha256(self.plan.key).hexdigest(), self.plan.noise, training.start.snapshot
        training.origin["private"] = {"key": key, "noise": noise}
        then = snapshot.origin.get("private", {}) if snapshot and snapshot.origin else {}
        if then.get("noise", noise) != noise:
            raise UsageError(
                f"--epochs {training.config.epochs}: expected the epochs that the noise was chosen for: it was"
                f" {then['noise']:.4g} in the steps before and would be {noise:.4g}, which one epsilon cannot describe"
            )
        if then.get("key", key) != key and not training.run.finished:  # the end of a run removes the key
            raise UsageError(
                f"{training.run.key_file}: expected the key that the checkpoints were made with, found another or none:"
                " with another key the run would not continue exactly"
            )

    def wrap(self, model: keras.Model) -> keras.Model:
        """Return a model that is trained by DP-SGD.

        Raises:
            UsageError: A model without per-example gradients.
        """
        if reason := unfit(model):
            raise UsageError(f"--private: expected a model that treats each example by itself, received {reason}")
        training, plan = self.training, self.plan
        loss = training.task.compiled_with(training.config, training.data.spec)["loss"].call
        at_once = 1 if on_tensorflow() else min(AT_ONCE, plan.batch)
        return Private(model, loss, clip=plan.promise.clip, noise=plan.noise, batch=plan.batch, at_once=at_once)

    def started(self) -> None:
        """Write the key into the folder, readable by its owner alone, as a resumed run needs it."""
        if self.plan.secret:
            with replacing(self.training.run.key_file) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_bytes(self.plan.key)

    def batches(self, start: int, stop: int) -> Any:
        config, plan, model = self.training.config, self.plan, self.training.model
        return private_batches.training_batches(
            self.training.data.train,
            key=plan.key,
            batch_size=plan.batch,
            total=plan.total,
            parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
            multiple=model.at_once,
            start=start,
            stop=stop,
            augment=augmenter.of(config, self.training.data.spec.num_classes),
        )

    def record(self) -> dict[str, Any]:
        """Return `private` of metrics.json, which covers the epochs before a resume too."""
        plan, model = self.plan, self.training.model
        steps = len(self.training.memory.history) * plan.steps
        seen, clipped = (float(keras.ops.convert_to_numpy(v)) for v in (model.seen, model.clipped))
        spent = {
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
        return {"private": spent}

    def sections(self, found: Mapping[str, Any]) -> list[str]:
        return [
            f"<section><h2>Privacy</h2><p>{text(privacy.headline(found['private']))}.</p><p><small>The guarantee covers"
            " the weights in model.keras and the training examples only. Training loss, training accuracy and the share"
            " of clipped gradients are computed without noise, validation examples choose the epoch, and this page"
            " shows test examples.</small></p></section>"
        ]


@dataclass(frozen=True)
class Plan:
    """How a training achieves the privacy that is asked for.

    Args:
        promise: Privacy asked for.
        noise: Standard deviation of the noise in units of the clipping norm.
        batch: Expected number of examples in a step.
        rate: Probability of each example to be in a step.
        steps: Number of steps in an epoch.
        total: Number of steps in the training.
        key: Key from which sampling and noise are derived.
        secret: Whether the key is secret; otherwise it is derived from `--seed`.
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
    """Return the plan of a training, with the key in its folder if it resumes.

    Args:
        config: Resolved configuration with `private`.
        run: Run folder.
        examples: Number of training examples.
        steps: Number of steps in an epoch.
    """
    promise = privacy.parse(config.private)
    rate, total = config.batch_size / examples, steps * config.epochs
    if config.deterministic:
        key = hashlib.blake2b(f"seed {config.seed}".encode(), digest_size=KEY_BYTES).digest()
    else:
        key = run.key_file.read_bytes() if run.key_file.is_file() else secrets.token_bytes(KEY_BYTES)
    noise = accounting.noise_of(promise, rate, total)
    return Plan(promise, noise, config.batch_size, rate, steps, total, key, not config.deterministic)
