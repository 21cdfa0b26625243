"""Signals that ask a command to end: it ends as after Ctrl-C, and what nohup ignores stays ignored."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from zoo.system.signals import interrupting, stopped_by_signals

COMMAND = """
import sys, time
from dataclasses import dataclass
from zoo.console import cli

@dataclass(frozen=True)
class Options:
    pass

def run(given):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("undone", flush=True)

sys.exit(cli.command(Options, run, print, prog="python -m zoo.try", description=""))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_one_line_with_status_130(number):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert (out, err, child.returncode) == ("undone\n", "zoo.try: interrupted\n", 130)


class Listener:
    signal = 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_listener_gets_the_first_signal_and_the_second_stops_at_once(number):
    listener = Listener()
    before = signal.getsignal(number)
    with stopped_by_signals(listener):
        os.kill(os.getpid(), number)
        assert listener.signal == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupting(), stopped_by_signals(listener := Listener()):
            os.kill(os.getpid(), signal.SIGHUP)
        assert listener.signal == 0
    finally:
        signal.signal(signal.SIGHUP, before)
