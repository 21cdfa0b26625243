"""Running a .tflite file that makes texts with LiteRT, in a child process that may crash instead of us.

Texts are made by `compression.on_device.generate`, the very code that goes to a device. As a child, this module imports
neither Keras nor TensorFlow.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compression.on_device import generate
from compression.runtime import child, litert
from compression.runtime.rollout import rolled_out
from zoo.config.sampling import Beam
from zoo.console.errors import Failed
from zoo.system.machine import cores

# Of a whole test split, a token at a time.
SECONDS = 4 * 3600.0


class Steps(NamedTuple):
    """What a file says of known texts.

    Attributes:
        log_p: (texts, time), natural logarithm of the probability of each label, 0 at padding.
        top: (texts, time), the most probable token.
        logits: (steps, vocabulary), of the first texts' steps one after the other.
    """

    log_p: np.ndarray
    top: np.ndarray
    logits: np.ndarray


def translate(path: Path, source: np.ndarray, *, begin: int, end: int, beam: Beam) -> np.ndarray:
    """Return a target for each source, (texts, length) ids, padded with 0 after the end.

    Raises:
        Failed: the file cannot be run; the sentence says how it failed.
    """
    options = {"begin": begin, "end": end, "beams": beam.beams, "length_penalty": beam.length_penalty}
    return _child(path, {"work": "translate", "options": options}, {"source": source})["ids"]


def forced(
    path: Path, tokens: np.ndarray, labels: np.ndarray, source: np.ndarray | None = None, *, keep: int = 0
) -> Steps:
    """Return what a file says of texts when each step is given the text's own token, whatever was predicted.

    Args:
        path: of the file.
        tokens: (texts, time), that each step is given.
        labels: (texts, time), the token after each, 0 at padding.
        source: (texts, source time) ids, of files with `encode`.
        keep: texts, the first, whose logits are returned.

    Raises:
        Failed: the file cannot be run; the sentence says how it failed.
    """
    arrays = {"tokens": tokens, "labels": labels} | ({} if source is None else {"source": source})
    found = _child(path, {"work": "forced", "keep": keep}, arrays)
    return Steps(found["log_p"], found["top"], found["logits"])


def latency(path: Path, source: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Return latencies of one call of each signature, with one thread and with all of this process.

    Args:
        path: of the file.
        source: (1, source time) ids, of files with `encode`.

    Returns:
        rows of signature, threads, median_ms, p95_ms, runs and warm_up.
    """
    job = {"work": "latency", "threads": sorted({1, cores()})}
    return _child(path, job, {} if source is None else {"source": source})["rows"]


def _child(path: Path, job: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(inputs, **arrays)
        job |= {"file": path.resolve(), "inputs": inputs, "outputs": outputs}
        limits = {"seconds": SECONDS, "memory_bytes": litert.MEMORY_BYTES}
        try:
            rows = child.run("compression.runtime.litert_texts", job, **limits)
        except Failed as error:
            raise Failed(f"{path}: LiteRT cannot run this file: {str(error)[:500]}") from None
        if rows is not None:
            return {"rows": rows}
        with np.load(outputs) as made:
            return dict(made)


def preload() -> None:
    """Import what every job needs."""
    litert.preload()


def work(job: dict[str, Any]) -> Any:
    """Do one job in the child."""
    with np.load(job["inputs"]) as arrays:
        given = dict(arrays)
    path = Path(job["file"])
    if job["work"] == "latency":
        source = given.get("source")
        return [row for threads in job["threads"] for row in _latency(path, threads, source)]
    model = generate.Model(path)
    made = _translated(model, job, given) if job["work"] == "translate" else _forced(model, job["keep"], **given)
    np.savez(job["outputs"], **made)
    return None


def _translated(model: generate.Model, job: dict[str, Any], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    ids = np.zeros((len(given["source"]), model.length), np.int32)
    for row, source in zip(ids, given["source"], strict=True):
        found = generate.translate(model, source, **job["options"])
        row[: len(found)] = found
    return {"ids": ids}


def _forced(
    model: generate.Model, keep: int, tokens: np.ndarray, labels: np.ndarray, source: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    log_p, top, kept = np.zeros(labels.shape), np.zeros(labels.shape, np.int32), []

    def call(name: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return model.signatures[name](**inputs)

    for i, wanted in enumerate(labels):
        count = np.count_nonzero(wanted)
        one = None if source is None else source[i : i + 1]
        steps = rolled_out(call, model.empty, tokens[i, :count], one)
        logits = np.concatenate([made["logits"] for name, _, made in steps if name == "decode_step"])
        log_p[i, :count] = generate.log_softmax(logits.astype(np.float64))[np.arange(count), wanted[:count]]
        top[i, :count] = logits.argmax(-1)
        kept += [logits] if i < keep else []
    return {"log_p": log_p, "top": top, "logits": np.concatenate(kept) if kept else np.zeros((0, 0), np.float32)}


def _latency(path: Path, threads: int, source: np.ndarray | None) -> list[dict[str, Any]]:
    """Measure each signature at the first step of a text."""
    model, rows = generate.Model(path, threads), []
    context = {} if source is None else model.signatures["encode"](source=source)
    step = {"token": np.ones(1, np.int32), "position": np.array(0, np.int32), **model.empty, **context}
    inputs = {"encode": {"source": source}, "decode_step": step}
    for name, function in model.signatures.items():
        given = inputs[name]
        rows.append({"signature": name, **litert.timed(lambda call=function, x=given: call(**x), threads)})
    return rows
