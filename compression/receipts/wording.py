"""Measurements of a receipt in words. Standard library only."""

from collections.abc import Mapping
from typing import Any


def called(row: Mapping[str, Any]) -> str:
    """Return what a latency was measured on: the signature, if the file has several, and the number of threads."""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return f"{row['signature']}, {threads}" if "signature" in row else threads


def left_in_float(receipt: Mapping[str, Any]) -> str:
    """Return which weights of a `dynamic` file stayed in float32, in a sentence; empty for none or another precision.

    The TFLite converter leaves tensors of fewer than 1,024 values as they are.

    Args:
        receipt: Content of the receipt, with `made` and `constants`.
    """
    precision = receipt["made"]["recipe"].rpartition("+")[2].strip().partition("(")[0]
    tables = [row for row in receipt["constants"] if len(row["shape"]) > 1 and row.get("elements", 0) > 1]
    floats = [row for row in tables if row["type"] == "float32"]
    if precision != "dynamic" or not floats:
        return ""
    share = sum(row["elements"] for row in floats) / sum(row["elements"] for row in tables)
    return f"{len(floats)} of {len(tables)} tensors of weights stayed in float32, {share:.1%} of the values"
