"""The receipt of an exported file: every number is measured on the file itself, and can be measured again."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.devices import profile
from compression.flatbuffers import flatbuffer
from compression.receipts.subject import Subject
from compression.runtime import litert
from zoo.data import Split
from zoo.data.dataset import leaves
from zoo.data.stored.column import parts
from zoo.system.files import sha256
from zoo.system.machine import processor, versions

# Outputs of Keras differ between processors by less than this, in probability.
PROBABILITY_TOLERANCE = 1e-5
# Parts of a receipt that verify prints and does not compare.
NOT_JUDGED = ("latency", "processor", "versions")
_CLOSE = dict.fromkeys(
    ("largest_difference", "mean_difference", "loss", "source_effect", "source_effect_keras")
    + ("largest_cosine_difference", "largest_cosine_difference_images", "largest_cosine_difference_texts"),
    PROBABILITY_TOLERANCE,
) | {"largest_logit_difference": 1e-4, "psnr": 0.01, "largest_box_difference": 0.01, "mean_box_difference": 0.01}
# Relative tolerance of the scores of drawn images among real ones, which a single image may change.
SAMPLES_TOLERANCE = 0.01
# Relative tolerance of errors of reconstruction, whose size is that of the data, and of what is made of them.
ERROR_TOLERANCE = 1e-4
_OF_ERRORS = ("threshold", "score_difference", "largest_score_difference")
ROUNDING = 1e-9
TEST = "test"


def measure(path: Path, subject: Subject) -> dict[str, Any]:
    """Measure a .tflite file.

    Args:
        path: Path of the file.
        subject: What the file was made from.

    Returns:
        Numbers of the receipt. A file with Flex operators cannot be run here: it gets the numbers that need no run, and
        `not_run` with the reason.

    Raises:
        zoo.console.errors.UsageError: The file is damaged, or takes other inputs than the subject gives.
        zoo.console.errors.Failed: LiteRT cannot run it.
    """
    return (found := read_off(path, subject)) | measure_outputs(path, subject, found)


def read_off(path: Path, subject: Subject) -> dict[str, Any]:
    """Return the numbers of the receipt that need no run of the file.

    Args:
        path: Path of the file.
        subject: What the file was made from.

    Raises:
        zoo.console.errors.UsageError: The file is damaged, or takes other inputs than the subject gives.
    """
    model = flatbuffer.read(path)
    subject.check_takes(path, model)
    floats, on_device = flatbuffer.float_operators(model), profile.section(path)
    return {
        "file": path.name,
        "sha256": sha256(path),
        **file_sizes(path, subject.original or subject.model),
        "operators": flatbuffer.operators(model),
        **({"float_operators": floats} if floats else {}),
        "flex": flatbuffer.flex(model),
        "keeps_state": flatbuffer.keeps_state(model),
        **_signatures(model),
        "constants": flatbuffer.constants(model),
        **({"device": on_device} if on_device else {}),
    }


def comparable(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measurements without the section `device` if other versions of its packages measured the receipt's."""
    before, now = stored.get("device", {}).get("versions"), measured.get("device", {}).get("versions")
    return {name: value for name, value in measured.items() if name != "device" or before == now}


