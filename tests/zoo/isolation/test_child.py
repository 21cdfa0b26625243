import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, is_gone
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


PARENT = """
import sys, threading
from zoo.isolation import child
thread = threading.Thread(target=child.run, args=(sys.argv[1], "work"), kwargs={"seconds": 60})  # starts the server
thread.start()
thread.join()
child.run(sys.argv[1], {"pids": sys.argv[2]}, seconds=60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_job_and_its_server_end_with_a_parent_that_is_killed(number, tmp_path):
    said = tmp_path / "pids"
    words = [sys.executable, "-c", PARENT, ODD, str(said)]
    with subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as parent:
        while not (said.is_file() and said.read_text()):
            assert parent.poll() is None
            time.sleep(0.02)
        parent.send_signal(number)
    assert all(is_gone(int(pid), 10) for pid in said.read_text().split())


def test_a_signal_to_the_whole_group_leaves_the_server_to_its_parent(tmp_path):
    server = child._server(ODD)
    assert child.run(ODD, "work", seconds=60)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        server._process.send_signal(number)
    assert child.run(ODD, "work", seconds=60)
