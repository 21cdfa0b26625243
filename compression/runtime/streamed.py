"""Run a streaming .tflite file call after call in a child process, each with the states that the last one returned.

In the child, this module imports neither Keras nor TensorFlow.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from compression.flatbuffers.interface import StreamInterface
from compression.runtime.litert import MEMORY_BYTES, SECONDS
from zoo.console.errors import Failed
from zoo.isolation import child
from zoo.system import temporary


def run(path: Path, interface: StreamInterface, pieces: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the probabilities after each call, (calls, classes), and the time of a call with one thread.

    Args:
        path: Streaming file.
        interface: Its inputs and outputs.
        pieces: Samples of each call, (calls, 1, samples).

    Raises:
        Failed: The file cannot be run.
    """
    with temporary.folder() as folder:
        given, made = folder / "x.npy", folder / "y.npy"
        np.save(given, pieces)
        job = {"file": path.resolve(), "states": interface.states, "inputs": given, "outputs": made}
        try:
            took = child.run("compression.runtime.streamed", job, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
        except Failed as error:
            raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None
        return np.load(made), took


def preload() -> None:
    """Import LiteRT before the first job."""
    import ai_edge_litert.interpreter  # noqa: F401  (kept in the server that forks)


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in the child."""
    from ai_edge_litert.interpreter import Interpreter

    pieces = np.load(job["inputs"])
    interpreter = Interpreter(model_path=str(job["file"]), num_threads=1)
    (name,) = interpreter.get_signature_list()
    serve = interpreter.get_signature_runner(name)
    states = {f"state_{number}": np.zeros(shape, np.float32) for number, shape in enumerate(job["states"])}
    answers, took = [], []
    for samples in pieces:
        start = time.perf_counter()
        made = serve(samples=samples, **states)
        took.append(time.perf_counter() - start)
        states = {state: made[f"new_{state}"] for state in states}
        answers.append(made["probabilities"][0])
    np.save(job["outputs"], np.array(answers, np.float32))
    ordered = sorted(took)
    return {
        "threads": 1,
        "median_ms": 1000 * statistics.median(ordered),
        "p95_ms": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
        "runs": len(ordered),
    }
