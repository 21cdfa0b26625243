"""A .tflite file, the receipt beside it, and the digest that covers the receipt. Standard library only."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.flatbuffers import interface
from compression.flatbuffers.interface import AnyInterface
from compression.receipts import fields, signing
from compression.recipes.language import Kernel, Recipe
from zoo.console.errors import UsageError
from zoo.system.files import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Fields that the digest does not cover.
_OUTSIDE = ("digest", "signed")


def file_name(recipe: Recipe, interface: AnyInterface, kernel: Kernel, bare: bool = False) -> str:
    """Return the name of a file without its suffix: its recipe, and the options that are not the default."""
    parts = [recipe.file_name]
    if kernel == "fused" or (kernel == "unrolled" and not recipe.calibrated):
        parts.append(kernel)
    if interface.uint8:
        parts.append("uint8" + ("-{}x{}".format(*interface.resize_from) if interface.resize_from else ""))
    if interface.batch != 1:
        parts.append(f"batch{interface.batch}")
    if interface.argmax:
        parts.append("argmax")
    if interface.nms:
        parts.append("nms")
    if bare:
        parts.append("bare")
    return "-".join(parts)


def receipt_path(path: Path) -> Path:
    """Return the path of a file's receipt."""
    return path.with_name(f"{path.name.removesuffix(path.suffix)}.receipt.json")


def shown_path(path: Path) -> Path:
    """Return the path of what the page shows of a file besides its receipt.

    It has examples of the data, and is in a folder of its own so that it is not shipped or published with the file.
    """
    return path.parent / "page" / f"{path.name.removesuffix(path.suffix)}.json"


def canonical(receipt: Mapping[str, Any]) -> bytes:
    """Return the bytes that the digest and the signature cover: sorted JSON without spaces, without these two."""
    covered = {name: value for name, value in receipt.items() if name not in _OUTSIDE}
    return json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()


def sealed(receipt: Mapping[str, Any], key: "Ed25519PrivateKey | None" = None) -> dict[str, Any]:
    """Return a receipt with its digest, and with a signature if there is a key.

    Args:
        receipt: Content of the receipt; an earlier digest and signature are replaced.
        key: Private key that signs.
    """
    plain = {name: value for name, value in receipt.items() if name not in _OUTSIDE}
    plain = json.loads(json.dumps(plain, default=str))  # as it will be read: tuples become lists
    content = canonical(plain)
    made = plain | {"digest": hashlib.sha256(content).hexdigest()}
    return made | ({"signed": signing.signed(content, key)} if key else {})


def read_receipt(path: Path) -> dict[str, Any]:
    """Return the receipt of a file, after checking its types, its digest and the SHA-256 of the file.

    Raises:
        UsageError: The receipt is missing, damaged or altered, or it describes another file.
    """
    file = receipt_path(path)
    if not file.is_file():
        raise UsageError(f"{path}: expected its receipt {file.name} beside it, found none; make both with compress")
    try:
        receipt = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_object)
        fields.check(receipt)
        interface.from_json(receipt["interface"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{file}: expected a receipt, this one is cut short or altered ({error})") from None
    if "digest" in receipt and (found := hashlib.sha256(canonical(receipt)).hexdigest()) != receipt["digest"]:
        raise UsageError(
            f"{file}: altered since it was written: its content has the digest {found}, it states {receipt['digest']}"
        )
    if not path.is_file():
        raise UsageError(f"{path}: expected a .tflite file, found none")
    if sha256(path) != receipt["sha256"]:
        raise UsageError(f"{path}: altered since it was measured: its SHA-256 is not the one of its receipt")
    return receipt


def beside(path: Path, suffixes: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files that accompany a file, by suffix.

    Args:
        path: Path of the file.
        suffixes: Suffixes of the files, which have the name of the file otherwise.
    """
    return {suffix: sha256(path.with_suffix(suffix)) for suffix in suffixes}


def check_beside(path: Path, receipt: Mapping[str, Any]) -> None:
    """Check the files that accompany a file by their hashes in its receipt, which a receipt of 0.1 does not have.

    Raises:
        UsageError: A file is missing, or is another one.
    """
    for suffix, expected in receipt.get("beside", {}).items():
        if not suffix.startswith(".") or "/" in suffix or "\\" in suffix:
            raise UsageError(
                f"{receipt_path(path)}: beside: expected suffixes such as .labels.txt, received {suffix!r}"
            )
        file = path.with_suffix(suffix)
        if not file.is_file():
            raise UsageError(f"{path}: expected {file.name} beside it, which its receipt lists, found none")
        if (found := sha256(file)) != expected:
            raise UsageError(f"{file}: altered: its SHA-256 is {found}, in the receipt of {path.name} it is {expected}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; readers differ in which of two equal names they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice")
    return found
