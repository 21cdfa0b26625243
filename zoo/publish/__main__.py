"""`python -m zoo.publish RUN --to PLACE`: put a run with its card, files and receipts where others find it."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.receipts.artifacts import read_receipt
from zoo.config import task_facts
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError, nearest
from zoo.publish import contents, licenses, places
from zoo.reports import model_card
from zoo.runs.folder import RunFolder
from zoo.system import temporary


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to publish, and where."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    to: str = option("folder:PATH, hf:USER/NAME, or kaggle:USER/MODEL/FRAMEWORK/VARIATION", metavar="PLACE")
    license: str | None = option("license of the model as the hub names it, such as apache-2.0")
    report: bool = option("publish report.html too, which shows examples of the data", False)
    private: bool = option("make a new repository on Hugging Face private", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Publish, and return the address, the files, and what was left out."""
    options = Options(**given)
    place = places.parse(options.to or "")
    if options.private and place.kind != "hf":
        raise UsageError(f"--private: expected with --to hf:USER/NAME, received with --to {place}")
    if options.license is not None and options.license not in licenses.KNOWN:
        cli.say(
            f"--license {options.license} is written as it is, and is not among the identifiers of Hugging Face, which"
            f" has other for the rest{nearest(options.license, licenses.KNOWN)}"
        )
    folder = RunFolder(options.run)
    text, _ = model_card.card(folder, read_receipt)
    with temporary.folder() as place_of_files:
        made = place_of_files / folder.path.name
        kept = {"license": options.license, "report": options.report, "facts": task_facts.of(folder.task)}
        left_out = contents.write(folder, made, text, **kept)
        files = {str(path.relative_to(made)): path.stat().st_size for path in sorted(made.rglob("*")) if path.is_file()}
        size = sum(files.values())
        cli.say(f"{len(files)} files, {size / 1e6:.1f} MB, to {place}")
        if left_out:
            cli.say(f"left out, as they show examples of the data: {', '.join(left_out)}")
        address = places.send(made, place, private=options.private)
    return {
        "to": str(place),
        "files": files,
        "left_out": left_out,
        "next": place.used_by(task_facts.of(folder.task).used_by),
        "path": address,
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the files, how to load them, and last the address."""
    for name, size in result["files"].items():
        print(f"{size:>12,}  {name}")
    print(f"next:   {result['next']}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.publish",
    description="Publish a run: model card, model, scores, and .tflite files with their receipts.",
    examples=(
        "python -m zoo.publish runs/digits --to folder:published/digits",
        "python -m zoo.publish runs/digits --to hf:USER/digits --license apache-2.0",
    ),
)


if __name__ == "__main__":
    sys.exit(main())
