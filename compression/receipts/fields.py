"""The fields of a receipt and their types. Standard library only."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_DIGITS = re.compile(r"[0-9a-f]{64}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_KINDS = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "whole number from 0": _is_count,
    "true or false": lambda value: isinstance(value, bool),
    "SHA-256 of 64 hexadecimal digits": lambda value: isinstance(value, str) and bool(_DIGITS.fullmatch(value)),
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "pair of whole numbers or null": lambda value: (
        value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)))
    ),
}
_TEXT, _NUMBER, _COUNT, _FLAG, _HASH, _OBJECT, _LIST, _PAIR = _KINDS

# Fields that every receipt has; * stands for each value of an object or a list.
_REQUIRED = {
    "made": _OBJECT,
    "made.recipe": _TEXT,
    "made.engine": _TEXT,
    "made.lstm_kernel": _TEXT,
    "made.calibration_examples": _COUNT,
    "made.seed": _COUNT,
    "interface": _OBJECT,
    "about": _OBJECT,
    "file": _TEXT,
    "sha256": _HASH,
    "bytes": _COUNT,
    "gzip_bytes": _COUNT,
    "float32_weight_bytes": _COUNT,
    "times_smaller": _NUMBER,
    "times_smaller_gzip": _NUMBER,
    "operators": _OBJECT,
    "operators.*": _COUNT,
    "flex": _LIST,
    "flex.*": _TEXT,
    "keeps_state": _FLAG,
    "constants": _LIST,
    "constants.*": _OBJECT,
    "processor": _OBJECT,
    "processor.name": _TEXT,
    "versions": _OBJECT,
    "versions.*": _TEXT,
}
# Fields of a file that could be run here.
_OF_A_RUN_FILE = {
    "test": _OBJECT,
    "test.examples": _COUNT,
    "test.litert": _OBJECT,
    "test.keras": _OBJECT,
    "parity": _OBJECT,
    "parity.*": _NUMBER,
    "latency": _LIST,
    "latency.*": _OBJECT,
    "latency.*.threads": _COUNT,
    "latency.*.median_ms": _NUMBER,
    "latency.*.p95_ms": _NUMBER,
    "latency.*.runs": _COUNT,
    "latency.*.warm_up": _COUNT,
}
# Fields that name the run of a file that was made from one.
_OF_A_RUN = {
    "made.run": _TEXT,
    "made.model": _TEXT,
    "made.data": _TEXT,
    "made.model_sha256": _HASH,
    "made.training_seed": _COUNT,
}
# Fields that name the model file of a file that was made from one.
_OF_A_MODEL_FILE = {"made.model_file": _TEXT, "made.model": _TEXT, "made.data": _TEXT, "made.model_sha256": _HASH}
# Fields that receipts have since 0.2.
_SINCE_0_2 = {
    "made.task": _TEXT,
    "made.weights_sha256": _HASH,
    "beside": _OBJECT,
    "beside.*": _HASH,
    "digest": _HASH,
}
_OPTIONAL = {
    "interface.name": _TEXT,
    "interface.task": _TEXT,
    "interface.dtype": _TEXT,
    "interface.output": _TEXT,
    "interface.shape": _LIST,
    "interface.shape.*": _COUNT,
    "interface.image_shape": _LIST,
    "interface.image_shape.*": _COUNT,
    "interface.resize_from": _PAIR,
    "interface.batch": _COUNT,
    "interface.length": _COUNT,
    "interface.source_length": _COUNT,
    "interface.tokens": _COUNT,
    "interface.uint8": _FLAG,
    "interface.masked": _FLAG,
    "made.task": _TEXT,
    "made.weights_sha256": _HASH,
    "made.stages_folder": _TEXT,
    "made.stages_sha256": _HASH,
    "made.privacy": _TEXT,
    "made.memory": _OBJECT,
    "made.memory.patches": _COUNT,
    "made.memory.arena_bytes": _LIST,
    "made.memory.arena_bytes.*": _COUNT,
    "made.memory.multiply_adds": _LIST,
    "made.memory.multiply_adds.*": _COUNT,
    "not_run": _TEXT,
    "test.labels": _TEXT,
    "device": _OBJECT,
    "device.target": _TEXT,
    "device.arena_bytes": _COUNT,
    "device.flash_bytes": _COUNT,
    "device.weights_bytes": _COUNT,
    "device.sram_bytes": _COUNT,
    "device.npu_share": _NUMBER,
    "device.register": _LIST,
    "device.layers": _LIST,
    "device.layers.*": _OBJECT,
    "device.versions": _OBJECT,
    "device.versions.*": _TEXT,
    "signature": _OBJECT,
    "signatures": _OBJECT,
    "tolerances": _OBJECT,
    "tolerances.*": _NUMBER,
    "stages": _LIST,
    "stages.*": _OBJECT,
    "stages.*.stage": _TEXT,
    "stages.*.bytes": _COUNT,
    "stages.*.gzip_bytes": _COUNT,
    "signed": _OBJECT,
    "signed.algorithm": _TEXT,
    "signed.public_key": _TEXT,
    "signed.signature": _TEXT,
}
_MISSING = object()


def check(receipt: Any) -> None:
    """Check that a receipt has the fields that `compression.verify` reads, and that they have their types.

    Args:
        receipt: Content of a receipt.

    Raises:
        ValueError: A field is missing or has another type; the message names it.
    """
    if not isinstance(receipt, dict):
        raise ValueError(f"expected a JSON object, received {_shown(receipt)}")
    required = _REQUIRED | ({} if "not_run" in receipt else _OF_A_RUN_FILE)
    made = {f"made.{name}" for name in receipt["made"]} if isinstance(receipt.get("made"), dict) else set()
    if "made.model_file" in made:
        required |= _OF_A_MODEL_FILE
    elif "made.model_sha256" in made or (made & _OF_A_RUN.keys() and "made.weights_sha256" not in made):
        required |= _OF_A_RUN
    if {"digest", "beside"} & receipt.keys():
        required |= _SINCE_0_2 | ({} if "not_run" in receipt else {"tolerances": _OBJECT})
        if "made.stages_folder" in made:
            required["made.stages_sha256"] = _HASH
    if "signature" not in receipt and "signatures" not in receipt:
        required["signature"] = _OBJECT
    for pattern, kind in (required | {name: of for name, of in _OPTIONAL.items() if name not in required}).items():
        for path, value in _found(receipt, pattern):
            if value is _MISSING and pattern in required:
                raise ValueError(f"{path}: expected {kind}, found no such field")
            if value is not _MISSING and not _KINDS[kind](value):
                raise ValueError(f"{path}: expected {kind}, received {_shown(value)}")


def _found(receipt: Mapping[str, Any], pattern: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each field that a pattern stands for; _MISSING where an object lacks it."""
    rows = [("", receipt)]
    for part in pattern.split("."):
        below = []
        for path, value in rows:
            if part == "*":
                pairs = (
                    value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
                )
            else:
                pairs = [(part, value.get(part, _MISSING))] if isinstance(value, dict) else []
            below += [(f"{path}.{name}".lstrip("."), each) for name, each in pairs]
        rows = below
    yield from rows


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
