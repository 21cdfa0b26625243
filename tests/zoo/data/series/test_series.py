"""Series of tables: their order, gaps, windows and splits, and the messages for tables that are none."""

import json

import numpy as np
import pytest

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.dataset import DataSpec
from zoo.data.series.times import Step, step_of

RNG = np.random.default_rng(0)
HOURS = np.arange("2024-01-01T00", "2024-01-06T00", dtype="datetime64[h]").astype("datetime64[m]")  # 120


def write(path, rows, header="time,a,b"):
    path.write_text("".join(f"{','.join(map(str, row))}\n" for row in [header.split(","), *rows]))
    return path


def hourly(path, keep=None, a=lambda i: i, b=lambda i: 1000 - i):
    chosen = range(len(HOURS)) if keep is None else keep
    return write(path, [(HOURS[i], a(i), b(i)) for i in chosen])


def config(path, **values):
    options = {"horizon": 4, "lookback": 8, "test_split": 0.2, "validation_split": 0.1} | values
    return TrainConfig(model="dlinear", data=path, **options).resolved()


def read(path, **values):
    return load(config(path, **values))


def test_splits_follow_one_another_without_a_shared_target(tmp_path):
    data = read(hourly(tmp_path / "s.csv"))
    last = -1
    for split in (data.train, data.validation, data.test):
        targets = split.y[:][..., 0]  # the values are the numbers of their rows
        assert targets.min() > last
        last = targets.max()
        assert (np.diff(targets[:, 0]) == 1).all()  # every window, one step apart
        np.testing.assert_array_equal(split.x[:][:, -1, 0] + 1, targets[:, 0])
    assert last == 119
    counts = [len(split) for split in (data.train, data.validation, data.test)]
    assert counts == [86 - 12 + 1, 10 - 4 + 1, 24 - 4 + 1]
    form = data.spec.series
    assert form.means == pytest.approx((np.mean(range(86)), 1000 - np.mean(range(86))))
    assert form.deviations == pytest.approx((np.std(range(86)), np.std(range(86))))
    assert form.step == Step(3600) and form.season == 1  # a day is longer than the lookback


def test_rows_of_each_split_can_be_given(tmp_path):
    data = read(hourly(tmp_path / "s.csv"), split_rows=(60, 20, 30))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [60 - 11, 20 - 3, 30 - 3]
    assert data.test.y[:].max(axis=(0, 1))[0] == 109 and "10 steps after those" in data.reading.warning()
    with pytest.raises(UsageError, match="--split-rows 60,20,60: expected at most the 120 steps"):
        read(tmp_path / "s.csv", split_rows=(60, 20, 60))


def test_windows_are_cut_out_when_they_are_looked_at(tmp_path):
    data = read(hourly(tmp_path / "s.csv"))
    x = data.train.x
    assert x.shape == (75, 8, 2) and x.values.nbytes == 120 * 2 * 4
    np.testing.assert_array_equal(x[np.array([3, 1])][:, :, 0], [np.arange(3, 11), np.arange(1, 9)])
    np.testing.assert_array_equal(np.asarray(data.train.take(np.array([5])).x)[0, :, 0], np.arange(5, 13))
    assert len(np.unique(data.train.marks, axis=0)) == 75 and data.reading.duplicates is None


def test_rows_are_put_in_order_and_short_gaps_are_missing_values(tmp_path):
    keep = [i for i in range(120) if i not in (30, 31)]
    order = np.random.default_rng(0).permutation(keep)
    data = read(hourly(tmp_path / "s.csv", order))
    assert "put in order" in data.reading.warning() and "4 of 240 values are missing" in data.reading.warning()
    assert data.reading.changed == {"missing steps of 1 hour added as missing values": 2}
    window = next(i for i in range(len(data.train)) if data.train.x.rows[i] == 25)
    assert data.train.x[window][:, 0].tolist() == [25, 26, 27, 28, 29, 29, 29, 32]  # the last value before stands in
    before = next(i for i in range(len(data.train)) if data.train.x.rows[i] == 20)
    np.testing.assert_array_equal(data.train.y[before][:, 0], [28, 29, np.nan, np.nan])


def test_no_window_reaches_across_a_long_gap(tmp_path):
    keep = [i for i in range(120) if not 30 <= i < 40]
    data = read(hourly(tmp_path / "s.csv", keep))
    assert "1 gaps of more than 4 missing steps" in data.reading.warning()
    spans = np.concatenate([data.train.x[:], data.train.y[:]], axis=1)[..., 0]
    assert (np.diff(spans, axis=1) == 1).all() and not ((spans[:, 0] < 30) & (spans[:, -1] >= 40)).any()


