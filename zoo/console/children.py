"""Carry out a command in a process of its own. Standard library only."""

import subprocess

from strategies import processes
from zoo.console.errors import INTERRUPTED, Failed, Interrupted, UsageError

_REFUSED = 2


def carry_out(module: str, *words: str, typed: str, again: str) -> str:
    """Carry out a command, whose progress is shown on standard error, and return what it printed.

    Args:
        module: Module of the command.
        words: Words after the command.
        typed: The command as a user types it, for messages.
        again: What goes on after an interruption, for the message.

    Raises:
        UsageError: The command refused its input.
        Failed: The command failed.
        Interrupted: The command was interrupted.
    """
    done = subprocess.run(processes.command(module, *words), stdout=subprocess.PIPE, text=True)
    if done.returncode == INTERRUPTED:
        raise Interrupted(f"{typed}: interrupted; {again}")
    if done.returncode == _REFUSED:
        raise UsageError(f"{typed}: refused, see above")
    if done.returncode:
        raise Failed(f"{typed}: ended with status {done.returncode}, see above")
    return done.stdout
