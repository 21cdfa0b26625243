"""Rendezvous of workers before training: all are present, configurations agree, and ports are free.

TensorFlow waits forever for a missing worker, and hangs or trains incorrectly with workers that were started with
different options. Each worker opens its port, reports its configuration to the chief and waits for the answer. The port
is then released for TensorFlow. Standard library only.
"""

import contextlib
import errno
import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from strategies.cluster import Cluster
from strategies.errors import StrategyError

SECONDS = 300.0
# Seconds between attempts to reach the chief, and extra seconds to wait for its answer after the time limit.
PAUSE, PATIENCE = 0.1, 10.0
# Seconds during which the chief still accepts workers after a fault, to tell them the reason.
GRACE = 2.0
_LONGEST = 1 << 20  # maximum size of a message in bytes


def meet(cluster: Cluster, facts: Mapping[str, Any], seconds: float = SECONDS) -> None:
    """Wait until all workers of the cluster have reported the same facts.

    Args:
        cluster: Cluster with the index of this worker.
        facts: JSON-serialisable settings that all workers must agree on, by name.
        seconds: Time limit in seconds.

    Raises:
        StrategyError: If the port is in use, a worker is missing after the time limit, or workers disagree. All workers
            raise the same error.
    """
    deadline = time.monotonic() + seconds
    mine = json.loads(json.dumps(dict(facts), default=str))
    with _listening(cluster) as server:
        if cluster.is_chief:
            answer = _gather(cluster, mine, server, deadline, seconds)
        else:
            answer = _ask(cluster, mine, deadline, seconds)
    if answer:
        raise StrategyError(answer)


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    try:
        server = socket.create_server(("", cluster.port), backlog=len(cluster.workers))
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        what = "is in use by another process" if in_use else f"cannot be opened: {error.strerror}"
        raise StrategyError(f"{cluster.name(cluster.index)}: its port {cluster.port} {what}; choose another") from None
    with server:
        yield server


def _gather(cluster: Cluster, mine: dict, server: socket.socket, deadline: float, seconds: float) -> str:
    """Wait for all workers as the chief, send each the answer, and return it: empty, or the reason of a failure."""
    here: set[int] = set()
    heard: list[socket.socket] = []  # connections that wait for the answer
    answer = ""
    with contextlib.ExitStack() as connections:
        while len(here) < len(cluster.workers) - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection = connections.enter_context(server.accept()[0])
                connection.settimeout(PATIENCE)
                message = _read(connection)
                index, count, facts = message["index"], message["workers"], message["facts"]
            except TimeoutError:
                if time.monotonic() < deadline:
                    continue  # a connection that sent nothing
                missing = [cluster.name(i) for i in range(1, len(cluster.workers)) if i not in here]
                late = f"{', '.join(missing)} did not connect within {seconds:g} s"
                answer = answer or f"{late}; is it running, and can it reach the chief?"
                break
            except (ValueError, KeyError, TypeError, OSError):
                continue  # not a worker
            heard.append(connection)
            fault = ""
            if index in here:
                fault = f"two processes report to be {cluster.name(index)}; expected a different task index for each"
            elif count != len(cluster.workers):
                fault = f"{cluster.name(index)} expects {count} workers, the chief {len(cluster.workers)}"
            elif differing := _differing(mine, facts):
                fault = f"{cluster.name(index)} disagrees with the chief: {differing}; start all with the same options"
            here.add(index)
            if fault and not answer:
                answer, deadline = fault, min(deadline, time.monotonic() + GRACE)
        for connection in heard:
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps({"answer": answer}).encode() + b"\n")
        for connection in heard:  # the side that closes first keeps its port busy for a minute: let it be the worker
            with contextlib.suppress(OSError):
                connection.recv(1)
    return answer


def _ask(cluster: Cluster, mine: dict, deadline: float, seconds: float) -> str:
    """Report this worker to the chief, and return its answer."""
    host, _, port = cluster.workers[0].rpartition(":")
    message = {"index": cluster.index, "workers": len(cluster.workers), "facts": mine}
    while time.monotonic() < deadline:
        # Retry if the chief is not running yet or ended before it answered.
        with (
            contextlib.suppress(OSError, ValueError, KeyError),
            socket.create_connection((host, int(port)), timeout=PATIENCE) as connection,
        ):
            connection.settimeout(max(deadline - time.monotonic(), 0) + PATIENCE)
            connection.sendall(json.dumps(message).encode() + b"\n")
            return _read(connection)["answer"]
        time.sleep(PAUSE)
    return (
        f"{cluster.name(0)}, the chief, did not answer {cluster.name(cluster.index)} within {seconds:g} s;"
        " is it running and reachable?"
    )


def _read(connection: socket.socket) -> dict[str, Any]:
    """Return a message, which is one line of JSON."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        if not (part := connection.recv(65536)):
            break
        line += part
    return json.loads(line)


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return the differing facts as text, such as `seed 1 (chief: 0)`."""
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} (chief: {mine.get(name)})" for name in names)