def measure_outputs(path: Path, subject: Subject, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the receipt that need a run of the file, and where it was run.

    Args:
        path: Path of the file.
        subject: What the file was made from.
        found: What `read_off` returned.

    Raises:
        zoo.console.errors.Failed: LiteRT cannot run it.
    """
    here = {"processor": processor(), "versions": versions()}
    if found["flex"]:
        return {"not_run": litert.NO_FLEX, **here}
    measured = subject.measured(path)
    return {"tolerances": _tolerances(measured), **measured, **here}


def _tolerances(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return by how much measurements may differ on another processor, by name; all others are equal on all."""
    names = set(_names(measured))
    found = {name: tolerance for name, tolerance in _CLOSE.items() if name in names}
    return found | ({"against_real, relative": SAMPLES_TOLERANCE} if "against_real" in names else {})


def _names(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield name
        if isinstance(value, dict):
            yield from _names(value)


def _signatures(model: Any) -> dict[str, Any]:
    found = flatbuffer.signatures(model)
    return {"signatures": found} if len(found) > 1 else {"signature": flatbuffer.signature(model)}


def file_sizes(path: Path, model: keras.Model) -> dict[str, Any]:
    """Return bytes and gzip bytes of a file, and how many times smaller than the model's float32 weights they are."""
    content = path.read_bytes()
    # With mtime 0 the same bytes give the same gzip file.
    compressed = len(gzip.compress(content, 9, mtime=0))
    weights = 4 * sum(int(np.prod(v.shape)) for v in model.weights)
    return {
        "bytes": len(content),
        "gzip_bytes": compressed,
        "float32_weight_bytes": weights,
        "times_smaller": round(weights / len(content), 3),
        "times_smaller_gzip": round(weights / compressed, 3),
    }


def examples_sha256(split: Split) -> str:
    """Return the SHA-256 of the examples and labels of a split."""
    digest = hashlib.sha256()
    for array in (*leaves(split.x), *leaves(split.y)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        for part in parts(array):
            digest.update(np.ascontiguousarray(array[part]).data)
    return digest.hexdigest()


def differences(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each number of a receipt that was not reproduced.

    Bytes, hashes, accuracy, operators and constants must be equal. Differences from Keras and losses must agree within
    the tolerances that the receipt states, intervals up to rounding. Latency, processor and versions are not compared.

    Args:
        stored: Content of the receipt. One of an earlier version may lack what is newer than it.
        measured: What was measured again.
    """
    measured = json.loads(json.dumps(measured))  # tuples become lists, as in a receipt that was read
    texts = []
    for name in measured:
        if name not in NOT_JUDGED and not (_lacks(stored, name)):
            texts += _compare(name, stored.get(name), measured[name])
    of_images = f"{TEST}.sha256"  # of images that Keras drew, which depend on the processor; replaced by inputs_sha256
    if "inputs_sha256" in measured.get(TEST, {}):
        texts = [t for t in texts if not t.startswith(f"{of_images}:")]
        if "digest" not in stored and "inputs_sha256" not in stored.get(TEST, {}):
            texts = [t for t in texts if not t.startswith(f"{TEST}.inputs_sha256:")]
    return texts + _last_stage(stored, measured)


def _lacks(stored: Mapping[str, Any], name: str) -> bool:
    """Whether a receipt was written before a measurement was added."""
    older = name == "float_operators" or (name == "tolerances" and "digest" not in stored)
    return older and name not in stored


def _last_stage(stored: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """Return what the last row of `stages` says otherwise than the file itself."""
    if not stored.get("stages") or TEST not in measured:
        return []
    row = {name: value for name, value in stored["stages"][-1].items() if name != "stage"}
    expected = {name: measured[name] for name in ("bytes", "gzip_bytes") if name in measured}
    return _compare(f"stages[{len(stored['stages']) - 1}]", row, expected | measured[TEST]["litert"])


def _compare(name: str, stored: Any, measured: Any) -> list[str]:
    if isinstance(stored, dict) and isinstance(measured, dict):
        keys = [*stored, *(key for key in measured if key not in stored)]
        return [t for key in keys for t in _compare(f"{name}.{key}", stored.get(key), measured.get(key))]
    if isinstance(stored, list) and isinstance(measured, list) and len(stored) == len(measured):
        pairs = enumerate(zip(stored, measured, strict=True))
        return [t for i, (a, b) in pairs for t in _compare(f"{name}[{i}]", a, b)]
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (stored, measured)]
    if all(numbers) and (
        abs(stored - measured) <= _tolerance(name, measured) or stored != stored and measured != measured
    ):
        return []
    same = stored == measured and numbers[0] == numbers[1]
    return [] if same else [f"{name}: the receipt says {stored}, measured {measured}"]


def _tolerance(name: str, measured: float) -> float:
    """Return how much a number may differ on another processor."""
    if name.rpartition(".")[2] in _OF_ERRORS:
        return ERROR_TOLERANCE * abs(measured) + PROBABILITY_TOLERANCE
    if ".against_real." in name:
        return SAMPLES_TOLERANCE * max(abs(measured), 0.1)
    if ".intervals." in name:  # sums of fractions, whose order differs between processors
        return max(_CLOSE.get(name.partition(".intervals.")[2].partition("[")[0], 0), ROUNDING * max(abs(measured), 1))
    return _CLOSE.get(name.rpartition(".")[2], 0)
