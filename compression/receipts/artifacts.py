"""A .tflite file and the receipt beside it. Standard library only."""

import json
from pathlib import Path
from typing import Any

from compression.flatbuffers import interface
from zoo.console.errors import UsageError
from zoo.system.files import sha256


def receipt_path(path: Path) -> Path:
    """Return the path of a file's receipt."""
    return path.with_name(f"{path.name.removesuffix(path.suffix)}.receipt.json")


def read_receipt(path: Path) -> dict[str, Any]:
    """Return the receipt of a file.

    Raises:
        UsageError: The receipt is missing or damaged, or it describes another file.
    """
    file = receipt_path(path)
    if not file.is_file():
        raise UsageError(f"{path}: expected its receipt {file.name} beside it, found none; make both with compress")
    try:
        receipt = json.loads(file.read_text(encoding="utf-8"))
        interface.from_json(receipt["interface"])
        expected = receipt["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: expected a receipt, this one is cut short or altered ({error})") from None
    if sha256(path) != expected:
        raise UsageError(f"{path}: altered since it was measured: its SHA-256 is not the one of its receipt")
    return receipt
