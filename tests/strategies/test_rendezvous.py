"""Rendezvous of workers, which are threads here, each with its own port on this machine."""

import contextlib
import json
import secrets
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strategies import StrategyError, rendezvous
from strategies.cluster import Cluster
from strategies.launch import free_ports
from strategies.rendezvous import meet


@pytest.fixture
def addresses():
    return tuple(f"localhost:{port}" for port in free_ports(3))


def outcomes(calls):
    """Run the calls in parallel, and return the error message of each, or None."""

    def outcome(call):
        try:
            meet(*call)
        except StrategyError as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_all_go_on_when_all_are_there_and_their_ports_are_free_again(addresses):
    facts = {"--seed": 1, "--set": {"units": (3, 4)}}
    assert outcomes([(Cluster(addresses, i), facts, 20.0) for i in range(3)]) == [None] * 3
    for index in range(3):
        socket.create_server(("", Cluster(addresses, index).port)).close()


def test_the_order_of_arrival_does_not_matter(addresses):
    def late(index):
        time.sleep(0.3 * (3 - index))
        return meet(Cluster(addresses, index), {}, 20.0)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(late, range(3))) == [None] * 3


def test_who_disagrees_is_named_on_all(addresses):
    def late(index):  # the worker that agrees connects after the disagreement is known
        time.sleep(0.5 if index == 1 else 0)
        return outcomes([(Cluster(addresses, index), {"--seed": 7 if index == 2 else 0, "--epochs": 1}, 20.0)])[0]

    with ThreadPoolExecutor(3) as pool:
        messages = list(pool.map(late, range(3)))
    for message in messages:
        assert f"worker 2 ({addresses[2]}) disagrees with the chief: --seed 7 (chief: 0)" in message


def test_a_worker_that_does_not_come_is_named_on_all_that_did(addresses):
    for message in outcomes([(Cluster(addresses, i), {}, 0.8) for i in (0, 2)]):
        assert f"worker 1 ({addresses[1]}) did not connect within 0.8 s" in message


def test_a_chief_that_does_not_come_is_named(addresses):
    (message,) = outcomes([(Cluster(addresses, 1), {}, 0.5)])
    assert f"worker 0 ({addresses[0]}), the chief, did not answer" in message


def test_a_port_in_use_is_named(addresses):
    own = Cluster(addresses, 1)
    with socket.create_server(("", own.port)):
        (message,) = outcomes([(own, {}, 0.5)])
    assert f"worker 1 ({addresses[1]}): its port {own.port} is in use by another process" in message


def test_other_numbers_of_workers_are_told(addresses):
    messages = outcomes([(Cluster(addresses[:2], 0), {}, 5.0), (Cluster(addresses, 1), {}, 5.0)])
    assert all("expects 3 workers, the chief 2" in message for message in messages)


def connected(port):
    """Return a connection to a chief that may only be starting."""
    for _ in range(200):
        try:
            return socket.create_connection(("localhost", port), timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("no chief")


def report(**changed):
    message = {"challenge": "x", "index": 1, "workers": 2, "facts": {}, "signature": ""} | changed
    return json.dumps({k: v for k, v in message.items() if v is not None}).encode() + b"\n"


# What a port scanner, the client of another program or somebody with ill intent sends.
STRANGE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "bytes": b"\xff\n",
    "a list": b"[1]\n",
    "deep": b"[" * 100_000 + b"\n",
    "deep objects": b'{"a":' * 40_000 + b"\n",
    "long": b"1" * (rendezvous.LONGEST + 10) + b"\n",
    "not whole": report()[:-10],
    "index of a list": report(index=[1]),
    "index of a truth": report(index=True),
    "index too large": report(index=77),
    "index of the chief": report(index=0),
    "index below zero": report(index=-1),
    "index of a text": report(index="1"),
    "no index": report(index=None),
    "facts of a list": report(facts=[]),
    "count of a text": report(workers="2"),
    "count too large": report(workers=1 << 40, index=1 << 39),
    "no challenge": report(challenge=None),
    "long challenge": report(challenge="x" * 1000),
}


@pytest.mark.parametrize("token", ["", "secret"])
def test_who_is_none_of_the_workers_is_not_believed_and_is_counted(token, addresses, monkeypatch, capfd):
    monkeypatch.setenv("RENDEZVOUS_TOKEN", token)
    chief, worker = Cluster(addresses[:2], 0), Cluster(addresses[:2], 1)
    strange = [*STRANGE.values(), *([report(), report(workers=3)] if token else [])]  # these two lack its signature
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, chief, {}, 20.0)
        for words in strange:
            with connected(chief.port) as stranger, contextlib.suppress(ConnectionError):
                stranger.sendall(words)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(65536):
                    pass
        meet(worker, {}, 20.0)
        assert waiting.result() is None
    err = capfd.readouterr().err
    assert f"ignored connections that are no worker of this cluster: {len(strange)}" in err
    assert ("RENDEZVOUS_TOKEN is not set: anybody who reaches" in err) == (not token)


def test_many_slow_connections_hold_nobody(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "AT_ONCE", 8)
    monkeypatch.setattr(rendezvous, "REPORT", 2.0)
    chief, worker = Cluster(addresses[:2], 0), Cluster(addresses[:2], 1)
    ended = threading.Event()

    def drip():
        with contextlib.suppress(OSError), connected(chief.port) as slow:
            while not ended.wait(0.1):
                slow.sendall(b" ")

    with ThreadPoolExecutor(25) as pool:
        waiting = pool.submit(meet, chief, {}, 20.0)
        for _ in range(20):
            pool.submit(drip)
        time.sleep(0.5)
        began = time.monotonic()
        meet(worker, {}, 20.0)
        assert waiting.result() is None and time.monotonic() - began < 10
        ended.set()


