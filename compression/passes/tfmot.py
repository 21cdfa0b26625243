"""TF-MOT's numerics, which work on any tf.Variable. Only this module imports TF-MOT.

TF-MOT's wrappers refuse Keras 3 models and subclassed models, so only its core is used. Its import sets the environment
variable TF_USE_LEGACY_KERAS, so Keras 3 is imported first and the variable restored afterwards.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras  # noqa: F401  (must precede TF-MOT, which would select Keras 2)
import numpy as np

from compression.recipes.passes import Cluster, Prune

_LEGACY = "TF_USE_LEGACY_KERAS"


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = os.environ.get(_LEGACY)
    try:
        yield
    finally:
        os.environ.pop(_LEGACY, None)
        if before is not None:
            os.environ[_LEGACY] = before


with _environment():
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.clustering.keras import (
        cluster_config,
        clustering_algorithm,
        clustering_centroids,
    )
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

_INITIALISERS = {
    "linear": cluster_config.CentroidInitialization.LINEAR,
    "density": cluster_config.CentroidInitialization.DENSITY_BASED,
    "kmeans++": cluster_config.CentroidInitialization.KMEANS_PLUS_PLUS,
}


def schedule(config: Prune, sparsity: float, begin: int, end: int, frequency: int) -> Any:
    """Return TF-MOT's schedule, which gives for each step whether to prune and to which sparsity.

    Args:
        config: Kind of schedule and initial sparsity.
        sparsity: Final sparsity.
        begin: First step with a mask update.
        end: Last step with a mask update, a multiple of `frequency` after `begin`.
        frequency: Number of steps between mask updates.
    """
    if config.schedule == "constant":
        return pruning_schedule.ConstantSparsity(sparsity, begin, end, frequency)
    initial = min(config.initial, sparsity)
    return pruning_schedule.PolynomialDecay(initial, sparsity, begin, end, frequency=frequency)


def pruner(config: Prune, decided: Any, weights_and_masks: list[tuple[Any, Any]], step: Any) -> Any:
    """Return a TF-MOT Pruning object for (weight, mask) pairs of tf.Variables.

    Args:
        config: Sparsity pattern.
        decided: Result of `schedule`.
        weights_and_masks: Pairs of variables with equal shapes.
        step: Function that returns the training step, counted from 1.
    """
    thresholds = [tf.Variable(0.0, trainable=False) for _ in weights_and_masks]
    triples = [(w, m, t) for (w, m), t in zip(weights_and_masks, thresholds, strict=True)]
    return pruning_impl.Pruning(step, triples, decided, config.block or (1, 1), "AVG", config.m_by_n)


def centroids(config: Cluster, weight: np.ndarray, keep_zero: bool) -> np.ndarray:
    """Return the initial centroids of a weight, (number,) ascending float32.

    Args:
        config: Number of centroids and their initialisation.
        weight: Weight of any shape.
        keep_zero: Whether one centroid is exactly zero.
    """
    chosen = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(_INITIALISERS[config.init])
    flat = tf.constant(weight.reshape(-1))
    found = chosen(flat, config.number, preserve_sparsity=keep_zero).get_cluster_centroids().numpy()
    return np.sort(found.astype(np.float32))


def clustering(values: Any) -> Any:
    """Return TF-MOT's clustering algorithm for a tf.Variable of centroids, (number,).

    The gradient of a centroid is the sum of the gradients of its weights.
    """
    return clustering_algorithm.ClusteringAlgorithm(values, cluster_config.GradientAggregation.SUM)
