"""Handling of Ctrl-C, SIGTERM and SIGHUP, which stop long work at a point from which it can resume."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Listener(Protocol):
    """Object that checks regularly whether a signal arrived.

    Attributes:
        signal: Number of the received signal, 0 until one arrives.
    """

    signal: int


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Call a function for every signal that asks this process to end, in the main thread; in others do nothing.

    SIGHUP, the end of the terminal, stays ignored in a process that was started to ignore it, as nohup does.

    Args:
        handler: Function of the number of the signal and the interrupted frame.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # absent on Windows
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def stopped_by_signals(listener: Listener) -> Iterator[None]:
    """Pass Ctrl-C, SIGTERM and SIGHUP to a listener, which stops after the current step; a second one stops at once."""

    def remember(number: int, frame: Any) -> None:
        if listener.signal:
            raise KeyboardInterrupt
        listener.signal = number

    with handled(remember):
        yield


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, so that work is saved or undone on the way."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with handled(interrupt):
        yield
