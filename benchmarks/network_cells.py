"""Cells of `python -m benchmarks networks`, in a process for each network.

`python -m benchmarks.network_cells NETWORK FILE.json RECIPE...` adds a cell for each recipe to the JSON file. The
trained network is kept beside it.
"""

import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks import guests
from compression import api
from compression.flatbuffers import flatbuffer
from compression.recipes import language
from compression.runtime import litert
from zoo.console.errors import Failed, UsageError
from zoo.isolation import child
from zoo.system.files import write_json
from zoo.tasks.parts.outputs import Output, meanings

TRAIN, TEST = 320, 200
TRAINING = {"epochs": 4, "batch_size": 32, "learning_rate": 1e-3}
MEMORY_BYTES = 20 << 30
# Time limit of a stock conversion, and longest text of an error that is kept.
SECONDS, LETTERS = 900.0, 400
WHOLE_NUMBERS = ("int8", "int16x8")


def main(words: Sequence[str]) -> int:
    """Measure recipes of one network, and write each cell when it is measured.

    Args:
        words: Name of the network, path of its JSON file, and recipes.
    """
    name, path, *recipes = words
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    rows, file = Path(path), Path(path).with_suffix(".keras")
    found = json.loads(rows.read_text(encoding="utf-8")) if rows.is_file() else {"cells": {}}
    if not file.is_file():
        keras.utils.set_random_seed(0)
        fresh = guests.NETWORKS[name]()
        guests.fit(fresh, TRAIN)
        fresh.save(file)
    model = keras.saving.load_model(file)
    train, test = guests.examples(model, TRAIN, 0), guests.examples(model, TEST, 1)
    with tempfile.TemporaryDirectory() as folder:
        guest = Guest(model, file, train, test, Path(folder))
        found |= {"parameters": model.count_params(), "score": guest.score()}
        for recipe in recipes:
            found["cells"][recipe] = guest.cell(recipe)
            write_json(rows, found)
    return 0


@dataclass
class Guest:
    """A trained network with its examples.

    Args:
        model: Network.
        file: Its .keras file.
        train: Inputs and labels that it was trained on, which also calibrate.
        test: Fresh inputs and labels.
        folder: Folder of the files that are made.
    """

    model: keras.Model
    file: Path
    train: tuple[Any, Any]
    test: tuple[Any, Any]
    folder: Path
    _stock: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = [np.asarray(each) for each in keras.tree.flatten(self.model.predict(self.test[0], verbose=0))]
        names = [str(number) for number in range(len(self.outputs))]
        self.means: list[Output] = meanings(names, self.outputs, self.test[1])

    def score(self) -> float:
        """Return the accuracy of the network, or R2 of numbers, on the test examples; the lowest of its outputs."""
        parts = zip(self.means, self.outputs, keras.tree.flatten(self.test[1]), strict=True)
        return min(each.scores(outputs, y)[guests.score_of(each)] for each, outputs, y in parts)

    def cell(self, recipe: str) -> dict[str, Any]:
        """Carry out a recipe, and return what came of it, beside the stock file if there is a file."""
        found = self.carried_out(recipe)
        return found | ({"stock": self.stock(language.parse(recipe).precision)} if "bytes" in found else {})

    def carried_out(self, recipe: str) -> dict[str, Any]:
        """Carry out a recipe, and return what is measured on the file, or why there is none."""
        began = time.perf_counter()
        try:
            made = api.compress(
                self.model,
                recipe,
                data={"train": self.train, "test": self.test},
                output=self.folder / recipe.replace(" ", ""),
                **TRAINING,
            )
        except UsageError as error:
            return {"refused": str(error)}
        except Failed as error:
            return {"failed": str(error)}
        except Exception as error:
            traceback.print_exc()
            return {"fault": f"{type(error).__name__}: {' '.join(str(error).split())[:LETTERS]}"}
        seconds = time.perf_counter() - began
        return {
            **_agreement(made.receipt["parity"]),
            "scores": {name: value for name, value in made.test.items() if isinstance(value, float)},
            **_sizes(made.path, language.parse(recipe).precision),
            "seconds": round(seconds, 1),
        }

    def stock(self, precision: str) -> dict[str, Any]:
        """Return size and agreement of the stock file of a precision, or why there is none."""
        if precision not in self._stock:
            try:
                self._stock[precision] = self._stock_file(precision)
            except (Failed, UsageError, ValueError, StopIteration) as error:
                self._stock[precision] = {"failed": " ".join(str(error).split())[:LETTERS]}
        return self._stock[precision]

    def _stock_file(self, precision: str) -> dict[str, Any]:
        examples, path = self.folder / "examples.npz", self.folder / f"stock-{precision}.tflite"
        np.savez(examples, *keras.tree.flatten(self.train[0]))
        job = {"model": self.file, "precision": precision, "examples": examples, "output": path}
        child.run("benchmarks.stock_files", job, seconds=SECONDS)
        takes = [row["name"] for row in flatbuffer.signature(flatbuffer.read(path))["inputs"]]
        arrays = keras.tree.flatten(self.test[0])
        if len(arrays) == 1 == len(self.outputs):
            given = {"": arrays[0]}
        elif len(arrays) == 1:
            given = {takes[0]: arrays[0]}
        else:
            names = [each.name for each in self.model.inputs]
            given = {next(take for take in takes if name in take): x for name, x in zip(names, arrays, strict=True)}
        found = list(litert.run_named(path, given).values())
        parity = {}
        for number, (each, mine) in enumerate(zip(self.means, self.outputs, strict=True)):
            theirs = next(values for values in found if values.shape == mine.shape)
            parity |= {f"{number}.{name}": value for name, value in _parity(each, theirs, mine).items()}
        return {**_agreement(parity), **_sizes(path, precision)}


def _parity(output: Output, mine: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    found = {"largest_difference": float(np.abs(mine - theirs).max())}
    if (answers := output.answers(mine)) is None:
        return found | {"largest_value": float(np.abs(theirs).max())}
    return found | {"same_answer": float((answers == output.answers(theirs)).mean())}


def _agreement(parity: Mapping[str, float]) -> dict[str, float]:
    """Return the lowest share of same answers, and the largest difference of numbers as a share of their largest.

    They are those of the model that the file holds; a recipe that trains has others from the model before it.
    """
    parity = {name: value for name, value in parity.items() if "before_" not in name}
    before = {name.rpartition(".")[0] for name in parity if name.endswith("largest_value")}
    names = [f"{each}." if each else "" for each in sorted(before)]
    same = [value for name, value in parity.items() if name.endswith("same_answer")]
    off = [parity[f"{name}largest_difference"] / max(parity[f"{name}largest_value"], 1e-12) for name in names]
    return ({"same": min(same)} if same else {}) | ({"off": max(off)} if off else {})


def _sizes(path: Path, precision: str) -> dict[str, Any]:
    """Return the bytes of a file and, if it should hold whole numbers alone, its operators that give floats."""
    model = flatbuffer.read(path)
    found = {"bytes": path.stat().st_size}
    if precision not in WHOLE_NUMBERS:
        return found
    floats = Counter()
    for nodes, tensors in zip(flatbuffer.nodes(model), flatbuffer.tensors(model), strict=True):
        floats.update(
            name
            for name, _, outputs in nodes
            if name not in ("QUANTIZE", "DEQUANTIZE") and any(tensors[i]["type"] == "float32" for i in outputs)
        )
    return found | {"float_operators": dict(floats)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
