"""Messages between the workers or replicas of a strategy; all of them must make the same calls in the same order.

Under a strategy of one there is nobody to talk to, and each function returns what it was given.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def workers(strategy: Any) -> int:
    """Return how many processes train together under a `tf.distribute.Strategy`."""
    resolver = strategy.cluster_resolver
    return len(resolver.cluster_spec().as_dict().get("worker", [])) or 1 if resolver else 1


def worker(strategy: Any) -> int:
    """Return which of them this process is, from 0, the chief."""
    return strategy.cluster_resolver.task_id if workers(strategy) > 1 else 0


def gather(strategy: Any, values: np.ndarray) -> np.ndarray:
    """Return the same array of every worker, (workers, ...).

    Args:
        strategy: of all.
        values: (...) float32, float64, int32 or int64, of one shape on all workers.
    """
    values = np.asarray(values)
    if workers(strategy) == 1:
        return values[None]
    found = _gathering(strategy)(values[None]).numpy()
    return found[:: len(found) // workers(strategy)]  # several replicas of a worker give the same


@functools.cache
def _gathering(strategy: Any) -> Callable:
    import tensorflow as tf

    return tf.function(lambda values: strategy.gather(strategy.run(tf.identity, args=(values,)), axis=0))


def of_all_replicas(*tensors: Any) -> tuple[Any, ...]:
    """Return, inside a step, what tensors are on all replicas, one after the other along the first axis.

    The gradient of a replica's own tensor is the sum of what every replica's result says of it.
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    # A tensor that a step was given as it is has no device yet, and with several workers TensorFlow asks where it is.
    return tuple(context.all_gather(tf.identity(tensor), axis=0) for tensor in tensors)


def broadcast(strategy: Any, message: bytes | None) -> bytes:
    """Return the chief's message on every worker.

    Args:
        strategy: of all.
        message: the chief's; of others it is not looked at.
    """
    mine = (message or b"") if worker(strategy) == 0 else b""
    if workers(strategy) == 1:
        return mine
    length = int(gather(strategy, np.array([len(mine)], np.int64))[0, 0])
    if not length:  # TensorFlow crashes on a sum of nothing
        return b""
    padded = mine.ljust(-(-length // 4) * 4, b"\0")  # zeros, except on the chief
    return _summing(strategy)(np.frombuffer(padded, np.int32)).numpy().tobytes()[:length]


@functools.cache
def _summing(strategy: Any) -> Callable:
    """Return a function that sums over workers: a message and zeros need no worker's copy but one in memory."""
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync // workers(strategy)

    def mine(values: Any) -> Any:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group % replicas == 0
        return tf.where(first, values, 0)

    return tf.function(lambda values: strategy.reduce("SUM", strategy.run(mine, args=(values,)), axis=None))