def test_a_token_is_never_sent_and_a_recorded_report_is_of_no_use(addresses, monkeypatch):
    secret = secrets.token_hex(16)
    monkeypatch.setenv("RENDEZVOUS_TOKEN", secret)
    sent = []
    plain = socket.socket.sendall
    monkeypatch.setattr(socket.socket, "sendall", lambda self, data: (sent.append(data), plain(self, data))[1])
    pair = [Cluster(addresses[:2], i) for i in range(2)]
    assert outcomes([(one, {"--seed": 1}, 20.0) for one in pair]) == [None] * 2
    assert len(sent) >= 3 and secret.encode() not in b"".join(sent)
    (recorded,) = [line for line in sent if b'"facts"' in line]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, pair[0], {"--seed": 1}, 1.5)
        with connected(pair[0].port) as stranger:
            plain(stranger, recorded)
            assert b"refused" in stranger.makefile("rb").read()
        with pytest.raises(StrategyError, match=r"did not connect within 1.5 s.* Connections that were ignored: 1"):
            waiting.result()


@pytest.mark.parametrize(("of_chief", "of_worker", "sentence"), [
    ("one", "other", "the chief, has another RENDEZVOUS_TOKEN; expected the same on all workers"),
    ("one", "", "the chief, expects RENDEZVOUS_TOKEN, this worker has no token"),
    ("", "one", "the chief, has no RENDEZVOUS_TOKEN, this worker has a token"),
])  # fmt: skip
def test_tokens_that_differ_are_told_at_once(of_chief, of_worker, sentence, addresses, monkeypatch):
    pair = [Cluster(addresses[:2], i) for i in range(2)]
    monkeypatch.setattr(rendezvous, "token", lambda _: threading.current_thread().token.encode())

    def one(cluster, token, seconds):
        threading.current_thread().token = token
        return outcomes_of_one(cluster, seconds)

    with ThreadPoolExecutor(2) as pool:
        chief = pool.submit(one, pair[0], of_chief, 2.0)
        assert sentence in pool.submit(one, pair[1], of_worker, 20.0).result()
        assert "did not connect within" in chief.result()


def outcomes_of_one(cluster, seconds):
    with pytest.raises(StrategyError) as raised:
        meet(cluster, {}, seconds)
    return str(raised.value)


def test_a_token_may_be_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    assert rendezvous.token({"RENDEZVOUS_TOKEN_FILE": str(file)}) == b"secret"
    assert rendezvous.token({"RENDEZVOUS_TOKEN": "other", "RENDEZVOUS_TOKEN_FILE": str(file)}) == b"other"
    file.write_text("\n")
    with pytest.raises(StrategyError, match="expected a token in .*, the file is empty"):
        rendezvous.token({"RENDEZVOUS_TOKEN_FILE": str(file)})
    with pytest.raises(StrategyError, match="absent cannot be read: No such file"):
        rendezvous.token({"RENDEZVOUS_TOKEN_FILE": str(tmp_path / "absent")})


def test_a_worker_that_starts_again_before_all_are_there_takes_its_place(addresses):
    chief, second, third = (Cluster(addresses, i) for i in range(3))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(meet, chief, {}, 20.0)
        with connected(chief.port) as first:  # reports as worker 1, and ends
            first.sendall(report(workers=3))
            time.sleep(0.5)
        again = pool.submit(meet, second, {}, 20.0)
        time.sleep(0.3)
        meet(third, {}, 20.0)
        assert again.result() is waiting.result() is None


def listening(port):
    """Return the addresses at which this machine listens on a port, from the tables of Linux."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = [line.split() for line in lines]
    return [row[1].partition(":")[0] for row in found if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the tables of Linux")
@pytest.mark.parametrize(("given", "address"), [(None, "0100007F"), ("0.0.0.0", "00000000")])
def test_the_port_is_open_where_the_cluster_says_alone(given, address, addresses, monkeypatch):
    if given:
        monkeypatch.setenv("RENDEZVOUS_BIND", given)
    pair = [Cluster(addresses[:2], i) for i in range(2)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, pair[0], {}, 20.0)
        connected(pair[0].port).close()
        assert listening(pair[0].port) == [address]
        meet(pair[1], {}, 20.0)
        waiting.result()


@pytest.mark.parametrize(("workers", "bind", "sentence"), [
    (("192.0.2.1:2222", "192.0.2.2:2222"), None, "192.0.2.1 is not an address of this machine, .* set RENDEZVOUS_BIND"),
    (("absent.invalid:2222", "192.0.2.2:2222"), None, "its host name cannot be resolved: .* set RENDEZVOUS_BIND"),
    (("127.0.0.1:2222", "192.0.2.2:2222"), None, "is 127.0.0.1 on this machine, which 192.0.2.2 cannot reach; .* set"),
    (("127.0.0.1:2222", "192.0.2.2:2222"), "no-address", "RENDEZVOUS_BIND: expected an address .* 'no-address'"),
])  # fmt: skip
def test_an_address_that_cannot_serve_is_told_with_the_way_out(workers, bind, sentence, monkeypatch):
    if bind:
        monkeypatch.setenv("RENDEZVOUS_BIND", bind)
    with pytest.raises(StrategyError, match=sentence):
        meet(Cluster(workers, 0), {}, 0.5)
