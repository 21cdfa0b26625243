import os

import pytest

from compression.runtime import child
from zoo.console.errors import Failed

ODD = "tests.compression.runtime.odd_child"


@pytest.fixture(params=["forked", "started"])
def way(request, monkeypatch):
    if request.param == "started":
        monkeypatch.delattr(os, "fork")  # as on Windows
    return request.param


def test_results_come_back_from_processes_of_their_own(way):
    found = {child.run(ODD, "work", seconds=60) for _ in range(3)}
    assert len(found) == 3 and os.getpid() not in found


def test_what_goes_wrong_is_a_sentence_and_the_next_job_is_done(way):
    with pytest.raises(Failed, match="limit of 1 s"):
        child.run(ODD, "sleep", seconds=1)
    with pytest.raises(Failed, match="ended with status 7"):
        child.run(ODD, "end", seconds=60)
    with pytest.raises(Failed, match="Memory"):
        child.run(ODD, "want", seconds=60, memory_bytes=4 << 30)
    assert child.run(ODD, "work", seconds=60)


def test_a_server_that_was_killed_is_started_again():
    with pytest.raises(Failed, match="was killed"):
        child.run(ODD, "kill the server", seconds=60)
    assert child.run(ODD, "work", seconds=60)
