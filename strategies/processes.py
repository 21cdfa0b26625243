"""Child processes that end with the process that started them, also when that is killed. Standard library only.

`python -m strategies.processes PARENT MODULE WORDS...` runs a module as `python -m MODULE WORDS...` does, in a process
that ends with the process PARENT. `command` returns such a command line.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# Seconds between two looks at the parent, where the operating system does not report its end.
PAUSE = 0.2
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
INTERRUPTED = 130


def command(module: str, *words: str) -> list[str]:
    """Return the command line of a child process that runs a module and ends with this process."""
    return [sys.executable, "-m", "strategies.processes", str(os.getpid()), module, *words]


def end_with(parent: int) -> None:
    """Make this process end when its parent has ended, even by SIGKILL.

    Linux ends a process when the thread that started it ends. A thread that starts a child has to wait for it.

    Args:
        parent: Process id of the parent.
    """
    if sys.platform == "linux":
        _asking(parent)()
    else:
        watch(parent)


def before_exec() -> Callable[[], None] | None:
    """Return `preexec_fn` of `subprocess.Popen` for a program that is not ours, so that it ends with this process.

    The calling process may have no other threads. Elsewhere than on Linux, it is None, and the program does not end.
    """
    return _asking(os.getpid()) if sys.platform == "linux" else None


def _asking(parent: int) -> Callable[[], None]:
    """Return a function that asks Linux to end the process that calls it with its parent."""
    library: Any = ctypes.CDLL(None)  # loaded here, because little is safe between fork and exec

    def ask() -> None:
        library.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def watch(parent: int) -> None:
    """Start a thread that ends this process when its parent has ended, whichever thread of the parent started it.

    Args:
        parent: Process id of the parent.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        os._exit(1)

    threading.Thread(target=look, daemon=True, name="ends with its parent").start()


def main(words: list[str]) -> None:
    """Run a module as the program of this process.

    Args:
        words: Process id of the parent, name of the module, and the words of its command line.
    """
    parent, module, *rest = words
    end_with(int(parent))
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # during an import; the parent says why it ended
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main(sys.argv[1:])
