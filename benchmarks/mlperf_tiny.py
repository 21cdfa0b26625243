"""MLPerf Tiny's reference networks, converted into models of the zoo: closed and open division, measured offline.

Closed division, given weights and quantization only: the Keras files of the benchmark's repository (Banbury et al.,
2021) are loaded by `zoo.train --pretrained FILE --epochs 0` and exported in int8, with `compression.compress`. Beside
our file stands the int8 file of the repository, run turn by turn in one process, one thread, batch 1. Open division:
the same weights in the smallest files that need no training (`--bare`, without names and descriptions).

Accuracy is measured where labelled data are here: on the 10,000 test images of CIFAR-10, and on the 1,000 official
inputs of keyword spotting, of which every fifth calibrates (without its label) and the other 800 judge. There are no
COCO images, ToyADMOS sounds and wake word recordings, so the accuracy of visual wake words and of the streaming wake
word and the AUC of anomaly detection cannot be measured here. For these tasks the table has how far a file is from its
Keras network on other inputs: 1,000 photographs of flowers, and 1,000 pieces of spoken digits, see
`benchmarks.mlperf_inputs`. For classes it is the share of equal answers, for anomaly detection the mean difference of
the scores (mean squared errors), as a share of their standard deviation. 250 other inputs of the same kind calibrate.

Of the second network for image classification, the larger ResNet, the repository has no Keras file. Arena is what
TFLite Micro takes on a 64-bit machine, cycles are those of Arm's compiler for an Ethos-U55 with 128 multiply-adds a
cycle; none of it ran on a device. Files in int4 have float32 activations between their layers, which neither takes.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mlperf_inputs
from benchmarks.commands import told
from benchmarks.mlperf_inputs import KWS_SCALE, KWS_ZERO
from zoo.system import temporary

ROUNDS, CALLS = 5, 200
CLOSED, OPEN = "int8", ("int8(per_tensor=true, equalize=true)", "int4", "int4(per_tensor=true)")
TARGET = "ethos-u55-128"
# Choices of every fifth input of keyword spotting that calibrates.
CHOICES = range(5)


@dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Args:
        name: Its name there.
        network: Keras file, in the folder of the networks; the int8 file of the repository has the same name.
        words: Arguments of `zoo.train`, besides the file and the data.
        pixels: Argument that says what the network takes for pixels from 0 to 1, if it is something else.
        target: Quality target of the closed division.
        inputs: Name of the .npz file with its inputs; empty for CIFAR-10.
        write: Function that writes that file, from the folder of TFDS sets and its path.
        factor: Scale and zero point of what the network takes for the bytes, or the numbers, of the inputs.
        labelled: Whether the inputs have labels.
        by_errors: Whether outputs are reconstructions, scored by their errors, and not classes.
        choices: Choices of inputs that calibrate the files of the open division.
    """

    name: str
    network: str
    words: tuple[str, ...]
    target: str
    pixels: tuple[str, ...] = ()
    inputs: str = ""
    write: Callable[..., None] | None = None
    factor: tuple[float, float] = (1 / 255, 0)
    labelled: bool = False
    by_errors: bool = False
    choices: range = range(1)

    @property
    def reference(self) -> str:
        """Name of the int8 file of the repository."""
        return f"{Path(self.network).stem}_int8_reference.tflite"


# What the network for keyword spotting takes for bytes 0 and 255.
LOW, HIGH = ((value - 128 - KWS_ZERO) * KWS_SCALE for value in (0, 255))

TASKS = {
    "resnet8-cifar10": Task(
        "image classification",
        "resnet8_cifar10.keras",
        ("--model", "resnet", "--set", "depth=8", "--set", "use_bias=true"),
        "85 %",
        ("--input-range", "0,255"),
        factor=(1, 0),
        labelled=True,
    ),
    "ds_cnn-kws": Task(
        "keyword spotting",
        "dscnn_kws.keras",
        ("--model", "ds_cnn", "--set", "use_bias=true", "--set", f"mean={-LOW / (HIGH - LOW):.10g}"),
        "90 %",
        (f"--input-range={LOW:.10g},{HIGH:.10g}",),
        "kws01",
        mlperf_inputs.keywords,
        (KWS_SCALE, 128 + KWS_ZERO),
        labelled=True,
        choices=CHOICES,
    ),
    "mobilenet-vww": Task(
        "visual wake words",
        "mobilenet_vww96.keras",
        (
            *("--model", "mobilenet", "--set", "alpha=0.25", "--set", "activation=relu", "--set", "use_bias=true"),
            *("--set", "mean=0", "--set", "std=1"),
        ),
        "80 %",
        inputs="flowers",
        write=mlperf_inputs.photographs,
    ),
    "autoencoder-toycar": Task(
        "anomaly detection",
        "autoencoder_toycar.keras",
        ("--model", "autoencoder"),
        "AUC 0.85",
        inputs="spoken_digits_db",
        write=mlperf_inputs.machine_sounds,
        factor=(1, 0),
        by_errors=True,
    ),
    "wakeword": Task(
        "streaming wake word",
        "streaming_wakeword.keras",
        ("--model", "streaming_wakeword"),
        "none listed",
        inputs="spoken_digits",
        write=mlperf_inputs.wake_words,
    ),
}


