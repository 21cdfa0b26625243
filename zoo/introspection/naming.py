"""Automatic names of layers, which Keras numbers by a counter of the process."""

import collections
import contextlib
from collections.abc import Iterator

from keras.src.backend.common import global_state

# Keras has public functions that read and clear the counter, but none that sets it: clearing it for good would give two
# layers of one functional model the same name.
_COUNTER = "object_name_uids"


@contextlib.contextmanager
def fresh_names() -> Iterator[None]:
    """Name layers as in a new process, so that every copy of a model has the same automatic names."""
    before = global_state.get_global_attribute(_COUNTER)
    global_state.set_global_attribute(_COUNTER, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTER, before)
