import os

import pytest

from zoo.console.errors import Failed
from zoo.isolation import child

ODD = "tests.zoo.isolation.odd_child"


@pytest.fixture(params=["forked", "started"])
def way(request, monkeypatch):
    if request.param == "started":
        monkeypatch.delattr(os, "fork")  # not available on Windows
    return request.param


def test_each_job_runs_in_its_own_process(way):
    found = {child.run(ODD, "work", seconds=60) for _ in range(3)}
    assert len(found) == 3 and os.getpid() not in found


def test_failures_are_reported_and_the_next_job_runs(way):
    with pytest.raises(Failed, match="limit of 1 s"):
        child.run(ODD, "sleep", seconds=1)
    with pytest.raises(Failed, match="ended with status 7"):
        child.run(ODD, "end", seconds=60)
    with pytest.raises(Failed, match="Memory"):
        child.run(ODD, "want", seconds=60, memory_bytes=4 << 30)
    assert child.run(ODD, "work", seconds=60)


def test_a_killed_server_is_restarted():
    with pytest.raises(Failed, match="was killed"):
        child.run(ODD, "kill the server", seconds=60)
    assert child.run(ODD, "work", seconds=60)
