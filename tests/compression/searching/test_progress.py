"""A running search tells its estimates, its baselines and the time left, as lines or as a bar on a terminal."""

import os
import pty
import re
import subprocess
import sys

import pytest

from compression.searching import studies
from compression.searching.budget import Budget
from compression.searching.claims import Claims
from compression.searching.plan import SearchPlan
from tests.compression.searching.test_studies import SPACE, measured
from tests.conftest import ROOT

TRIALS = 6
SHOWN = """
from compression.search import _shown
with _shown(4, alone=True) as (say, told):
    told(1, 45.0)
    say("[1/4] 1,000 bytes")
    told(4, 0.0)
"""


@pytest.mark.parametrize(
    ("ended", "missing", "passed", "limit", "left"),
    [
        (0, 5, 9.0, None, None),
        (2, 3, 60.0, None, 90.0),
        (2, 3, 60.0, 100.0, 40.0),
        (2, 3, 60.0, 50.0, 0.0),
        (4, 0, 60.0, None, 0.0),
    ],
)
def test_the_time_left_is_that_of_the_missing_trials_within_the_limit(ended, missing, passed, limit, left):
    assert studies._left(ended, missing, passed, limit) == left


def test_each_trial_says_its_estimate_before_it_is_carried_out_and_then_the_time_left(tmp_path):
    plan = SearchPlan(SPACE, Budget(max_bytes=1200), trials=TRIALS)
    study, lines, numbers = studies.open_or_create(plan, tmp_path, {"model": "m"}), [], []
    studies.enqueue_first(study, plan, list)
    told = lambda done, left: numbers.append((done, left))  # noqa: E731
    studies.run(study, Claims(study, tmp_path), plan, measured, measured, lines.append, told)
    ends = [line for line in lines if re.match(rf"\[\d/{TRIALS}\] ", line)]
    assert len(ends) >= TRIALS and numbers[-1] == (TRIALS, 0.0)
    assert "left" not in ends[-1] and all(
        re.search(r"; about \d+ s left$", line) for line in ends[:-1] if "[0/" not in line
    )
    carried = [row for row in studies.rows(study) if "file" in row and "repeated" not in row]
    estimates = [line for line in lines if "estimate without training:" in line and line.startswith("[trial ")]
    assert len(estimates) == len(carried) > 0
    for row, line in zip(carried, estimates, strict=True):
        assert f"{row['estimate']['bytes']:,} bytes" in line and line.endswith(f"carrying out {row['recipe']}")
        assert lines.index(line) < next(
            i for i, end in enumerate(lines) if end in ends and end.split("; about")[0].endswith(row["recipe"])
        )


def test_baselines_are_measured_once(tmp_path):
    plan = SearchPlan(SPACE, Budget(max_bytes=1200), trials=TRIALS)
    rows = [{"name": "int8", "recipe": "int8", "bytes": 2000, "accuracy": 0.5}]
    for found in (rows, []):
        study = studies.open_or_create(plan, tmp_path, {"model": "m"})
        assert studies.baselines(study, lambda found=found: found) == rows


def shown(stderr):
    words = [sys.executable, "-c", SHOWN]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(words, stderr=stderr, env=environment, cwd=ROOT)


def test_without_a_terminal_there_are_lines_alone():
    with shown(subprocess.PIPE) as child:
        assert child.stderr.read().decode() == "[1/4] 1,000 bytes\n"
    assert child.returncode == 0


def test_on_a_terminal_a_bar_has_the_trials_and_the_time_left():
    terminal, end = pty.openpty()
    with shown(end) as child:
        os.close(end)
        content = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            content += part
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", content.decode())
    assert child.returncode == 0 and "[1/4] 1,000 bytes\r\n" in text
    assert re.search(r"1/4 .*about 45 s left", text) and "4/4" in text
