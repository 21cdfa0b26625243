"""Workers meet before they train: all are there, none has another configuration, and each has its port to itself.

TensorFlow waits for ever for a worker that never comes, and trains nonsense, or hangs, with workers that were started
with different options. Each worker takes its port, tells the chief what it is about to do, and hears whether all may
go on; then the port is TensorFlow's. Standard library only.
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
# Between two attempts to reach the chief, and what a worker waits beyond the chief's own limit to hear who is missing.
PAUSE, PATIENCE = 0.1, 10.0
# How long the chief, once it knows that they cannot train together, still lets others come who are to hear why.
GRACE = 2.0
_LONGEST = 1 << 20  # bytes of a message


def meet(cluster: Cluster, facts: Mapping[str, Any], seconds: float = SECONDS) -> None:
    """Return when every worker of the cluster is here with the same facts.

    Args:
        cluster: with this worker's place in it.
        facts: by name, JSON-able: what all must agree on.
        seconds: to wait for the others.

    Raises:
        StrategyError: the port is in use, a worker did not come in time, or workers disagree; the same on all.
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
        what = "is in use by another process" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
        raise StrategyError(f"{cluster.name(cluster.index)}: its port {cluster.port} {what}; choose another") from None
    with server:
        yield server


def _gather(cluster: Cluster, mine: dict, server: socket.socket, deadline: float, seconds: float) -> str:
    """Wait for all as the chief, tell each the answer, and return it: empty, or why they cannot train together."""
    here: set[int] = set()
    heard: list[socket.socket] = []  # who is to be told
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
                    continue  # somebody who connected and said nothing
                missing = [cluster.name(i) for i in range(1, len(cluster.workers)) if i not in here]
                late = f"{', '.join(missing)} did not come within {seconds:g} s; is it running, and can it reach us?"
                answer = answer or late
                break
            except (ValueError, KeyError, TypeError, OSError):
                continue  # not one of ours
            heard.append(connection)
            fault = ""
            if index in here:
                fault = f"two processes say that they are {cluster.name(index)}; expected one task index each"
            elif count != len(cluster.workers):
                fault = f"{cluster.name(index)} knows {count} workers, the chief {len(cluster.workers)}"
            elif differing := _differing(mine, facts):
                fault = f"{cluster.name(index)} disagrees with the chief: {differing}; start all with the same options"
            here.add(index)
            if fault and not answer:
                answer, deadline = fault, min(deadline, time.monotonic() + GRACE)
        for connection in heard:
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps({"answer": answer}).encode() + b"\n")
        for connection in heard:  # who closes first keeps the port busy for a minute: not us
            with contextlib.suppress(OSError):
                connection.recv(1)
    return answer


def _ask(cluster: Cluster, mine: dict, deadline: float, seconds: float) -> str:
    """Tell the chief of this worker, and return its answer."""
    host, _, port = cluster.workers[0].rpartition(":")
    message = {"index": cluster.index, "workers": len(cluster.workers), "facts": mine}
    while time.monotonic() < deadline:
        # Not there yet, or gone before it answered: try again.
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
        " is it running, and can it be reached?"
    )


def _read(connection: socket.socket) -> dict[str, Any]:
    """Return one line of JSON."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        if not (part := connection.recv(65536)):
            break
        line += part
    return json.loads(line)


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return `seed 1 (chief: 0)` for everything that differs."""
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} (chief: {mine.get(name)})" for name in names)
