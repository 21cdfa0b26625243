"""Duration of evaluation: whole commands, and the files of a cnn on all 10,000 MNIST test images.

The seconds of a command include imports, reading and writing, and are the median of three runs. Its memory is the peak
resident set size of its process alone (ru_maxrss), the largest of three runs. LiteRT's images per second are measured
for `compression.runtime.litert.run`, which computes the accuracy in every receipt, on the whole test set in memory,
with one interpreter per core, in a single process. The files are those of the matrix (runs/matrix/cnn).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.commands import told
from benchmarks.matrix import ROWS, trained

ROUNDS, TIMES = 5, 3
RECIPES = ("float32", "float16", "dynamic", "int8", "int8(unfold=false)")
MOST_SECONDS, LEAST_IMAGES = 10.0, 10_000  # maximum seconds of zoo.evaluate; minimum images/s of the fastest file


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the seconds of the commands, and the images per second of each file.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    run = trained("cnn", ROWS["cnn"][0], data_dir)
    files, rows = _files(run, data_dir)
    where = ("--data-dir", str(data_dir))
    trains = ("zoo.train", "--model", "cnn", "--dataset", "mnist", "--epochs", "1", "--steps-per-epoch", "100")
    commands = {
        " ".join(trains): (*trains, *where),
        "zoo.evaluate RUN": ("zoo.evaluate", str(run), *where),
        "zoo.evaluate RUN --split train": ("zoo.evaluate", str(run), "--split", "train", *where),
        "compression.verify FILE": ("compression.verify", str(files["int8"]), str(run), *where),
        "compression.inspect FILE": ("compression.inspect", str(files["int8"])),
        "compression.compress RUN --recipe int8": ("compression.compress", str(run), "--recipe", "int8", *where),
        "compression.compress RUN --recipe dynamic": ("compression.compress", str(run), "--recipe", "dynamic", *where),
    }
    return {"files": rows, "commands": [_command(name, words) for name, words in commands.items()]}


def _files(run: Path, data_dir: Path) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    from compression.pipeline import source

    model, data = source.open_run(run, {"data_dir": data_dir}).load()
    from compression.pipeline import pipeline
    from compression.receipts.subject import given
    from compression.runtime import litert
    from compression.tasks import classification

    made = {name: pipeline.compress(model, data, name, run / "artifacts" / "auto").path for name in RECIPES}
    x = given(data.test, classification.interface_of(data.spec, batch=1))
    rows = []
    for name, path in made.items():
        found = {threads: _images_a_second(litert, path, x, threads) for threads in (1, None)}
        rows.append(told({"name": f"{name}, one interpreter", "images": len(x), "rounds": found[1], **UNIT}))
        rows.append(told({"name": f"{name}, one a core", "images": len(x), "rounds": found[None], **UNIT}))
    return made, rows


UNIT = {"unit": "images/s", "better": "higher"}


def _images_a_second(litert: Any, path: Path, x: Any, threads: int | None) -> list[float]:
    litert.run(path, x, threads=threads)
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        litert.run(path, x, threads=threads)
        rates.append(len(x) / (time.perf_counter() - began))
    return rates


def _command(name: str, words: tuple[str, ...]) -> dict[str, Any]:
    seconds, peaks = [], []
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            output = ("--output", folder + "/run") if words[0] == "zoo.train" else ()
            # Started by a small process, because Linux counts memory of the parent towards the peak of a process.
            small = [sys.executable, "-m", "benchmarks.evaluation", sys.executable, "-m", *words, *output]
            done = subprocess.run(small, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            seconds.append(found["seconds"])
            peaks.append(found["peak_bytes"])
    return told({"command": f"python -m {name}", "seconds": seconds, "peak_bytes": max(peaks)})


def _run(words: list[str]) -> dict[str, float]:
    """Run a command, and return its seconds and the peak memory of its process in bytes."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(words, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # tells Popen that the process has ended
        if process.returncode:
            said.seek(0)
            sys.stderr.write(said.read().decode())
            raise subprocess.CalledProcessError(process.returncode, words)
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the tables."""
    rates = {row["name"]: statistics.median(row["rounds"]) for row in result["files"]}
    lines = [
        "| file of a cnn on 10,000 images, LiteRT | images/s, one interpreter | images/s, one per core |",
        "| --- | --- | --- |",
    ]
    for name in RECIPES:
        lines.append(f"| {name} | {rates[f'{name}, one interpreter']:,.0f} | {rates[f'{name}, one a core']:,.0f} |")
    lines += ["", "| command for a cnn | seconds, median of 3 | peak memory |", "| --- | --- | --- |"]
    for row in result["commands"]:
        seconds, peak = statistics.median(row["seconds"]), row["peak_bytes"] / 1e6
        lines.append(f"| `{row['command']}` | {seconds:.1f} | {peak:,.0f} MB |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    targets = (
        f"Targets: at least {LEAST_IMAGES:,} images per second for the fastest file, `zoo.evaluate` within"
        f" {MOST_SECONDS:g} s."
    )
    return "\n".join([*table(result), "", targets])


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1:])))
