"""Two result files of one benchmark: what became slower or faster beyond the noise of their rounds."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.rounds import spread
from zoo.console.errors import UsageError

# A change counts where it is larger than this many median deviations of both sides' rounds, and than LEAST.
DEVIATIONS, LEAST = 4.0, 0.03


def read(path: Path) -> dict[str, Any]:
    """Return a result file's content.

    Raises:
        UsageError: no such file, no JSON, or a benchmark without rounds.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"--against {path}: expected the JSON of a report, {error}") from None
    if not isinstance(result, dict) or not isinstance(result.get("measured"), list):
        raise UsageError(f"--against {path}: expected the report of a benchmark with rounds, this one has none")
    return result


def compared(now: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each name that both results have.

    Each has `times`, how many times better it is now, the `noise` that this may be, and `verdict`: faster, slower or
    the same; where a larger number is better, faster is a larger number.

    Args:
        now: with `measured`, rows of name, better and rounds.
        before: the same.
    """
    known = {row["name"]: row for row in before["measured"]}
    rows = []
    for row in now["measured"]:
        if row["name"] not in known:
            continue
        old, new = known[row["name"]]["rounds"], row["rounds"]
        times = statistics.median(new) / statistics.median(old)
        times = times if row["better"] == "higher" else 1 / times
        noise = max(LEAST, DEVIATIONS * (spread(old) ** 2 + spread(new) ** 2) ** 0.5)
        beyond = max(times, 1 / times) - 1 > noise
        verdict = ("faster" if times > 1 else "slower") if beyond else "the same"
        rows.append({"name": row["name"], "times": times, "noise": noise, "verdict": verdict})
    return rows


def table(rows: list[dict[str, Any]], before: dict[str, Any]) -> list[str]:
    """Return the lines of a table of what `compared` found, slower first, and what it was compared with."""
    lines = ["| against | times as fast | noise | |", "| --- | --- | --- | --- |"]
    for row in sorted(rows, key=lambda row: row["times"]):
        lines.append(f"| {row['name']} | {row['times']:.2f} | {row['noise']:.0%} | {row['verdict']} |")
    at = before.get("circumstances", {})
    return [*lines, "", f"Against {at.get('date', 'an earlier day')}, commit {at.get('commit', 'unknown')}."]
