"""Receipts, the files beside them and the .tflite itself altered in every field, and what `compression.verify` says.

A fault is an alteration that verify accepts without telling, or that ends in an error which is no sentence.
"""

import contextlib
import copy
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.drilling.outcome import Outcome
from compression.receipts import signing
from compression.receipts.artifacts import receipt_path, sealed
from compression.surgery.copying import weights_sha256
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256, write_json

SEED = 0
RECIPE = "prune(0.5, epochs=1) + int8"
# Alterations whose digest is computed anew, and flipped bytes, in a full and in a quick drill.
FORGED, FLIPS = (240, 24), (200, 20)
_GONE = object()

Leaf = tuple[str | int, ...]


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Alter what `compression.compress` wrote, one thing at a time, and call `compression.verify` each time.

    Args:
        folder: Empty folder to work in.
        quick: Whether to make few of the attempts that measure the file again.
    """
    place = _Place(folder)
    rng = random.Random(SEED)
    changes = [(leaf, how) for leaf in _leaves(place.receipt) for how in _HOW]
    yield _altered(place, changes)
    yield _forged(place, rng.sample(changes, min(len(changes), FORGED[quick])))
    yield _beside(place, rng)
    yield _flipped(place, rng, FLIPS[quick])
    yield _exchanged(place)
    if place.keys:
        yield _signed(place, changes)


class _Place:
    """Two runs of a small network that differ in their seed, and compressed files of the first."""

    def __init__(self, folder: Path) -> None:
        from compression import compress
        from zoo import train

        self.keys = _keys(folder) if signing.available() else None
        self.run, self.other = folder / "run", folder / "other"
        for seed, run in enumerate((self.run, self.other)):
            words = ["--model", "simplenet", "--dataset", "digits", "--set", "units=12,8", "--epochs", "6"]
            _done(train.main, [*words, "--seed", str(seed), "--output", str(run)])
        for recipe in (RECIPE, "dynamic"):
            sign = ["--sign", str(self.keys[0])] if self.keys else []
            _done(compress.main, [str(self.run), "--recipe", recipe, *sign])
        self.file = next((self.run / "artifacts").glob("prune*.tflite"))
        self.second = self.run / "artifacts" / "dynamic.tflite"
        self.receipt = json.loads(receipt_path(self.file).read_text(encoding="utf-8"))
        self._kept = folder / "kept"
        shutil.copytree(self.run / "artifacts", self._kept)

    def restore(self) -> None:
        """Undo all alterations."""
        shutil.rmtree(self.run / "artifacts")
        shutil.copytree(self._kept, self.run / "artifacts")

    def write(self, receipt: Any) -> None:
        write_json(receipt_path(self.file), receipt)

    def verify(self, *words: str) -> tuple[int | None, str, str]:
        """Return the exit status of verify, its standard output and its standard error; None if an error escaped."""
        from compression import verify

        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = verify.main([str(self.file), *words, "--json"])
        except BaseException as error:  # what escapes from a command is what this drill looks for
            return None, out.getvalue(), f"{type(error).__name__}: {error}"
        return status, out.getvalue(), err.getvalue()

    def attempt(
        self, outcome: Outcome, what: str, *words: str, told: str = "", statuses: tuple[int, ...] = (1, 2)
    ) -> None:
        """Verify, and note a fault.

        Args:
            outcome: Outcome that the attempt belongs to.
            what: What was altered, in words.
            words: Further words of the command.
            told: Field that verify may accept if it names it as told.
            statuses: Exit statuses of a refusal.
        """
        status, out, err = self.verify(*words)
        outcome.attempts += 1
        outcome.facts[f"status {status}"] = outcome.facts.get(f"status {status}", 0) + 1
        if status == 0:
            groups = json.loads(out)["groups"]
            if not told or told not in groups["told"]:
                outcome.faults.append(f"{what}: accepted without a word")
        elif status not in statuses or "--debug shows where" in err or "Traceback" in err:
            outcome.faults.append(f"{what}: status {status}, {err.strip()[:300]}")
        elif len(err.strip().splitlines()) != 1:
            outcome.faults.append(f"{what}: expected one sentence, received {err.strip()[:300]}")


def _keys(folder: Path) -> tuple[Path, Path]:
    """Write a pair of keys, and return their paths, the private one first."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    private, public = folder / "key.pem", folder / "public.pem"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def _done(main: Callable[[list[str]], int], words: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        if status := main(words):
            raise RuntimeError(f"{' '.join(words)}: ended with status {status}")