def train_words(task: Task, data: str) -> tuple[str, ...]:
    """Return the arguments of `zoo.train` that make a run of the given weights.

    Args:
        task: Task.
        data: Path of its inputs; not used for CIFAR-10.
    """
    named = ("--data", data, "--validation-split", "0") if task.inputs else ("--dataset", "cifar10")
    return (*task.words[:2], *named, *task.words[2:], "--pretrained", task.network, *task.pixels, "--epochs", "0")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each file.

    Args:
        data_dir: Folder of prepared TFDS sets; the networks are in models/mlperf_tiny beside it.
    """
    networks = mlperf_inputs.folder_of(data_dir)
    return {"rows": [row for task in TASKS.values() for row in _rows(task, networks, data_dir)]}


def _rows(task: Task, networks: Path, data_dir: Path) -> list[dict[str, Any]]:
    with temporary.folder() as work:
        runs = [converted(task, networks, data_dir, work, choice) for choice in task.choices]
        pixels, labels = examples(runs[0])
        theirs = _of_keras(networks / task.network, pixels, task)
        files = {"ours": _compressed(runs[0], CLOSED), "reference": networks / task.reference}
        outputs = {name: outputs_of(file, pixels, task, name == "ours") for name, file in files.items()}
        times = _turn_by_turn(files, pixels[:1], task)
        common = {"task": task.name, "target": task.target, "examples": len(pixels)}
        common |= {"keras": _accuracy(theirs, labels, task), "by_errors": task.by_errors}
        rows = [
            told(
                {
                    **common,
                    "division": "closed",
                    "file": name,
                    "recipe": CLOSED,
                    "accuracies": [_accuracy(outputs[name], labels, task)],
                    "parities": [_parity(outputs[name], theirs, pixels, task)],
                    "ms": statistics.median(times[name]),
                    "rounds_ms": times[name],
                    **_on_device(file),
                }
            )
            for name, file in files.items()
        ]
        return rows + [told({**common, **_opened_up(task, networks, runs, recipe)}) for recipe in OPEN]


def _opened_up(task: Task, networks: Path, runs: list[Path], recipe: str) -> dict[str, Any]:
    """Return the row of a recipe of the open division: its file for each choice of calibration."""
    files = [_compressed(run, recipe, bare=True) for run in runs]
    accuracies, parities = [], []
    for run, file in zip(runs, files, strict=True):
        pixels, labels = examples(run)
        outputs = outputs_of(file, pixels, task, ours=True)
        accuracies.append(_accuracy(outputs, labels, task))
        parities.append(_parity(outputs, _of_keras(networks / task.network, pixels, task), pixels, task))
    times = _turn_by_turn({"ours": files[0]}, pixels[:1], task)["ours"]
    return {
        "division": "open",
        "file": "ours",
        "recipe": recipe,
        "accuracies": accuracies,
        "parities": parities,
        "all_bytes": [file.stat().st_size for file in files],
        "ms": statistics.median(times),
        "rounds_ms": times,
        **_on_device(files[0]),
    }


def converted(task: Task, networks: Path, data_dir: Path, work: Path, choice: int = 0) -> Path:
    """Convert a network of the benchmark's repository into a run, and return its folder.

    Args:
        task: Task.
        networks: Folder of MLPerf Tiny's networks.
        data_dir: Folder of prepared TFDS sets.
        work: Folder to write to.
        choice: Which inputs calibrate, where there are several choices.
    """
    from benchmarks.commands import run_command

    place = work / str(choice)
    place.mkdir()
    data = place / f"{task.inputs}.npz"
    if task.write is not None:
        task.write(data_dir, data, *([choice] if len(task.choices) > 1 else []))
    words = [str(networks / task.network) if word == task.network else word for word in train_words(task, str(data))]
    if not task.inputs:
        words += ["--data-dir", str(data_dir)]
    run_command("zoo.train", *words, "--output", str(place / "run"))
    return place / "run"


def _compressed(run: Path, recipe: str, *, bare: bool = False) -> Path:
    from compression import api

    return api.compress(run, recipe, bare=bare).path


def examples(run: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the test examples of a run as they are, and their labels if they have any."""
    from zoo.data import load
    from zoo.runs.folder import RunFolder

    data = load(RunFolder(run).read_config()["config"])
    return np.asarray(data.test.x), None if data.spec.unlabelled else np.asarray(data.test.y)


