"""MLPerf Tiny's reference networks, converted into models of the zoo and quantized: closed division, measured offline.

Given weights, quantization only: the Keras files of the benchmark's repository (Banbury et al., 2021) are loaded by
`zoo.train --pretrained FILE --epochs 0` and exported in int8, with `compression.compress`. Beside our file stands the
int8 file of the repository, run turn by turn in one process, one thread, batch 1.

What the data here allow: accuracy on the 10,000 test images of CIFAR-10 and on the 1,000 official inputs of keyword
spotting. There are no COCO images, ToyADMOS sounds and wake word recordings. For visual wake words, the table has the
share of 1,250 photographs of flowers on which a file answers as its Keras network; anomaly detection and the streaming
wake word are not measured. Calibration takes training images of CIFAR-10, 200 of the 1,000 inputs of keyword spotting
(not their labels), and photographs of flowers. The larger ResNet has no Keras file.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import told
from zoo.console.errors import UsageError
from zoo.system import temporary

ROUNDS, CALLS = 5, 200
RECIPE = "int8"
# Input of the reference file for keyword spotting: (scale, zero point) of its int8 values.
KWS_SCALE, KWS_ZERO = 0.58470291, 83
PHOTO = 96


@dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Args:
        name: Its name there.
        keras: Keras file, in the folder of the networks.
        reference: int8 file of the repository.
        words: Arguments of `zoo.train`, besides the file and the data.
        data: Function from the folders of the networks and of TFDS to further arguments, which name the data.
        target: Quality target of the closed division.
    """

    name: str
    keras: str
    reference: str
    words: tuple[str, ...]
    data: Callable[[Path, Path, Path], dict[str, Any]]
    target: float


def spotting(networks: Path, work: Path) -> Path:
    """Write the official inputs of keyword spotting as pictures of bytes, and return the .npz file.

    The training split, which calibration takes examples from, is every fifth of the 1,000 test inputs.

    Args:
        networks: Folder of MLPerf Tiny's networks.
        work: Folder to write to.
    """
    stored = np.load(networks / "kws01" / "kws01.npz", allow_pickle=False)
    x, y = (stored["x"].astype(np.int16) + 128).astype(np.uint8), stored["y"].astype(np.int32)
    names = np.array([str(name) for name in stored["classes"]])
    path = work / "kws01.npz"
    np.savez(path, x_train=x[::5], y_train=y[::5], x_test=x, y_test=y, class_names=names)
    return path


def spotting_words() -> tuple[str, ...]:
    """Return the arguments of `zoo.train` for keyword spotting, whose inputs from 0 to 1 are bytes divided by 255."""
    low, high = ((value - 128 - KWS_ZERO) * KWS_SCALE for value in (0, 255))
    return (
        *("--model", "ds_cnn", "--set", "use_bias=true", "--set", f"mean={-low / (high - low):.10g}"),
        f"--input-range={low:.10g},{high:.10g}",
    )


def photographs(data_dir: Path, work: Path) -> Path:
    """Write the photographs of flowers, without a meaning of their classes, and return the .npz file."""
    from zoo.data import images

    folder = data_dir.parent / "raw" / "flowers"
    files = sorted(folder.glob("*/*.jpg"))
    if not files:
        raise UsageError(f"{folder}: expected photographs (*/*.jpg), found none")
    x = np.stack([images.decode(file, (PHOTO, PHOTO), 3) for file in files])
    y = np.arange(len(x), dtype=np.int32) % 2  # a run needs classes with examples; its accuracy means nothing
    np.savez(work / "photographs.npz", x_train=x[::5], y_train=y[::5], x_test=x, y_test=y)
    return work / "photographs.npz"


TASKS = (
    Task(
        "image classification",
        "resnet8_cifar10.keras",
        "resnet8_cifar10_int8_reference.tflite",
        ("--model", "resnet", "--set", "depth=8", "--set", "use_bias=true", "--input-range", "0,255"),
        lambda networks, data_dir, work: {"dataset": "cifar10"},
        0.85,
    ),
    Task(
        "keyword spotting",
        "dscnn_kws.keras",
        "dscnn_kws_int8_reference.tflite",
        spotting_words(),
        lambda networks, data_dir, work: {"data": spotting(networks, work)},
        0.90,
    ),
    Task(
        "visual wake words",
        "mobilenet_vww96.keras",
        "mobilenet_vww96_int8_reference.tflite",
        (
            *("--model", "mobilenet", "--set", "alpha=0.25", "--set", "activation=relu", "--set", "use_bias=true"),
            *("--set", "mean=0", "--set", "std=1"),
        ),
        lambda networks, data_dir, work: {"data": photographs(data_dir, work)},
        0.80,
    ),
)


