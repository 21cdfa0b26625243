"""Magnitude pruning during training, by TF-MOT's schedules and masks (Zhu & Gupta, 2017)."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from compression.passes import tfmot
from compression.passes.parametrize import Parametrized
from compression.recipes.passes import Prune
from compression.surgery.layers import chosen
from zoo.console.errors import Failed, UsageError

# Default for `end`, as a share of the training after `begin`; from then on the masks are fixed and the remaining
# weights recover.
PRUNING_SHARE = 0.6
MOST_STEPS = 100  # maximum number of steps between mask updates, TF-MOT's default


class Pruned(Parametrized):
    """A model whose smallest weights are set to zero during training and stay zero.

    Args:
        model: Built Keras model.
        config: Layers to prune, final sparsity and schedule.
        steps: Number of steps of the whole training.

    Raises:
        UsageError: A pattern matches no layer, the schedule is longer than the training, or the shape of a kernel does
            not suit the sparsity pattern.
    """

    def __init__(self, model: keras.Model, config: Prune, steps: int):
        super().__init__(model, {})
        kernels = [v for found in targets(model, config).values() for v in found]
        begin, end, frequency = timing(config, steps)
        self.masks = [
            self.add_weight(shape=v.shape, initializer="ones", trainable=False, name=f"mask_{i}")
            for i, v in enumerate(kernels)
        ]
        self.sparsities = sparsities(config, [ops.convert_to_numpy(v) for v in kernels])
        self._paths = [v.path for v in kernels]
        pairs = [(v.value, mask.value) for v, mask in zip(kernels, self.masks, strict=True)]
        # A TF-MOT Pruning object has one schedule for all its weights, so each sparsity needs its own.
        self._pruners = [
            tfmot.pruner(
                config,
                tfmot.schedule(config, sparsity, begin, end, frequency),
                [pair for pair, own in zip(pairs, self.sparsities, strict=True) if own == sparsity],
                lambda: self.optimizer.iterations.value,
            )
            for sparsity in dict.fromkeys(self.sparsities)
        ]

    def train_step(self, data: Any) -> dict[str, Any]:
        logs = super().train_step(data)
        for pruner in self._pruners:
            pruner.conditional_mask_update()
            pruner.weight_mask_op()
        return logs

    def strip(self) -> keras.Model:
        """Return the pruned model.

        Raises:
            Failed: The sparsity of a kernel differs from its target.
        """
        for variable in (v for v in self.model.variables if v.path in self._paths):
            sparsity = self.sparsities[self._paths.index(variable.path)]
            value = ops.convert_to_numpy(variable)
            kept, expected = np.count_nonzero(value), round(value.size * (1 - sparsity))
            if abs(kept - expected) > 1:
                raise Failed(f"{variable.path}: pruning left {kept:,} of {value.size:,} weights; expected {expected:,}")
        return self.model


def targets(model: keras.Model, config: Prune) -> dict[str, list[keras.Variable]]:
    """Return the kernels to prune, by layer path.

    Raises:
        UsageError: A pattern matches no layer, or the shape of a kernel does not suit the block or M:N sparsity.
    """
    found = chosen(model, config.only, config.skip)
    paths = list(chosen(model, (), ()))
    ends = [path for path, wanted in ((paths[0], config.first), (paths[-1], config.last)) if not wanted]
    found = {path: kernels for path, kernels in found.items() if path not in ends}
    if not found:
        raise UsageError("--recipe prune: first and last: expected a layer between the two, this model has none")
    unfit = [path for path, kernels in found.items() if not all(_fits(v.shape, config) for v in kernels)]
    if unfit:
        need = (
            f"matrices with sides divisible by {config.block[0]} and {config.block[1]}"
            if config.block
            else f"a number of inputs divisible by {config.m_by_n[1]}"
        )
        others = [path for path in found if path not in unfit]
        hint = f"; skip them with skip={'|'.join(unfit)}" if others else ""
        raise UsageError(
            f"--recipe prune: pattern {config.pattern}: expected {need}, received "
            f"{', '.join(f'{path} {tuple(found[path][0].shape)}' for path in unfit)}{hint}"
        )
    return found


def _fits(shape: tuple[int, ...], config: Prune) -> bool:
    if config.block:
        return len(shape) == 2 and shape[0] % config.block[0] == 0 and shape[1] % config.block[1] == 0
    if config.m_by_n:  # TF-MOT groups weights along the input axis, the second to last
        return len(shape) in (2, 4) and shape[-2] % config.m_by_n[1] == 0
    return True


def timing(config: Prune, steps: int) -> tuple[int, int, int]:
    """Return (begin, end, frequency) in steps; the last mask update is at `end`.

    Raises:
        UsageError: The schedule is longer than the training.
    """
    if config.begin >= steps:
        raise UsageError(
            f"--recipe prune: begin: expected a step before the training's {steps:,}, received {config.begin}"
        )
    end = config.end or max(config.begin + 1, round(config.begin + PRUNING_SHARE * (steps - config.begin)))
    if end > steps:
        raise UsageError(f"--recipe prune: end: expected at most the training's {steps:,} steps, received {end:,}")
    length = end - config.begin
    frequency = config.frequency or max(1, min(MOST_STEPS, length // 10))
    if frequency > length:
        raise UsageError(
            f"--recipe prune: frequency: expected at most the {length:,} steps from begin to end, received {frequency}"
        )
    return config.begin, config.begin + length // frequency * frequency, frequency


def sparsities(config: Prune, values: list[np.ndarray]) -> list[float]:
    """Return the final sparsity of each kernel: the same for all, or from one ranking of all weights."""
    if config.shares == "layer":
        return [config.sparsity] * len(values)
    ranked = [lamp(np.abs(v)) if config.shares == "lamp" else np.abs(v).reshape(-1) for v in values]
    every = np.concatenate(ranked)
    kept = max(round(every.size * (1 - config.sparsity)), 1)
    threshold = np.partition(every, every.size - kept)[every.size - kept]
    # At least one weight per kernel is kept, as in TF-MOT's masks.
    return [1 - max(int((scores >= threshold).sum()), 1) / scores.size for scores in ranked]


def lamp(scores: ArrayLike) -> np.ndarray:
    """Return how much weights or channels matter when the less important ones are gone, in ascending order.

    The square of the score as a share of those of all that are left (LAMP; Lee et al., 2021, arXiv:2010.07611), which
    makes layers comparable.

    Args:
        scores: Importance of each weight or channel, of any shape.
    """
    squares = np.sort(np.asarray(scores, float).reshape(-1)) ** 2 + np.finfo(float).tiny
    return squares / np.cumsum(squares[::-1])[::-1]
