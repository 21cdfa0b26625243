"""Measurements of a receipt in words. Standard library only."""

import re
from collections.abc import Mapping, Sequence
from typing import Any


def slower(latency: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line if several threads are slower than one in a signature; none otherwise."""
    one = {row.get("signature"): row["median_ms"] for row in latency if row["threads"] == 1}
    several = [row for row in latency if row["threads"] > 1 and row["median_ms"] > one.get(row.get("signature"), 1e9)]
    if not several:
        return []
    count = several[0]["threads"]
    return [f"{count} threads are slower than one: dividing so little work takes longer than doing it; use one thread"]


def on_device(receipt: Mapping[str, Any]) -> list[str]:
    """Return the lines about the section `device` of a receipt; none if it has none."""
    found = receipt.get("device")
    if not found:
        return []
    lines = [found.get("refused") or f"arena {found['arena_bytes']:,} bytes in TFLite Micro"]
    if "npu_refused" in found:
        lines.append(found["npu_refused"])
    elif found["cycles"] is None:
        lines.append(f"{found['target']}: none of its operators run on the accelerator")
    else:
        lines.append(
            f"{found['target']}: {found['cycles']:,} cycles, {found['sram_bytes']:,} bytes of SRAM,"
            f" {found['npu_share']:.0%} of the operators on the accelerator"
        )
    return lines


def called(row: Mapping[str, Any]) -> str:
    """Return what a latency was measured on: the signature, if the file has several, and the number of threads."""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return f"{row['signature']}, {threads}" if "signature" in row else threads


def short(recipe: str) -> str:
    """Return the words of a recipe without their arguments, except a share or a number that stands first."""
    words = []
    for word in re.split(r"\s*\+\s*(?![^(]*\))", recipe):
        name, _, inside = word.partition("(")
        first = inside.rstrip(")").partition(",")[0].strip()
        words.append(f"{name}({first})" if re.fullmatch(r"[\d.]+", first) else name)
    return " + ".join(words)


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
