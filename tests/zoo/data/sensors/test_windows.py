"""Recordings of sensors and their windows: what is read, where they are cut, and which split they are in."""

import csv

import numpy as np
import pytest

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.reading import Tally
from zoo.data.sensors import recordings, windows


def write(path, columns):
    """Write columns as a table."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def config(path, **options):
    return TrainConfig(model="conv1d", data=path, **{"window": 4, **options})


def read(path, tally=None, **options):
    return recordings.read_all(config(path, **options), path, tally or Tally())


def test_a_recording_ends_where_the_label_the_group_or_the_time_does(tmp_path):
    time = [0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 0, 1]
    path = write(tmp_path / "t.csv", {
        "time": time, "a": range(12), "label": [*"xxxyyyyyyyyy"], "who": [*"ppppppppppqq"],
    })  # fmt: skip
    tally = Tally()
    found = read(path, tally, time_column="time", label_column="label", group_column="who")
    assert [recording.values[:, 0].tolist() for recording in found.recordings] == [
        [0, 1, 2], [3, 4, 5], [6, 7, 8, 9], [10, 11],
    ]  # fmt: skip
    assert [recording.group for recording in found.recordings] == ["p", "p", "p", "q"]
    assert found.rate == 1.0
    (gap,) = [note for note in tally.notes if "gap" in note]
    assert gap.startswith("1 gaps in time 'time', the longest of 15 s")
    assert "times 'time' are taken for seconds: 1 samples in a second" in tally.notes


def test_other_rates_are_resampled_on_straight_lines_and_told(tmp_path):
    folder = tmp_path / "rates"
    folder.mkdir()
    for name in ("a", "b"):
        write(folder / f"{name}.csv", {"time": np.arange(8) / 10, "v": np.arange(8), "label": ["x"] * 8})
    write(folder / "c.csv", {"time": np.arange(4) / 5, "v": 2 * np.arange(4), "label": ["y"] * 4})
    tally = Tally()
    found = read(folder, tally, time_column="time", label_column="label")
    assert found.rate == pytest.approx(10)
    np.testing.assert_allclose(found.recordings[2].values[:, 0], np.arange(7), atol=1e-6)
    assert found.recordings[2].labels.tolist() == ["y"] * 7
    assert tally.changed["recordings at other rates brought to steps of 0.1 s"] == 1


@pytest.mark.parametrize(
    ("column", "times", "unit"),
    [
        ("time_ms", 20 * np.arange(8), "milliseconds"),
        ("Time (us)", 20_000 * np.arange(8), "microseconds"),
        ("timeMillis", 20 * np.arange(8), "milliseconds"),
        ("time", 1_764_600_000_000 + 20 * np.arange(8), "milliseconds"),
        ("t", 1_764_600_000_000_000_000 + 20_000_000 * np.arange(8), "nanoseconds"),
        ("seconds_elapsed", np.arange(8) / 50, "seconds"),
        ("time", np.arange(8) / 50, "seconds"),
        ("msec from us", np.arange(8) / 50, "seconds"),
    ],
)
def test_the_unit_of_time_is_that_of_its_name_or_its_size_and_is_told(tmp_path, column, times, unit):
    path = write(tmp_path / "t.csv", {column: times, "v": range(8), "label": ["x"] * 8})
    tally = Tally()
    found = read(path, tally, time_column=column, label_column="label")
    assert found.rate == pytest.approx(50, rel=1e-5)
    assert f"times {column!r} are taken for {unit}: 50 samples in a second" in tally.notes


def test_times_that_are_missing_or_of_two_kinds_are_refused(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    ticks = [str(1_764_600_000_000_000_000 + 20_000_000 * i) for i in range(8)]
    write(folder / "a.csv", {"time": ticks, "v": range(8), "label": ["x"] * 8})
    write(folder / "b.csv", {"time": [*ticks[:7], ""], "v": range(8), "label": ["x"] * 8})
    with pytest.raises(UsageError, match=r"b.csv, line 9: expected a time in every row, column 'time' lacks 1 of 8"):
        read(folder, time_column="time", label_column="label")
    dates = [f"2025-12-01 00:00:0{i}" for i in range(8)]
    write(folder / "b.csv", {"time": dates, "v": range(8), "label": ["x"] * 8})
    with pytest.raises(UsageError, match=r"b.csv, column 'time': expected numbers as in .*a.csv, received dates"):
        read(folder, time_column="time", label_column="label")


def test_a_lower_rate_averages_so_that_fast_waves_do_not_appear_as_slow_ones(tmp_path):
    time = np.arange(400) / 100
    path = write(tmp_path / "t.csv", {"time": time, "v": np.sin(2 * np.pi * 48 * time), "label": ["x"] * 400})
    found = read(path, time_column="time", label_column="label", rate=10.0)
    assert len(found.recordings[0]) == 40
    assert np.abs(found.recordings[0].values[2:-2]).max() < 0.2  # 48 Hz would be seen as 2 Hz


def test_short_runs_of_missing_values_are_filled_and_windows_with_longer_ones_left_out(tmp_path):
    values = ["0", "", "2", "3", "4", "5", "6", "7", *[""] * 4, "12", "13", "14", "15"]
    path = write(tmp_path / "t.csv", {"v": values, "label": ["x"] * 16})
    tally = Tally()
    found = read(path, tally, label_column="label")
    assert found.recordings[0].values[1, 0] == 1.0 and np.isnan(found.recordings[0].values[8:12]).all()
    source = windows.cut(found, 4, 4, tally)
    assert source.incomplete().tolist() == [False, False, True, False]
    assert tally.changed["missing values in runs of up to 3 filled by straight lines"] == 1


def motion(path, subjects=6, samples=40, classes=("still", "shake")):
    """Write recordings of subjects who do two things; the value of a sample tells who and what."""
    rows = [
        (subject * 1000 + place * 100 + sample, name, f"s{subject}")
        for subject in range(subjects)
        for place, name in enumerate(classes)
        for sample in range(samples)
    ]
    values, labels, who = zip(*rows, strict=True)
    return write(path, {"v": values, "w": values, "label": labels, "who": who})


def test_windows_of_a_group_are_in_one_split_and_all_windows_are_used(tmp_path):
    data = load(config(motion(tmp_path / "m.csv"), columns=("v",), hop=2, group_column="who").resolved())
    subjects = [{int(v) // 1000 for v in split.x[:, 0, 0]} for split in (data.train, data.validation, data.test)]
    assert all(subjects) and sum(map(len, subjects)) == 6 == len(set.union(*subjects))
    assert len(data.train) + len(data.validation) + len(data.test) == 6 * 2 * 19
    assert data.spec.columns == ("v",) and data.spec.hop == 2 and data.spec.input_shape == (4, 1)
    assert all((np.diff(split.x[:, :, 0], axis=1) == 1).all() for split in (data.train, data.validation, data.test))
    train = data.train.x.reshape(-1).astype(np.float64)
    np.testing.assert_allclose([data.spec.mean[0], data.spec.std[0]], [train.mean(), train.std()], rtol=1e-5)
    assert "drawn by group: s" in data.reading.line()


def test_without_groups_no_sample_is_in_two_splits(tmp_path):
    path = motion(tmp_path / "m.csv", subjects=1, samples=100)
    data = load(config(path, columns=("v",), hop=1, label_column="label").resolved())
    samples = [set(split.x.reshape(-1).tolist()) for split in (data.train, data.validation, data.test)]
    assert all(samples) and not samples[0] & samples[1] and not samples[0] & samples[2] and not samples[1] & samples[2]
    assert data.reading.made["test"] == "the last 20 % of each recording"
    assert data.reading.left_out["across the border of two splits"] > 0


def test_many_recordings_are_held_out_whole(tmp_path):
    for name in ("left", "right"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            start = 1000 * number + (500 if name == "left" else 0)
            write(tmp_path / "data" / name / f"{number}.csv", {"v": range(start, start + 20)})
    data = load(config(tmp_path / "data", hop=2).resolved())
    assert data.spec.class_names == ("left", "right")
    where = [{(int(v) // 500) for v in split.x[:, 0, 0]} for split in (data.train, data.validation, data.test)]
    assert sum(map(len, where)) == 20 == len(set.union(*where)) and len(where[2]) == 4
    assert "of the recordings, drawn" in data.reading.made["test"]
    assert np.bincount(data.test.y).tolist() == [18, 18]


def test_windows_that_do_not_fit_are_cut_for_each_batch_and_equal(tmp_path):
    path = motion(tmp_path / "m.csv")
    options = {"columns": ("v",), "hop": 1, "group_column": "who"}
    kept = load(config(path, **options).resolved())
    cut = load(config(path, **options, memory="1k").resolved())
    assert kept.train.in_memory and not cut.train.in_memory
    for one, other in ((kept.train, cut.train), (kept.test, cut.test)):
        np.testing.assert_array_equal(one.x, other.x[:])
        np.testing.assert_array_equal(one.y, other.y)
    assert (cut.spec.mean, cut.spec.std) == (kept.spec.mean, kept.spec.std)


def test_arrays_and_compressed_tables_are_read_alike(tmp_path):
    import gzip

    path = motion(tmp_path / "m.csv")
    with gzip.open(tmp_path / "z.csv.gz", "wt") as file:
        file.write(path.read_text())
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    arrays = {"v": np.array([float(row["v"]) for row in table]), "label": np.array([row["label"] for row in table])}
    np.savez(tmp_path / "m.npz", **arrays, who=np.array([row["who"] for row in table]))
    options = {"columns": ("v",), "group_column": "who"}
    found = [load(config(tmp_path / name, **options).resolved()) for name in ("m.csv", "z.csv.gz", "m.npz")]
    for data in found[1:]:
        np.testing.assert_array_equal(data.train.x, found[0].train.x)
        np.testing.assert_array_equal(data.test.y, found[0].test.y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ("x",)}, "--columns x: expected a column of m.csv, received 'x'"),
        ({"label_column": "labels"}, "--label-column labels: .* did you mean 'label'"),
        ({"time_column": "when"}, "--time-column when: expected a column"),
        ({"columns": ("v", "label"), "label_column": "label"}, "'label' is the column of the label"),
        ({"window": 500}, "--window 500: expected at most the 40 samples of the longest recording"),
        ({"columns": ("who",)}, "column 'who': expected numbers"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        load(config(motion(tmp_path / "m.csv"), **options).resolved())


def test_options_of_windows_need_each_other():
    with pytest.raises(UsageError, match="--hop 2: expected together with --window"):
        TrainConfig(model="conv1d", hop=2)
    with pytest.raises(UsageError, match="--window 4: expected together with --data"):
        TrainConfig(model="conv1d", window=4)


def test_windows_without_any_label_are_refused_for_classes(tmp_path):
    path = write(tmp_path / "t.csv", {"v": range(40)})
    with pytest.raises(UsageError, match="--label-column: expected the column of the label, or a folder"):
        load(config(path).resolved())


def test_values_that_float32_does_not_tell_apart_are_refused(tmp_path):
    path = write(tmp_path / "t.csv", {"a": [1_700_000_000 + i for i in range(20)], "label": ["x"] * 20})
    with pytest.raises(
        UsageError, match="column 'a': expected numbers that float32 tells apart, received 20 different"
    ):
        read(path)


def test_a_column_of_time_is_not_taken_for_a_sensor(tmp_path):
    path = write(tmp_path / "t.csv", {"Time": np.arange(20) / 50, "a": range(20), "label": ["x"] * 20})
    with pytest.raises(
        UsageError, match="column 'Time' is called a time and runs one way: expected it as --time-column"
    ):
        read(path)
    assert read(path, time_column="Time").columns == ("a",)
    assert read(path, columns=("Time", "a")).columns == ("Time", "a")


def test_all_windows_of_validation_data_are_used_at_the_rate_of_the_others(tmp_path):
    for name, rate, start in (("all", 10, 0), ("more", 20, 1)):
        values = start + np.arange(80) / 100
        write(tmp_path / f"{name}.csv", {
            "time": np.arange(80) / rate, "b": values, "a": values, "label": ["x"] * 40 + ["y"] * 40,
        })  # fmt: skip
    options = {"time_column": "time", "columns": ("a", "b"), "validation_data": tmp_path / "more.csv"}
    data = load(config(tmp_path / "all.csv", **options))
    assert len(data.validation) == 10 and (data.validation.x >= 1).all()  # 2 x 2 s at 10 Hz, windows of 4


def test_an_empty_column_is_named(tmp_path):
    path = write(tmp_path / "t.csv", {"a": range(20), "b": ["1", *[""] * 19], "label": ["x"] * 10 + ["y"] * 10})
    message = "column 'b' lacks 19 of 20: leave it out by --columns"
    with pytest.raises(UsageError, match=f"expected windows without missing values, received none; {message}"):
        load(config(path, columns=("a", "b")))


def test_times_that_are_not_in_order_are_the_reason_that_no_recording_is_long_enough(tmp_path):
    time = np.random.default_rng(0).permutation(40)
    path = write(tmp_path / "t.csv", {"time": time, "a": range(40), "label": ["x"] * 20 + ["y"] * 20})
    with pytest.raises(
        UsageError, match=r"--window 12: expected at most the . samples .* \d+ times 'time' that go back"
    ):
        load(config(path, time_column="time", window=12))