def test_series_are_kept_apart_and_split_at_the_same_times(tmp_path):
    rows = [(hour, name, value + 1000 * (name == "n")) for value, hour in enumerate(HOURS) for name in ("m", "n")]
    data = read(write(tmp_path / "s.csv", rows, "time,place,load"), group_column="place")
    assert data.spec.series.names == ("m", "n") and data.spec.series.columns == ("load",)
    for split in (data.train, data.validation, data.test):
        values = split.x[:][..., 0]
        assert ((values < 1000).all(1) | (values >= 1000).all(1)).all()
    assert data.train.y[:][..., 0].max() % 1000 < data.test.y[:][..., 0].min() % 1000
    assert len(data.spec.series.scales) == 2


def test_several_rows_of_a_time_need_the_column_of_series(tmp_path):
    rows = [(hour, name, 1) for hour in HOURS for name in ("m", "n")]
    path = write(tmp_path / "s.csv", rows, "time,place,load")
    with pytest.raises(UsageError, match="line 3: expected one row at each time.*--group-column, such as place"):
        read(path)
    assert read(path, skip_bad=True).reading.left_out["rows of a time that another row has"] == 120


def test_irregular_times_are_told(tmp_path):
    times = HOURS[0].astype("datetime64[s]") + np.cumsum(np.random.default_rng(0).integers(60, 4000, 120))
    data = read(write(tmp_path / "s.csv", [(t, i, i) for i, t in enumerate(times)]))
    assert "are irregular" in data.reading.warning() and data.spec.series.step is None
    off = [t + np.timedelta64(5, "s") if i > 60 else t for i, t in enumerate(HOURS.astype("datetime64[s]"))]
    data = read(write(tmp_path / "s.csv", [(t, i, i) for i, t in enumerate(off)]))
    assert "59 times in 'time' are not whole steps of 1 hour" in data.reading.warning()


@pytest.mark.parametrize(
    ("start", "stop", "unit", "step", "season", "following"),
    [
        ("2020-01", "2024-01", "M", "1 month", 12, "2024-01-01T00:00:00"),
        ("2020-01-01", "2020-06-01", "D", "1 day", 7, "2020-06-01T00:00:00"),
        ("2020-01-01T00:00", "2020-01-02T00:00", "m", "1 minute", 1440, "2020-01-02T00:00:00"),
        ("1950", "2020", "Y", "1 year", 1, "2020-01-01T00:00:00"),
    ],
)
def test_the_time_of_a_step_is_found(start, stop, unit, step, season, following):
    times = np.arange(start, stop, dtype=f"datetime64[{unit}]").astype("datetime64[s]")
    found, share = step_of([times])
    assert (str(found), found.season, share) == (step, season, 1.0)
    positions, exact = found.positions(times, times[0])
    assert exact.all() and (positions == np.arange(len(times))).all()
    assert str(found.following(times[-1], 1)[0]) == following


def test_a_run_takes_over_its_form(tmp_path):
    spec = read(hourly(tmp_path / "s.csv"), columns=("a",)).spec
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    other = load(config(hourly(tmp_path / "t.csv", a=lambda i: 7 * i), columns=("a",)), like=spec)
    assert other.spec.series == spec.series
    with pytest.raises(UsageError, match="expected a column, received 'a'|expected a column"):
        load(config(write(tmp_path / "u.csv", [(h, 1) for h in HOURS], "time,z")), like=spec)


def test_known_columns_reach_into_the_future(tmp_path):
    data = read(hourly(tmp_path / "s.csv"), known_columns=("b",))
    past, future = data.train.x
    assert data.spec.series.columns == ("a",) and past.shape == (75, 8, 2) and future.shape == (75, 4, 1)
    np.testing.assert_array_equal(future[:][..., 0], 1000 - data.train.y[:][..., 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_column": "tme"}, "--time-column tme: expected a column of s.csv.*did you mean 'time'"),
        ({"columns": ("z*",)}, r"--columns z\*: expected a column"),
        ({"columns": ("a",), "known_columns": ("a",)}, "--columns a: expected columns to forecast, received one that"),
        ({"horizon": 100}, "expected 108 steps without a long gap in the training part, received 86 of 120"),
        ({"horizon": 11}, "--validation-split: expected at least the 11 steps of --horizon.*received 10"),
        ({"quantiles": (0.5, 0.1)}, "--quantiles 0.5,0.1: expected increasing numbers between 0 and 1"),
        ({"split_rows": (60, 20)}, "--split-rows 60,20: expected three numbers"),
    ],
)
def test_wrong_options_are_refused(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        read(hourly(tmp_path / "s.csv"), **options)


def test_tables_without_series_are_refused(tmp_path):
    with pytest.raises(UsageError, match="expected columns of numbers to forecast, received time, a"):
        read(write(tmp_path / "s.csv", [(h, "x") for h in HOURS], "time,a"))
    with pytest.raises(UsageError, match="expected the one of time, made that orders the rows"):
        read(write(tmp_path / "s.csv", [(h, h, 1) for h in HOURS], "time,made,a"))
    data = read(write(tmp_path / "s.csv", [(i,) for i in range(120)], "a"))
    assert "rows are taken to be in order" in data.reading.warning()


def test_values_that_float32_does_not_tell_apart_are_refused(tmp_path):
    with pytest.raises(
        UsageError, match="column 'a': expected numbers that float32 tells apart, received 120 different"
    ):
        read(hourly(tmp_path / "s.csv", a=lambda i: 1_700_000_000 + i))
    with pytest.raises(UsageError, match=r"column 'a': expected numbers within float32, received 1e\+300"):
        read(hourly(tmp_path / "s.csv", a=lambda i: 1e300 if i == 7 else i))


@pytest.mark.parametrize("milliseconds", [100, 500])
def test_steps_below_a_second_are_kept(milliseconds, tmp_path):
    times = np.datetime64("2024-01-01T00:00:00.000") + np.arange(120) * np.timedelta64(milliseconds, "ms")
    path = write(tmp_path / "s.csv", zip(times, range(120), range(120), strict=True))
    data = read(path)
    form = data.spec.series
    assert form.step == Step(milliseconds * 1000, "microseconds") and str(form.step) == f"{milliseconds} milliseconds"
    assert form.step.season == 1 and form.step.following(times[-1], 2)[1] == times[-1] + 2 * np.diff(times)[0]
    assert len(data.train) + len(data.validation) + len(data.test) == 86 - 11 + 10 - 3 + 24 - 3
    assert DataSpec.from_json(json.loads(json.dumps(data.spec.to_json()))) == data.spec
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:50] + lines[52:]))  # two steps are missing
    again = read(path)
    assert "2 missing steps of" in again.reading.line() and again.train.x.source.time(119).endswith("0000")


