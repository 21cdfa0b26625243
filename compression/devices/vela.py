"""Compile a .tflite file for an Arm Ethos-U accelerator with Vela, and return what its model of the chip says.

The cycles are Vela's estimate of the compiled command stream, not a measurement on silicon; see the package
ethos-u-vela. It runs in a child process, because it prints, exits and reads its arguments from the command line.
"""

import csv
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compression.flatbuffers import arena_plan, flatbuffer
from compression.flatbuffers.layers import layers_of
from zoo.console.errors import Failed
from zoo.isolation import child
from zoo.system import temporary

SECONDS = 1800.0
MEMORY_BYTES = 8 << 30
_NAME = "model"
_SHARE = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
_REFUSED = re.compile(r"operator: (\w+), ofm: '([^']*)'\s+Reason: ([^\n]+)\n?([^\n]*)")


def measure(path: Path, target: str, compiled: Path | None = None) -> dict[str, Any]:
    """Return what a file takes on an Ethos-U accelerator.

    Args:
        path: Path of the file.
        target: Accelerator, one of `targets.NPUS`.
        compiled: Path for the compiled file; None to keep none.

    Returns:
        cycles of one inference, None if nothing runs on the accelerator; sram_bytes and compiled_bytes, the size of
        the compiled file; npu_share, the share of operators on the accelerator; clock_hz, system and memory_mode, for
        which the cycles hold; layers, a row for each layer of the file with its operators, cycles, sram_bytes and
        multiply_adds; on_cpu, the operators that fall back, with Vela's reason. If Vela cannot compile the file,
        `refused`, a sentence, instead of these.
    """
    with temporary.folder() as folder:
        given = folder / f"{_NAME}.tflite"
        shutil.copyfile(path, given)
        _without_plan(given)
        job = {"file": given, "folder": folder, "target": target, "log": folder / "log"}
        try:
            status = child.run("compression.devices.vela", job, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
        except Failed as error:
            return {"refused": f"Vela cannot compile it: {str(error)[:200]}"}
        log = (folder / "log").read_text(errors="replace")
        summaries = sorted(folder.glob(f"{_NAME}_summary_*.csv"))
        if status or not summaries:
            lines = [line for line in log.splitlines() if "rror" in line] or log.strip().splitlines() or ["no message"]
            return {"refused": f"Vela cannot compile it: {lines[-1].strip()[:200]}"}
        made = folder / f"{_NAME}_vela.tflite"
        with summaries[0].open(newline="") as file:
            row = next(csv.DictReader(file))
        with (folder / f"{_NAME}_per-layer.csv").open(newline="") as file:
            layers = _by_layer(csv.DictReader(file))
        if compiled is not None:
            shutil.copyfile(made, compiled)
        return _told(row, log) | {"compiled_bytes": made.stat().st_size, "layers": layers}


def _without_plan(path: Path) -> None:
    """Remove a plan of the arena; Vela would keep it, though it is of other tensors than those of the compiled file."""
    model = flatbuffer.read(path)
    if arena_plan.remove(model):
        flatbuffer.write(model, path)


def _told(row: Mapping[str, str], log: str) -> dict[str, Any]:
    counts = {name: int(count) for name, count in _SHARE.findall(log)}
    operators = sum(counts.values())
    share = counts.get("NPU", 0) / operators if operators else 0.0
    return {
        "cycles": round(float(row["cycles_total"])) if share else None,
        "sram_bytes": round(1024 * float(row["sram_memory_used"])),
        "npu_share": round(share, 4),
        "clock_hz": round(float(row["core_clock"])),
        "system": row["system_config"],
        "memory_mode": row["memory_mode"],
        "on_cpu": [
            {"operator": operator, "layer": layers_of([name])[0], "reason": " ".join(f"{why} {more}".split())}
            for operator, name, why, more in _REFUSED.findall(log)
        ],
    }


def _by_layer(rows: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return one row for each layer of the file, in order; an operator of the file becomes several of the chip."""
    rows = list(rows)
    found: dict[str, dict[str, Any]] = {}
    for row, layer in zip(rows, layers_of([re.sub(r"_softmax_\d+\w*$", "", row["Name"]) for row in rows]), strict=True):
        each = found.setdefault(
            layer, {"layer": layer, "operators": [], "cycles": 0, "sram_bytes": 0, "multiply_adds": 0}
        )
        if row["Original Operator"] not in each["operators"]:
            each["operators"].append(row["Original Operator"])
        each["cycles"] += round(float(row["Op Cycles"]))
        each["sram_bytes"] = max(each["sram_bytes"], round(float(row["Staging Usage"])))
        each["multiply_adds"] += round(float(row["MAC Count"]))
    return list(found.values())


def preload() -> None:
    """Import Vela before the first job."""
    import ethosu.vela.vela  # noqa: F401  (kept in the server that forks)


def work(job: Mapping[str, Any]) -> int:
    """Compile in the child, and return Vela's exit status; what it prints goes into the file `log`."""
    from ethosu.vela.vela import main

    words = [job["file"], "--accelerator-config", job["target"], "--output-dir", job["folder"]]
    words += ["--verbose-performance", "--show-cpu-operations"]
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):  # native code prints as well
        stream.flush()
        os.dup2(log, stream.fileno())
    sys.argv = ["vela", *words]
    try:
        return int(main(words) or 0)
    except SystemExit as ended:
        return int(ended.code or 0) if isinstance(ended.code, int | None) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
