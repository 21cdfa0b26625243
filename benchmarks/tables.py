"""Tables: numbers beside gradient boosting, and several labels beside one logistic regression a label.

California housing (Pace & Barry, 1997) with three seeds and the int8 file of each; Yeast (Elisseeff & Weston, 2001)
over ten folds, whose logistic regressions learn from the same rows. Runs are kept in runs/tables, so that a measurement
that was stopped goes on.
"""

import csv
import gzip
import statistics
from pathlib import Path
from typing import Any

from benchmarks.commands import exported, trained

RUNS = Path("runs") / "tables"
SEEDS, FOLDS = (0, 1, 2), 10
KEPT = ("test", "baseline", "epochs", "parameters", "split_examples")
YEAST = ("--columns", "Att*", "--label-columns", "Class*", "--task", "multilabel")


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train on both tables.

    Args:
        data_dir: Folder of prepared TFDS sets; the tables are in ../raw.
        quick: Whether to use one seed and one fold.
    """
    raw = data_dir.parent / "raw"
    seeds, folds = SEEDS[: 1 if quick else None], range(1 if quick else FOLDS)
    housing = [_housing(raw / "california_housing.csv", seed, data_dir) for seed in seeds]
    _write_folds(raw / "yeast_multilabel.csv.gz", RUNS / "yeast")
    yeast = [_fold(number, data_dir) for number in folds]
    return {"housing": housing, "yeast": yeast}


def _housing(table: Path, seed: int, data_dir: Path) -> dict[str, Any]:
    words = ("--model", "tabular", "--data", str(table), "--target-column", "median_house_value", "--seed", str(seed))
    folder = RUNS / f"housing-{seed}"
    run = trained(folder, words, data_dir, KEPT)
    file = exported(folder, "int8", ("bytes", "test", "signature", "latency"))
    return run | {"command": run["command"].replace(f"{table.parent}/", ""), "file": file}


def _write_folds(table: Path, folder: Path) -> None:
    """Write the rows of each fold, drawn at random, as tables of training and test rows."""
    from sklearn.model_selection import KFold

    with gzip.open(table, "rt", newline="") as file:
        names, *rows = csv.reader(file)
    for number, (train, test) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(rows)):
        place = folder / f"fold-{number}"
        place.mkdir(parents=True, exist_ok=True)
        for split, chosen in (("train", train), ("test", test)):
            with (place / f"{split}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([names, *(rows[i] for i in chosen)])


def _fold(number: int, data_dir: Path) -> dict[str, Any]:
    place = RUNS / "yeast" / f"fold-{number}"
    words = ("--model", "tabular", "--data", str(place), *YEAST)
    return trained(RUNS / f"yeast-{number}", words, data_dir, KEPT)


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| California housing | test RMSE | gradient boosting | of it | int8 file | of float32 | bytes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seed, run in enumerate(result["housing"]):
        mine, theirs, file = run["test"]["rmse"], run["baseline"]["rmse"], run["file"]
        small = file["test"]["litert"]["rmse"]
        lines.append(
            f"| seed {seed} | **{mine:,.0f}** | {theirs:,.0f} | {mine / theirs:.1%} | {small:,.0f} |"
            f" {small / file['test']['keras']['rmse']:.2%} | {file['bytes']:,} |"
        )
    lines += [
        "",
        "| Yeast, mean of the folds | micro F1 | macro F1 | mean average precision |",
        "| --- | --- | --- | --- |",
    ]
    names = ("micro_f1", "macro_f1", "mean_ap")
    of = {"tabular": [run["test"] for run in result["yeast"]]}
    for run in result["yeast"]:
        for row in (run["baseline"], *run["baseline"].get("also", ())):
            of.setdefault(row["name"], []).append(row)
    for name, rows in of.items():
        found = [f"{statistics.mean(row[key] for row in rows):.4f}" for key in names]
        spread = statistics.stdev(row["micro_f1"] for row in rows) if len(rows) > 1 else 0.0
        lines.append(f"| {name} | {found[0]} (deviation {spread:.4f}) | {found[1]} | {found[2]} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    housing, yeast = result["housing"][0], result["yeast"]
    rows = housing["split_examples"]
    notes = [
        f"California housing: {rows['train']:,} rows for training, {rows['test']:,} for testing;"
        f" {housing['parameters']:,} parameters. Yeast: {len(yeast)} folds.",
        "",
        f"- `{housing['command']}`",
        f"- `{yeast[0]['command']}`",
    ]
    return "\n".join([*table(result), "", *notes])
