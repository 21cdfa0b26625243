"""Drills: kills, alterations, damaged inputs and malformed connections, and what came of each.

Each drill does one kind of harm many times, with fixed seeds, and counts the attempts that did not end as they must. A
fault is an attempt that lost or changed work silently, ended in a traceback, hung, or left something behind.
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Modules of benchmarks.drilling with a function `drill(folder, quick) -> Iterator[Outcome]`.
KINDS = ("kills", "workers", "alterations", "fuzzing", "rendezvous")


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Run all drills in a temporary folder.

    Args:
        data_dir: Not used; the drills use the embedded sets.
        quick: Whether to make few attempts of each kind.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        for kind in KINDS:
            place = Path(folder) / kind
            place.mkdir()
            began = time.perf_counter()
            for outcome in importlib.import_module(f"benchmarks.drilling.{kind}").drill(place, quick):
                outcome.seconds, began = time.perf_counter() - began, time.perf_counter()
                rows.append(outcome.row())
                print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows}


def render(result: dict[str, Any]) -> str:
    """Return the outcomes as a table, and the faults below it."""
    lines = ["| drill | what must be true | attempts | faults | seconds |", "| --- | --- | --- | --- | --- |"]
    for row in result["rows"]:
        lines.append(
            f"| {row['drill']} | {row['expected']} | {row['attempts']:,} | {len(row['faults'])} |"
            f" {row['seconds']:.0f} |"
        )
    for row in result["rows"]:
        lines += [f"\n{row['drill']}: {', '.join(f'{k} {v}' for k, v in row['facts'].items())}"] if row["facts"] else []
        lines += [f"- fault ({row['drill']}): {fault}" for fault in row["faults"]]
    return "\n".join(lines)
