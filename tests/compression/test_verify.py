"""What verify measures again, checks against the run and takes as told, when somebody also forges the digest."""

import base64
import json
import shutil

import numpy as np
import pytest

from compression import api, compress, verify
from compression.receipts import signing
from compression.receipts.artifacts import receipt_path
from tests.compression.conftest import altered
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256, write_json


@pytest.fixture(scope="module")
def made(image_run, tmp_path_factory):
    """Return a folder outside of the run with two files: of a recipe that trains, and of one that does not."""
    folder = tmp_path_factory.mktemp("verified")
    for recipe in ("prune(0.5, epochs=1) + int8", "dynamic"):
        assert compress.main([str(image_run), "--recipe", recipe, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def trained(made, tmp_path):
    shutil.copytree(made, tmp_path / "files")
    return tmp_path / "files" / "prune-0.5-epochs-1-int8.tflite"


@pytest.fixture
def plain(trained):
    return trained.with_name("dynamic.tflite")


def said(capsys, *words):
    capsys.readouterr()
    status = verify.main([str(word) for word in words])
    out, error = capsys.readouterr()
    return status, out, error


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["made"].update(recipe="int8"), "a file of 'int8' has the name int8.tflite"),
        (lambda r: r["made"].update(recipe="in8"), "made.recipe: unknown recipe word 'in8'"),
        (lambda r: r["made"].update(model="lstm"), "made.model: the receipt says 'lstm'"),
        (lambda r: r["made"].update(data="mnist"), "made.data: the receipt says 'mnist'"),
        (lambda r: r["made"].update(training_seed=7), "made.training_seed: the receipt says 7"),
        (lambda r: r["made"].update(privacy="none"), "made.privacy: the receipt says 'none'"),
        (lambda r: r["made"].update(calibration_examples=0), "made.calibration_examples: expected at least 1"),
        (lambda r: r["made"].update(lstm_kernel="fast"), "made.lstm_kernel: expected one of auto"),
        (lambda r: r["made"].update(weights_sha256="0" * 64), "made.weights_sha256 of its receipt"),
        (lambda r: r["made"].update(stages_sha256="0" * 64), "the SHA-256 of its stages is"),
        (lambda r: r["made"].update(stages_folder="elsewhere"), "made.stages_folder: expected 'prune-0.5-epochs-1"),
        (lambda r: r["made"].pop("stages_folder"), "made.stages_folder: expected 'prune-0.5-epochs-1"),
        (lambda r: r["stages"].pop(), "stages: expected ['start', 'prune(0.5, epochs=1)']"),
        pytest.param(
            lambda r: r["stages"][-1].update(accuracy=2.0),
            "stages[1].accuracy: the receipt says 2.0",
            marks=pytest.mark.slow,
        ),
        (lambda r: r["about"]["labels"].reverse(), "about.labels[0]: the receipt says high, measured low"),
        (lambda r: r["interface"].update(output="logits"), "interface.output: the receipt says logits"),
        (
            lambda r: r["tolerances"].update(largest_difference=1.0),
            "tolerances.largest_difference: the receipt says 1.0",
        ),
        (lambda r: r["operators"].update(CONV_2D=7), "operators.CONV_2D: the receipt says 7"),
        (lambda r: r["parity"].update(same_answer=True), "parity.same_answer: expected number, received True"),
    ],
)
def test_a_forged_receipt_is_found_in_the_run_or_by_measuring(change, sentence, trained, image_run, capsys):
    altered(trained, change)
    status, out, error = said(capsys, trained, image_run)
    assert status in (1, 2) and not out and sentence in error and len(error.strip().splitlines()) == 1, error


def test_labels_are_those_of_the_run(trained, image_run, capsys):
    labels = trained.with_suffix(".labels.txt")
    labels.write_text("low\nhigh\nmiddle\n")
    altered(trained, lambda r: r["beside"].update({".labels.txt": sha256(labels)}))
    status, _, error = said(capsys, trained, image_run)
    assert status == 1 and "labels.txt: expected the SHA-256" in error and "as the run has it" in error


def test_each_group_of_fields_is_told(plain, image_run, capsys):
    altered(plain, lambda r: r["versions"].update(keras="4.0"))
    status, out, error = said(capsys, plain, image_run)
    assert status == 0, error
    lines = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
    assert "tolerances, test, parity" in lines["measured again"] and "constants" in lines["measured again"]
    assert "made.model_sha256" in lines[f"checked against the run {image_run}"]
    assert lines["told, covered by the digest"].endswith("latency, processor, versions")


