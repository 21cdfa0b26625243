"""Receipts as files: types, the digest, and the files beside a .tflite."""

import json
from pathlib import Path

import pytest

from compression.receipts import fields
from compression.receipts.artifacts import canonical, check_beside, read_receipt, receipt_path, sealed
from compression.receipts.coverage import groups
from tests.conftest import ROOT
from zoo.console.errors import UsageError
from zoo.system.files import sha256

STOCK = ROOT / "zoo" / "stock" / "cnn-digits" / "artifacts"


@pytest.fixture
def file(tmp_path):
    """Return a copy of a file of the package, with a receipt that has a digest and one file beside it."""
    path = tmp_path / "float32.tflite"
    path.write_bytes((STOCK / path.name).read_bytes())
    labels = path.with_suffix(".labels.txt")
    labels.write_text("0\n1\n")
    receipt = json.loads(receipt_path(STOCK / path.name).read_text())
    receipt["made"] |= {"task": "classification", "weights_sha256": "0" * 64}
    receipt |= {"beside": {".labels.txt": sha256(labels)}, "tolerances": {}}
    receipt_path(path).write_text(json.dumps(sealed(receipt)))
    return path


def test_a_receipt_is_read_as_it_was_sealed(file):
    receipt = read_receipt(file)
    check_beside(file, receipt)
    assert sealed(receipt) == receipt and b'"digest"' not in canonical(receipt)
    assert sealed(receipt | {"bytes": 1})["digest"] != receipt["digest"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r["made"].update(seed=3), "its content has the digest"),
        (lambda r: r["versions"].update(keras="4"), "its content has the digest"),
        (lambda r: r.pop("about"), "about: expected object, found no such field"),
        (lambda r: r.pop("made"), "made: expected object, found no such field"),
        (lambda r: r["made"].pop("task"), "made.task: expected text, found no such field"),
        (lambda r: r["made"].update(recipe=3), "made.recipe: expected text, received 3"),
        (lambda r: r["made"].update(seed=True), "made.seed: expected whole number from 0, received True"),
        (lambda r: r["made"].update(model_sha256="short"), "made.model_sha256: expected SHA-256 of 64"),
        (lambda r: r["latency"][0].pop("threads"), "latency.0.threads: expected whole number from 0, found no such"),
        (lambda r: r["interface"].update(batch="1"), "interface.batch: expected whole number from 0, received '1'"),
        (lambda r: r["interface"].update(more=1), "cut short or altered"),
        (lambda r: r.pop("digest"), "digest: expected SHA-256 of 64 hexadecimal digits, found no such field"),
    ],
)
def test_an_altered_receipt_is_refused_in_one_sentence(file, change, sentence):
    receipt = json.loads(receipt_path(file).read_text())
    change(receipt)
    receipt_path(file).write_text(json.dumps(receipt))
    with pytest.raises(UsageError) as refused:
        read_receipt(file)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ['{"bytes": 1, "bytes": 2}', "[]", "null", "[" * 100_000, "{", "\udcff"])
def test_what_is_no_receipt_is_refused(file, text):
    receipt_path(file).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match="cut short or altered"):
        read_receipt(file)


def test_files_beside_are_covered_by_their_hash(file):
    labels, receipt = file.with_suffix(".labels.txt"), read_receipt(file)
    labels.write_text("1\n0\n")
    with pytest.raises(UsageError, match=r"float32.labels.txt: altered: its SHA-256 is"):
        check_beside(file, receipt)
    labels.unlink()
    with pytest.raises(UsageError, match="expected float32.labels.txt beside it"):
        check_beside(file, receipt)
    with pytest.raises(UsageError, match="expected suffixes"):
        check_beside(file, receipt | {"beside": {"/../../secret": "0" * 64}})


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/results/*.receipt.json")), ids=lambda path: path.stem)
def test_receipts_of_version_0_1_have_all_fields(path: Path):
    fields.check(json.loads(path.read_text()))


def test_every_field_is_measured_checked_or_told(file):
    receipt = read_receipt(file)
    measured = {name: receipt[name] for name in ("bytes", "test", "latency")}
    found = groups(receipt, measured, run=True)
    assert "latency" in found["told"] and "bytes" in found["measured"] and "made.data" in found["checked"]
    names = [name for group in found.values() for name in group]
    every = {f"made.{name}" for name in receipt["made"]} | receipt.keys() - {"made", "digest", "signed"}
    assert len(names) == len(every) and set(names) == every
