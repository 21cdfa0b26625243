"""`python -m compression.verify`: measure a .tflite file again, and fail if its receipt is not reproduced."""

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression import tasks
from compression.pipeline import origin, source
from compression.pipeline.source import OpenedRun
from compression.receipts import signing
from compression.receipts.artifacts import canonical, check_beside, read_receipt, receipt_path
from compression.receipts.coverage import groups, in_words
from compression.receipts.wording import called, on_device
from zoo.config.options import option
from zoo.config.run_options import ModelData
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.guests.model import OpenedModel


@dataclass(frozen=True, kw_only=True)
class Options(ModelData):
    """What to verify."""

    file: Path = option(".tflite file with its receipt beside it", positional=True, stock_as="file")
    run: Path | None = option(
        "run, or model file with its data, that the file was made from (default: the run whose folder holds the file)",
        positional=True,
        optional=True,
        stock_as="run",
    )
    signed_by: Path | None = option(
        "public key that must have signed the receipt; without the run, only the signature and the hashes are checked",
        metavar="PUBLIC_KEY",
    )
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the receipt, measure again, and return the measurements.

    Raises:
        UsageError: The receipt, the file, the signature or the run is not the one that it should be.
        Failed: A number of the receipt is not reproduced.
    """
    options = Options(**given)

    def opened() -> OpenedRun | OpenedModel | None:
        place = options.run or source.run_of(options.file, required=options.signed_by is None)
        return None if place is None else source.opened(place, given, any_task=True)

    return checked(options, opened)


def checked(options: Options, open_source: Callable[[], OpenedRun | OpenedModel | None]) -> dict[str, Any]:
    """Check and measure a file, and return what `run` returns.

    Args:
        options: Options of the command.
        open_source: Function that opens what the file was made from, and returns None if that is not there.
    """
    trusted = signing.public_key(options.signed_by) if options.signed_by else None
    from compression.flatbuffers import flatbuffer

    flatbuffer.read(options.file)
    receipt = read_receipt(options.file)
    signature = _check_signature(options, receipt, trusted)
    origin.check_recipe(options.file, receipt)
    check_beside(options.file, receipt)
    result = {"path": str(options.file), "signed": signature, "digest": receipt.get("digest")}
    chosen = open_source()
    if chosen is None:
        found = groups(receipt, dict.fromkeys(("file", "sha256", "beside")), run=False)
        return result | {"verified": False, "run": None, "groups": found}
    origin.check_run(options.file, receipt, chosen)
    model, data = chosen.load()
    from compression.pipeline.pipeline import verify

    measured, differences = verify(options.file, model, data)
    if differences:
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise Failed(f"{options.file}: not reproduced: {'; '.join(differences[:5])}{more}")
    result |= {
        "task": chosen.task,
        "verified": True,
        "run": str(chosen.place),
        "groups": groups(receipt, measured, run=True),
    }
    return result | {"receipt_latency": receipt.get("latency"), **measured}


def _check_signature(options: Options, receipt: Mapping[str, Any], trusted: Any) -> str | None:
    """Return what is known of the signature, as a sentence; None if there is none and none was asked for.

    Raises:
        UsageError: The signature is not one of this receipt, or not one by the trusted key.
    """
    file, entry = receipt_path(options.file), receipt.get("signed")
    if entry is None:
        if trusted:
            raise UsageError(f"--signed-by {options.signed_by}: expected a signed receipt, {file} has no signature")
        return None
    if "digest" not in receipt or entry.keys() != {"algorithm", "public_key", "signature"}:
        raise UsageError(f"{file}: signed: expected algorithm, public_key and signature, and a digest beside it")
    if not signing.available():
        return f"signed by {entry['public_key']}; this was not checked, which needs the extra sign"
    try:
        signing.check(entry, canonical(receipt), trusted)
    except ValueError as error:
        flag = f"--signed-by {options.signed_by}: " if trusted else ""
        raise UsageError(f"{flag}{file}: {error}") from None
    if trusted:
        return f"signed by {options.signed_by} ({entry['public_key']})"
    return f"signed by {entry['public_key']}; whose key this is was not checked, which --signed-by does"


def show(result: Mapping[str, Any]) -> None:
    """Print what was reproduced, the latencies, how each field was confirmed, and last the file."""
    if result["verified"]:
        print(
            f"reproduced: {result['bytes']:,} bytes, SHA-256 {result['sha256'][:16]}...,"
            f" {len(result['constants'])} constants, {sum(result['operators'].values())} operators"
        )
        if "not_run" in result:
            print(f"not measured: {result['not_run']}")
        else:
            scores = result["test"]["litert"]
            score = (
                f"test {tasks.of(result['task']).headline(scores)}" if scores else "differences from Keras, no labels"
            )
            print(f"reproduced: {score} ({result['test']['examples']:,} examples)")
    for line in on_device(result):
        print(f"reproduced: {line}")
    before = {called(row): row["median_ms"] for row in result.get("receipt_latency") or ()}
    for row in result.get("latency", ()):
        then = f", receipt {before[called(row)]:.3f} ms" if called(row) in before else ""
        print(f"latency {row['median_ms']:.3f} ms ({called(row)}{then}; not compared)")
    if result["signed"]:
        print(result["signed"])
    for title, names in in_words(result):
        print(f"{title}: {', '.join(names)}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m compression.verify runs/digits/artifacts/int8.tflite",
        "python -m compression.verify small/int8.tflite mine.keras --data photographs",
        "python -m compression.verify int8.tflite --signed-by public.pem",
    ),
    prog="python -m compression.verify",
    description="Measure a .tflite file again, and fail if its receipt is not reproduced.",
)


if __name__ == "__main__":
    sys.exit(main())
