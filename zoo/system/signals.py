"""Handling of Ctrl-C and SIGTERM, which stop long work at a point from which it can resume."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, Protocol


class Listener(Protocol):
    """Object that checks regularly whether a signal arrived.

    Attributes:
        signal: Number of the received signal, 0 until one arrives.
    """

    signal: int


@contextlib.contextmanager
def stopped_by_signals(listener: Listener) -> Iterator[None]:
    """Pass Ctrl-C and SIGTERM to a listener, which stops after the current step; a second signal stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def remember(number: int, frame: Any) -> None:
        if listener.signal:
            raise KeyboardInterrupt
        listener.signal = number

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
