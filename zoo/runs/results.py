"""What the Python functions return: a run, its scores and its predictions, which show themselves as tables."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config.train_config import TrainConfig
from zoo.console.figures import by_output, ends, form_of, label
from zoo.console.tables import Readable, Table
from zoo.runs.folder import RunFolder

if TYPE_CHECKING:
    import keras


# Numbers of an answer that a table shows.
MOST_NUMBERS = 8


class Run(Readable):
    """A trained run.

    Args:
        path: Its folder.
        model: The trained model, if it is in memory already; otherwise it is loaded when it is asked for.
    """

    def __init__(self, path: str | Path, model: "keras.Model | None" = None):
        self.folder = RunFolder(Path(path))
        self.folder.require()
        self._model = model

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def report(self) -> Path:
        """The report, report.html."""
        return self.folder.report_file

    @property
    def model(self) -> "keras.Model":
        """The trained Keras model, without an optimizer."""
        if self._model is None:
            self._model = self.folder.load_model()
        return self._model

    @functools.cached_property
    def config(self) -> TrainConfig:
        """The configuration of the training."""
        return self.folder.read_config()["config"]

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return self.folder.read_metrics()

    @property
    def test(self) -> "Scores":
        """The scores of the test split."""
        return Scores({**self.metrics["test"], "intervals": self.metrics.get("intervals", {})})

    @functools.cached_property
    def history(self) -> Table:
        """One row an epoch, as in history.csv."""
        rows = [{name: _number(text) for name, text in row.items()} for row in self.folder.read_history()]
        return Table.of(rows)

    def table(self) -> Table:
        """Return the run folder, the model, its data and the test scores."""
        metrics = self.metrics
        facts = [
            ("run", str(self.path)),
            ("model", self.folder.model_name),
            ("data", self.config.data_name),
            ("parameters", f"{metrics['parameters']:,}"),
            ("epochs", f"{metrics['epochs']}, weights of epoch {metrics['epoch']}"),
            *((f"test {name}", _with_interval(value, ci)) for name, value, ci in self.test.table().rows),
            ("report", str(self.report)),
        ]
        return Table(("", "value"), tuple(facts))


class Scores(Readable, Mapping[str, Any]):
    """The scores of a split, by name; `intervals` holds their 95 % confidence intervals."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def table(self) -> Table:
        """Return a row a figure: its name, its value and its 95 % interval."""
        intervals = self._values.get("intervals", {})
        rows = [
            (label(name, self), format(self[name], form), ends(intervals[name], form) if name in intervals else None)
            for name in by_output(self)
            if isinstance(self[name], (int, float))
            for form in [form_of(name.rpartition(".")[2])[1]]
        ]
        return Table(("figure", "value", "95 % interval"), tuple(rows))


class Predictions(Readable, Sequence[dict[str, Any]]):
    """The answers to inputs, in their order.

    Each is a dict with input, label, probability and, on request, top. A model of one's own may give numbers: then it
    has values. If it has several outputs, each answer names its output. A detector gives objects, each with label,
    probability and box (x1, y1, x2, y2 in pixels). A run of masks gives shares, of the pixels by class; its label is
    the largest class.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]):
        self._rows = list(rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def labels(self) -> list[str]:
        """The most probable label of each input."""
        return [row["label"] for row in self._rows]

    def table(self) -> Table:
        """Return a row for each input and answer."""
        columns, rows = answers(self._rows)
        return Table(columns, tuple(rows))


def answers(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return the columns and the rows of a table of answers, see `Predictions`.

    Args:
        rows: Answers. Those with `names` have a number for each name, in `values`.
    """
    if rows and all("names" in row for row in rows):
        return ("input", *rows[0]["names"]), [(row["input"], *row["values"]) for row in rows]
    if any("threshold" in row for row in rows):
        columns = ("input", "label", "score", "threshold")
        return columns, [tuple(row[name] for name in columns) for row in rows]
    several, numbers = (any(name in row for row in rows) for name in ("output", "values"))
    columns = ("input", *(("output",) if several else ()), "answer" if numbers else "label", "probability")
    if any("objects" in row for row in rows):
        return (*columns, "x1", "y1", "x2", "y2"), [one for row in rows for one in _objects(row)]
    if any("shares" in row for row in rows):
        return ("input", "class", "share"), [
            (row["input"], name, share) for row in rows for name, share in row["shares"].items()
        ]
    shown = [
        (row["input"], *((row["output"],) if several else ()), *answer)
        for row in rows
        for answer in ([(_numbers(row["values"], row.get("names")), "")] if "values" in row else _ranked(row))
    ]
    return columns, shown


def _ranked(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(one["label"], one["probability"]) for one in row.get("top", [row])]


def _objects(row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row for each object in a picture, or one that says that there is none."""
    found = [(row["input"], one["label"], one["probability"], *one["box"]) for one in row["objects"]]
    return found or [(row["input"], "none", "", "", "", "", "")]


def _numbers(values: Any, names: Sequence[str] | None = None) -> str:
    """Return numbers in a line, the first ones of many, each with its name if they have names."""
    import numpy as np  # not needed for --help

    flat = np.ravel(values)
    if names is not None:
        return ", ".join(f"{name} {value:.6g}" for name, value in zip(names, flat, strict=True))
    more = f" ... ({flat.size:,} numbers)" if flat.size > MOST_NUMBERS else ""
    return " ".join(f"{value:.6g}" for value in flat[:MOST_NUMBERS]) + more


def _with_interval(value: str, interval: str | None) -> str:
    return f"{value} ({interval})" if interval else value


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
