"""Rendezvous of workers before training: all are present, configurations agree, and ports are free.

TensorFlow waits forever for a missing worker, and hangs or trains incorrectly with workers that were started with
different options. Each worker opens its port, reports its configuration to the chief and waits for the answer. The port
is then released for TensorFlow. Standard library only.

Messages are lines of JSON. The chief sends a challenge of random digits. The worker answers with its report, and the
chief with the outcome. Where the workers share a token, each message carries an HMAC-SHA256 of itself and of the
other side's challenge, so that the token is never sent, and a recorded message is of no use.
"""

import contextlib
import errno
import hashlib
import hmac
import ipaddress
import json
import os
import queue
import secrets
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies.cluster import Cluster
from strategies.errors import StrategyError

SECONDS = 300.0
# Seconds between attempts to reach the chief, and extra seconds to wait for its answer after the time limit.
PAUSE, PATIENCE = 0.1, 10.0
# Seconds during which the chief still accepts workers after a fault, to tell them the reason.
GRACE = 2.0
# Bytes of the longest message, seconds that a connection has for its report, and connections heard at the same time.
LONGEST, REPORT, AT_ONCE = 1 << 18, 10.0, 128
BIND, TOKEN, TOKEN_FILE = "RENDEZVOUS_BIND", "RENDEZVOUS_TOKEN", "RENDEZVOUS_TOKEN_FILE"
MOST_WORKERS = 1 << 16


def meet(cluster: Cluster, facts: Mapping[str, Any], seconds: float = SECONDS) -> None:
    """Wait until all workers of the cluster have reported the same facts.

    Args:
        cluster: Cluster with the index of this worker.
        facts: JSON-serialisable settings that all workers must agree on, by name.
        seconds: Time limit in seconds.

    Raises:
        StrategyError: If the port is in use or cannot be opened at the address of this worker, a worker is missing
            after the time limit, or workers disagree. All workers raise the same error.
    """
    deadline = time.monotonic() + seconds
    mine = json.loads(json.dumps(dict(facts), default=str))
    key = token(os.environ)
    with _listening(cluster, deadline) as server:
        if cluster.is_chief:
            if not key and len(cluster.workers) > 1:
                _say(
                    f"{TOKEN} is not set: anybody who reaches {cluster.workers[0]} can pose as a worker of this cluster"
                )
            answer = _Chief(cluster, mine, key, server).gather(deadline, seconds)
        else:
            answer = _ask(cluster, mine, key, deadline, seconds)
    if answer:
        raise StrategyError(answer)


def token(environ: Mapping[str, str]) -> bytes:
    """Return the secret that the workers share, or nothing if there is none.

    Args:
        environ: Environment variables, among them RENDEZVOUS_TOKEN, or RENDEZVOUS_TOKEN_FILE with the path of a file.

    Raises:
        StrategyError: If the file cannot be read or is empty.
    """
    if environ.get(TOKEN):
        return environ[TOKEN].encode()
    if not (path := environ.get(TOKEN_FILE)):
        return b""
    try:
        found = Path(path).read_bytes().strip()
    except OSError as error:
        raise StrategyError(f"{TOKEN_FILE}: {path} cannot be read: {error.strerror}") from None
    if not found:
        raise StrategyError(f"{TOKEN_FILE}: expected a token in {path}, the file is empty")
    return found


@contextlib.contextmanager
def _listening(cluster: Cluster, deadline: float) -> Iterator[socket.socket]:
    """Open the port of this worker at the address that the cluster gives it, or at RENDEZVOUS_BIND."""
    server, me = None, cluster.name(cluster.index)
    for family, address in _addresses(cluster, deadline):
        try:
            server = socket.create_server(address[:2], family=family, backlog=AT_ONCE + len(cluster.workers))
            break
        except OSError as error:
            problem = error
            if error.errno == errno.EADDRINUSE:
                break
    if server is None:
        if problem.errno == errno.EADDRNOTAVAIL:
            what = f"{address[0]} is not an address of this machine, so its port cannot be opened there"
            raise StrategyError(f"{me}: {what}; {_OTHERWISE}")
        in_use = problem.errno == errno.EADDRINUSE
        what = "is in use by another process" if in_use else f"cannot be opened: {problem.strerror}"
        raise StrategyError(f"{me}: its port {cluster.port} {what}; choose another")
    with server:
        yield server


_OTHERWISE = (
    f"in a container or behind NAT, set {BIND} to the address of this machine that the other workers reach, or to"
    " 0.0.0.0 for all of its addresses"
)


