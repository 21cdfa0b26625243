"""`python -m benchmarks [NAME...]`: measure, print, and write a dated report to benchmarks/results."""

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.catalogue import default_data_dir
from zoo.errors import unknown
from zoo.runs import versions

RESULTS = Path(__file__).parent / "results"
NAMES = ("startup", "strategies", "input_pipeline", "time_to_accuracy", "accuracy")


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
    found = ", ".join(f"{package} {version}" for package, version in versions().items())
    return (
        f"Measured {datetime.date.today()} with `python -m benchmarks {name}` on {os.cpu_count()} cores of"
        f" {_processor()}; {found}."
    )


def _processor() -> str:
    """Return the processor's name and the vector instructions that decide the speed of convolutions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in fields.items()}
    have = values.get("flags", "").split()
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in have]
    return f"{values.get('model name', platform.machine())} ({', '.join(wanted)})"


if __name__ == "__main__":
    sys.exit(main())
