"""Ctrl-C and SIGTERM, which end long work where it can go on later."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, Protocol


class Listener(Protocol):
    """What looks now and then whether a signal came.

    Attributes:
        signal: its number, 0 before one.
    """

    signal: int


@contextlib.contextmanager
def stopped_by_signals(listener: Listener) -> Iterator[None]:
    """Tell a listener of Ctrl-C and SIGTERM, so that it ends after the current step; a second one ends it at once."""
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
