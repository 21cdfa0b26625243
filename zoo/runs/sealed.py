"""JSON files that carry the SHA-256 of their own content, which shows damage and edits. Standard library only."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.console.documents import from_json
from zoo.console.errors import UsageError
from zoo.system.files import write_json

# Key of the hashes in a file: its own under "content", and those that the writer adds.
SEAL = "sha256"


def digest(content: Any) -> str:
    """Return the SHA-256 of a JSON-able value in hexadecimal, whatever the order of its keys."""
    plain = json.loads(json.dumps(content, default=str))  # tuples and paths as they are read back
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write(path: Path, content: Mapping[str, Any], covered: Any = None, **others: str) -> None:
    """Write a JSON object with its seal.

    Args:
        path: Path of the file.
        content: Object to write.
        covered: Part of the content that the seal covers; None for all of it.
        others: Further entries of the seal, such as hashes of other files.
    """
    seal = {"content": digest(content if covered is None else covered), **others}
    write_json(path, {**content, SEAL: seal})


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the object of a JSON file and its seal, which is empty for a file of an early version.

    Raises:
        UsageError: The file cannot be read, or is not JSON or not an object.
    """
    try:
        content = from_json(path.read_bytes(), f"{path} is damaged")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is damaged: expected a JSON object, found {type(content).__name__}")
    seal = content.pop(SEAL, {})
    if not isinstance(seal, dict) or not all(isinstance(value, str) for value in seal.values()):
        raise UsageError(f"{path} is damaged: expected hashes under {SEAL!r}, found {json.dumps(seal)[:40]}")
    return content, seal


def check(path: Path, seal: Mapping[str, str], covered: Any) -> None:
    """Raise UsageError if a seal does not match what it covers.

    Args:
        path: Path of the file, for the message.
        seal: Seal of the file.
        covered: Part of its content that the seal covers.
    """
    if seal and seal.get("content") != digest(covered):
        raise UsageError(f"{path} was altered since it was written: its content does not match the SHA-256 in it")
