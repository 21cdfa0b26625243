"""Commands of the project, run in child processes as a user runs them."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(module: str, *words: str) -> dict[str, Any]:
    """Run a command of the project and return the result it prints with --json.

    Args:
        module: Module of the command.
        words: Command-line arguments.
    """
    done = subprocess.run([sys.executable, "-m", module, *words, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def trained(run: Path, words: Sequence[str], data_dir: Path, kept: Sequence[str]) -> dict[str, Any]:
    """Train a run unless it exists, and return a row about it.

    Args:
        run: Run folder. A file next to it keeps the seconds of the whole command.
        words: Arguments of `zoo.train` except its input and output folders.
        data_dir: Folder of prepared TFDS sets.
        kept: Keys of metrics.json to include in the row, besides the command and its seconds.
    """
    seconds = run.parent / f"{run.name}.seconds.json"
    if not seconds.is_file():
        began = time.perf_counter()
        run_command("zoo.train", *words, "--data-dir", str(data_dir), "--output", str(run))
        seconds.write_text(json.dumps(time.perf_counter() - began))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return told(
        {
            "command": f"python -m zoo.train {shlex.join(words)}",
            "seconds": json.loads(seconds.read_text()),
            **{key: metrics[key] for key in kept},
        }
    )


def exported(run: Path, recipe: str, kept: Sequence[str]) -> dict[str, Any]:
    """Compress a run, and return a row with the given keys of its receipt.

    Args:
        run: Run folder.
        recipe: Recipe to compress with.
        kept: Keys of the receipt to include in the row.
    """
    receipt = run_command("compression.compress", str(run), "--recipe", recipe)
    return told({"recipe": recipe, **{key: receipt[key] for key in kept}})


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row to standard error, and return it."""
    print(row, file=sys.stderr, flush=True)
    return row
