"""Events and ratings of known taste: how much of the best possible recommendations the models reach.

Users and items have random vectors, whose product is how much a user likes an item, beside the item's popularity. A
user takes items one after the other, each with the probability of a softmax over those that are left; or rates random
items with noise. The best possible recommendations rank by the true products. Popularity stands beside them.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import run_command
from zoo.config.train_config import TrainConfig
from zoo.data import load
from zoo.runs.folder import RunFolder
from zoo.scores.recommendations import ranked, ranks_by

RUNS = Path("runs") / "recommendation"
USERS, ITEMS, WIDTH = 2000, 300, 6
# Items that a user takes or rates, and the standard deviation of the noise of a rating.
EVENTS, RATED, NOISE = 40, 60, 0.3
SEEDS = (0, 1, 2)
# Recall at 10 as a share of the best possible one.
TARGET = 0.9
CASES = (
    ("events", "two_tower", ()),
    ("events", "matrix_factorization", ()),
    ("events", "matrix_factorization", ("--set", "loss=bpr")),
    ("ratings", "matrix_factorization", ("--rating-column", "rating")),
)


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return a row for each kind of data, model and seed.

    Args:
        data_dir: Folder of prepared TFDS sets, which are not read.
        quick: Whether to run the first case with one seed.
    """
    rows = []
    for kind, model, words in CASES[: 1 if quick else None]:
        for seed in SEEDS[: 1 if quick else None]:
            rows.append(_row(kind, model, words, seed))
    return {"users": USERS, "items": ITEMS, "width": WIDTH, "target": TARGET, "rows": rows}


def _row(kind: str, model: str, words: tuple[str, ...], seed: int) -> dict[str, Any]:
    table = RUNS / f"{kind}.csv"
    likes = write(kind, table)
    run = RunFolder(RUNS / f"{kind}-{model}{'-'.join(words[1:2])}-{seed}".replace("=", "-"))
    given = ["--model", model, "--data", str(table), "--user-column", "user", "--item-column", "item", *words]
    given += ["--seed", str(seed), "--output", str(run.path)]
    if not run.finished:
        run_command("zoo.train", *given)
    metrics = run.read_metrics()
    best = best_possible(run.read_config()["config"], likes)
    receipts = {
        recipe: run_command("compression.compress", str(run.path), "--recipe", recipe)["test"]["litert"]
        for recipe in ("dynamic",)
    }
    return {
        "data": kind,
        "command": f"python -m zoo.train {' '.join(given)}",
        "model": f"{model}{' ' + words[1] if words[:1] == ('--set',) else ''}",
        "seed": seed,
        "seconds": metrics["seconds"],
        "best": best,
        "test": metrics["test"],
        "share": metrics["test"]["recall_at_10"] / best["recall_at_10"],
        "files": receipts,
    }


def write(kind: str, path: Path) -> np.ndarray:
    """Write a table of events or ratings, and return how much each user likes each item, (users, items)."""
    rng = np.random.Generator(np.random.Philox(key=7))
    users, items = rng.normal(size=(USERS, WIDTH)), rng.normal(size=(ITEMS, WIDTH))
    likes = users @ items.T / WIDTH**0.5 * 2 + rng.normal(0, 0.7, ITEMS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user", "item") if kind == "events" else ("user", "item", "rating"))
        for user, liked in enumerate(likes):
            if kind == "events":
                # Adding Gumbel noise and sorting draws without replacement by a softmax (Yellott, 1977).
                order = np.argsort(-(liked + rng.gumbel(size=ITEMS)))[:EVENTS]
                rng.shuffle(order)  # which of them comes last says nothing
                writer.writerows((f"u{user}", f"i{item}") for item in order)
            else:
                order = rng.permutation(ITEMS)[:RATED]
                given = 3 + 0.6 * liked[order] + rng.normal(0, NOISE, RATED)
                writer.writerows((f"u{user}", f"i{item}", f"{r:.2f}") for item, r in zip(order, given, strict=True))
    return likes


def best_possible(config: TrainConfig, likes: np.ndarray) -> dict[str, float]:
    """Return the scores of ranking by how much users truly like items."""
    from zoo.tasks.recommendation import items_of, seen_before

    data = load(config)
    form = data.spec.events
    rows, columns = (np.array([int(name[1:]) for name in names]) for names in (form.users, form.items))
    true = likes[rows][:, columns]
    users, items = data.test.x[:, 0], items_of(data.test)
    return ranked(ranks_by(lambda ids: true[ids], users, items, seen_before(data, "test")))


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each kind of data, model and seed."""
    lines = [
        "| data | model | seed | recall@10 | best possible | share | popularity | NDCG@10 | best | dynamic file | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['data']} | `{row['model']}` | {row['seed']} | {row['test']['recall_at_10']:.2%} |"
        f" {row['best']['recall_at_10']:.2%} | {row['share']:.1%} | {row['test']['popularity_recall_at_10']:.2%} |"
        f" {row['test']['ndcg_at_10']:.4f} | {row['best']['ndcg_at_10']:.4f} |"
        f" {row['files']['dynamic']['recall_at_10']:.2%} | {row['seconds']:.0f} |"
        for row in result["rows"]
    ]
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the table with its target, followed by the commands of the first seed."""
    note = (
        f"{result['users']:,} users and {result['items']:,} items with vectors of {result['width']} numbers; target:"
        f" {result['target']:.0%} of the best possible recall@10."
    )
    commands = [f"- `{row['command']}`" for row in result["rows"] if row["seed"] == SEEDS[0]]
    return "\n".join([note, "", *table(result), "", *commands])
