"""Signatures of receipts, with keys as openssl and ssh-keygen write them."""

import base64
import importlib.util
import shutil
import subprocess

import pytest

from compression import compress, verify
from compression.receipts import signing
from tests.conftest import ROOT
from zoo.console.errors import UsageError

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="needs the extra sign")
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa  # noqa: E402

PEM, SSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
PRIVATE, PUBLIC = serialization.PrivateFormat, serialization.PublicFormat
PLAIN = serialization.NoEncryption()
# Vector 2 of RFC 8032, section 7.1.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_a_signature_is_that_of_the_standard(tmp_path):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(PEM, PRIVATE.PKCS8, PLAIN))
    entry = signing.signed(b"\x72", signing.private_key(path))
    assert base64.b64decode(entry["signature"]) == SIGNATURE and base64.b64decode(entry["public_key"]) == KEY
    signing.check(entry, b"\x72", key.public_key())
    signing.check(entry, b"\x72")


@pytest.mark.parametrize("private", [PRIVATE.PKCS8, PRIVATE.OpenSSH])
@pytest.mark.parametrize("form", [(PEM, PUBLIC.SubjectPublicKeyInfo), (SSH, PUBLIC.OpenSSH)])
def test_keys_of_openssl_and_ssh_keygen_are_read(private, form, tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "private").write_bytes(key.private_bytes(PEM, private, PLAIN))
    (tmp_path / "public").write_bytes(key.public_key().public_bytes(*form))
    entry = signing.signed(b"text", signing.private_key(tmp_path / "private"))
    signing.check(entry, b"text", signing.public_key(tmp_path / "public"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_commands_of_the_guide_make_keys_that_fit(tmp_path):
    guide = (ROOT / "docs" / "guides" / "verify.md").read_text()
    lines = [line.split("  #")[0] for line in guide.splitlines() if line.startswith("openssl ")]
    assert len(lines) == 2 and all(line in signing.__doc__ + signing.MAKE + signing.PUBLISH for line in lines)
    for line in lines:
        subprocess.run(line.split(), cwd=tmp_path, check=True)
    entry = signing.signed(b"text", signing.private_key(tmp_path / "key.pem"))
    signing.check(entry, b"text", signing.public_key(tmp_path / "public.pem"))
    # OpenSSL itself checks the signature as well.
    (tmp_path / "text").write_bytes(b"text")
    (tmp_path / "signature").write_bytes(base64.b64decode(entry["signature"]))
    words = "openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in text -sigfile signature"
    subprocess.run(words.split(), cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_keys_of_ssh_keygen_fit_unless_they_are_encrypted(tmp_path):
    for name, passphrase in (("plain", ""), ("locked", "word")):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", name]
        subprocess.run(words, cwd=tmp_path, check=True)
    entry = signing.signed(b"text", signing.private_key(tmp_path / "plain"))
    signing.check(entry, b"text", signing.public_key(tmp_path / "plain.pub"))
    with pytest.raises(UsageError, match="expected a key without a passphrase"):
        signing.private_key(tmp_path / "locked")


def test_another_key_or_text_is_found():
    key, other = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
    entry = signing.signed(b"text", key)
    for content, trusted, sentence in (
        (b"text", other.public_key(), "expected the key"),
        (b"texts", key.public_key(), "not one of this receipt"),
        (b"texts", None, "not one of this receipt"),
    ):
        with pytest.raises(ValueError, match=sentence):
            signing.check(entry, content, trusted)
    theirs = entry | {"public_key": signing.written(other.public_key())}
    for altered in (theirs, entry | {"signature": "?"}, entry | {"public_key": "AAAA"}):
        with pytest.raises(ValueError, match="not one of this receipt"):
            signing.check(altered, b"text")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of keys that do not fit, by name."""
    folder = tmp_path_factory.mktemp("keys")
    key, large = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
    locked = serialization.BestAvailableEncryption(b"word")
    (folder / "private").write_bytes(key.private_bytes(PEM, PRIVATE.PKCS8, PLAIN))
    (folder / "encrypted").write_bytes(key.private_bytes(PEM, PRIVATE.PKCS8, locked))
    (folder / "rsa").write_bytes(large.private_bytes(PEM, PRIVATE.PKCS8, PLAIN))
    (folder / "rsa.pub").write_bytes(large.public_key().public_bytes(PEM, PUBLIC.SubjectPublicKeyInfo))
    (folder / "public").write_bytes(key.public_key().public_bytes(PEM, PUBLIC.SubjectPublicKeyInfo))
    (folder / "damaged").write_bytes((folder / "private").read_bytes().replace(b"M", b"!", 1))
    (folder / "text").write_text("no key")
    return folder


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("encrypted", "expected a key without a passphrase"),
        ("rsa", "expected an Ed25519 key, received one of RSA"),
        ("public", "received a public key"),
        ("text", "received no key in PEM"),
        ("damaged", "this one is damaged"),
        ("absent", "expected the file of a private key"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_before_work(name, sentence, files, image_run, capsys, monkeypatch):
    monkeypatch.setattr("compression.pipeline.source.OpenedRun.load", lambda self: pytest.fail("began to work"))
    assert compress.main([str(image_run), "--sign", str(files / name)]) == 2
    error = capsys.readouterr().err
    assert f"--sign {files / name}: " in error and sentence in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rsa.pub", "expected an Ed25519 key, received one of RSA"),
        ("private", "received a private key"),
        ("text", "received no key"),
        ("absent", "expected the file of a public key"),
    ],
)
def test_a_key_that_cannot_be_trusted_is_refused(name, sentence, files, capsys):
    assert verify.main(["cnn-digits", "--signed-by", str(files / name)]) == 2
    error = capsys.readouterr().err
    assert f"--signed-by {files / name}: " in error and sentence in error and len(error.strip().splitlines()) == 1


def test_without_the_extra_its_name_is_told(monkeypatch, files):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for read in (signing.private_key, signing.public_key):
        with pytest.raises(UsageError, match=r"pip install 'keras-compression-zoo\[sign\]'"):
            read(files / "private")
