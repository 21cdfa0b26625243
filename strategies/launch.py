"""`python -m strategies.launch --workers N -- COMMAND...`: a cluster of processes on this machine.

Every worker runs the command with a TF_CONFIG of its own. The first worker's standard output is this command's; all
else goes to standard error, each line with its worker's name. When a worker ends with an error, the others are ended,
and with --restarts all start again, with the words of --restart-with after the command.
"""

import argparse
import contextlib
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

PROG = "python -m strategies.launch"
# Seconds that workers are given to end by themselves: when another was lost or they are asked to, and then to the last.
GRACE, LAST = 30.0, 5.0
USAGE = 2  # the status of a mistake, which a restart would only repeat
INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the workers, wait for them, and return the status of the first that failed, or 0."""
    options, command = _parse(list(sys.argv[1:] if argv is None else argv))
    with _signals() as received:
        for attempt in range(options.restarts + 1):
            if attempt:
                _say(f"starting all {options.workers} workers again ({attempt} of {options.restarts})")
            more = shlex.split(options.restart_with) if attempt else []
            workers, relays = _start([*command, *more], options.workers)
            try:
                status = _wait(workers, received)
            finally:
                _end(workers)
            for relay in relays:  # what the workers said last
                relay.join(LAST)
            if received:
                return INTERRUPTED if status else 0
            if status in (0, USAGE):
                break
    return status


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    usage = f"{PROG} [--workers N] [--restarts R] -- COMMAND..."
    parser = argparse.ArgumentParser(prog=PROG, usage=usage, description=__doc__.partition(": ")[2], allow_abbrev=False)
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes, at least 1 (default: 2)")
    parser.add_argument("--restarts", type=int, default=0, metavar="R", help="how often to start again (default: 0)")
    parser.add_argument(
        "--restart-with", default="--resume", metavar="WORDS", help="put behind the command then (default: --resume)"
    )
    place = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:place]), words[place + 1 :]
    for name, least in (("workers", 1), ("restarts", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: expected at least {least}, received {getattr(options, name)}")
    if not command:
        parser.error("expected -- and behind it the command that every worker runs, received none")
    return options, [sys.executable, *command[1:]] if command[0] == "python" else command


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of ending at them."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(command: list[str], count: int) -> tuple[list[subprocess.Popen], list[threading.Thread]]:
    """Start the workers, and threads that pass on what they say."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    workers: list[subprocess.Popen] = []
    for index in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        try:
            worker = subprocess.Popen(
                command,
                env=os.environ | {"TF_CONFIG": json.dumps(task), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if index else None,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C of the terminal reaches us alone; we pass it on once
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            _end(workers)
            print(f"{PROG.removeprefix('python -m ')}: {command[0]}: {error.strerror}", file=sys.stderr)
            raise SystemExit(USAGE) from None
        workers.append(worker)
        _say(f"worker {index} is process {worker.pid}, {addresses[index]}")
    relays = []
    for index, worker in enumerate(workers):
        for stream in filter(None, (worker.stdout, worker.stderr)):
            relays.append(threading.Thread(target=_relay, args=(stream, index), daemon=True))
            relays[-1].start()
    return workers, relays


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]


def _end_with_parent() -> None:
    """Let Linux kill this process when its parent, even killed by force, is gone."""
    set_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _relay(stream: IO[bytes], index: int) -> None:
    with stream:
        for line in stream:
            text = line.decode(errors="replace").rstrip("\n")
            sys.stderr.write(f"[worker {index}] {text}\n")  # in one piece: other threads write as well
            sys.stderr.flush()


def _wait(workers: list[subprocess.Popen], received: list[int]) -> int:
    """Return the status of the first worker that failed, 0 if none did; when one is lost the others do not stay."""
    first, deadline, passed_on = 0, None, 0
    while _any_left(workers):
        time.sleep(0.05)
        for index, worker in enumerate(workers):
            if worker.returncode and not first:
                first = _status(worker.returncode)
                if not received:
                    _say(f"worker {index} {_ended(worker.returncode)}; the others have {GRACE:g} s to end")
                deadline = deadline or time.monotonic() + GRACE
        if len(received) > passed_on:
            if passed_on:
                break  # asked twice
            passed_on = len(received)
            _say("interrupted: asking the workers to save and to end; once more ends them at once")
            _signal(workers, received[0])
            deadline = None  # saving takes as long as it takes
        if deadline and time.monotonic() > deadline:
            break
    failed = [_status(worker.returncode) for worker in workers if worker.returncode]
    # Without one that failed, but with one that had to be ended: not a success either.
    return first or next(iter(failed), int(_any_left(workers)))


def _status(returned: int) -> int:
    """Return a process's status as a shell tells it: of one ended by a signal, 128 and the signal's number."""
    return returned if returned > 0 else 128 - returned


def _any_left(workers: list[subprocess.Popen]) -> bool:
    return None in [worker.poll() for worker in workers]  # asks every one of them


def _ended(status: int) -> str:
    return f"ended with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"


def _signal(workers: list[subprocess.Popen], number: int) -> None:
    """Send a signal to every worker that runs, and to what it started."""
    for worker in workers:
        if worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, number)


def _end(workers: list[subprocess.Popen]) -> None:
    """Leave no worker behind."""
    _signal(workers, signal.SIGTERM)
    deadline = time.monotonic() + LAST
    while _any_left(workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    for worker in workers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _say(text: str) -> None:
    sys.stderr.write(f"[launch] {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
