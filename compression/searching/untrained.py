"""What a recipe comes to without any training: the cheap estimate of a search, whose file has its final size.

Channels are taken out and the last layer is fitted to what is left, in closed form; the smallest weights are set to
zero, and the others rounded to shared values, at once.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from compression.passes import channels, clustering, pruning
from compression.recipes.passes import Channels, Cluster, Pass, Prune
from compression.surgery.folding import fold_batch_norms
from compression.surgery.survey import calls
from zoo.introspection.hooks import calls_of
from zoo.runs.inference import BATCH

# Of the examples: how strongly large weights are avoided when the last layer is fitted.
RIDGE = 1e-3
# What a logit of certainty is, so that integers of a file tell its probabilities apart.
CERTAIN = 10.0


def carried_out(
    model: keras.Model, stages: Sequence[Pass], x: np.ndarray, y: np.ndarray, found: Any = None
) -> keras.Model:
    """Carry out the stages of a recipe on a model, in place, as far as that needs no training.

    Args:
        model: built; gives logits.
        stages: of the recipe; those that only train change nothing. A network that begins from scratch keeps the
            weights it would lose, as the estimate is of its shape.
        x: (examples, ...), as the model takes them.
        y: (examples,) class ids, or (examples, time) where every step is labelled.
        found: what `channels.removable` says of the model, where it is known.

    Returns:
        the model.
    """
    pruned: set[str] = set()
    for stage in stages:
        if isinstance(stage, Channels):
            options = {"importance": stage.importance, "skip": stage.skip, "x": x, "y": y, "found": found}
            channels.apply(model, channels.plan(model, stage.share, keep=stage.counts, **options))
            fit_last(model, x, y)
        elif isinstance(stage, Prune):
            pruned = _prune(model, stage)
        elif isinstance(stage, Cluster):
            fold_batch_norms(model, x)
            model = clustering.clustered(model, stage, pruned).strip()
    return model


def fit_last(model: keras.Model, x: np.ndarray, y: np.ndarray) -> bool:
    """Fit the last layer of a model to labels by ridge regression on what the layer is given, as it is now.

    Args:
        model: built; its last layer is changed where it is Dense, linear, and called once with a vector an example.
        x: (examples, ...), as the model takes them.
        y: (examples,) class ids.

    Returns:
        whether there was such a layer.
    """
    seen = calls(model, x[:1])
    last, rank = seen[-1].layer, seen[-1].rank
    if not isinstance(last, keras.layers.Dense) or rank != 2 or sum(call.layer is last for call in seen) > 1:
        return False
    if last.activation is not keras.activations.linear or not last.use_bias or y.ndim > 1:
        return False
    batches = [ops.convert_to_tensor(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    given = [calls_of(model, batch, [last])[0].inputs[0] for batch in batches]
    features = np.concatenate([ops.convert_to_numpy(part) for part in given]).astype(np.float64)
    targets = CERTAIN * (np.eye(last.units)[y] - 1 / last.units)
    mean, centre = features.mean(0), targets.mean(0)
    spread = features - mean
    squares = spread.T @ spread + RIDGE * len(x) * np.eye(spread.shape[1])
    kernel = np.linalg.solve(squares, spread.T @ (targets - centre))
    last.set_weights([kernel, centre - mean @ kernel])
    return True


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
