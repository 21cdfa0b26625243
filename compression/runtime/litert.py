"""Run a .tflite file with the LiteRT interpreter in a child process, isolated from crashes.

In the child, this module imports neither Keras nor TensorFlow.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from compression.flatbuffers import flatbuffer
from compression.runtime import child
from zoo.console.errors import Failed, UsageError
from zoo.system.machine import cores

# Limit of the child's address space: a damaged file may request any amount.
MEMORY_BYTES = 16 << 30
SECONDS = 1800.0
# The Python packages of LiteRT 2.3 and TensorFlow 2.21 do not include the Flex delegate.
NO_FLEX = "the file needs TensorFlow's kernels (Flex operators), which LiteRT for Python lacks; it cannot be run here"
# Number of examples quantized at a time, and minimum number of batches per interpreter to repay its start.
PART, LEAST_BATCHES = 1024, 64
WARM_UP = 20
MOST_RUNS, LEAST_RUNS, SECONDS_A_LATENCY = 1000, 50, 2.0


def run(path: Path, x: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """Return the file's output for every example, (examples, ...) float32; integer inputs and outputs are converted.

    Args:
        path: Path of the file.
        x: Inputs of the file, (examples, ...).
        threads: Number of threads, each with its own interpreter and a share of the examples. Default: one per core.

    Raises:
        Failed: The file cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "x.npy", Path(folder) / "y.npy"
        np.save(inputs, x)
        job = {"work": "run", "file": path.resolve(), "inputs": inputs, "outputs": outputs}
        job["threads"] = threads or cores()
        _child(path, job)
        return np.load(outputs)


def latency(path: Path, example: np.ndarray) -> list[dict[str, Any]]:
    """Measure the latency of one invocation, with one thread and with one per core.

    Args:
        path: Path of the file.
        example: One input of the file, (batch, ...).

    Returns:
        threads, median_ms, p95_ms, runs and warm_up, for each number of threads.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "x.npy"
        np.save(inputs, example)
        job = {"work": "latency", "file": path.resolve(), "inputs": inputs, "threads": sorted({1, cores()})}
        return _child(path, job)


def _child(path: Path, job: dict[str, Any]) -> Any:
    model = flatbuffer.read(path)
    if flatbuffer.flex(model):
        raise UsageError(f"{path}: {NO_FLEX}")
    job["reset"] = flatbuffer.keeps_state(model)
    try:
        return child.run("compression.runtime.litert", job, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
    except Failed as error:
        raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None


def preload() -> None:
    """Import LiteRT before the first job."""
    import ai_edge_litert.interpreter  # noqa: F401  (kept in the server that forks)


def work(job: dict[str, Any]) -> Any:
    """Run one job in the child."""
    x = np.load(job["inputs"], mmap_mode="r")
    if job["work"] == "run":
        np.save(job["outputs"], _run(job, x))
        return None
    return [_latency(_Runner(job, threads), x, threads) for threads in job["threads"]]


class _Runner:
    """An interpreter for a file with one input and one output."""

    def __init__(self, job: dict[str, Any], threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(job["file"], num_threads=threads)
        self.interpreter.allocate_tensors()
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"expected one input and one output, the file has {len(inputs)} and {len(outputs)}")
        self.input, self.output = inputs[0], outputs[0]
        self.batch = int(self.input["shape"][0])
        self.reset = job["reset"]

    def set(self, x: np.ndarray) -> None:
        self.interpreter.set_tensor(self.input["index"], quantized(x, self.input))

    def invoke(self) -> None:
        if self.reset:
            self.interpreter.reset_all_variables()
        self.interpreter.invoke()

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the output of every example, (examples, ...) float32."""
        parts, step = [], -(-PART // self.batch) * self.batch
        for start in range(0, len(x), step):
            part = quantized(np.asarray(x[start : start + step]), self.input)
            count = len(part)
            if missing := -count % self.batch:  # pad the last batch; the padding is dropped from the outputs
                part = np.concatenate([part, np.repeat(part[-1:], missing, 0)])
            found = [self._output(part[i : i + self.batch]) for i in range(0, len(part), self.batch)]
            parts.append(dequantized(np.concatenate(found)[:count], self.output))
        return np.concatenate(parts)

    def _output(self, batch: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self.input["index"], batch)
        self.invoke()
        return self.interpreter.get_tensor(self.output["index"])


def quantized(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Quantize values for a file's input: q = round(x / scale) + zero point."""
    kind, (scale, zero) = details["dtype"], details["quantization"]
    if not scale or not np.issubdtype(x.dtype, np.floating):
        cast = x.astype(kind)
        if np.issubdtype(kind, np.integer) and not np.array_equal(cast, x):
            raise ValueError(f"expected whole numbers that {np.dtype(kind)} holds, received others")
        return cast
    limits = np.iinfo(kind)
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(kind)


def dequantized(q: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Dequantize a file's output: (q - zero point) * scale."""
    scale, zero = details["quantization"]
    return (q.astype(np.float32) - zero) * np.float32(scale) if scale else q.astype(np.float32)


def _run(job: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Return the output of every example; interpreters run in parallel, as LiteRT releases Python's GIL."""
    first = _Runner(job, 1)
    batches = -(-len(x) // first.batch)
    count = max(min(job["threads"], batches // LEAST_BATCHES), 1)
    runners = [first, *(_Runner(job, 1) for _ in range(count - 1))]
    ends = [index * batches // count * first.batch for index in range(count)] + [len(x)]
    with ThreadPoolExecutor(count) as pool:
        parts = pool.map(lambda runner, start, stop: runner.outputs(x[start:stop]), runners, ends[:-1], ends[1:])
        return np.concatenate(list(parts))


def _latency(runner: _Runner, x: np.ndarray, threads: int) -> dict[str, Any]:
    runner.set(np.asarray(x))
    return timed(runner.invoke, threads)


def timed(call: Callable[[], Any], threads: int) -> dict[str, Any]:
    """Measure the latency of a call: threads, median_ms, p95_ms, runs, warm_up."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    while len(times) < MOST_RUNS and (len(times) < LEAST_RUNS or sum(times) < SECONDS_A_LATENCY):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return {
        "threads": threads,
        "median_ms": statistics.median(times) * 1e3,
        "p95_ms": float(np.quantile(times, 0.95)) * 1e3,
        "runs": len(times),
        "warm_up": WARM_UP,
    }
