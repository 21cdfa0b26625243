"""Ed25519 signatures of receipts (RFC 8032), by the package cryptography. Standard library only without a key.

Private keys are PEM files in PKCS #8, as `openssl genpkey -algorithm ed25519` writes them, or in the format of OpenSSH,
as `ssh-keygen -t ed25519` does. Public keys are PEM files, as `openssl pkey -pubout` writes them, or .pub files of
ssh-keygen.
"""

import base64
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.console.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
_MOST_BYTES = 65_536  # of a key file; those of RSA with 16,384 bits have 13,000
# Commands that make a pair of keys.
MAKE = "openssl genpkey -algorithm ed25519 -out key.pem"
PUBLISH = "openssl pkey -in key.pem -pubout -out public.pem"


def available() -> bool:
    """Return whether signatures can be checked here."""
    return importlib.util.find_spec("cryptography") is not None


def private_key(path: Path) -> "Ed25519PrivateKey":
    """Read the private key of `--sign`.

    Raises:
        UsageError: The extra `sign` is missing, or the file is no Ed25519 private key without a passphrase.
    """
    content = _content(path, "--sign", f"a private key; `{MAKE}` makes one")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if b"PRIVATE KEY-----" not in content:
        kind = "a public key" if _is_public(content) else "no key in PEM"
        raise UsageError(f"--sign {path}: expected an Ed25519 private key in PEM, received {kind}; `{MAKE}` makes one")
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    read = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = read(content, password=None)
    except Exception as error:  # the library's formats raise several classes, some of them its own
        if "ncrypted" in str(error) or "password" in str(error).lower():
            raise UsageError(
                f"--sign {path}: expected a key without a passphrase, this one is encrypted; decrypt it into a file"
                " that only you can read"
            ) from None
        raise UsageError(f"--sign {path}: expected an Ed25519 private key in PEM, this one is damaged") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"--sign {path}: expected an Ed25519 key, received {_kind(key)}; `{MAKE}` makes one")
    return key


def public_key(path: Path) -> "Ed25519PublicKey":
    """Read the public key of `--signed-by`.

    Raises:
        UsageError: The extra `sign` is missing, or the file is no Ed25519 public key.
    """
    content = _content(path, "--signed-by", f"a public key; `{PUBLISH}` writes one")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not _is_public(content):
        kind = "a private key" if b"PRIVATE KEY-----" in content else "no key"
        raise UsageError(
            f"--signed-by {path}: expected an Ed25519 public key in PEM or as ssh-keygen writes it, received {kind};"
            f" `{PUBLISH}` writes one"
        )
    openssh = b"-----BEGIN" not in content
    try:
        key = serialization.load_ssh_public_key(content) if openssh else serialization.load_pem_public_key(content)
    except Exception:  # the library's formats raise several classes, some of them its own
        raise UsageError(f"--signed-by {path}: expected an Ed25519 public key, this one is damaged") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"--signed-by {path}: expected an Ed25519 key, received {_kind(key)}")
    return key


def signed(content: bytes, key: "Ed25519PrivateKey") -> dict[str, str]:
    """Return the signature of bytes as a receipt stores it.

    Args:
        content: What is signed.
        key: Private key.
    """
    value = base64.b64encode(key.sign(content)).decode()
    return {"algorithm": ALGORITHM, "public_key": written(key.public_key()), "signature": value}


def check(entry: Mapping[str, str], content: bytes, key: "Ed25519PublicKey | None" = None) -> None:
    """Check the signature that a receipt stores.

    Args:
        entry: What `signed` returned.
        content: What was signed.
        key: Public key that is trusted; None checks with the key that the receipt states, which finds damage only.

    Raises:
        ValueError: Another key signed, or the signature is not one of these bytes.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if entry["algorithm"] != ALGORITHM:
        raise ValueError(f"expected a signature by {ALGORITHM}, received one by {entry['algorithm']!r}")
    if key is not None and entry["public_key"] != written(key):
        raise ValueError(f"expected the key {written(key)}, but {entry['public_key']} signed it")
    try:
        stated = Ed25519PublicKey.from_public_bytes(base64.b64decode(entry["public_key"], validate=True))
        (key or stated).verify(base64.b64decode(entry["signature"], validate=True), content)
    except (ValueError, InvalidSignature):
        raise ValueError("the signature is not one of this receipt") from None


def written(key: "Ed25519PublicKey") -> str:
    """Return the 32 bytes of a public key in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def _content(path: Path, flag: str, what: str) -> bytes:
    if not available():
        raise UsageError(
            f"{flag}: needs the package cryptography, which is not installed; pip install 'keras-compression-zoo[sign]'"
        )
    if not path.is_file():
        raise UsageError(f"{flag} {path}: expected the file of {what}, found {'a folder' if path.is_dir() else 'none'}")
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _is_public(content: bytes) -> bool:
    return b"PUBLIC KEY-----" in content or content.startswith((b"ssh-", b"ecdsa-", b"sk-"))


def _kind(key: Any) -> str:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").strip("_")
    return f"one of {name}"
