"""Lines of streams: reading resumes from every position, follows growing files, and marks incomplete lines."""

import os
import threading
import time

import pytest

from zoo.console.errors import Failed, UsageError
from zoo.online import streams
from zoo.online.streams import Position

CONTENT = b'{"x": 1}\n\n  {"y": "\xc3\xa9"}\r\nlast'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "stream.jsonl"
    path.write_bytes(CONTENT)
    return path


def test_lines_are_those_of_split_and_every_position_is_one_to_go_on_from(file):
    found = list(streams.lines(file))
    assert [line.content for line in found] == CONTENT.split(b"\n")
    assert [line.position.line for line in found] == [1, 2, 3, 4]
    assert [line.ended for line in found] == [True, True, True, False]
    for i, line in enumerate(found):
        assert CONTENT[: line.position.end].endswith(line.content + b"\n" * line.ended)
        assert list(streams.lines(file, line.position)) == found[i + 1 :]


def test_lines_longer_than_what_is_read_at_once_are_whole(file, monkeypatch):
    expected = list(streams.lines(file))
    monkeypatch.setattr(streams, "CHUNK", 3)
    assert list(streams.lines(file)) == expected


def test_a_growing_file_gives_lines_as_they_end_and_what_has_no_end_last(file, monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.01)
    found = []

    def grow():
        while len(found) < 3:
            time.sleep(0.005)
        with file.open("ab") as growing:
            growing.write(b" one")
            growing.flush()
            time.sleep(0.05)
            growing.write(b"\nno end")

    writer = threading.Thread(target=grow)
    writer.start()
    for line in streams.lines(file, follow=True, idle=0.5):
        found.append(line)
    writer.join()
    assert [(line.content, line.ended) for line in found[3:]] == [(b"last one", True), (b"no end", False)]
    assert found[3].position == Position(4, len(CONTENT) + 5)


def test_a_signal_ends_the_wait(file, monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.01)
    found = []
    for line in streams.lines(file, follow=True, stopped=lambda: len(found) == 3):
        found.append(line)
    assert len(found) == 3


def test_a_file_that_became_shorter_is_not_waited_for(file, monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.01)
    found = streams.lines(file, follow=True)
    next(found)
    file.write_bytes(b"")
    with pytest.raises(Failed, match="was truncated while it was read"):
        list(found)


def test_standard_input_leaves_out_as_many_lines_as_were_read_before(file, monkeypatch):
    expected = list(streams.lines(file))
    with file.open("rb") as given:
        monkeypatch.setattr("sys.stdin", given)
        assert list(streams.lines(None, Position(2, 10))) == expected[2:]


def test_standard_input_ends_when_nothing_comes_for_long_enough(monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.01)
    out, into = os.pipe()
    os.write(into, b"one\ntw")
    with os.fdopen(out) as given:
        monkeypatch.setattr("sys.stdin", given)
        assert [line.content for line in streams.lines(None, idle=0.1)] == [b"one", b"tw"]
    os.close(into)


def test_a_stream_is_known_by_its_beginning(file):
    position = Position(2, 10)
    known_by = streams.beginning(file, position.end)
    file.write_bytes(CONTENT + b" one\nmore")
    streams.check_same(file, position, known_by)
    for other in (CONTENT[:9], b"!" + CONTENT[1:]):
        file.write_bytes(other)
        with pytest.raises(UsageError, match="expected the stream that was read up to line 2"):
            streams.check_same(file, position, known_by)


def test_sets_are_named_with_their_split():
    assert streams.set_of("tfds:glue/sst2/train") == ("glue/sst2", "train")
    assert streams.set_of("tfds.jsonl") is None
    for wrong in ("tfds:mnist", "tfds:mnist/all", "tfds:/train"):
        with pytest.raises(UsageError, match="expected tfds:NAME/train"):
            streams.set_of(wrong)


def test_a_line_without_an_end_is_refused_and_a_long_one_is_joined_once(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"a" * 100 + b"\nbb\n\nc")
    monkeypatch.setattr(streams, "CHUNK", 7)
    found = list(streams.lines(path))
    assert [line.content for line in found] == [b"a" * 100, b"bb", b"", b"c"]
    assert [line.position.end for line in found] == [101, 104, 105, 106]
    assert [line.ended for line in found] == [True, True, True, False]
    monkeypatch.setattr(streams, "MOST_LINE", 50)
    with pytest.raises(UsageError, match="line 1: expected at most 50 bytes, received more"):
        list(streams.lines(path))
