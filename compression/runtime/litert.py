"""Run a .tflite file with the LiteRT interpreter in a child process, isolated from crashes.

In the child, this module imports neither Keras nor TensorFlow.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from compression.flatbuffers import flatbuffer
from zoo.console import progress
from zoo.console.errors import Failed, UsageError
from zoo.data.stored.column import parts
from zoo.isolation import child
from zoo.system import temporary
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
        path: Path of the file, which has one input and one output.
        x: Inputs of the file, (examples, ...).
        threads: Number of threads, each with its own interpreter and a share of the examples. Default: one per core.

    Raises:
        Failed: The file cannot be run.
    """
    return next(iter(run_named(path, {"": x}, threads=threads).values()))


def run_named(path: Path, inputs: Mapping[str, np.ndarray], *, threads: int | None = None) -> dict[str, np.ndarray]:
    """Return all outputs of a file for every example, each (examples, ...) float32, by name in the signature.

    Args:
        path: Path of the file.
        inputs: Inputs by name in the signature, each (examples, ...); with the name "", the only input of a file with
            one output, whose names do not matter.
        threads: Number of threads, each with its own interpreter and a share of the examples. Default: one per core.

    Raises:
        Failed: The file cannot be run.
    """
    with temporary.folder() as folder:
        outputs = folder / "y.npz"
        job = {"work": "run", "inputs": _stored(inputs, folder), "outputs": outputs, "threads": threads or cores()}
        _child(path, job)
        with np.load(outputs) as found:
            return dict(found)


