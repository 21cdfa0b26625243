"""What a recipe comes to without any training: the cheap estimate of a search, whose file has its final size.

Channels are taken out, the smallest weights set to zero, and the others rounded to shared values at once.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from compression import channels, clustering, pruning
from compression.folding import fold_batch_norms
from compression.passes import Channels, Cluster, Pass, Prune


def carried_out(
    model: keras.Model, stages: Sequence[Pass], x: np.ndarray, y: np.ndarray, found: Any = None
) -> keras.Model:
    """Carry out the stages of a recipe on a model, in place, as far as that needs no training.

    Args:
        model: built; gives logits.
        stages: of the recipe; those that only train change nothing. A network that begins from scratch keeps the
            weights it would lose, as the estimate is of its shape.
        x: (examples, ...), as the model takes them.
        y: (examples,) class ids, of the Taylor importance.
        found: what `channels.removable` says of the model, where it is known.

    Returns:
        the model, or another one where batch normalisation was folded.
    """
    pruned: set[str] = set()
    for stage in stages:
        if isinstance(stage, Channels):
            options = {"importance": stage.importance, "skip": stage.skip, "x": x, "y": y, "found": found}
            channels.apply(model, channels.plan(model, stage.share, keep=stage.counts, **options))
        elif isinstance(stage, Prune):
            pruned = _prune(model, stage)
        elif isinstance(stage, Cluster):
            fold_batch_norms(model, x)
            model = clustering.clustered(model, stage, pruned).strip()
    return model


def _prune(model: keras.Model, stage: Prune) -> set[str]:
    """Set the smallest weights of every kernel to zero, and return the paths of the kernels."""
    kernels = [v for each in pruning.targets(model, stage).values() for v in each]
    values = [ops.convert_to_numpy(v) for v in kernels]
    for variable, value, sparsity in zip(kernels, values, pruning.sparsities(stage, values), strict=True):
        zeros = np.argsort(np.abs(value), axis=None)[: round(value.size * sparsity)]
        kept = value.reshape(-1).copy()
        kept[zeros] = 0
        variable.assign(kept.reshape(value.shape))
    return {v.path for v in kernels}
