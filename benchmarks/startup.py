"""Response time of --help and of error messages, for which TensorFlow must not be imported."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HELPED = (
    *("zoo.train", "zoo.evaluate", "zoo.predict", "zoo.generate", "zoo.list", "zoo.explain", "zoo.card", "zoo.demo"),
    *("zoo.attack", "zoo.calibrate", "zoo.ensemble", "zoo.online", "zoo.sweep", "strategies", "strategies.launch"),
    *("strategies.tpu_check", "compression", "compression.compress", "compression.verify", "compression.inspect"),
    *("compression.export", "compression.sensitivity", "compression.search", "compression.attack"),
    *("compression.to_c", "compression.snippets"),
)
COMMANDS = (
    *(f"{command} --help" for command in HELPED),
    "zoo.list models",
    "zoo.train --model cn",
    "zoo.train --dataset minst",
    "zoo.train --strategy mirored",
    "zoo.train --set filtrs=3",
    "zoo.train --set filters=many",
    "zoo.train --batch-size 33 --strategy mirrored --virtual-devices 2",
    "zoo.train --epochs many",
    "zoo.train --epoch 3",
    "zoo.train --data absent",
    "zoo.train --resume --output absent",
    "zoo.evaluate absent",
    "zoo.predict absent x.png",
    "compression.compress absent --recipe int9",
    "compression.compress absent --lstm-kernel unroled",
    "compression.sensitivity absent --recipe float16",
    "compression.verify absent.tflite",
    "compression.inspect absent.tflite",
    "compression.export absent",
    "compression.to_c absent.tflite",
    "compression.snippets absent.tflite",
)
TIMES = 5
LIMIT_SECONDS, MISTAKE_SECONDS = 0.3, 0.5  # limits for --help, and for commands that read a file


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the median seconds of each command, and whether it imported a backend.

    Args:
        data_dir: Unused, because no command reads data.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            seconds = []
            for _ in range(TIMES):
                began = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", *command.split()], cwd=folder, capture_output=True, text=True
                )
                seconds.append(time.perf_counter() - began)
            traced = subprocess.run(
                [sys.executable, "-X", "importtime", "-m", *command.split()], cwd=folder, capture_output=True, text=True
            )
            modules = {line.rpartition("|")[2].strip() for line in traced.stderr.splitlines()}
            rows.append(
                {
                    "command": f"python -m {command}",
                    "status": done.returncode,
                    "answer": done.stderr.strip(),
                    "median_seconds": statistics.median(seconds),
                    "backend_imported": bool(modules & {"tensorflow", "keras", "jax"}),
                }
            )
    return {"limit_seconds": LIMIT_SECONDS, "mistake_seconds": MISTAKE_SECONDS, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["| command | exit status | median of 5, s | backend imported |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{r['command']}` | {r['status']} | {r['median_seconds']:.2f} | {'yes' if r['backend_imported'] else 'no'} |"
        for r in result["rows"]
    ]
    helped = max(row["median_seconds"] for row in result["rows"] if row["command"].endswith("--help"))
    slowest = max(row["median_seconds"] for row in result["rows"])
    limits = f"limits {result['limit_seconds']} s and {result['mistake_seconds']} s"
    return "\n".join([*lines, "", f"Slowest: --help {helped:.2f} s, any {slowest:.2f} s; {limits}."])
