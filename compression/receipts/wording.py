"""Measurements of a receipt in words. Standard library only."""

from collections.abc import Mapping
from typing import Any


def called(row: Mapping[str, Any]) -> str:
    """Return what a latency was measured on: the signature, if the file has several, and the number of threads."""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return f"{row['signature']}, {threads}" if "signature" in row else threads