def of_reference(pixels: np.ndarray, task: Task) -> np.ndarray:
    """Return what the Keras network of the repository takes for the inputs of a run."""
    scale, zero = task.factor
    values = (pixels.astype("float32") - zero) * np.float32(scale)
    return values.transpose(0, 1, 3, 2) if task.inputs == "spoken_digits" else values


def _of_keras(file: Path, pixels: np.ndarray, task: Task) -> np.ndarray:
    import keras

    return keras.models.load_model(file, compile=False).predict(of_reference(pixels, task), verbose=0)


def _accuracy(outputs: np.ndarray, labels: np.ndarray | None, task: Task) -> float | None:
    return float((outputs.argmax(-1) == labels).mean()) if task.labelled else None


def _parity(outputs: np.ndarray, theirs: np.ndarray, pixels: np.ndarray, task: Task) -> float:
    """Return the share of answers that are those of Keras, or how far scores are from those of Keras."""
    if not task.by_errors:
        return float((outputs.argmax(-1) == theirs.argmax(-1)).mean())
    inputs = of_reference(pixels, task)
    mine, expected = (np.square(inputs - found, dtype=np.float64).mean(1) for found in (outputs, theirs))
    return float(np.abs(mine - expected).mean() / expected.std())


def _on_device(file: Path) -> dict[str, Any]:
    from compression.devices import profile

    found = profile.measure(file, TARGET)
    return {"bytes": file.stat().st_size, **{key: found.get(key) for key in ("arena_bytes", "cycles", "refused")}}


def _opened(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _fed(interpreter: Any, pixels: np.ndarray, task: Task, ours: bool) -> np.ndarray:
    """Return inputs as a file takes them: ours takes pixels from 0 to 1, the reference what its network takes."""
    (details,) = interpreter.get_input_details()
    values = of_reference(pixels, task)
    if ours:
        values = pixels.astype("float32") / (255 if pixels.dtype == np.uint8 else 1)
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8)


def outputs_of(file: Path, pixels: np.ndarray, task: Task, ours: bool) -> np.ndarray:
    """Return the outputs of a file, (examples, ...) float32."""
    interpreter = _opened(file)
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for row in _fed(interpreter, pixels, task, ours):
        interpreter.set_tensor(inputs["index"], row[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(outputs["index"])[0])
    scale, zero = outputs["quantization"] if outputs["dtype"] != np.float32 else (1, 0)
    return (np.array(found, np.float32) - zero) * np.float32(scale)


def _turn_by_turn(files: dict[str, Path], pixels: np.ndarray, task: Task) -> dict[str, list[float]]:
    """Return the milliseconds of an inference, the median of each round; the files take turns."""
    opened = {name: _opened(file) for name, file in files.items()}
    for name, interpreter in opened.items():
        (inputs,) = interpreter.get_input_details()
        interpreter.set_tensor(inputs["index"], _fed(interpreter, pixels, task, name == "ours"))
    found: dict[str, list[float]] = {name: [] for name in files}
    for number in range(1 + ROUNDS):
        for name, interpreter in opened.items():
            times = []
            for _ in range(CALLS):
                began = time.perf_counter()
                interpreter.invoke()
                times.append(time.perf_counter() - began)
            if number:  # the first round warms up
                found[name].append(1000 * statistics.median(times))
    return found


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    titles = ("task", "division", "file", "bytes", "accuracy (target, Keras)", "from Keras", "ms", "arena", "cycles")
    return [
        f"| {' | '.join(titles)} |",
        "| --- | --- | --- |" + " ---: |" * (len(titles) - 3),
        *(f"| {' | '.join(_cells(row))} |" for row in result["rows"]),
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    file = row["file"] if row["division"] == "closed" else f"`{row['recipe']}`, bare"
    accuracy = f"not measured ({row['target']})"
    if row["keras"] is not None:
        accuracy = f"{_mean(row['accuracies'])} ({row['target']}, {row['keras']:.2%})"
    parity = statistics.mean(row["parities"])
    parity_told = f"scores {parity:.2%} away" if row["by_errors"] else f"{parity:.2%} of {row['examples']:,} the same"
    counts = ["" if row[key] is None else f"{row[key]:,}" for key in ("arena_bytes", "cycles")]
    size = f"{max(row.get('all_bytes', [row['bytes']])):,}"
    return (row["task"], row["division"], file, size, accuracy, parity_told, f"{row['ms']:.4f}", *counts)


def _mean(accuracies: list[float]) -> str:
    if len(accuracies) == 1:
        return f"{accuracies[0]:.2%}"
    return f"{statistics.mean(accuracies):.2%}, {min(accuracies):.2%} to {max(accuracies):.2%} by calibration"


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
