"""Malformed connections to the chief of a cluster, while its workers are on their way."""

import contextlib
import io
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.drilling.outcome import Outcome
from strategies import rendezvous
from strategies.cluster import Cluster
from strategies.errors import StrategyError
from strategies.launch import free_ports

SEED = 0
CONNECTIONS, QUICK = 1_000, 50
# Connections at the same time, more than the chief hears; the workers come when this share of all has ended.
AT_ONCE, SHARE = 200, 0.9


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Let a chief and two workers meet after malformed connections, without and with a token.

    Args:
        folder: Not used.
        quick: Whether to make 50 connections instead of 1,000.
    """
    count = QUICK if quick else CONNECTIONS
    for token in (b"", b"a token of the drill"):
        outcome = Outcome(
            f"malformed connections to the chief {'with' if token else 'without'} a token",
            "the chief meets its workers all the same",
        )
        outcome.attempts = count
        with _token(token):
            _attempt(outcome, random.Random(SEED), count, signed=bool(token))
        yield outcome


@contextlib.contextmanager
def _token(token: bytes) -> Iterator[None]:
    before = rendezvous.token
    rendezvous.token = lambda environ: token
    try:
        yield
    finally:
        rendezvous.token = before


def _attempt(outcome: Outcome, dice: random.Random, count: int, *, signed: bool) -> None:
    """Open the connections, then let the workers come, and write down whether all met."""
    addresses = tuple(f"localhost:{port}" for port in free_ports(3))
    cluster = [Cluster(addresses, index) for index in range(3)]
    said, ended = io.StringIO(), threading.Event()
    with contextlib.redirect_stderr(said), ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(3) as workers:
        chief = workers.submit(_met, cluster[0])
        while not _listens(cluster[0].port):
            time.sleep(0.02)
        strangers = [
            pool.submit(_stranger, cluster[0].port, dice.randrange(2**32), signed, ended) for _ in range(count)
        ]
        while sum(one.done() for one in strangers) < SHARE * count:
            time.sleep(0.02)
        others = [workers.submit(_met, one) for one in cluster[1:]]
        faults = [one.result() for one in (chief, *others)]
        ended.set()
        kinds = [one.result() for one in strangers]
    outcome.faults += [f"seed {SEED}: {fault}" for fault in faults if fault]
    outcome.facts |= {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    counted = next((line for line in said.getvalue().splitlines() if "ignored" in line), "")
    outcome.facts["said"] = counted


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


def _met(cluster: Cluster) -> str:
    """Return what kept a worker from meeting the others, or nothing."""
    try:
        rendezvous.meet(cluster, {"--seed": 1}, 120.0)
    except StrategyError as error:
        return str(error)
    return ""


def _stranger(port: int, seed: int, signed: bool, ended: threading.Event) -> str:
    """Connect and send something malformed; return which kind it was."""
    dice = random.Random(seed)
    kind, make = dice.choice([*KINDS.items(), *(FORGED.items() if signed else ())])
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=20) as connection:
        for part in make(dice):
            connection.sendall(part)
            if kind == "slow" and ended.wait(0.5):
                break
        if dice.random() < 0.5:
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    return kind


def _report(**changed: Any) -> bytes:
    message = {"challenge": "0" * 64, "index": 1, "workers": 3, "facts": {"--seed": 1}, "signature": "0" * 64}
    return json.dumps(message | changed).encode() + b"\n"


def _altered(dice: random.Random) -> bytes:
    """Return a report with some bytes replaced that make it no JSON or another message."""
    content = bytearray(_report(index=dice.choice(("1", [1], {"a": 1}, None, 1.0))))
    for _ in range(dice.randrange(4)):
        content[dice.randrange(len(content))] = dice.randrange(128)
    return bytes(content)


# Malformed for any chief: parts that are sent one after another.
KINDS: dict[str, Callable[[random.Random], list[bytes]]] = {
    "random bytes": lambda dice: [dice.randbytes(dice.randrange(1, 5_000))],
    "deep": lambda dice: [dice.choice((b"[", b'{"a":')) * dice.randrange(1_000, 50_000) + b"\n"],
    "long": lambda dice: [b"1" * (rendezvous.LONGEST + 1)],
    "another protocol": lambda dice: [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    "silent": lambda dice: [],
    "index": lambda dice: [_report(index=dice.choice(([1], True, 0, -1, 3, 77, 1 << 70, "1", 1.5, None, {})))],
    "count": lambda dice: [_report(workers=dice.choice(([3], True, "3", -1, 1 << 70, None)))],
    "facts": lambda dice: [_report(facts=dice.choice(([], "x", 1, None)))],
    "altered": lambda dice: [_altered(dice)],
    "cut short": lambda dice: [_report()[: dice.randrange(1, 60)]],
    "slow": lambda dice: [bytes([byte]) for byte in _report()],
}
# Well formed, but not signed: malformed for a chief with a token.
FORGED: dict[str, Callable[[random.Random], list[bytes]]] = {
    "forged": lambda dice: [_report(index=dice.randrange(1, 3), signature=dice.choice(("", "0" * 64, "é", 5)))],
    "forged count": lambda dice: [_report(workers=5)],
}
