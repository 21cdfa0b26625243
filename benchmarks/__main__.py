"""`python -m benchmarks [NAME...]`: measure, print, and write a dated report to benchmarks/results."""

import argparse
import datetime
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.catalogue import default_data_dir
from zoo.errors import unknown
from zoo.machine import processor, versions

RESULTS = Path(__file__).parent / "results"
NAMES = (
    "startup",
    "strategies",
    "scaling",
    "input_pipeline",
    "time_to_accuracy",
    "accuracy",
    "matrix",
    "engines",
    "runtimes",
    "tutorial",
    "lenets",
    "distillation",
    "training_cost",
    "sequences",
    "decoding",
    "transformer_step",
    "cross_modal",
    "gan",
    "kg_embedding",
    "transfer",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(NAMES)} (default: all)")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="where TFDS sets are prepared")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where reports go (default: benchmarks/results)")
    options = parser.parse_args(argv)
    for name in options.names:
        if name not in NAMES:
            parser.error(str(unknown("benchmark", name, NAMES)))
    options.results.mkdir(parents=True, exist_ok=True)
    for name in options.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        result = module.measure(options.data_dir)
        path = options.results / f"{datetime.date.today()}-{name}.md"
        text = f"# {name}\n\n{module.__doc__.strip()}\n\n{_circumstances(name)}\n\n{module.render(result)}\n"
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(text)
        print(path)
    return 0


def _circumstances(name: str) -> str:
    found, machine = ", ".join(f"{package} {version}" for package, version in versions().items()), processor()
    return (
        f"Measured {datetime.date.today()} with `python -m benchmarks {name}` on {machine['cores']} cores of"
        f" {machine['name']} ({', '.join(machine['features'])}); {found}."
    )


if __name__ == "__main__":
    sys.exit(main())