def folder_of(data_dir: Path) -> Path:
    """Return the folder of MLPerf Tiny's networks beside the folder of TFDS sets.

    Raises:
        UsageError: It is not there.
    """
    folder = data_dir.parent / "models" / "mlperf_tiny"
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: expected the Keras and .tflite files of MLPerf Tiny (github.com/mlcommons/tiny), found none"
        )
    return folder


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each task.

    Args:
        data_dir: Folder of prepared TFDS sets; the networks are in models/mlperf_tiny beside it.
    """
    networks = folder_of(data_dir)
    return {"rows": [told(_row(task, networks, data_dir)) for task in TASKS]}


def converted(task: Task, networks: Path, data_dir: Path, work: Path) -> dict[str, Any]:
    """Convert a network of the benchmark's repository into a run, in work/run, and return its metrics.

    Args:
        task: Task of the network.
        networks: Folder of MLPerf Tiny's networks.
        data_dir: Folder of prepared TFDS sets.
        work: Folder to write to.
    """
    from benchmarks.commands import run_command

    given = {name: str(value) for name, value in task.data(networks, data_dir, work).items()}
    words = [*task.words, *(word for name, value in given.items() for word in (f"--{name}", value))]
    if "dataset" in given:
        words += ["--data-dir", str(data_dir)]
    pretrained = ("--pretrained", str(networks / task.keras), "--epochs", "0")
    return run_command("zoo.train", *words, *pretrained, "--output", str(work / "run"))


def _row(task: Task, networks: Path, data_dir: Path) -> dict[str, Any]:
    from benchmarks.commands import run_command

    with temporary.folder() as work:
        trained = converted(task, networks, data_dir, work)
        made = run_command("compression.compress", str(work / "run"), "--recipe", RECIPE)
        files = {"ours": Path(made["path"]), "reference": networks / task.reference}
        keras_file, labels, pixels = networks / task.keras, *examples(task, work)
        answers = {name: answers_of(file, pixels, task, name == "ours") for name, file in files.items()}
        theirs = _keras_answers(keras_file, pixels, task)
        times = _turn_by_turn(files, pixels[:1], task)
        return {
            "task": task.name,
            "target": task.target,
            "keras_accuracy": trained["test"]["accuracy"],
            "examples": len(pixels),
            "labelled": labels is not None,
            **{
                name: {
                    "bytes": file.stat().st_size,
                    "accuracy": None if labels is None else float((answers[name] == labels).mean()),
                    "same_as_keras": float((answers[name] == theirs).mean()),
                    "ms": statistics.median(times[name]),
                    "rounds_ms": times[name],
                }
                for name, file in files.items()
            },
        }


def examples(task: Task, work: Path) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the labels of the test examples, None without any, and their bytes (examples, height, width, channels)."""
    from zoo.data import load
    from zoo.runs.folder import RunFolder

    data = load(RunFolder(work / "run").read_config()["config"])
    x = np.asarray(data.test.x)
    return (None if task.name == "visual wake words" else np.asarray(data.test.y)), x


def _of_reference(pixels: np.ndarray, task: Task) -> np.ndarray:
    """Return what the Keras network of the repository takes for bytes."""
    if task.name == "keyword spotting":
        return (pixels.astype("float32") - 128 - KWS_ZERO) * np.float32(KWS_SCALE)
    return pixels.astype("float32") if task.name == "image classification" else pixels.astype("float32") / 255


def _keras_answers(file: Path, pixels: np.ndarray, task: Task) -> np.ndarray:
    import keras

    network = keras.models.load_model(file, compile=False)
    return network.predict(_of_reference(pixels, task), verbose=0).argmax(-1)


def _opened(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _fed(interpreter: Any, pixels: np.ndarray, task: Task, ours: bool) -> np.ndarray:
    """Return bytes as the input of a file: ours takes pixels from 0 to 1, the reference what its network takes."""
    (details,) = interpreter.get_input_details()
    values = pixels.astype("float32") / 255 if ours else _of_reference(pixels, task)
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8)


def answers_of(file: Path, pixels: np.ndarray, task: Task, ours: bool) -> np.ndarray:
    """Return the class that a file gives for each example; ours takes pixels from 0 to 1, the reference its own."""
    interpreter = _opened(file)
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for row in _fed(interpreter, pixels, task, ours):
        interpreter.set_tensor(inputs["index"], row[None])
        interpreter.invoke()
        found.append(int(interpreter.get_tensor(outputs["index"])[0].argmax()))
    return np.array(found)


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
    lines = [
        "| task | target | Keras | file | bytes | accuracy | answers of Keras | ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        keras = f"{row['keras_accuracy']:.2%}" if row["labelled"] else "no labels"
        for name in ("ours", "reference"):
            file = row[name]
            accuracy = "" if file["accuracy"] is None else f"{file['accuracy']:.2%}"
            lines.append(
                f"| {row['task']} | {row['target']:.0%} | {keras} | {name} | {file['bytes']:,} | {accuracy} |"
                f" {file['same_as_keras']:.2%} of {row['examples']:,} | {file['ms']:.4f} |"
            )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
