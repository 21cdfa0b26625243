"""`python -m benchmarks.drilling.dying LOG NUMBER MOMENT MODULE WORDS...`: die while writing a file.

The process and its file are those of the product; only `zoo.system.files.publish`, through which every file gets its
name, is replaced before the command imports it. Each call writes a line with the name of its file into LOG.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

# The file is half written, whole under its temporary name, or just renamed.
MOMENTS = ("half", "before", "after")


def main() -> None:
    """Run a command, and kill this process at the call with this number, counted from 1; 0 for never."""
    log, number, moment, module, *words = sys.argv[1:]
    from zoo.system import files

    publish, calls = files.publish, 0

    def dying(temporary: Path, path: Path) -> None:
        nonlocal calls
        calls += 1
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(f"{path.name}\n")
        now = calls == int(number)
        if now and moment == "half":
            os.truncate(temporary, temporary.stat().st_size // 2)
        if now and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        publish(temporary, path)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    files.publish = dying
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
