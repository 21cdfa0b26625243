"""`python -m compression.sensitivity`: what quantizing each layer alone costs, as a table and a plot."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.pipeline import sensitivity, source
from compression.recipes import language
from compression.recipes.language import Kernel
from zoo.config.options import SEEDS, option
from zoo.config.run_options import ModelData
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import form_of
from zoo.system.files import write_json


@dataclass(frozen=True, kw_only=True)
class Options(ModelData):
    """What to measure."""

    run: Path = option("run folder, or a model file (.keras, .h5) with its data", positional=True, stock_as="copy")
    recipe: str = option("precision: dynamic, int8 or int4", "int8")
    lstm_kernel: Kernel = option("form of recurrent layers", "auto")
    seed: int = option("random seed for the choice of examples", 0, within=SEEDS)
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")
    output: Path | None = option("folder for the table and the plot (default: RUN/artifacts)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure, and write the table and the plot into the run's artifacts."""
    options = Options(**given)
    recipe = language.parse(options.recipe)
    if recipe.stages:
        raise UsageError(f"--recipe {options.recipe!r}: expected a precision alone, received a recipe that trains")
    if not recipe.skippable or recipe.skip:
        raise UsageError(f"--recipe: expected dynamic, int8 or int4 without skip, received {options.recipe!r}")
    chosen = source.opened(options.run, given)
    folder = source.output_of(chosen, options.output)
    model, data = chosen.load()
    rows = sensitivity.measure(
        model,
        data,
        recipe,
        kernel=options.lstm_kernel,
        seed=options.seed,
        say=cli.say,
    )
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = (folder / f"{recipe.file_name}.sensitivity.{suffix}" for suffix in ("json", "png"))
    result = {"recipe": str(recipe), "layers": rows, "picture": str(picture), "path": str(table)}
    write_json(table, result)
    sensitivity.draw(picture, rows, f"{chosen.place.name}: {recipe}, one layer at a time")
    words = ("--recipe", str(recipe), "--skip-worst", 1)
    place = ("--output", folder) if options.output else ()
    ways = () if options.lstm_kernel == "auto" else ("--lstm-kernel", options.lstm_kernel)
    command = command_line(
        "compression.compress", options.run, *words, *source.load_words(chosen, given), *ways, *place
    )
    return {**result, "next": command if len(rows) > 2 and sensitivity.loses(rows) else None}


def show(result: Mapping[str, Any]) -> None:
    """Print a row for each layer, the next command, and last the file."""
    score = sensitivity.score_of(result["layers"][0])
    scale, words = sensitivity.in_words(score) if score else (1.0, "")
    rows = [
        (
            row["layer"],
            *(_scored(score, row, scale) if score else ()),
            f"{row['mean_difference']:.1e}",
            f"{row['largest_difference']:.1e}",
            f"{row['bytes']:,}",
        )
        for row in result["layers"]
    ]
    scores = (score, "loss (points)" if scale > 1 else words) if score else ()
    cli.table(("quantized", *scores, "mean difference", "largest difference", "bytes"), rows)
    print(f"picture: {result['picture']}")
    if len(rows) > 2 and not result["next"]:
        print("no layer needs to be skipped: quantizing all of them loses nothing")
    if result["next"]:
        print(f"next:   {result['next']}")
    print(result["path"])


def _scored(score: str, row: Mapping[str, Any], scale: float) -> tuple[str, str]:
    worse = row[f"{score}_loss"] * scale
    return format(row[score], form_of(score.rpartition(".")[2])[1]), f"{worse:+.{2 if scale > 1 else 4}f}"


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.sensitivity",
    examples=(
        "python -m compression.sensitivity runs/digits --recipe int4",
        "python -m compression.sensitivity mine.keras --data photographs --output small",
    ),
    description="Measure how much quantizing each layer alone costs.",
)


if __name__ == "__main__":
    sys.exit(main())