def test_fractions_of_a_second_that_tell_no_rows_apart_are_cut_off_and_told(tmp_path):
    times = HOURS.astype("datetime64[ms]") + RNG.integers(0, 900, 120).astype("timedelta64[ms]")
    data = read(write(tmp_path / "s.csv", zip(times, range(120), range(120), strict=True)))
    assert data.spec.series.step == Step(3600) and "times in 'time' are cut to whole seconds" in data.reading.warning()


@pytest.mark.parametrize(
    ("times", "step", "form"),
    [
        (HOURS.astype("datetime64[s]").astype(int), Step(3600), "seconds since 1970"),
        (HOURS.astype("datetime64[ms]").astype(int), Step(3600), "milliseconds since 1970"),
        (HOURS.astype("datetime64[s]").astype(int)[0] + np.arange(120) / 4, Step(250_000, "microseconds"), "seconds"),
        ([f"{d}".replace("-", "") for d in np.arange(120) + np.datetime64("2023-12-01")], Step(86_400), "days such as"),
        (
            [f"{m}".replace("-", "") for m in np.arange(120) + np.datetime64("2001-05")],
            Step(1, "months"),
            "months such",
        ),
    ],
)
def test_numbers_are_read_as_dates_where_they_are_named_as_the_time(times, step, form, tmp_path):
    path = write(tmp_path / "s.csv", zip(times, range(120), range(120), strict=True))
    data = read(path, time_column="time")
    assert data.spec.series.step == step and data.spec.series.columns == ("a", "b")
    assert f"numbers in 'time' are read as {form}" in data.reading.warning()
    with pytest.raises(
        UsageError, match="column 'time' is called a time and runs one way: expected it as --time-column"
    ):
        read(path)


@pytest.mark.parametrize("times", [range(120), [20231345 + i for i in range(120)], [0.5 * i for i in range(120)]])
def test_numbers_that_are_no_dates_are_refused_with_a_way_that_does_not_forecast_them(times, tmp_path):
    path = write(tmp_path / "s.csv", zip(times, range(120), range(120), strict=True))
    with pytest.raises(UsageError, match="leave --time-column out, and name the columns to forecast with --columns"):
        read(path, time_column="time")
    assert read(path, columns=("time", "a")).spec.series.columns == ("time", "a")


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ("dlinear", "forecasting", "expected none for forecasting, whose validation examples are the steps of --data"),
        (
            "autoencoder",
            "anomaly",
            "expected none for anomaly, whose validation examples are normal examples of --data",
        ),
        (
            "two_tower",
            "recommendation",
            "expected none for recommendation, whose validation examples are the second last",
        ),
    ],
)
def test_validation_data_are_refused_where_they_would_be_ignored(model, task, message, tmp_path):
    path = hourly(tmp_path / "s.csv")
    if task == "anomaly":
        path = tmp_path / "s.npz"
        np.savez(path, x=RNG.random((60, 5)), y=np.arange(60) % 2)
    options = TrainConfig(model=model, task=task, data=path, validation_data=path).resolved()
    with pytest.raises(UsageError, match=f"--validation-data .*: {message}"):
        load(options)


def test_the_column_that_tells_rows_of_one_time_apart_is_named(tmp_path):
    rows = [(hour, store, 100 * store + i % 24) for store in (1, 2) for i, hour in enumerate(HOURS)]
    path = write(tmp_path / "s.csv", rows, "time,store,load")
    with pytest.raises(UsageError, match="received several at .* with --group-column, such as store$"):
        read(path)
    assert read(path, group_column="store").spec.series.columns == ("load",)
