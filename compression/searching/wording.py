"""Result of a search in words. Standard library only."""

from collections.abc import Mapping
from typing import Any

from zoo.console.figures import form_of

# Titles of what a device takes.
ON_DEVICE = {"arena_bytes": "arena", "flash_bytes": "flash", "cycles": "cycles"}


def searched(result: Mapping[str, Any]) -> str:
    """Return the result of a search in a sentence."""
    limits = {
        name: value
        for name, value in result["budget"].items()
        if name not in ("threads", "target") and value is not None
    }
    budget = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in limits.items())
    row = result["winner"] or result["closest"]
    if row is None:
        return (
            f"no file within {budget}: all {result['trials']} trials were stopped after their estimates, the smallest"
            f" of which was {result['smallest_seen']:,} bytes"
        )
    score = form_of(result.get("score", "accuracy"))[0]
    test = "" if row["test_accuracy"] is None else f", test {score} {row['test_accuracy']:.2%}"
    numbers = f"{row['bytes']:,} bytes (gzip {row['gzip_bytes']:,}), {row['latency_ms']:.3f} ms"
    numbers += "".join(f", {title} {row[name]:,}" for name, title in ON_DEVICE.items() if name in row)
    numbers += f", validation {score} {row['accuracy']:.2%}{test}"
    if result["winner"]:
        return f"within {budget}: {numbers}"
    over = ", ".join(
        f"{name.replace('_', ' ')} by {excess:.1%}{' of the error' * (name == 'min_accuracy')}"
        for name, excess in result["excesses"].items()
        if excess > 0
    )
    return (
        f"no file within {budget} among {result['trials']} trials; the closest has {numbers}, over the budget: {over}"
    )