def latency(path: Path, example: np.ndarray | Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Measure the latency of one invocation, with one thread and with one per core.

    Args:
        path: Path of the file.
        example: One input of the file, (batch, ...), or an input by each name in the signature.

    Returns:
        threads, median_ms, p95_ms, runs and warm_up, for each number of threads.
    """
    inputs = example if isinstance(example, Mapping) else {"": example}
    with temporary.folder() as folder:
        return _child(path, {"work": "latency", "inputs": _stored(inputs, folder), "threads": sorted({1, cores()})})


def tensors(path: Path, inputs: Mapping[str, np.ndarray], wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """Return tensors inside the first graph of a file for every example, each (examples, ...) float32, by index.

    The operators are LiteRT's own, not XNNPACK's, because a delegate keeps no tensor between its operators.

    Args:
        path: Path of the file.
        inputs: Inputs by name, see `run_named`. Each example is one call, so that their number is a multiple of the
            file's batch.
        wanted: Indices of the tensors.

    Raises:
        Failed: The file cannot be run.
    """
    with temporary.folder() as folder:
        outputs = folder / "tensors.npz"
        job = {"work": "tensors", "inputs": _stored(inputs, folder), "outputs": outputs, "tensors": list(wanted)}
        _child(path, job)
        with np.load(outputs) as found:
            return {int(name): found[name] for name in found}


def _stored(inputs: Mapping[str, np.ndarray], folder: Path) -> dict[str, str]:
    """Write arrays to files, and return the file of each; unlike in an .npz file, they can be mapped into memory."""
    found = {}
    for number, (name, array) in enumerate(inputs.items()):
        found[name] = str(folder / f"x{number}.npy")
        stored = np.lib.format.open_memmap(found[name], "w+", array.dtype, array.shape)
        for part in parts(array):  # examples may be decoded when they are looked at
            stored[part] = array[part]
    return found


def _child(path: Path, job: dict[str, Any]) -> Any:
    model = flatbuffer.read(path)
    if flatbuffer.flex(model):
        raise UsageError(f"{path}: {NO_FLEX}")
    job |= {"file": path.resolve(), "reset": flatbuffer.keeps_state(model)}
    try:
        return child.run("compression.runtime.litert", job, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
    except Failed as error:
        raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None


def preload() -> None:
    """Import LiteRT before the first job."""
    import ai_edge_litert.interpreter  # noqa: F401  (kept in the server that forks)


def work(job: dict[str, Any]) -> Any:
    """Run one job in the child."""
    inputs = {name: np.load(file, mmap_mode="r") for name, file in job["inputs"].items()}
    if job["work"] == "run":
        np.savez(job["outputs"], **_run(job, inputs))
        return None
    if job["work"] == "tensors":
        np.savez(job["outputs"], **_tensors(job, inputs))
        return None
    found = []
    for threads in job["threads"]:
        progress.part(len(found), len(job["threads"]), "latency")
        found.append(_latency(_Runner(job, threads), inputs, threads))
    return found


class _Runner:
    """An interpreter for a file with one signature."""

    def __init__(self, job: dict[str, Any], threads: int):
        from ai_edge_litert.interpreter import Interpreter

        keeps = "tensors" in job
        self.interpreter = Interpreter(job["file"], num_threads=threads, experimental_preserve_all_tensors=keeps)
        self.interpreter.allocate_tensors()
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if set(job["inputs"]) != {""}:
            (signature,) = self.interpreter.get_signature_list()
            runner = self.interpreter.get_signature_runner(signature)
            self.inputs, self.outputs = dict(runner.get_input_details()), dict(runner.get_output_details())
            if set(self.inputs) != set(job["inputs"]):
                raise ValueError(f"expected inputs named {', '.join(self.inputs)}, received {', '.join(job['inputs'])}")
        elif len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"expected one input and one output, the file has {len(inputs)} and {len(outputs)}")
        else:
            self.inputs, self.outputs = {"": inputs[0]}, {"output": outputs[0]}
        self.batch = int(next(iter(self.inputs.values()))["shape"][0])
        self.reset = job["reset"]

    def set(self, inputs: Mapping[str, np.ndarray]) -> None:
        for name, x in inputs.items():
            self.interpreter.set_tensor(self.inputs[name]["index"], quantized(x, self.inputs[name]))

    def invoke(self) -> None:
        if self.reset:
            self.interpreter.reset_all_variables()
        self.interpreter.invoke()

    def run(self, inputs: Mapping[str, np.ndarray], told: Callable[[int], None]) -> dict[str, np.ndarray]:
        """Return the outputs of every example by name, (examples, ...) float32, and tell how many are done."""
        parts, step = [], -(-PART // self.batch) * self.batch
        for start in range(0, len(next(iter(inputs.values()))), step):
            part = {n: quantized(np.asarray(x[start : start + step]), self.inputs[n]) for n, x in inputs.items()}
            count = len(next(iter(part.values())))
            if missing := -count % self.batch:  # pad the last batch; the padding is dropped from the outputs
                part = {n: np.concatenate([x, np.repeat(x[-1:], missing, 0)]) for n, x in part.items()}
            found = []
            for i in range(0, count, self.batch):
                found.append(self._outputs({n: x[i : i + self.batch] for n, x in part.items()}))
                told(self.batch)
            parts.append(
                {
                    n: dequantized(np.concatenate([outputs[n] for outputs in found])[:count], details)
                    for n, details in self.outputs.items()
                }
            )
        return {n: np.concatenate([part[n] for part in parts]) for n in self.outputs}

    def _outputs(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, x in batch.items():
            self.interpreter.set_tensor(self.inputs[name]["index"], x)
        self.invoke()
        return {name: self.interpreter.get_tensor(details["index"]) for name, details in self.outputs.items()}


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


def _run(job: dict[str, Any], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of every example; interpreters run in parallel, as LiteRT releases Python's GIL."""
    first, examples = _Runner(job, 1), len(next(iter(inputs.values())))
    batches = -(-examples // first.batch)
    count = max(min(job["threads"], batches // LEAST_BATCHES), 1)
    runners = [first, *(_Runner(job, 1) for _ in range(count - 1))]
    ends = [index * batches // count * first.batch for index in range(count)] + [examples]

    told = progress.counter(examples, "examples")

    def share(runner: _Runner, start: int, stop: int) -> dict[str, np.ndarray]:
        return runner.run({name: x[start:stop] for name, x in inputs.items()}, told)

    with ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(share, runners, ends[:-1], ends[1:]))
    return {name: np.concatenate([part[name] for part in parts]) for name in first.outputs}


def _tensors(job: dict[str, Any], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors that a job wants for every example, by index."""
    runner, parts = _Runner(job, 1), []
    details = {int(each["index"]): each for each in runner.interpreter.get_tensor_details()}
    for start in range(0, len(next(iter(inputs.values()))), runner.batch):
        runner.set({name: np.asarray(x[start : start + runner.batch]) for name, x in inputs.items()})
        runner.invoke()
        parts.append({i: dequantized(runner.interpreter.get_tensor(i), details[i]) for i in job["tensors"]})
    return {str(i): np.concatenate([part[i] for part in parts]) for i in job["tensors"]}


def _latency(runner: _Runner, inputs: Mapping[str, np.ndarray], threads: int) -> dict[str, Any]:
    runner.set({name: np.asarray(x) for name, x in inputs.items()})
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
