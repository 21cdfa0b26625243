"""Ensembles on MNIST: five members compared with the best of them in three draws, calibration, and distillation.

A draw consists of five trainings of `simplenet` on images shifted by up to one pixel, which differ in their seed. The
ensemble averages their probabilities. Its temperature is fitted on the 6,000 validation images, and all results are
those of the 10,000 test images; the calibration error has 15 bins. The first ensemble is distilled into `small` as in
`python -m benchmarks distillation`: after half of its epochs, compared with `small` trained alone for all of them. Runs
are kept under runs/ensembles.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, run_command, told, trained

RUNS = Path("runs") / "ensembles"
DRAWS, MEMBERS = 3, 5
_COMMON = ("--dataset", "mnist", "--batch-size", "128")
MEMBER = ("--model", "simplenet", *_COMMON, "--shift", "1", "--epochs", "8", "--learning-rate", "3e-3")
HALF = 3  # epochs of the student before distillation, and during it
STUDENT = ("--model", "small", *_COMMON, "--learning-rate", "5e-3")
TAUGHT = "distill({teacher}, temperature=4, alpha=0.1, epochs={half}) + float32"
FILES = ("float32", "dynamic", "int8")
# Maximum calibration error of an ensemble after temperature scaling.
ECE = 0.01
_KEPT = ("parameters", "epochs", "test")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each draw, one for each file of the first ensemble, and the student's accuracies.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = [_draw(number, data_dir) for number in range(DRAWS)]
    teacher = RUNS / "ensemble-0"
    files = [exported(teacher, recipe, ("bytes", "test", "parity", "latency")) for recipe in FILES]
    first, alone = (
        trained(RUNS / f"small-{epochs}", (*STUDENT, "--epochs", str(epochs)), data_dir, _KEPT)
        for epochs in (HALF, 2 * HALF)
    )
    recipe = TAUGHT.format(teacher=teacher, half=HALF)
    taught = exported(RUNS / f"small-{HALF}", recipe, ("bytes", "test"))
    return {"rows": rows, "files": files, "student": {"first": first, "alone": alone, "taught": taught}}


def _draw(number: int, data_dir: Path) -> dict[str, Any]:
    """Train the members of a draw, combine them, and return a row about the ensemble."""
    seeds = range(number * MEMBERS, (number + 1) * MEMBERS)
    members = [trained(RUNS / f"member-{s}", (*MEMBER, "--seed", str(s)), data_dir, _KEPT) for s in seeds]
    folder = RUNS / f"ensemble-{number}"
    words = [*(str(RUNS / f"member-{seed}") for seed in seeds), "--calibrate"]
    if not (folder / "metrics.json").is_file():
        run_command("zoo.ensemble", *words, "--output", str(folder))
    from zoo.runs.folder import RunFolder

    metrics = RunFolder(folder).read_metrics()
    return told(
        {
            "draw": number,
            "command": f"python -m zoo.ensemble {' '.join(words)}",
            "member": members[0]["command"],
            "members": [member["test"]["accuracy"] for member in members],
            "test": metrics["test"],
            "calibration": metrics["calibration"],
        }
    )


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of all tables."""
    lines = [
        "| five `simplenet` on MNIST | members, test accuracy | best | ensemble | gain, points | ECE before | after |"
        " temperature |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        best, found = max(row["members"]), row["calibration"]
        lines.append(
            f"| draw {row['draw'] + 1} | {', '.join(f'{a:.2%}' for a in row['members'])} | {best:.2%} |"
            f" {row['test']['accuracy']:.2%} | {100 * (row['test']['accuracy'] - best):+.2f} |"
            f" {found['test_before']['ece']:.4f} | {found['test']['ece']:.4f} | {found['temperature']:.3f} |"
        )
    lines += [
        "",
        "| file of the first ensemble | bytes | file accuracy | Keras accuracy | largest difference | ms per example |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["files"]:
        lines.append(
            f"| {row['recipe']} | {row['bytes']:,} | {row['test']['litert']['accuracy']:.2%} |"
            f" {row['test']['keras']['accuracy']:.2%} | {row['parity']['largest_difference']:.1e} |"
            f" {row['latency'][0]['median_ms']:.3f} |"
        )
    first, alone, taught = (result["student"][name] for name in ("first", "alone", "taught"))
    student = taught["test"]["litert"]["accuracy"]
    return [
        *lines,
        "",
        f"`small` reaches {first['test']['accuracy']:.2%} after {HALF} epochs, {alone['test']['accuracy']:.2%} after"
        f" {HALF} more epochs alone, and {student:.2%} after {HALF} more epochs distilled from the first ensemble"
        f" ({100 * (student - alone['test']['accuracy']):+.2f} points).",
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    student = result["student"]
    commands = [result["rows"][0]["member"], *(row["command"] for row in result["rows"]), student["alone"]["command"]]
    told_recipe = f"- recipe of the distilled student: `{student['taught']['recipe']}`"
    return "\n".join([*table(result), "", *(f"- `{command}`" for command in commands), told_recipe])
