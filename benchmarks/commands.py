"""Commands of ours, run as a user runs them, for benchmarks of what they make."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(module: str, *words: str) -> dict[str, Any]:
    """Run a command of ours and return what it prints with --json."""
    done = subprocess.run([sys.executable, "-m", module, *words, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def trained(run: Path, words: Sequence[str], data_dir: Path, kept: Sequence[str]) -> dict[str, Any]:
    """Train a run, or take it as it is where it was trained before, and return a row about it.

    Args:
        run: its folder; beside it the seconds of the whole command are kept.
        words: of `zoo.train`, but for where it reads and writes.
        data_dir: of prepared TFDS sets.
        kept: what the row has of metrics.json, besides the command and its seconds.
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
    """Compress a run and return what a row has of the receipt."""
    receipt = run_command("compression.compress", str(run), "--recipe", recipe)
    return told({"recipe": recipe, **{key: receipt[key] for key in kept}})


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row, printed to standard error as it was measured."""
    print(row, file=sys.stderr, flush=True)
    return row
