"""Events in long recordings, from probabilities that are known; false alarms and hits by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.zoo.data.sound.test_sound import tone, wav
from zoo.config.run_options import PredictOptions
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.tasks import classification
from zoo.tasks.parts import listening
from zoo.tasks.parts.listening import Event

SPEC = DataSpec("words", "sound", (4000,), ("go", "stop", "unknown"), rate=8000)


def p(*answers):
    """Probabilities of windows: a class and its probability each, the rest shared by the others."""
    rows = np.array([[(1 - probability) / 2] * 3 for _, probability in answers])
    for row, (label, probability) in zip(rows, answers, strict=True):
        row[SPEC.class_names.index(label)] = probability
    return rows


def test_windows_of_one_class_are_one_event_and_unknown_is_none():
    answers = [
        ("unknown", 0.99),
        ("go", 0.9),
        ("go", 0.95),
        ("go", 0.7),
        ("stop", 0.85),
        ("unknown", 0.9),
        ("go", 0.81),
    ]
    found = listening.events(p(*answers), 0.125, SPEC, 0.8)
    assert found == [
        Event("go", 0.95, 0.125, 0.25 + 0.5),
        Event("stop", 0.85, 0.5, 1.0),
        Event("go", 0.81, 0.75, 1.25),
    ]
    assert listening.events(p(*answers), 0.125, SPEC, 0.96) == []
    assert listening.events(p(("go", 0.9)), 0.125, SPEC, 0.8) == [Event("go", 0.9, 0.0, 0.5)]


def test_averages_are_those_of_numpy_and_shorter_at_both_ends():
    x = np.random.default_rng(0).random((9, 2))
    found = listening.averaged(x, 3)
    np.testing.assert_allclose(found[1:-1], np.lib.stride_tricks.sliding_window_view(x, 3, axis=0).mean(-1))
    np.testing.assert_allclose(found[[0, -1]], [x[:2].mean(0), x[-2:].mean(0)])
    np.testing.assert_allclose(listening.averaged(x, 1), x)


def test_false_alarms_and_what_was_heard(tmp_path, monkeypatch):
    content = wav((9000 * tone(300, 36.0)).astype(np.int16))
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(content)
    answers = {"a.wav": p(*[("go", 0.92), *[("unknown", 0.9)] * 6, ("stop", 0.75)]), "b.wav": p(("go", 0.85))}
    monkeypatch.setattr(listening, "heard", lambda model, path, spec, hop: (answers[path.name], 0.5, 36.0))
    (tmp_path / "said.csv").write_text("file,start,end,label\na.wav,0.1,0.4,go\na.wav,30,31,stop\n")
    files = listening.recordings(tmp_path)
    truth = listening.read_events(tmp_path / "said.csv", files, SPEC.class_names)
    result = listening.measured(SimpleNamespace(), SPEC, files, truth, None)
    assert (result["recordings"], result["hours"], result["events"]) == (2, 0.02, 2)
    rows = {row["threshold"]: row for row in result["thresholds"]}
    assert rows[0.7]["false_alarms"] == 2  # stop where none was said, and go in b.wav
    assert rows[0.7]["false_alarms_an_hour"] == pytest.approx(100)
    assert [rows[t]["heard"] for t in (0.7, 0.95)] == [0.5, 0]
    assert rows[0.9]["false_alarms"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,begin\na.wav,1\n", "line 2: expected the columns file, start, end, label"),
        ("file,start,end,label\nz.wav,1,2,go\n", "expected a recording, received z.wav"),
        ("file,start,end,label\na.wav,1,2,halt\n", "expected a class of the run"),
        ("file,start,end,label\na.wav,2,1,go\n", "expected start < end"),
    ],
)
def test_tables_of_events_that_do_not_fit_are_refused(text, message, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.ones(8000, np.int16)))
    (tmp_path / "said.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        listening.read_events(tmp_path / "said.csv", [tmp_path / "a.wav"], SPEC.class_names)


def test_files_of_more_than_two_clips_are_recordings(tmp_path):
    for seconds, long in ((0.9, False), (1.1, True)):
        path = tmp_path / "a.wav"
        path.write_bytes(wav((9000 * tone(300, seconds)).astype(np.int16)))
        assert listening.is_long(path, SPEC) == long
    with pytest.raises(UsageError, match="--recordings .*: expected a file of sound or a folder of them, found none"):
        listening.recordings(tmp_path / "absent")


@pytest.mark.parametrize(
    ("is_long", "options", "told"),
    [
        (True, {"top": 2}, "--top not used, as it is a recording, which has events"),
        (True, {"hop": 0.1}, ""),
        (False, {"hop": 0.1, "threshold": 0.5}, "--hop and --threshold not used, as it is no longer than two clips"),
        (False, {"top": 2}, ""),
    ],
)
def test_options_that_do_nothing_for_a_file_are_told(is_long, options, told, monkeypatch, capsys):
    monkeypatch.setattr(listening, "is_long", lambda path, spec: is_long)
    monkeypatch.setattr(listening, "answers", lambda *_: iter(()))
    monkeypatch.setattr(classification, "read_inputs", lambda *_: ([], np.zeros((0, 1))))
    monkeypatch.setattr(classification, "logits_of", lambda *_: np.zeros((0, 2)))
    asked = PredictOptions(run="run", inputs=("a.wav",), **options)
    assert list(classification.TASK._heard(None, SPEC, asked)) == []
    err = capsys.readouterr().err
    assert (told in err) if told else not err
