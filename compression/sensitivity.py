"""`python -m compression.sensitivity`: loss of accuracy from quantizing each layer alone, as a table and a plot."""

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
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.system.files import write_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    recipe: str = option("precision: dynamic, int8 or int4", "int8")
    lstm_kernel: Kernel = option("form of recurrent layers", "auto")
    seed: int = option("random seed for the choice of examples", 0, within=SEEDS)
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure, and write the table and the plot into the run's artifacts."""
    options = Options(**given)
    recipe = language.parse(options.recipe)
    if recipe.stages:
        raise UsageError(f"--recipe {options.recipe!r}: expected a precision alone, received a recipe that trains")
    if not recipe.skippable or recipe.skip:
        raise UsageError(f"--recipe: expected dynamic, int8 or int4 without skip, received {options.recipe!r}")
    chosen = source.open_run(options.run, given)
    model, data = chosen.load()
    rows = sensitivity.measure(
        model,
        data,
        recipe,
        kernel=options.lstm_kernel,
        seed=options.seed,
        say=cli.say,
    )
    folder = chosen.run.path / "artifacts"
    folder.mkdir(exist_ok=True)
    table, picture = (folder / f"{recipe.file_name}.sensitivity.{suffix}" for suffix in ("json", "png"))
    result = {"recipe": str(recipe), "layers": rows, "picture": str(picture), "path": str(table)}
    write_json(table, result)
    sensitivity.draw(picture, rows, f"{chosen.run.path.name}: {recipe}, one layer at a time")
    return result


def show(result: Mapping[str, Any]) -> None:
    """Print a row for each layer, the next command, and last the file."""
    rows = [
        (
            row["layer"],
            f"{row['accuracy']:.2%}",
            f"{row['accuracy_loss'] * 100:+.2f}",
            f"{row['mean_difference']:.1e}",
            f"{row['largest_difference']:.1e}",
            f"{row['bytes']:,}",
        )
        for row in result["layers"]
    ]
    columns = ("quantized", "accuracy", "loss (points)", "mean difference", "largest difference", "bytes")
    cli.table(columns, rows)
    print(f"picture: {result['picture']}")
    run_folder = Path(result["path"]).parent.parent
    command = command_line("compression.compress", run_folder, "--recipe", result["recipe"], "--skip-worst", 1)
    print(f"next:   {command}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.sensitivity",
    description="Measure how much accuracy quantizing each layer alone costs.",
)


if __name__ == "__main__":
    sys.exit(main())
