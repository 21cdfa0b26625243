"""Comparison of two result files of one benchmark: speed changes larger than the noise of their rounds."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.rounds import spread
from zoo.console.errors import UsageError

# A change counts if it exceeds this many median deviations of both sides' rounds, and LEAST.
DEVIATIONS, LEAST = 4.0, 0.03


def read(path: Path) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        UsageError: If the file cannot be read, is not JSON, or belongs to a benchmark without rounds.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"--against {path}: expected the JSON of a report, {error}") from None
    if not isinstance(result, dict) or not isinstance(result.get("measured"), list):
        raise UsageError(f"--against {path}: expected the report of a benchmark with rounds, this one has none")
    return result


def compared(now: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare the rows that occur in both results by name.

    Args:
        now: New result, with rows of name, better and rounds under `measured`.
        before: Earlier result of the same form.

    Returns:
        One row for each common name, with `times`, the ratio of the new to the old performance (above 1 is better);
        `noise`, the largest relative change that noise explains; and `verdict`: faster, slower or the same.
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
    """Return the lines of a table of the rows of `compared`, slowest first, with a note on the earlier result."""
    lines = ["| against | times as fast | noise | |", "| --- | --- | --- | --- |"]
    for row in sorted(rows, key=lambda row: row["times"]):
        lines.append(f"| {row['name']} | {row['times']:.2f} | {row['noise']:.0%} | {row['verdict']} |")
    at = before.get("circumstances", {})
    return [*lines, "", f"Against {at.get('date', 'an earlier day')}, commit {at.get('commit', 'unknown')}."]
