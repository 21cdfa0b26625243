"""Online learning on MNIST with an abrupt drift: images rotated by 30 or 45 degrees in the second half of the stream.

`cnn` is trained on the first 10,000 training images. The next 20,000 form the stream, one JSON line each, in the order
of the dataset. From the 10,001st on, they are rotated counter-clockwise with bilinear interpolation on black. Accuracy
is prequential, over the last 1,000 predictions (prequential.csv, a row about every 500 examples). The level before the
drift is that of the last row before it. Recovery is the first row after the lowest one that is within 2 points of that
level. Test accuracies are those of all 10,000 test images, unrotated and rotated. Runs are kept under runs/online.
"""

import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import run_command, told, trained

RUNS = Path("runs") / "online"
FIRST, STREAM = 10_000, 20_000
POINTS, WITHIN = 0.02, 5000
MODEL = ("--model", "cnn", "--epochs", "5", "--batch-size", "128", "--learning-rate", "5e-3", "--set", "dropout=0.3")
# (degrees, size of the rehearsal buffer); the target applies to the first.
ROWS = ((30, 500), (30, 0), (45, 500), (45, 0))


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each drift and size of the rehearsal buffer, and the accuracies before the stream.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    first = RUNS / "first.npz"
    angles = sorted({degrees for degrees, _ in ROWS})
    if not all(_stream(degrees).is_file() for degrees in angles):
        _write(data_dir, first, angles)
    base = RUNS / "cnn"
    before = trained(base, (*MODEL, "--data", str(first)), data_dir, ("parameters", "test"))
    turned = {str(degrees): _accuracy(base, degrees) for degrees in angles}
    return {"before": before | {"turned": turned}, "rows": [_learnt(base, *row) for row in ROWS]}


def _stream(degrees: int) -> Path:
    return RUNS / f"stream-{degrees}.jsonl"


def _write(data_dir: Path, first: Path, angles: Sequence[int]) -> None:
    """Write the initial training set, the streams, and the rotated test images."""
    import numpy as np

    from zoo.config.train_config import TrainConfig
    from zoo.data import load
    from zoo.system.files import replacing

    RUNS.mkdir(parents=True, exist_ok=True)
    data = load(TrainConfig(dataset="mnist", data_dir=data_dir, validation_split=0.0).resolved())
    x, y = data.train.x, data.train.y
    np.savez(first, x_train=x[:FIRST], y_train=y[:FIRST], x_test=data.test.x, y_test=data.test.y)
    for degrees in angles:
        turned = np.stack([_turned(image, degrees) for image in data.test.x])
        np.savez(RUNS / f"turned-{degrees}.npz", x=turned, y=data.test.y)
        with replacing(_stream(degrees)) as temporary, temporary.open("w", encoding="utf-8") as file:
            for i in range(STREAM):
                image = x[FIRST + i] if i < STREAM // 2 else _turned(x[FIRST + i], degrees)
                file.write(json.dumps({"x": image[..., 0].tolist(), "y": int(y[FIRST + i])}) + "\n")


def _turned(image: Any, degrees: int) -> Any:
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(image[..., 0]).rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(picture)[..., None]


def _learnt(base: Path, degrees: int, rehearsal: int) -> dict[str, Any]:
    """Learn from a stream, and return a row about it."""
    run = RUNS / f"turned-{degrees}-rehearsal-{rehearsal}"
    words = (str(base), "--stream", str(_stream(degrees)), "--rehearsal", str(rehearsal), "--checkpoint-every", "500")
    if not (run / "metrics.json").is_file():
        run_command("zoo.online", *words, "--output", str(run))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    found = metrics["prequential"]
    with (run / "prequential.csv").open(encoding="utf-8", newline="") as file:
        curve = [(int(row["examples"]), float(row["windowed"])) for row in csv.DictReader(file)]
    return told(
        {
            "degrees": degrees,
            "rehearsal": rehearsal,
            "command": f"python -m zoo.online {shlex.join(words)}",
            **recovery(curve, STREAM // 2),
            "drifts": [drift["example"] for drift in found["drifts"]],
            "rollbacks": len(found["rollbacks"]),
            "prequential": found["accuracy"],
            "test": metrics["test"]["accuracy"],
            "turned": _accuracy(run, degrees),
            "examples_per_second": metrics["examples_per_second"],
        }
    )


def recovery(curve: list[tuple[int, float]], drift: int) -> dict[str, Any]:
    """Return the windowed accuracy before a drift, the lowest after it, and the number of examples until recovery.

    Args:
        curve: Pairs of (examples, accuracy over the last 1,000), in order.
        drift: Number of the last example before the drift.

    Returns:
        `level`, `lowest` and `recovered`, the number of examples from the drift to the first row after the lowest one
        that is within 2 points of the level, or None.
    """
    level = [accuracy for examples, accuracy in curve if examples <= drift][-1]
    after = [(examples, accuracy) for examples, accuracy in curve if examples > drift]
    at, lowest = min(after, key=lambda row: row[1])
    recovered = next((e - drift for e, accuracy in after if e >= at and accuracy >= level - POINTS), None)
    return {"level": level, "lowest": lowest, "recovered": recovered}


def _accuracy(run: Path, degrees: int) -> float:
    """Return a run's accuracy on the rotated test images."""
    return run_command("zoo.evaluate", str(run), "--data", str(RUNS / f"turned-{degrees}.npz"))["accuracy"]


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    before = result["before"]
    turned = " / ".join(f"{before['turned'][str(degrees)]:.2%}" for degrees in sorted({d for d, _ in ROWS}))
    lines = [
        f"| `cnn` on MNIST as a stream, rotated after {STREAM // 2:,} examples | before the drift | lowest after it |"
        " drift detected after | within 2 points after | test accuracy, unrotated | rotated |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| before the stream | | | | | {before['test']['accuracy']:.2%} | {turned} |",
    ]
    for row in result["rows"]:
        found = next((example - STREAM // 2 for example in row["drifts"] if example > STREAM // 2), None)
        what = f"{row['rehearsal']} examples rehearsed" if row["rehearsal"] else "without rehearsal"
        lines.append(
            f"| {row['degrees']} degrees, {what} | {row['level']:.2%} | {row['lowest']:.2%} | {_count(found)} |"
            f" {_count(row['recovered'])} | {row['test']:.2%} | {row['turned']:.2%} |"
        )
    return lines


def _count(examples: int | None) -> str:
    return "never" if examples is None else f"{examples:,} examples"


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    notes = [
        f"Target: within {100 * POINTS:g} points of the level before the drift after {WITHIN:,} examples, at"
        f" {ROWS[0][0]} degrees."
    ]
    notes += [
        f"{row['degrees']} degrees, {row['rehearsal']} rehearsed: prequential accuracy {row['prequential']:.2%},"
        f" drifts detected at {', '.join(f'{example:,}' for example in row['drifts']) or 'none'}, {row['rollbacks']}"
        f" rollbacks, {row['examples_per_second']:,} examples per second."
        for row in result["rows"]
    ]
    commands = [result["before"]["command"], *(row["command"] for row in result["rows"])]
    return "\n".join([*table(result), "", *(f"{note}\n" for note in notes), *(f"- `{c}`" for c in commands)])
