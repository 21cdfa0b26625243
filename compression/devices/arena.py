"""Run a .tflite file in the interpreter of TFLite Micro, and return the memory that it takes, to the byte.

The interpreter is native code that unusual files can crash, so it runs in a child process.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from compression.devices import micro
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.layers import layers_of
from zoo.console.errors import Failed
from zoo.isolation import child
from zoo.system import temporary

# The arena that the interpreter is given first, and the largest one. A larger arena does not change what is used.
FIRST_ARENA, MOST_ARENA = 1 << 20, 1 << 30
# The interpreter stops the process that gives it less; no microcontroller has as much.
MEMORY_BYTES = 4 << 30
SECONDS = 300.0
_TOTAL = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_PART = re.compile(r"'([^']+)' used (\d+) bytes")
_NODE = re.compile(r"Node (\w+) \(number (\d+)\) failed")
_TOO_SMALL = ("Failed to resize buffer", "Failed to allocate", "Arena size is too small", "missing:")


def measure(path: Path, examples: int = 0) -> dict[str, Any]:
    """Return the memory that TFLite Micro takes for a file.

    Args:
        path: Path of the file.
        examples: Number of random inputs on which the outputs are compared with LiteRT's; 0 to allocate without a run.

    Returns:
        arena_bytes, the whole arena, and its two ends: activation_bytes, which layers share one after another, and
        persistent_bytes, the structures that stay; arena_parts, the bytes of each kind of structure. If there are
        examples, largest_difference from LiteRT, in quantization steps of an integer output or in its own unit. If
        TFLite Micro cannot run the file, `refused`, a sentence, instead of these.
    """
    model = flatbuffer.read(path)
    known = micro.hindrances(model)
    with temporary.folder() as folder:
        log = folder / "log"
        job = {"file": path, "log": log, "examples": examples, "reset": flatbuffer.keeps_state(model)}
        job["inputs"] = len(model.subgraphs[0].inputs)
        job["outputs"] = len(model.subgraphs[0].outputs)
        try:
            return child.run("compression.devices.arena", job, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
        except Failed as error:
            text = log.read_text(errors="replace") if log.is_file() else ""
            reasons = known or [_why(model, text) or f"its interpreter gave up: {str(error)[:200]}"]
            return {"refused": f"TFLite Micro cannot run it: {'; '.join(reasons)}"}


def _why(model: Any, log: str) -> str:
    """Return the operator, its layer and the reason of a failure that the interpreter wrote into its log."""
    found = list(_NODE.finditer(log))
    if not found:
        return ""
    name, number = found[-1][1], int(found[-1][2])
    lines = log[: found[-1].start()].strip().splitlines()
    reason = lines[-1].rpartition(".cc ")[2].strip().rstrip(".") if lines else "it failed to prepare"
    nodes = flatbuffer.nodes(model)[0]
    tensors = flatbuffer.tensors(model)[0]
    output = nodes[number][2][:1] if number < len(nodes) else []
    layer = layers_of([tensors[output[0]]["name"]])[0] if output else "(other)"
    return f"{name} of layer {layer}: {reason}"


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Run the interpreter in the child; its native messages go into the file `log`."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(log, 2)
    content = Path(job["file"]).read_bytes()
    interpreter = _interpreter(content, Path(job["log"]))
    found = {}
    if job["examples"]:
        found["largest_difference"] = _difference(interpreter, content, job)
    os.ftruncate(log, 0)
    interpreter.print_allocations()
    text = Path(job["log"]).read_text(errors="replace")
    ends = {name: int(size) for name, size in _TOTAL.findall(text)}
    return {
        "arena_bytes": ends["total"],
        "activation_bytes": ends["head"],
        "persistent_bytes": ends["tail"],
        "arena_parts": {name: int(size) for name, size in _PART.findall(text)},
        **found,
    }


def _interpreter(content: bytes, log: Path) -> Any:
    """Return the interpreter of a file, with the first arena of doubling sizes that is large enough."""
    from tflite_micro.python.tflite_micro import runtime

    size = FIRST_ARENA
    while True:
        try:
            return runtime.Interpreter.from_bytes(content, arena_size=size)
        except RuntimeError:
            text = log.read_text(errors="replace")
            if size >= MOST_ARENA or not any(sign in text for sign in _TOO_SMALL):
                raise
            size *= 2
            os.truncate(log, 0)


def _difference(interpreter: Any, content: bytes, job: dict[str, Any]) -> float:
    """Return the largest difference of the outputs from LiteRT's, on random inputs."""
    from ai_edge_litert.interpreter import Interpreter

    other = Interpreter(model_content=content)
    other.allocate_tensors()
    generator, largest = np.random.default_rng(0), 0.0
    for _ in range(job["examples"]):
        for index, entry in enumerate(other.get_input_details()):
            x = _random(generator, entry)
            interpreter.set_input(x, index)
            other.set_tensor(entry["index"], x)
        if job["reset"]:
            interpreter.reset()
            other.reset_all_variables()
        interpreter.invoke()
        other.invoke()
        for index, entry in enumerate(other.get_output_details()):
            mine, theirs = interpreter.get_output(index), other.get_tensor(entry["index"])
            largest = max(largest, float(np.abs(np.subtract(mine, theirs, dtype=np.float64)).max()))
    return largest


def _random(generator: np.random.Generator, entry: dict[str, Any]) -> np.ndarray:
    kind = np.dtype(entry["dtype"])
    if kind.kind == "f":
        return generator.random(entry["shape"], np.float32).astype(kind)
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.itemsize < 4 else (0, 1)
    return generator.integers(low, high, entry["shape"], kind, endpoint=True)
