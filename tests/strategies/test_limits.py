import subprocess
import sys

import pytest

from strategies import StrategyError, limits
from tests.conftest import ROOT


@pytest.mark.parametrize(("name", "limit", "sentence"), [
    ("address space", 2_500_000_000, "address space: expected at least 3.2 GB for TensorFlow, received 2.5 GB"),
    ("open files", 40, "limit of open files: expected at least 64 for TensorFlow, received 40"),
    ("control group", 500_000_000, "received 0.5 GB; raise the limit of the container"),
])  # fmt: skip
def test_limits_that_are_too_low_are_refused(name, limit, sentence, monkeypatch):
    monkeypatch.setattr(limits, "current", lambda: {name: limit})
    with pytest.raises(StrategyError, match=sentence):
        limits.check()
    monkeypatch.setattr(limits, "current", lambda: {name: limits.LEAST[name]})
    limits.check()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_command_ends_in_a_sentence_before_tensorflow_is_imported(tmp_path):
    words = f"ulimit -v 2500000; exec {sys.executable} -m zoo.evaluate cnn-digits"
    done = subprocess.run(
        ["sh", "-c", words], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "limit of address space" in done.stderr and "Traceback" not in done.stderr