def _addresses(cluster: Cluster, deadline: float) -> list[tuple[socket.AddressFamily, tuple]]:
    """Return what the port may be opened at, in order of preference: (family, (address, port, ...))."""
    me, given = cluster.name(cluster.index), os.environ.get(BIND)
    host = given or _host(cluster.workers[cluster.index])[0]
    while True:
        try:
            found = socket.getaddrinfo(host, cluster.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            break
        except OSError as error:
            if given:
                raise StrategyError(f"{BIND}: expected an address of this machine, received {given!r}") from None
            if time.monotonic() > deadline:  # a cluster that is starting may not know its names yet
                raise StrategyError(f"{me}: its host name cannot be resolved: {error.strerror}; {_OTHERWISE}") from None
        time.sleep(PAUSE)
    # IPv4 first: TensorFlow's own addresses of a cluster on one machine are of that kind.
    found = sorted({(family, address) for family, _, _, _, address in found}, key=lambda one: one[0] != socket.AF_INET)
    others = {_host(worker)[0] for worker in cluster.workers} - {host}
    if cluster.is_chief and not given and others and all(_local(address[0]) for _, address in found):
        elsewhere = sorted(other for other in others if other != "localhost" and not _local(other))
        if elsewhere:
            raise StrategyError(
                f"{me}: its host name is {found[0][1][0]} on this machine, which {', '.join(elsewhere[:3])} cannot"
                f" reach; {_OTHERWISE}"
            )
    return found


def _host(worker: str) -> tuple[str, int]:
    """Return the host and the port of an address HOST:PORT or [HOST]:PORT."""
    host, _, port = worker.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _local(address: str) -> bool:
    """Whether an address is one that only this machine reaches; False for a name."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


@dataclass
class _Report:
    """What a worker said about itself, and the connection on which it waits for the answer."""

    connection: socket.socket
    challenge: str
    index: int
    count: int
    facts: dict[str, Any]


class _Chief:
    """The chief's side: hears many connections at the same time, and believes those that speak as a worker does."""

    def __init__(self, cluster: Cluster, mine: dict[str, Any], key: bytes, server: socket.socket):
        self.cluster, self.mine, self.key, self.server = cluster, mine, key, server
        self.reports: queue.Queue[_Report] = queue.Queue()
        self.here: dict[int, _Report] = {}
        self.heard: list[_Report] = []
        self.ignored = 0
        self.open: dict[socket.socket, None] = {}  # connections without a report, the oldest first
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.accepting = threading.Thread(target=self._accept, daemon=True)

    def gather(self, deadline: float, seconds: float) -> str:
        """Wait for all workers, send each the answer, and return it: empty, or the reason of a failure."""
        cluster, answer = self.cluster, ""
        self.server.settimeout(PAUSE)
        self.accepting.start()
        try:
            while len(self.here) < len(cluster.workers) - 1:
                try:
                    report = self.reports.get(timeout=max(deadline - time.monotonic(), 0.001))
                except queue.Empty:
                    missing = [cluster.name(i) for i in range(1, len(cluster.workers)) if i not in self.here]
                    late = f"{', '.join(missing)} did not connect within {seconds:g} s"
                    answer = answer or f"{late}; is it running, and can it reach the chief?{self._strangers()}"
                    break
                if (fault := self._judged(report)) and not answer:
                    answer, deadline = fault, min(deadline, time.monotonic() + GRACE)
            if self.ignored:
                _say(f"ignored connections that are no worker of this cluster: {self.ignored:,}")
            self._tell(answer)
        finally:
            self._close()
        return answer

    def _strangers(self) -> str:
        return f" Connections that were ignored: {self.ignored:,}; see {TOKEN}" if self.ignored else ""

    def _judged(self, report: _Report) -> str:
        """Remember a report, and return what is wrong with it, or nothing."""
        self.heard.append(report)
        index, cluster = report.index, self.cluster
        before = self.here.get(index)
        if report.count != len(cluster.workers):
            return f"worker {index} expects {report.count} workers, the chief {len(cluster.workers)}"
        self.here[index] = report
        if before is not None and not _has_left(before.connection):
            return f"two processes report to be {cluster.name(index)}; expected a different task index for each"
        if differing := _differing(self.mine, report.facts):
            return f"{cluster.name(index)} disagrees with the chief: {differing}; start all with the same options"
        return ""

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.server.accept()
            except TimeoutError:
                continue
            except OSError:  # too many open files, or the other side has left again
                self.over.wait(PAUSE)
                continue
            with self.lock:
                self.open[connection] = None
                crowded = next(iter(self.open)) if len(self.open) > AT_ONCE else None
            if crowded:  # makes room: a worker that is cut off connects again
                self._ignore(crowded)
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        """Hear one connection, and pass on its report if it is that of a worker."""
        challenge, until = secrets.token_hex(32), time.monotonic() + REPORT
        try:
            _send(connection, {"challenge": challenge, "token": bool(self.key)}, b"", "", until)
            message = _receive(connection, until)
            if not _signed(message, self.key, challenge):
                _send(connection, {"refused": TOKEN}, b"", "", until)
                raise ValueError
            report = _Report(connection, *self._checked(message))
        except (ValueError, KeyError, TypeError, RecursionError, OSError):
            self._ignore(connection)
            return
        with self.lock:
            if connection not in self.open:  # it was cut off meanwhile
                return
            del self.open[connection]
        self.reports.put(report)

    def _checked(self, message: Mapping[str, Any]) -> tuple[str, int, int, dict[str, Any]]:
        challenge, index, count, facts = (message[name] for name in ("challenge", "index", "workers", "facts"))
        if not (isinstance(challenge, str) and type(index) is int and type(count) is int and isinstance(facts, dict)):
            raise TypeError
        if not (1 <= index < count <= MOST_WORKERS) or not 1 <= len(challenge) <= 128:
            raise ValueError
        return challenge, index, count, facts

    def _ignore(self, connection: socket.socket) -> None:
        with self.lock:
            if self.open.pop(connection, self) is self:
                return
            self.ignored += 1
        _end(connection)

    def _tell(self, answer: str) -> None:
        """Send every worker the answer; let it close first, because that side keeps its port busy for a minute."""
        until = time.monotonic() + GRACE
        for report in self.heard:
            with contextlib.suppress(OSError):
                _send(report.connection, {"answer": answer}, self.key, report.challenge, until)
        for report in self.heard:
            with contextlib.suppress(OSError):
                report.connection.settimeout(max(until - time.monotonic(), 0.001))
                report.connection.recv(1)

    def _close(self) -> None:
        self.over.set()
        self.accepting.join()  # while it waits, the port is not free
        with self.lock:
            left = list(self.open)
            self.open.clear()
        for connection in [*left, *(report.connection for report in self.heard)]:
            _end(connection)


def _ask(cluster: Cluster, mine: dict[str, Any], key: bytes, deadline: float, seconds: float) -> str:
    """Report this worker to the chief, and return its answer."""
    chief = cluster.name(0)
    while time.monotonic() < deadline:
        # Retry if the chief is not running yet or ended before it answered.
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError),
            socket.create_connection(_host(cluster.workers[0]), timeout=PATIENCE) as connection,
        ):
            until = max(deadline, time.monotonic()) + PATIENCE
            first = _receive(connection, min(until, time.monotonic() + PATIENCE))
            challenge, wanted = str(first["challenge"]), bool(first["token"])
            if wanted != bool(key):
                return _TOKENS.format(chief=chief, has="expects" if wanted else "has no", own="no" if wanted else "a")
            own = secrets.token_hex(32)
            report = {"challenge": own, "index": cluster.index, "workers": len(cluster.workers), "facts": mine}
            _send(connection, report, key, challenge, until)
            last = _receive(connection, until)
            if last.get("refused") == TOKEN:
                return f"{chief}, the chief, has another {TOKEN}; expected the same on all workers"
            if _signed(last, key, own):
                return str(last["answer"])
        time.sleep(PAUSE)
    return (
        f"{chief}, the chief, did not answer {cluster.name(cluster.index)} within {seconds:g} s;"
        " is it running and reachable?"
    )


