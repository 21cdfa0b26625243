"""Collective communication between the workers or replicas of a strategy.

All workers must make the same calls in the same order. With one worker or replica, each function returns its input.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def workers(strategy: Any) -> int:
    """Return the number of worker processes of a `tf.distribute.Strategy`."""
    resolver = strategy.cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", [])) or 1 if resolver else 1


def worker(strategy: Any) -> int:
    """Return the index of this worker, 0 for the chief."""
    return strategy.cluster_resolver.task_id if workers(strategy) > 1 else 0


def gather(strategy: Any, values: np.ndarray) -> np.ndarray:
    """Gather an array from every worker, and return them stacked, (workers, ...).

    Args:
        strategy: Strategy of all workers.
        values: Array of type float32, float64, int32 or int64, with the same shape on all workers.
    """
    values = np.asarray(values)
    if workers(strategy) == 1:
        return values[None]
    found = _gathering(strategy)(values[None]).numpy()
    return found[:: len(found) // workers(strategy)]  # replicas of one worker have equal values


@functools.cache
def _gathering(strategy: Any) -> Callable:
    import tensorflow as tf

    return tf.function(lambda values: strategy.gather(strategy.run(tf.identity, args=(values,)), axis=0))


def of_all_replicas(*tensors: Any) -> tuple[Any, ...]:
    """Return tensors concatenated over all replicas along the first axis; call it inside a step.

    The gradient with respect to a replica's own tensor is summed over the results of all replicas.

    Args:
        tensors: Tensors of this replica.
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    # `identity` places inputs of the step on a device, which TensorFlow requires with several workers.
    return tuple(context.all_gather(tf.identity(tensor), axis=0) for tensor in tensors)


def of_this_replica(values: Any) -> Any:
    """Return this replica's slice of a batch of all replicas, as `fit` divides a batch; call it inside a step.

    Args:
        values: Tensor, (replicas x share, ...), the same on all replicas.
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    share = (values.shape[0] or tf.shape(values)[0]) // context.num_replicas_in_sync
    first = share * context.replica_id_in_sync_group
    return values[first : first + share]


def broadcast(strategy: Any, message: bytes | None) -> bytes:
    """Return the chief's message on every worker.

    Args:
        strategy: Strategy of all workers.
        message: Message of the chief; ignored on other workers.
    """
    mine = (message or b"") if worker(strategy) == 0 else b""
    if workers(strategy) == 1:
        return mine
    length = int(gather(strategy, np.array([len(mine)], np.int64))[0, 0])
    if not length:  # TensorFlow crashes when it reduces an empty tensor
        return b""
    padded = mine.ljust(-(-length // 4) * 4, b"\0")  # zeros, except on the chief
    return _summing(strategy)(np.frombuffer(padded, np.int32)).numpy().tobytes()[:length]


@functools.cache
def _summing(strategy: Any) -> Callable:
    """Return a function that sums over workers, which broadcasts a message with less memory than gathering copies."""
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync // workers(strategy)

    def mine(values: Any) -> Any:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group % replicas == 0
        return tf.where(first, values, 0)

    return tf.function(lambda values: strategy.reduce("SUM", strategy.run(mine, args=(values,)), axis=None))
