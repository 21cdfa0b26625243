"""`python -m benchmarks [NAME...]`: run benchmarks, print them, and write dated reports to benchmarks/results."""

import argparse
import datetime
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import comparison
from strategies import streams
from zoo.config.catalogue import default_data_dir
from zoo.console.errors import UsageError, unknown
from zoo.console.values import Bytes
from zoo.system.machine import processor, versions

RESULTS = Path(__file__).parent / "results"
# Benchmarks that nobody has run whole yet: they have no report. The guides tell what was measured in parts.
WITHOUT_REPORT = (
    "defaults",
    "few_pictures",
    "vision_throughput",
    "gpu",
)
NAMES = (
    "startup",
    "strategies",
    "overhead",
    "scaling",
    "input_pipeline",
    "streaming",
    "waiting",
    "time_to_accuracy",
    "accuracy",
    "defaults",
    "few_pictures",
    "segmentation",
    "tables",
    "matrix",
    "engines",
    "runtimes",
    "tutorial",
    "lenets",
    "distillation",
    "training_cost",
    "sequences",
    "long_texts",
    "decoding",
    "transformer_step",
    "cross_modal",
    "gan",
    "kg_embedding",
    "sensors",
    "anomaly",
    "transfer",
    "detection",
    "forecasting",
    "recommendation",
    "online",
    "search",
    "ensembles",
    "robustness",
    "throughput",
    "vision_throughput",
    "gpu",
    "evaluation",
    "exports",
    "networks",
    "devices",
    "sound",
    "mlperf_tiny",
    "cost",
    "ceiling",
    "drills",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all, one after another."""
    description = "Run benchmarks, print them, and write dated reports to benchmarks/results."
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description, allow_abbrev=False)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"benchmarks to run, among {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="folder of prepared TFDS sets")
    parser.add_argument(
        "--results", type=Path, help="folder of the reports (default: benchmarks/results; none with --quick)"
    )
    parser.add_argument("--quick", action="store_true", help="run fewer cases and rounds, without writing a report")
    parser.add_argument("--peers", action="store_true", help="include PyTorch and other peers (extra: peers)")
    parser.add_argument("--size", type=Bytes, metavar="SIZE", help="size of generated sets, such as 4G (default: 20G)")
    parser.add_argument("--against", type=Path, metavar="JSON", help="earlier report to compare the speed with")
    options = parser.parse_args(argv)
    try:
        return _run(options)
    except UsageError as error:
        parser.error(str(error))


def _run(options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in NAMES:
            raise unknown("benchmark", name, NAMES)
    names = options.names or NAMES
    if options.against and len(names) != 1:
        raise UsageError(f"--against: expected the name of one benchmark, received {len(names)}")
    before = comparison.read(options.against) if options.against else None
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    for name, what in _lacking(modules, options.quick).items():
        if options.names:
            raise UsageError(f"{name}: {what}")
        print(f"{name}: left out: {what}", file=sys.stderr)
        del modules[name]
    given = {name: _given(name, module, options) for name, module in modules.items()}
    for name, module in modules.items():
        result = {**module.measure(options.data_dir, **given[name]), "circumstances": _circumstances(name, options)}
        text = f"# {name}\n\n{module.__doc__.strip()}\n\n{_told(result['circumstances'])}\n\n{module.render(result)}\n"
        if before is not None:
            text += "\n" + "\n".join(comparison.table(comparison.compared(result, before), before)) + "\n"
        print(text)
        if folder := options.results or (None if options.quick else RESULTS):
            print(_written(folder, name, text, result))
    return 0


def _lacking(modules: dict[str, ModuleType], quick: bool) -> dict[str, str]:
    """Return what each benchmark needs and this machine does not have, for those that cannot run."""
    found = {name: module.missing(quick) for name, module in modules.items() if hasattr(module, "missing")}
    return {name: what for name, what in found.items() if what}


def _given(name: str, module: ModuleType, options: argparse.Namespace) -> dict[str, Any]:
    """Return those of --quick, --peers and --size that a benchmark accepts, and warn if PyTorch is missing.

    Raises:
        UsageError: If the benchmark has no quick form, or no rounds to compare.
    """
    known = inspect.signature(module.measure).parameters
    if options.quick and "quick" not in known:
        raise UsageError(f"--quick: {name} has no quick form")
    if options.against and not hasattr(module, "ROUNDS"):
        raise UsageError(f"--against: {name} has no rounds to compare")
    if options.peers and "peers" in known and importlib.util.find_spec("torch") is None:
        print(f"{name}: runs without PyTorch, which is not installed: pip install -e '.[peers]'", file=sys.stderr)
        options.peers = False
    if options.size and "size" not in known:
        raise UsageError(f"--size: {name} generates no sets")
    given = {"quick": options.quick, "peers": options.peers, "size": options.size}
    return {option: value for option, value in given.items() if option in known}


def _written(folder: Path, name: str, text: str, result: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.date.today()}-{name}.md"
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def _circumstances(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return date, commit, command, machine and versions of a measurement."""
    asked = [word for word in ("quick", "peers") if getattr(options, word)]
    asked += [f"size {options.size}"] if options.size else []
    return {
        "date": str(datetime.date.today()),
        "commit": _commit(),
        "command": " ".join(["python -m benchmarks", name, *(f"--{word}" for word in asked)]),
        "machine": processor(),
        "versions": {**versions(), **({"torch": importlib.metadata.version("torch")} if options.peers else {})},
    }


def _commit() -> str:
    """Return the commit of this checkout, with a + if files have changed, or `unknown` outside a checkout."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude", "*", "--dirty=+"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _told(at: dict[str, Any]) -> str:
    found, machine = ", ".join(f"{package} {version}" for package, version in at["versions"].items()), at["machine"]
    return (
        f"Measured {at['date']} at commit {at['commit']} with `{at['command']}` on {machine['cores']} cores of"
        f" {machine['name']} ({', '.join(machine['features'])}); {found}."
    )


if __name__ == "__main__":
    sys.exit(streams.outlasting("benchmarks", main))