_TOKENS = "{chief}, the chief, {has} " + TOKEN + ", this worker has {own} token; expected the same on all workers"


def _send(connection: socket.socket, message: Mapping[str, Any], key: bytes, challenge: str, until: float) -> None:
    """Send a message as one line of JSON, signed for the challenge of the other side."""
    signature = _signature(message, key, challenge)
    connection.settimeout(max(until - time.monotonic(), 0.001))
    connection.sendall(json.dumps({**message, "signature": signature}).encode() + b"\n")


def _receive(connection: socket.socket, until: float) -> dict[str, Any]:
    """Return a message, which is one line of JSON.

    Raises:
        OSError: If it is not complete in time.
        ValueError: If it is too long, incomplete or no JSON object.
    """
    line = b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(until - time.monotonic(), 0.001))
        part = connection.recv(LONGEST)
        line += part
        if not part or len(line) > LONGEST:
            raise ValueError
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError
    return message


def _signature(message: Mapping[str, Any], key: bytes, challenge: str) -> str:
    text = json.dumps([challenge, dict(message)], sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() if key else ""


def _signed(message: Mapping[str, Any], key: bytes, challenge: str) -> bool:
    """Whether a message was signed with this key for this challenge, which holds for every message without a key."""
    given = message.get("signature")
    body = {name: value for name, value in message.items() if name != "signature"}
    if not key:
        return True
    return isinstance(given, str) and hmac.compare_digest(given.encode(), _signature(body, key, challenge).encode())


def _has_left(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection on which it waits for an answer."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):
        return True


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    connection.close()


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return the differing facts as text, such as `seed 1 (chief: 0)`."""
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} (chief: {mine.get(name)})" for name in names)


def _say(text: str) -> None:
    sys.stderr.write(f"[rendezvous] {text}\n")
    sys.stderr.flush()
