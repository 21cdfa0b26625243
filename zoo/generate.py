"""`python -m zoo.generate`: translate texts, continue them, or draw images with a trained run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from strategies import backend
from zoo.config import task_facts
from zoo.config.run_options import GenerateOptions
from zoo.console import cli
from zoo.runs.folder import RunFolder


def run(given: Mapping[str, Any]) -> list[dict[str, str]] | dict[str, Any]:
    """Return the texts that were generated for each input, or for images their number and the files written."""
    options = GenerateOptions(**given)
    folder = RunFolder(options.run)
    task_facts.check_request("zoo.generate", folder, options)
    folder.check_model_file()
    backend.start()
    from zoo import tasks

    return tasks.of(folder.task).generate(folder, options)


def show(result: Sequence[Mapping[str, str]] | Mapping[str, Any]) -> None:
    """Print each text, or the files that the images were written to."""
    if isinstance(result, Mapping):
        print(f"{result['count']} images, also as arrays in {result['images']}")
        print(result["path"])
        return
    for row in result:
        print(row["output"])


main = functools.partial(
    cli.command,
    GenerateOptions,
    run,
    show,
    examples=(
        "python -m zoo.generate runs/gan-mnist --count 64 --output samples.png",
        "python -m zoo.generate runs/transformer_lm-texts 'Once upon a time' --temperature 0.8 --top-k 40",
    ),
    prog="python -m zoo.generate",
    description="Translate texts, continue them, or draw images with a trained run.",
)


if __name__ == "__main__":
    sys.exit(main())
