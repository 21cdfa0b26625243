"""Running a .tflite file of two towers with LiteRT, in a child process that may crash instead of us.

As a child, this module imports neither Keras nor TensorFlow.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compression.runtime import child, litert
from zoo.console.errors import Failed
from zoo.system.machine import cores

OUTPUT = "embedding"


def run(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what each signature gives for every one of its inputs, (inputs, width) float32.

    Args:
        path: of the file.
        inputs: by signature, (inputs, ...) each, of which one at a time is given.

    Raises:
        Failed: the file cannot be run; the sentence says how it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "outputs.npz"
        _child(path, {"work": "run", "outputs": outputs}, inputs, folder)
        with np.load(outputs) as made:
            return dict(made)


def latency(path: Path, inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return latencies of one call of each signature, with one thread and with all of this process.

    Args:
        path: of the file.
        inputs: by signature, as of `run`, of which the first are given.

    Returns:
        rows of signature, threads, median_ms, p95_ms, runs and warm_up.
    """
    first = {name: x[:1] for name, x in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        return _child(path, {"work": "latency", "threads": sorted({1, cores()})}, first, folder)


def _child(path: Path, job: dict[str, Any], inputs: Mapping[str, np.ndarray], folder: str) -> Any:
    given = Path(folder) / "inputs.npz"
    np.savez(given, **inputs)
    limits = {"seconds": litert.SECONDS, "memory_bytes": litert.MEMORY_BYTES}
    try:
        return child.run("compression.runtime.litert_pairs", {**job, "file": path.resolve(), "inputs": given}, **limits)
    except Failed as error:
        raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None


def preload() -> None:
    """Import what every job needs."""
    litert.preload()


def work(job: dict[str, Any]) -> Any:
    """Do one job in the child."""
    with np.load(job["inputs"]) as arrays:
        inputs = dict(arrays)
    if job["work"] == "run":
        functions = _functions(job["file"], 1)
        made = {
            name: np.concatenate([functions[name](x[i : i + 1]) for i in range(len(x))]) for name, x in inputs.items()
        }
        np.savez(job["outputs"], **made)
        return None
    rows = []
    for threads in job["threads"]:
        for name, function in _functions(job["file"], threads).items():
            timed = litert.timed(lambda call=function, x=inputs[name]: call(x), threads)
            rows.append({"signature": name, **timed})
    return rows


def _functions(path: str, threads: int) -> dict[str, Any]:
    """Return each signature as a function of its only input."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=threads)

    def function(name: str, given: str) -> Any:
        runner = interpreter.get_signature_runner(name)
        return lambda x: runner(**{given: x})[OUTPUT]

    return {name: function(name, *ends["inputs"]) for name, ends in interpreter.get_signature_list().items()}
