"""ETTh1: forecasts of 96 hours from 336, beside the seasonal-naive forecast and published figures.

The customary split: 8,640 hours for training, 2,880 for validation, 2,880 for the test; all seven columns, standardized
by the training part; every window of the test part. Published: DLinear 0.375 and 0.399 in its own paper, 0.386 and
0.400 in later tables (MSE and MAE; both left out the last batch of the test part).
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import run_command
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder

RUNS = Path("runs") / "forecasting"
SERIES = ("--task", "forecasting", "--horizon", "96", "--lookback", "336", "--time-column", "date")
SPLIT = ("--split-rows", "8640,2880,2880")
CASES = (
    ("dlinear", ()),
    ("dlinear", ("--set", "normalization=none")),
    ("patch_transformer", ()),
)
SEEDS = (0, 1, 2)
TARGETS = {"mse": 0.386, "mae": 0.400}
# Share by which the MSE of an int8 file may be larger.
LOSS = 0.02


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return a row for each model and seed.

    Args:
        data_dir: Folder of prepared TFDS sets; ETTh1 is in the folder `raw` beside it.
        quick: Whether to train the first case with one seed.
    """
    table = data_dir.parent / "raw" / "ETTh1.csv.gz"
    if not table.is_file():
        raise UsageError(f"--data-dir {data_dir}: expected {table}, found none")
    cases, seeds = (CASES[:1], SEEDS[:1]) if quick else (CASES, SEEDS)
    rows = [_row(table, model, words, seed) for model, words in cases for seed in seeds]
    return {"targets": TARGETS, "loss": LOSS, "rows": rows}


def _row(table: Path, model: str, words: tuple[str, ...], seed: int) -> dict[str, Any]:
    run = RunFolder(RUNS / "-".join([model, *(word.partition("=")[2] for word in words[1:]), str(seed)]))
    given = ["--model", model, "--data", str(table), *SERIES, *SPLIT, *words, "--seed", str(seed)]
    if not run.finished:
        run_command("zoo.train", *given, "--output", str(run.path))
    metrics = run.read_metrics()
    file = run_command("compression.compress", str(run.path), "--recipe", "int8")
    return {
        "command": f"python -m zoo.train {' '.join(given)}",
        "model": " ".join([model, *words[1:]]),
        "seed": seed,
        "epoch": metrics["epoch"],
        "seconds": metrics["seconds"],
        "parameters": metrics["parameters"],
        "windows": metrics["split_examples"],
        "test": metrics["test"],
        "int8": {"bytes": file["bytes"], **file["test"]["litert"]},
        "rise": file["test"]["litert"]["mse"] / file["test"]["keras"]["mse"] - 1,
    }


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each model and seed, and one for the seasonal-naive forecast."""
    lines = [
        "| model | seed | MSE | MAE | MASE | int8 MSE | int8 MAE | rise | bytes | epoch | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        test, file = row["test"], row["int8"]
        lines.append(
            f"| `{row['model']}` | {row['seed']} | {test['mse']:.4f} | {test['mae']:.4f} | {test['mase']:.4f} |"
            f" {file['mse']:.4f} | {file['mae']:.4f} | {row['rise']:+.2%} | {file['bytes']:,} | {row['epoch']} |"
            f" {row['seconds']:.0f} |"
        )
    naive = result["rows"][0]["test"]
    lines.append(
        f"| seasonal naive, 24 hours | | {naive['naive_mse']:.4f} | {naive['naive_mae']:.4f} |"
        f" {naive['naive_mase']:.4f} | | | | | | |"
    )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the table with its targets, followed by the commands of the first seed."""
    targets, rows = result["targets"], result["rows"]
    windows = ", ".join(f"{n:,} {split}" for split, n in rows[0]["windows"].items())
    note = (
        f"Targets: MSE {targets['mse']} and MAE {targets['mae']:.3f} or less, int8 within {result['loss']:.0%}."
        f" Windows: {windows}."
    )
    commands = [f"- `{row['command']}`" for row in rows if row["seed"] == SEEDS[0]]
    return "\n".join([note, "", *table(result), "", *commands])
