"""Rendezvous of workers, which are threads here, each with its own port on this machine."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from strategies import StrategyError
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


def test_who_is_none_of_the_workers_is_not_listened_to(addresses):
    """Connect like a port scanner, or like the client of another program."""
    chief, worker = Cluster(addresses[:2], 0), Cluster(addresses[:2], 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, chief, {}, 20.0)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\n", json.dumps([1]).encode() + b"\n"):
            for _ in range(100):
                try:
                    with socket.create_connection(("localhost", chief.port)) as stranger:
                        stranger.sendall(words)
                        stranger.shutdown(socket.SHUT_WR)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
        meet(worker, {}, 20.0)
        assert waiting.result() is None
