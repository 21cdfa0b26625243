"""Bars are shown on a terminal only, and children move them."""

import io
import re
import sys

import pytest

from zoo.console import progress
from zoo.isolation import child

ODD = "tests.zoo.isolation.odd_child"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal_of(monkeypatch):
    """Make standard error a terminal: not in a fixture, after which pytest sets it anew."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def told(shown):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())


def test_a_bar_shows_what_is_done_on_a_terminal(monkeypatch):
    terminal = terminal_of(monkeypatch)
    with progress.bar("measuring a.tflite"):
        assert progress.showing()
        add = progress.counter(40, "examples")
        add(30)
        progress._sink.bars.refresh()
    assert "measuring a.tflite: examples" in told(terminal) and "30 of 40" in told(terminal)
    assert not progress.showing()


def test_the_time_left_is_that_of_the_parts_so_far(monkeypatch):
    terminal_of(monkeypatch)
    with progress.bar("exporting"):
        progress._sink(0, 3, "layers")
        progress._sink.began -= 8
        progress._sink(1, 3, "layers")
        assert progress._sink.bars.tasks[0].fields["left"] == "16 s left"


def test_a_bar_inside_another_and_one_in_a_pipe_show_nothing(monkeypatch):
    terminal = terminal_of(monkeypatch)
    with progress.bar("outer"), progress.bar("inner"):
        pass
    assert "inner" not in told(terminal)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar("piped"):
        assert not progress.showing()
        progress.part(1, 2)
    assert sys.stderr.getvalue() == ""


def test_a_bar_ends_with_an_error(monkeypatch):
    terminal_of(monkeypatch)
    with pytest.raises(ValueError, match="wrong"), progress.bar("measuring"):
        raise ValueError("wrong")
    assert not progress.showing()


def test_a_child_moves_the_bar_of_its_parent(monkeypatch):
    terminal_of(monkeypatch)
    with progress.bar("exporting"):
        assert child.run(ODD, "tell", seconds=60)
        task = progress._sink.bars.tasks[0]
        assert (task.completed, task.total, task.description) == (2, 5, "exporting: layers")
    with pytest.raises(child.Ended, match="limit of 1 s"), progress.bar("exporting"):
        child.run(ODD, "sleep", seconds=1)
