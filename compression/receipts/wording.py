"""Measurements of a receipt in words. Standard library only."""

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
