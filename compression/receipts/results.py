"""Results of the Python functions: a measured file, what is inside it, and a search. They print as tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compression.receipts.coverage import in_words
from compression.receipts.wording import called, on_device
from zoo.console.figures import FIGURES, by_output, form_of, label, written
from zoo.console.tables import Readable, Table


class CompressedFile(Readable):
    """A .tflite file and the receipt of what was measured on it.

    Args:
        path: Path of the file.
        receipt: Content of its receipt.
        run: Run folder it was made from, if it was made from one.
    """

    def __init__(self, path: str | Path, receipt: Mapping[str, Any], run: Path | None = None):
        self.path = Path(path)
        self.receipt = dict(receipt)
        self.run = run

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.receipt["bytes"]

    @property
    def test(self) -> dict[str, Any]:
        """Scores of the file on the test split, measured through LiteRT; empty where it could not be run."""
        return self.receipt.get("test", {}).get("litert", {})

    def table(self) -> Table:
        """Return size, test scores beside Keras' own, difference from Keras and latency."""
        receipt = self.receipt
        rows = [
            ("file", str(self.path)),
            ("recipe", receipt["made"]["recipe"]),
            ("bytes", f"{self.bytes:,} ({receipt['times_smaller']:.1f} times smaller than float32 weights)"),
            ("gzip bytes", f"{receipt['gzip_bytes']:,}"),
        ]
        if "not_run" in receipt:
            return Table(("", "value"), (*rows, ("not measured", receipt["not_run"])))
        test = receipt["test"]
        known = {name: order for order, name in enumerate(FIGURES)}
        for name in sorted(self.test, key=lambda name: known.get(name.rpartition(".")[2], len(known))):
            plain = name.rpartition(".")[2]  # without the output's name, if there are several outputs
            if isinstance(self.test[name], (int, float)) and name in test["keras"] and plain in known:
                within = {plain: test["intervals"][name]} if name in test.get("intervals", {}) else {}
                file, keras = written({plain: self.test[name]}, plain, within), {plain: test["keras"][name]}
                rows.append((f"test {label(name, self.test)}", f"{file}; Keras {written(keras, plain, {})}"))
        if not self.test:
            rows.append(("test scores", "no labels: compared with the model's own predict alone"))
        rows += [(f"{name.replace('_', ' ')} from Keras", f"{value:.1e}") for name, value in _differences(receipt)]
        rows += [
            (f"latency, {called(row)}", f"median {row['median_ms']:.3f} ms, p95 {row['p95_ms']:.3f} ms")
            for row in receipt.get("latency", ())
        ]
        rows += [("on a device", line) for line in on_device(receipt)]
        return Table(("", "value"), tuple(rows))


def _differences(receipt: Mapping[str, Any]) -> list[tuple[str, float]]:
    parity = receipt.get("parity", {})
    return [(name, parity[name]) for name in ("largest_difference", "largest_cosine_difference") if name in parity]


class Verification(Readable):
    """A file whose receipt was checked, and measured again if its run was there.

    Args:
        measured: Content of `python -m compression.verify --json`.
    """

    def __init__(self, measured: Mapping[str, Any]):
        self.measured = dict(measured)
        self.path = Path(measured["path"])

    def table(self) -> Table:
        """Return what was reproduced, and how each field of the receipt was confirmed."""
        found = self.measured
        rows = [("file", str(self.path))]
        if found["verified"]:
            rows.append(("reproduced", f"{found['bytes']:,} bytes, SHA-256 {found['sha256'][:16]}..."))
        test = found.get("test", {})
        rows += [
            (f"test {label(name, test['litert'])}", format(test["litert"][name], form_of(name.rpartition(".")[2])[1]))
            for name in by_output(test.get("litert", {}))
            if isinstance(test["litert"][name], (int, float))
        ]
        rows += [("signature", found["signed"])] if found["signed"] else []
        rows += [(title, ", ".join(names)) for title, names in in_words(found)]
        return Table(("", "value"), tuple(rows))


class Inspection(Readable):
    """Where the bytes of a .tflite file are.

    Args:
        parts: Content of `python -m compression.inspect --json`.
    """

    def __init__(self, parts: Mapping[str, Any]):
        self.parts = dict(parts)
        self.path = Path(parts["path"])

    @property
    def operators(self) -> dict[str, int]:
        """How often the file uses each operator."""
        return self.parts["operators"]

    @property
    def tensors(self) -> Table:
        """One row a constant: name, type, shape, bytes, zeros and distinct values."""
        return Table.of(self.parts["constants"])

    def table(self) -> Table:
        """Return the bytes of each layer, largest first."""
        whole = self.parts["bytes"]
        rows = [(layer, size, f"{size / whole:.1%}") for layer, size in self.parts["layers"].items()]
        return Table(("layer", "bytes", "share"), (*rows, ("all", whole, "100.0%")))


class SearchResult(Readable):
    """The files of a search.

    Args:
        result: Content of `python -m compression.search --json`.
    """

    def __init__(self, result: Mapping[str, Any]):
        self.result = dict(result)
        self.folder = Path(result["folder"])

    @property
    def winner(self) -> Path:
        """Path of the file to ship."""
        return self.folder / self.result["winner"]["path"]

    def table(self) -> Table:
        """Return the Pareto front, cheapest file first."""
        names = ("bytes", "gzip_bytes", "latency_ms", "accuracy", "test_accuracy", "recipe")
        columns = ("bytes", "gzip bytes", "median ms", "validation accuracy", "test accuracy", "recipe")
        return Table(columns, tuple(tuple(row[name] for name in names) for row in self.result["front"]))
