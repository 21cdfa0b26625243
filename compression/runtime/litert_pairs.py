"""Run a two-tower (image and text) .tflite file with LiteRT in a child process, isolated from crashes.

In the child, this module imports neither Keras nor TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compression.runtime import litert
from zoo.console.errors import Failed
from zoo.isolation import child
from zoo.system import temporary
from zoo.system.machine import cores

OUTPUT = "embedding"


def run(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the embeddings of every input, (inputs, width) float32 for each signature.

    Args:
        path: Path of the file.
        inputs: Inputs of each signature, (inputs, ...); the file is run on one at a time.

    Raises:
        Failed: The file cannot be run.
    """
    with temporary.folder() as folder:
        outputs = folder / "outputs.npz"
        _child(path, {"work": "run", "outputs": outputs}, inputs, folder)
        with np.load(outputs) as made:
            return dict(made)


def latency(path: Path, inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Measure the latency of one call of each signature, with one thread and with one per core.

    Args:
        path: Path of the file.
        inputs: Inputs of each signature, (inputs, ...); only the first is used.

    Returns:
        Rows of signature, threads, median_ms, p95_ms, runs and warm_up.
    """
    first = {name: x[:1] for name, x in inputs.items()}
    with temporary.folder() as folder:
        return _child(path, {"work": "latency", "threads": sorted({1, cores()})}, first, folder)


def _child(path: Path, job: dict[str, Any], inputs: Mapping[str, np.ndarray], folder: Path) -> Any:
    given = folder / "inputs.npz"
    np.savez(given, **inputs)
    limits = {"seconds": litert.SECONDS, "memory_bytes": litert.MEMORY_BYTES}
    try:
        return child.run("compression.runtime.litert_pairs", {**job, "file": path.resolve(), "inputs": given}, **limits)
    except Failed as error:
        raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None


def preload() -> None:
    """Import LiteRT before the first job."""
    litert.preload()


def work(job: dict[str, Any]) -> Any:
    """Run one job in the child."""
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