@pytest.mark.slow
def test_another_run_is_refused_with_both_hashes(plain, image_run, tmp_path, capsys, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(image_run, other, ignore=shutil.ignore_patterns("artifacts", "checkpoints"))
    model = RunFolder(other).load_model()
    model.set_weights([w + np.float32(0.01) for w in model.get_weights()])
    model.save(other / "model.keras")
    write_json(
        other / "metrics.json", RunFolder(other).read_metrics() | {"model_sha256": sha256(other / "model.keras")}
    )
    with monkeypatch.context() as patch:
        patch.setattr("compression.pipeline.source.OpenedRun.load", lambda self: pytest.fail("began to work"))
        status, _, error = said(capsys, plain, other)
    hashes = [sha256(folder / "model.keras") for folder in (image_run, other)]
    assert status == 2 and all(text in error for text in (*hashes, "made.model_sha256", str(other / "model.keras")))
    # A forger who names the other model is found by its weights, or by what the file gives.
    altered(plain, lambda r: r["made"].update(model_sha256=hashes[1]))
    status, _, error = said(capsys, plain, other)
    assert status == 2 and "made.weights_sha256 of its receipt" in error


def test_a_receipt_of_0_1_says_what_was_not_checked(plain, image_run, capsys):
    receipt = json.loads(receipt_path(plain).read_text())
    for name in ("digest", "beside", "tolerances"):
        del receipt[name]
    for name in ("task", "weights_sha256"):
        del receipt["made"][name]
    receipt_path(plain).write_text(json.dumps(receipt))
    status, out, error = said(capsys, plain, image_run)
    assert status == 0, error
    (line,) = [
        line for line in out.splitlines() if line.startswith("told, not checked, as the receipt has no digest: ")
    ]
    assert line.endswith("made.run, latency, processor, versions")
    plain.with_suffix(".labels.txt").write_text("low\nhigh\nmiddle\n")
    assert "labels.txt: expected the SHA-256" in said(capsys, plain, image_run)[2]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return the paths of a private and a public key."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="needs the extra sign")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder, key = tmp_path_factory.mktemp("keys"), Ed25519PrivateKey.generate()
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "public.pem").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return folder / "key.pem", folder / "public.pem"


def test_a_signed_receipt_is_trusted_without_the_run(image_run, keys, tmp_path, capsys):
    private, public = keys
    assert (
        compress.main([str(image_run), "--recipe", "dynamic", "--output", str(tmp_path), "--sign", str(private)]) == 0
    )
    file = tmp_path / "dynamic.tflite"
    status, out, error = said(capsys, file, "--signed-by", public)
    assert status == 0, error
    assert "reproduced" not in out and f"signed by {public}" in out and "not measured without the run" in out
    assert api.verify(file, signed_by=public).measured["verified"] is False
    status, out, _ = said(capsys, file, image_run, "--signed-by", public)
    assert status == 0 and "reproduced: test accuracy" in out and f"signed by {public}" in out
    assert "which --signed-by does" in said(capsys, file, image_run)[1]
    # Whoever alters the receipt and computes its digest anew lacks the key.
    signed = json.loads(receipt_path(file).read_text())["signed"]
    altered(file, lambda r: r["versions"].update(keras="4.0"))
    assert "has no signature" in said(capsys, file, "--signed-by", public)[2]
    receipt_path(file).write_text(json.dumps(json.loads(receipt_path(file).read_text()) | {"signed": signed}))
    for words in (["--signed-by", public], [image_run]):
        status, _, error = said(capsys, file, *words)
        assert status == 2 and "the signature is not one of this receipt" in error


@pytest.mark.slow
def test_another_key_is_refused_with_both(image_run, keys, tmp_path, capsys):
    file = api.compress(image_run, "float16", output=tmp_path, sign=keys[0])
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    other = Ed25519PrivateKey.generate().public_key()
    line = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + other.public_bytes_raw()).decode()
    (tmp_path / "other.pub").write_text(f"ssh-ed25519 {line} somebody\n")
    status, _, error = said(capsys, file.path, "--signed-by", tmp_path / "other.pub")
    assert (
        status == 2
        and f"expected the key {signing.written(other)}, but {file.receipt['signed']['public_key']}" in error
    )
    with pytest.raises(UsageError, match="expected the file of a private key"):
        api.compress(image_run, "float16", output=tmp_path, sign=tmp_path / "absent.pem")
