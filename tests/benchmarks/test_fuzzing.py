"""Damaged files of every kind: a few in this process, many in the drill."""

import warnings

import pytest

from benchmarks.drilling import fuzzing

# The slow test tries these as well.
SLOW = ("tables of captions", "run folders", "TFDS sets", "records of pictures")


@pytest.mark.parametrize("name", [name for name in fuzzing.READERS if name not in SLOW])
def test_damaged_files_are_read_or_refused(name, tmp_path):
    contents, read = fuzzing.READERS[name].prepare(tmp_path)
    for file, whole in contents.items():
        (tmp_path / file).write_bytes(whole)
        assert fuzzing.attempt(read, tmp_path / file) == {"end": "read"}
    for number in range(20):
        file, content = fuzzing.case(name, number, contents)
        (tmp_path / file).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd files that it reads
            assert "fault" not in fuzzing.attempt(read, tmp_path / file), (name, number)


def test_a_case_is_drawn_from_its_number_alone():
    contents = {"a.csv": b"text,label\na,b\n", "b.csv": b"c"}
    drawn = [fuzzing.case("tables of texts", number, contents) for number in range(30)]
    assert drawn == [fuzzing.case("tables of texts", number, dict(reversed(contents.items()))) for number in range(30)]
    assert len(set(drawn)) > 20


def test_faults_and_silence_are_reported(tmp_path, monkeypatch):
    def fail(path):
        raise KeyError("x")

    assert "KeyError: 'x' (test_fuzzing.py:" in fuzzing.attempt(fail, tmp_path)["fault"]
    outcome = fuzzing.fuzzed("tables of groups", tmp_path, 3)
    assert (outcome.attempts, outcome.faults, sum(outcome.facts[end] for end in ("read", "refused"))) == (3, [], 3)
    monkeypatch.setattr(fuzzing, "SECONDS_TO_START", 0.0)
    with pytest.raises(RuntimeError, match="tables of groups: the whole files are not read"):
        fuzzing.fuzzed("tables of groups", tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_damaged_files_are_read_or_refused(tmp_path):
    outcomes = list(fuzzing.drill(tmp_path, quick=False))
    assert sum(outcome.attempts for outcome in outcomes) == 100_000
    assert [fault for outcome in outcomes for fault in outcome.faults] == []
