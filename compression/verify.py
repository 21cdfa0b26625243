"""`python -m compression.verify`: measure a .tflite file again, and fail if its receipt is not reproduced."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression import tasks
from compression.pipeline import source
from compression.receipts.artifacts import read_receipt
from compression.receipts.wording import called
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import Failed


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to verify."""

    file: Path = option(".tflite file with its receipt beside it", positional=True, stock_as="file")
    run: Path | None = option(
        "run that it was made from (default: the one it lies in)", positional=True, optional=True, stock_as="run"
    )
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure again, and return the measurements.

    Raises:
        Failed: A number of the receipt is not reproduced.
    """
    options = Options(**given)
    from compression.flatbuffers import flatbuffer

    flatbuffer.read(options.file)
    receipt = read_receipt(options.file)
    chosen = source.open_run(options.run or source.run_of(options.file), given, any_task=True)
    model, data = chosen.load()
    from compression.pipeline.pipeline import verify

    measured, differences = verify(options.file, model, data)
    if differences:
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise Failed(f"{options.file}: not reproduced: {'; '.join(differences[:5])}{more}")
    verified = {"path": str(options.file), "task": chosen.task, "verified": True}
    return verified | {"receipt_latency": receipt.get("latency"), **measured}


def show(result: Mapping[str, Any]) -> None:
    """Print what was reproduced, the latencies of the receipt and of now, and last the file."""
    print(
        f"reproduced: {result['bytes']:,} bytes, SHA-256 {result['sha256'][:16]}...,"
        f" {len(result['constants'])} constants, {sum(result['operators'].values())} operators"
    )
    if "not_run" in result:
        print(f"not measured: {result['not_run']}")
    else:
        score = tasks.of(result["task"]).headline(result["test"]["litert"])
        print(f"reproduced: test {score} ({result['test']['examples']:,} examples)")
    before = {called(row): row["median_ms"] for row in result["receipt_latency"] or ()}
    for row in result.get("latency", ()):
        then = f", receipt {before[called(row)]:.3f} ms" if called(row) in before else ""
        print(f"latency {row['median_ms']:.3f} ms ({called(row)}{then}; not compared)")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.verify",
    description="Measure a .tflite file again, and fail if its receipt is not reproduced.",
)


if __name__ == "__main__":
    sys.exit(main())
