"""Child processes that end with their parent, however that ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from strategies import processes
from tests.conftest import ROOT, is_gone

PARENT = """
import subprocess, sys, time
from strategies import processes
child = subprocess.Popen(processes.command("tests.strategies.sleeper", "a word"), stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_child_ends_with_a_parent_that_is_killed(number):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        try:
            pid, *words = parent.stdout.readline().split()
        finally:
            parent.send_signal(number)
    assert words[0].endswith("sleeper.py") and words[1:] == ["a", "word"]
    assert is_gone(int(pid), 10)


@pytest.mark.parametrize("way", [processes.end_with, processes.watch])
def test_a_child_whose_parent_has_ended_before_it_looked_ends(way):
    code = f"import sys, time; from strategies import processes; processes.{way.__name__}(1 << 22); time.sleep(60)"
    words = [sys.executable, "-c", code]
    began = time.monotonic()
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=30)
    assert done.returncode in (-signal.SIGKILL, 1) and time.monotonic() - began < 20


def test_without_a_death_signal_a_thread_looks_after_the_parent():
    code = "import subprocess, sys, time\nprint(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True)\n"
    child = "import os, time; from strategies import processes; processes.watch(os.getppid()); time.sleep(60)"
    words = [sys.executable, "-c", code.format(child=child) + "time.sleep(60)"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(1)
        assert not is_gone(pid, 0)
        parent.kill()
    assert is_gone(pid, 10)
