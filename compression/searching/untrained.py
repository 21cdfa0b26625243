"""Apply a recipe without training, for the cheap estimate of a search; the file already has its final size.

Channels are removed and the last layer is fitted again in closed form. The smallest weights are set to zero and the
others clustered in one step.
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
from zoo.data.dataset import mapped
from zoo.introspection.hooks import calls_of
from zoo.runs.inference import BATCH

# Ridge penalty per example when the last layer is fitted.
RIDGE = 1e-3
# Scale of the target logits, large enough that the integer probabilities of a file differ.
CERTAIN = 10.0


def apply_untrained(
    model: keras.Model, stages: Sequence[Pass], x: np.ndarray, y: np.ndarray, found: Any = None
) -> keras.Model:
    """Apply the stages of a recipe to a model, in place, as far as they need no training.

    Args:
        model: Built Keras model that gives logits or probabilities of classes.
        stages: Stages of the recipe; stages that only train have no effect. With `init=scratch` the model keeps its
            weights, because the estimate is about the shape of the network.
        x: Model inputs, (examples, ...).
        y: Class ids, (examples,), or (examples, time) if every step is labelled.
        found: Result of `channels.removable` for the model, if known.

    Returns:
        The model.
    """
    pruned: set[str] = set()
    for stage in stages:
        if isinstance(stage, Channels):
            options = {"importance": stage.importance, "skip": stage.skip, "coupled": stage.coupled}
            plan = channels.plan(model, stage.share, keep=stage.counts, **options, x=x, y=y, found=found)
            channels.apply(model, plan)
            fit_last(model, x, y)
        elif isinstance(stage, Prune):
            pruned = _prune(model, stage)
        elif isinstance(stage, Cluster):
            fold_batch_norms(model, x)
            model = clustering.clustered(model, stage, pruned).strip()
    return model


def fit_last(model: keras.Model, x: np.ndarray, y: np.ndarray) -> bool:
    """Fit the last layer of a model to labels by ridge regression on its present inputs.

    Args:
        model: Built Keras model. Its last layer is changed if it is a linear Dense layer with a bias that is called
            once, on one vector per example.
        x: Model inputs, (examples, ...).
        y: Class ids, (examples,).

    Returns:
        Whether the last layer was fitted.
    """
    seen = calls(model, mapped(lambda array: array[:1], x))
    last, rank = seen[-1].layer, seen[-1].rank
    if not isinstance(last, keras.layers.Dense) or rank != 2 or sum(call.layer is last for call in seen) > 1:
        return False
    if last.activation not in (keras.activations.linear, keras.activations.softmax) or not last.use_bias or y.ndim > 1:
        return False
    batches = [
        mapped(lambda array, start=start: ops.convert_to_tensor(array[start : start + BATCH]), x)
        for start in range(0, len(y), BATCH)
    ]
    given = [calls_of(model, batch, [last])[0].inputs[0] for batch in batches]
    features = np.concatenate([ops.convert_to_numpy(part) for part in given]).astype(np.float64)
    targets = CERTAIN * (np.eye(last.units)[y] - 1 / last.units)
    mean, centre = features.mean(0), targets.mean(0)
    spread = features - mean
    squares = spread.T @ spread + RIDGE * len(y) * np.eye(spread.shape[1])
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
