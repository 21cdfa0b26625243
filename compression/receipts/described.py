"""Description of a .tflite file for programs that run it, from the file itself and the receipt beside it."""

import json
from pathlib import Path
from typing import Any

from compression.flatbuffers import flatbuffer
from compression.on_device.generate import METADATA
from compression.receipts.artifacts import read_receipt, receipt_path
from compression.receipts.wording import short
from zoo.console.errors import UsageError
from zoo.system.files import sha256

# Figures of a receipt's section `device` that a page shows.
ON_DEVICE = ("target", "flash_bytes", "arena_bytes", "cycles", "clock_hz")


def described(path: Path) -> dict[str, Any]:
    """Return the description of a .tflite file; it may lack a receipt and metadata.

    Args:
        path: Path of the file.

    Returns:
        name, a short label; recipe; file, bytes, sha256 and keeps_state; signatures, as `flatbuffer.signatures` returns
        them; data, the name of the training set; about, the meaning of inputs and outputs; measured, the accuracy,
        miou, map_50, psnr and latency_ms of the receipt; device, the figures ON_DEVICE of its section `device`. Unknown
        entries are empty.

    Raises:
        UsageError: The file is missing or damaged, or its receipt describes another file.
    """
    model = flatbuffer.read(path)
    receipt = read_receipt(path) if receipt_path(path).is_file() else {}
    section = receipt.get("device", {})
    return {
        "name": short(receipt["made"]["recipe"]) if receipt else path.stem,
        "recipe": receipt.get("made", {}).get("recipe", ""),
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "keeps_state": flatbuffer.keeps_state(model),
        "signatures": flatbuffer.signatures(model) or {"": flatbuffer.signature(model)},
        "data": receipt.get("made", {}).get("data", ""),
        "about": receipt.get("about") or _noted(path, model),
        "measured": _measured(receipt),
        "device": {name: section[name] for name in ON_DEVICE if section.get(name) is not None},
    }


def _noted(path: Path, model: Any) -> dict[str, Any]:
    noted = flatbuffer.metadata(model, METADATA)
    try:
        about = json.loads(noted) if noted else {}
    except ValueError as error:
        raise UsageError(f"{path}: expected metadata in JSON, they are cut short or altered ({error})") from None
    return about if isinstance(about, dict) else {}


def _measured(receipt: dict[str, Any]) -> dict[str, float]:
    found = receipt.get("test", {}).get("litert", {})
    measured = {name: found[name] for name in ("accuracy", "miou", "map_50", "psnr") if name in found}
    latency = receipt.get("latency")  # files that cannot be run here have none
    return measured | ({"latency_ms": latency[0]["median_ms"]} if latency else {})
