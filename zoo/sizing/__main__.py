"""`python -m zoo.sizing`: build a model and time its steps in a process that may run out of memory.

The parent process is `zoo.sizing.adaptation`. It writes a job to standard input and reads one JSON answer a line.
"""

import json
import os
import sys
from typing import Any

import strategies
from zoo.console.errors import UsageError
from zoo.sizing.worker import work
from zoo.system import temporary


def main() -> None:
    """Read a job, do it and answer. Output of libraries is redirected to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, **values: Any) -> None:
        answers.write(json.dumps({"kind": kind, **values}) + "\n")
        answers.flush()

    try:
        with temporary.home():
            work(json.load(sys.stdin), say)
    except (UsageError, strategies.StrategyError) as error:
        say("refused", text=str(error))


if __name__ == "__main__":
    main()