def _leaves(value: Any, at: Leaf = ()) -> Iterator[Leaf]:
    """Yield the path of every value of a receipt that is no object and no list, or an empty one."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [leaf for name, each in pairs for leaf in _leaves(each, (*at, name))]
    yield from below or [at]


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return f"{value}x" if isinstance(value, str) else ["x"] if isinstance(value, list) else "x"


def _retyped(value: Any) -> Any:
    return 7 if isinstance(value, str) or value is None else "yes" if isinstance(value, bool) else str(value)


_HOW: dict[str, Callable[[Any], Any]] = {"changed": _changed, "retyped": _retyped, "removed": lambda value: _GONE}


def _with(receipt: dict[str, Any], leaf: Leaf, how: str) -> dict[str, Any]:
    """Return a copy of a receipt with one leaf altered."""
    made = copy.deepcopy(receipt)
    at = made
    for name in leaf[:-1]:
        at = at[name]
    value = _HOW[how](at[leaf[-1]])
    if value is _GONE:
        del at[leaf[-1]]
    else:
        at[leaf[-1]] = value
    return made


def _named(leaf: Leaf) -> str:
    return ".".join(map(str, leaf))


def _altered(place: _Place, changes: list[tuple[Leaf, str]]) -> Outcome:
    outcome = Outcome("a field of a receipt altered", "refused before anything is measured")
    for leaf, how in changes:
        if leaf[0] == "signed":  # without --signed-by, only damage of the signature can be found
            continue
        place.write(_with(place.receipt, leaf, how))
        place.attempt(outcome, f"{_named(leaf)} {how}", statuses=(2,))
    place.restore()
    return outcome


def _forged(place: _Place, changes: list[tuple[Leaf, str]]) -> Outcome:
    outcome = Outcome(
        "a field altered, and the digest computed anew", "found by measuring or in the run, or named as told"
    )
    outcome.facts["seed"] = SEED
    for leaf, how in changes:
        if leaf[0] not in ("digest", "signed"):
            place.write(sealed(_with(place.receipt, leaf, how)))
            told = f"made.{leaf[1]}" if leaf[0] == "made" else str(leaf[0])
            place.attempt(outcome, f"{_named(leaf)} {how}", told=told)
    place.restore()
    return outcome


def _beside(place: _Place, rng: random.Random) -> Outcome:
    outcome = Outcome("files beside the .tflite altered, removed or exchanged", "refused")
    stages = place.run / "artifacts" / place.receipt["made"]["stages_folder"]
    used = [stages / "stages.json", *sorted(stages.glob("1-*/model.keras"))]
    for file in [place.file.with_suffix(suffix) for suffix in place.receipt["beside"]] + used:
        for what, edit in (("a byte flipped", _flip), ("cut", lambda c, r: c[: len(c) // 2]), ("removed", None)):
            content = file.read_bytes()
            file.write_bytes(edit(content, rng)) if edit else file.unlink()
            place.attempt(outcome, f"{file.name} {what}", statuses=(2,))
            if edit and file not in used:  # somebody who knows of the hash and of the digest
                suffix = next(s for s in place.receipt["beside"] if file.name.endswith(s))
                forged = place.receipt | {"beside": place.receipt["beside"] | {suffix: sha256(file)}}
                place.write(sealed(forged))
                place.attempt(outcome, f"{file.name} {what}, and its hash and the digest computed anew")
            place.restore()
    return outcome


def _flip(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _flipped(place: _Place, rng: random.Random, count: int) -> Outcome:
    outcome = Outcome("a bit of the .tflite flipped", "refused before it is run", facts={"seed": SEED})
    content = place.file.read_bytes()
    for number in range(count):
        place.file.write_bytes(_flip(content, rng))
        place.attempt(outcome, f"flip {number} of seed {SEED}", statuses=(2,))
    place.restore()
    return outcome


def _exchanged(place: _Place) -> Outcome:
    outcome = Outcome("the receipt of another file, another run, another seal", "refused")
    theirs = json.loads(receipt_path(place.second).read_text(encoding="utf-8"))
    mine = {"file": place.file.name, "sha256": sha256(place.file)}
    model = {"model_sha256": sha256(place.other / "model.keras"), "training_seed": 1, "run": "other"}
    weights = {"weights_sha256": weights_sha256(RunFolder(place.other).load_model())}
    attempts: list[tuple[str, Any, tuple[str, ...]]] = [
        ("the receipt of another file", theirs, ()),
        ("the receipt of another file with this one's name and hash", sealed(theirs | mine), ()),
        ("another run", place.receipt, (str(place.other),)),
        (
            "another run, which a forged receipt names",
            sealed(place.receipt | {"made": place.receipt["made"] | model}),
            (str(place.other),),
        ),
        (
            "another run, which a forged receipt names with its weights",
            sealed(place.receipt | {"made": place.receipt["made"] | model | weights}),
            (str(place.other),),
        ),
        ("no digest", {k: v for k, v in place.receipt.items() if k != "digest"}, ()),
        ("an empty receipt", {}, ()),
        ("a receipt that is a list", [place.receipt], ()),
        ("a receipt that is null", None, ()),
    ]
    for what, receipt, words in attempts:
        place.write(receipt)
        place.attempt(outcome, what, *words)
    for what, text in (
        ("a receipt cut in half", json.dumps(place.receipt)[: len(json.dumps(place.receipt)) // 2]),
        ("a receipt with a name twice", '{"bytes": 1, ' + json.dumps(place.receipt)[1:]),
        ("a receipt nested 100,000 times", "[" * 100_000),
        ("a receipt that is no text", "\udcff"),
    ):
        receipt_path(place.file).write_bytes(text.encode(errors="surrogateescape"))
        place.attempt(outcome, what, statuses=(2,))
    place.restore()
    return outcome


def _signed(place: _Place, changes: list[tuple[Leaf, str]]) -> Outcome:
    outcome = Outcome("a signed receipt altered, and the digest computed anew", "refused before anything is measured")
    words = ("--signed-by", str(place.keys[1]))
    for leaf, how in changes:
        made = _with(place.receipt, leaf, how)
        entry = {"signed": made["signed"]} if "signed" in made else {}
        place.write(sealed(made) | entry)
        place.attempt(outcome, f"{_named(leaf)} {how}", *words, statuses=(2,)) if leaf[0] != "digest" else None
    place.restore()
    return outcome
