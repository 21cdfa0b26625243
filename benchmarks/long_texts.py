"""Long reviews: the default recipes of the transformer and the lstm beside tf-idf with logistic regression.

A review joins sentences of SST-2's training split until it has 200 to 1,000 words, from a fixed seed; all its sentences
have one label, or with a `purity` below 1 that share of them. The test split is drawn from the reviews, so it has the
same sentences in other reviews. The largest memory is that of the training process.
"""

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import told
from zoo.runs.folder import RunFolder

RUNS = Path("runs") / "long_texts"
MODELS = ("lstm", "transformer")
# Number of reviews, and share of the sentences that have the label of their review.
REVIEWS, PURITY = 22_500, 1.0
SHORTEST, LONGEST = 200, 1_000
SEED = 0


def measure(data_dir: Path, reviews: int = REVIEWS, purity: float = PURITY) -> dict[str, Any]:
    """Return a row for each model.

    Args:
        data_dir: Folder of prepared TFDS sets.
        reviews: Number of reviews, a fifth of which are the test split.
        purity: Share of the sentences of a review that have its label.
    """
    folder = RUNS / f"{reviews}-{purity:g}"
    table = folder / "reviews.csv"
    if not table.is_file():
        _write(table, data_dir, reviews, purity)
    return {"reviews": reviews, "purity": purity, "rows": [_trained(model, folder, table) for model in MODELS]}


def _write(table: Path, data_dir: Path, reviews: int, purity: float) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    rng, sentences = np.random.Generator(np.random.Philox(key=SEED)), _sentences(data_dir)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for i in range(reviews):
            writer.writerow((_review(sentences, i % 2, purity, rng), ("negative", "positive")[i % 2]))


def _sentences(data_dir: Path) -> tuple[list[str], list[str]]:
    """Return the negative and the positive training sentences."""
    import tensorflow_datasets as tfds

    found: tuple[list[str], list[str]] = ([], [])
    rows = tfds.load("sst2_sentences", split="train", data_dir=str(data_dir), download=False)
    for row in rows.as_numpy_iterator():
        found[int(row["label"])].append(row["sentence"].decode())
    return found


def _review(sentences: tuple[list[str], list[str]], label: int, purity: float, rng: np.random.Generator) -> str:
    words, parts, wanted = 0, [], rng.integers(SHORTEST, LONGEST + 1)
    while words < wanted:
        side = sentences[label if rng.random() < purity else 1 - label]
        parts.append(side[rng.integers(len(side))])
        words += len(parts[-1].split())
    return " ".join(parts)


def _trained(model: str, folder: Path, table: Path) -> dict[str, Any]:
    """Train by the default recipe unless the run exists, score the test reviews, and return a row."""
    run = RunFolder(folder / model)
    words = ["zoo.train", "--model", model, "--data", str(table), "--output", str(run.path)]
    if not run.finished:
        began = time.perf_counter()
        peak = _peak_of([sys.executable, "-m", *words])
        (folder / f"{model}.txt").write_text(f"{time.perf_counter() - began} {peak}")
    seconds, peak = map(float, (folder / f"{model}.txt").read_text().split())
    metrics = run.read_metrics()
    return told(
        {
            "command": f"python -m {' '.join(words)}",
            "model": model,
            "seconds": seconds,
            "peak_bytes": peak,
            "epochs": metrics["epochs"],
            "accuracy": metrics["test"]["accuracy"],
            "baseline": metrics["baseline"],
            "data": {key: metrics["data"][key] for key in ("examples", "changed")},
        }
    )


def _peak_of(command: list[str]) -> int:
    """Run a command and return the largest resident memory of its process in bytes."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run(command, check=True)
    return max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def render(result: dict[str, Any]) -> str:
    """Return the table, followed by the commands."""
    lines = [
        f"{result['reviews']:,} reviews of {SHORTEST} to {LONGEST:,} words, joined from sentences of SST-2 of which"
        f" {result['purity']:.0%} have the label of the review; the test split is a fifth of them.",
        "",
        "| default recipe | accuracy | tf-idf with logistic regression | epochs | minutes | largest memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{row['model']}` | {row['accuracy']:.2%} | {row['baseline']['accuracy']:.2%} | {row['epochs']} |"
        f" {row['seconds'] / 60:.1f} | {row['peak_bytes'] / 1e9:.2f} GB |"
        for row in result["rows"]
    ]
    return "\n".join([*lines, "", *(f"- `{row['command']}`" for row in result["rows"])])
