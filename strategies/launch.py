"""`python -m strategies.launch --workers N -- COMMAND...`: Run a command as a cluster of workers on this machine.

Every worker runs the command with its own TF_CONFIG. The first worker's standard output is passed through; all other
output goes to standard error, each line prefixed by the worker. When a worker fails, the others are stopped. With
--restarts, all workers start again with the words of --restart-with appended to the command.
"""

import argparse
import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from strategies import processes, rendezvous, streams

PROG = "python -m strategies.launch"
# Seconds that workers get to end by themselves: after another worker failed, and after SIGTERM.
GRACE, LAST = 30.0, 5.0
USAGE = 2  # exit status of invalid input, which a restart would only repeat
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


def main(argv: Sequence[str] | None = None) -> int:
    """Start the workers, wait for them, and return the status of the first that failed, or 0."""
    with streams.lasting() as output, _signals() as received:
        options, command = _parse(list(sys.argv[1:] if argv is None else argv))
        for attempt in range(options.restarts + 1):
            if attempt:
                _say(f"starting all {options.workers} workers again ({attempt} of {options.restarts})")
            more = shlex.split(options.restart_with) if attempt else []
            workers, relays = _start([*command, *more], options.workers, output)
            try:
                status = _wait(workers, received)
            finally:
                _end(workers)
            for relay in relays:  # pass on the last output of the workers
                relay.join(LAST)
            if received:
                return processes.INTERRUPTED if status else 0
            if status in (0, USAGE):
                break
    return status


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    usage = f"{PROG} [--workers N] [--restarts R] -- COMMAND..."
    parser = argparse.ArgumentParser(prog=PROG, usage=usage, description=__doc__.partition(": ")[2], allow_abbrev=False)
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="number of workers (default: 2)")
    parser.add_argument("--restarts", type=int, default=0, metavar="R", help="number of restarts (default: 0)")
    parser.add_argument(
        "--restart-with",
        default="--resume",
        metavar="WORDS",
        help="words appended to the command on a restart (default: --resume)",
    )
    place = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:place]), words[place + 1 :]
    for name, least in (("workers", 1), ("restarts", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: expected at least {least}, received {getattr(options, name)}")
    if not command:
        parser.error("expected -- followed by the command that every worker runs, received none")
    return options, [sys.executable, *command[1:]] if command[0] == "python" else command


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect Ctrl-C, SIGTERM and SIGHUP in a list instead of ending the process; what nohup ignores stays ignored."""
    received: list[int] = []
    heeded = [number for number in _SIGNALS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    command: list[str], count: int, output: streams.Lasting
) -> tuple[list[subprocess.Popen], list[threading.Thread]]:
    """Start the workers, and threads that pass on their output."""
    shared = {"PYTHONUNBUFFERED": "1"}
    if not os.environ.get(rendezvous.TOKEN_FILE):
        shared[rendezvous.TOKEN] = os.environ.get(rendezvous.TOKEN) or secrets.token_hex(32)
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    workers: list[subprocess.Popen] = []
    for index in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        try:
            worker = subprocess.Popen(
                command,
                env=os.environ | shared | {"TF_CONFIG": json.dumps(task)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
                preexec_fn=processes.before_exec(),  # noqa: PLW1509  (no other threads: those of a restart have ended)
            )
        except OSError as error:
            _end(workers)
            print(f"{PROG.removeprefix('python -m ')}: {command[0]}: {error.strerror}", file=sys.stderr)
            raise SystemExit(USAGE) from None
        workers.append(worker)
        _say(f"worker {index} is process {worker.pid}, {addresses[index]}")
    relays = []
    for index, worker in enumerate(workers):
        relays.append(threading.Thread(target=_relay, args=(worker.stderr, index), daemon=True))
        passed_on = (_relay, (worker.stdout, index)) if index else (_copy, (worker.stdout, output))
        relays.append(threading.Thread(target=passed_on[0], args=passed_on[1], daemon=True))
    for relay in relays:
        relay.start()
    return workers, relays


def free_ports(count: int) -> list[int]:
    """Return free ports of this machine."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]


def _copy(stream: IO[bytes], output: streams.Lasting) -> None:
    """Pass on output as it is; it goes on being read when nobody reads ours."""
    with stream:
        while content := stream.read1(1 << 16):
            output.write_bytes(content)


def _relay(stream: IO[bytes], index: int) -> None:
    with stream:
        for line in stream:
            text = line.decode(errors="replace").rstrip("\n")
            sys.stderr.write(f"[worker {index}] {text}\n")  # one call, because other threads write, too
            sys.stderr.flush()


def _wait(workers: list[subprocess.Popen], received: list[int]) -> int:
    """Wait for the workers, stop all when one fails, and return the status of the first that failed, or 0."""
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
                break  # second signal
            passed_on = len(received)
            _say("interrupted: asking the workers to save and end; a second signal ends them at once")
            _signal(workers, received[0])
            deadline = None  # saving has no time limit
        if deadline and time.monotonic() > deadline:
            break
    failed = [_status(worker.returncode) for worker in workers if worker.returncode]
    # If no worker failed but one had to be killed, the status is 1.
    return first or next(iter(failed), int(_any_left(workers)))


def _status(returned: int) -> int:
    """Return the exit status as a shell reports it: 128 plus the signal's number if a signal ended the process."""
    return returned if returned > 0 else 128 - returned


def _any_left(workers: list[subprocess.Popen]) -> bool:
    return None in [worker.poll() for worker in workers]  # polls all of them


def _ended(status: int) -> str:
    return f"ended with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"


def _signal(workers: list[subprocess.Popen], number: int) -> None:
    """Send a signal to every running worker and its child processes."""
    for worker in workers:
        if worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, number)


def _end(workers: list[subprocess.Popen]) -> None:
    """End all workers, by SIGKILL if SIGTERM does not suffice."""
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
