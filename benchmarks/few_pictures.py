"""What `--augment` gains: few photographs from scratch, and a network of fewer than 100,000 parameters on CIFAR-10.

Every training has the same settings with and without it. Runs are kept in runs/few_pictures, so that a measurement that
was stopped goes on; each seed is a training of its own.
"""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.commands import trained

RUNS = Path("runs") / "few_pictures"
SEEDS = (0, 1, 2)
KEPT = ("test", "train", "epochs", "parameters", "split_examples", "examples_per_second")
CIFAR10 = (
    *("--model", "resnet", "--set", "depth=8", "--dataset", "cifar10", "--validation-split", "0.02", "--epochs", "40"),
    *("--batch-size", "128", "--optimizer", "sgd", "--learning-rate", "0.1", "--weight-decay", "1e-3"),
    *("--clip-norm", "0"),
)
FLOWERS = (
    *("--model", "resnet", "--set", "depth=8", "--image-size", "96", "--epochs", "120", "--batch-size", "32"),
    *("--learning-rate", "3e-3"),
)


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train with and without augmentation.

    Args:
        data_dir: Folder of prepared TFDS sets; photographs of flowers, a folder by class, are in ../raw/flowers.
        quick: Whether to use one seed.
    """
    cases = [("cifar10", CIFAR10, ("none", "light"))]
    flowers = data_dir.parent / "raw" / "flowers"
    if flowers.is_dir():
        cases.append(("flowers", (*FLOWERS, "--data", str(flowers)), ("none", "standard")))
    seeds = SEEDS[: 1 if quick else None]
    return {"rows": [_row(name, words, recipe, data_dir, seeds) for name, words, two in cases for recipe in two]}


def _row(name: str, words: tuple[str, ...], recipe: str, data_dir: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    runs = []
    for seed in seeds:
        folder = RUNS / f"{name}-{recipe}-{seed}"
        run = trained(folder, [*words, "--augment", recipe, "--seed", str(seed)], data_dir, KEPT)
        # Without the place of the photographs on this machine.
        runs.append(run | {"command": run["command"].replace(f"{data_dir.parent}/raw/", "")})
    return {"data": name, "augment": recipe, "runs": runs}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        "| data | `--augment` | test accuracy, mean | each seed | training accuracy | parameters | epochs | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        runs = row["runs"]
        found = [run["test"]["accuracy"] for run in runs]
        seconds = [run["epochs"] * run["split_examples"]["train"] / run["examples_per_second"] for run in runs]
        lines.append(
            f"| {row['data']} ({runs[0]['split_examples']['train']:,} training examples) | {row['augment']} |"
            f" **{statistics.mean(found):.2%}** | {', '.join(f'{a:.2%}' for a in found)} |"
            f" {statistics.mean(run['train']['accuracy'] for run in runs):.2%} | {runs[0]['parameters']:,} |"
            f" {runs[0]['epochs']} | {statistics.mean(seconds):.0f} |"
        )
    commands = [f"- `{run['command']}`" for row in result["rows"] for run in row["runs"][:1]]
    return "\n".join([*lines, "", *commands])
