"""Windows of sensors: the models of this zoo beside features and a support vector machine, with subjects held out.

The recordings are generated: 16 subjects do five things with a motion sensor of six axes, in units of their own, each
subject with a tempo, a strength and a way of wearing the sensor. Real recordings would need a network.
"""

import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import exported, told
from zoo.config.train_config import TrainConfig

RUNS = Path("runs") / "sensors"
SEEDS = (0, 1, 2)
MODELS = ("conv1d", "tcn", "lstm", "transformer")
SUBJECTS, RATE, SECONDS, WINDOW, HOP = 16, 50, 24, 100, 50
COLUMNS = ("ax", "ay", "az", "gx", "gy", "gz")
# Frequency in Hz, strength in g, and share of the second harmonic of what is done.
ACTIVITIES = {
    "rest": (0.0, 0.02, 0.0),
    "walk": (1.8, 0.30, 0.5),
    "stairs": (1.6, 0.32, 0.9),
    "run": (2.7, 0.95, 0.6),
    "cycle": (1.3, 0.22, 0.2),
}
NOISE = 0.25
EPOCHS = 15


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train every model, and compress one run of each.

    Args:
        data_dir: Not used; the recordings are generated.
        quick: Whether to use one seed and one model.
    """
    table = write(RUNS / "motion.csv")
    rows = []
    for model in MODELS[: 1 if quick else None]:
        for seed in SEEDS[: 1 if quick else None]:
            row = {"model": model, "seed": seed, **_trained(model, seed, table)}
            if seed == SEEDS[0]:
                row["int8"] = exported(RUNS / f"{model}-{seed}", "int8", ("bytes", "test"))
            rows.append(row)
    return {"rows": rows, "baseline": baseline(table)}


def configuration(model: str, table: Path, **options: Any) -> TrainConfig:
    """Return the training of a model on the recordings."""
    return TrainConfig(
        model=model, data=table, window=WINDOW, hop=HOP, columns=COLUMNS, label_column="label",
        group_column="subject", time_column="time", **options,
    )  # fmt: skip


def _trained(model: str, seed: int, table: Path) -> dict[str, Any]:
    """Train a model unless its run exists, and return its scores."""
    from zoo.runs.folder import RunFolder
    from zoo.training.loop import train

    run = RunFolder(RUNS / f"{model}-{seed}")
    if not run.finished:
        train(configuration(model, table, seed=seed, epochs=EPOCHS, output=run.path), verbose=False)
    metrics = run.read_metrics()
    return told({name: metrics[name] for name in ("test", "parameters", "epochs")})


def write(path: Path) -> Path:
    """Write the recordings as a table, unless it is there, and return its path."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    time = np.arange(RATE * SECONDS) / RATE
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time", *COLUMNS, "label", "subject"])
        for subject in range(SUBJECTS):
            tempo, strength = random.normal(1, 0.1), random.normal(1, 0.2)
            turned = np.linalg.qr(np.eye(3) + 0.5 * random.normal(size=(3, 3)))[0]  # how the sensor is worn
            begin = 0.0
            for label, (frequency, size, harmonic) in ACTIVITIES.items():
                phase, wander = 2 * np.pi * random.random(6), np.cumsum(random.normal(0, 0.02, len(time)))
                angle = 2 * np.pi * frequency * tempo * time + wander
                waves = [np.sin(angle + p) + harmonic * np.sin(2 * angle + 2 * p) for p in phase]
                moved = strength * size * np.stack(waves[:3], 1) + np.array([0, 0, 1.0])
                turning = 150 * strength * size * np.stack(waves[3:], 1)
                values = np.concatenate([moved @ turned, turning @ turned], 1)
                values += random.normal(0, [NOISE] * 3 + [150 * NOISE] * 3, values.shape)
                rows = zip(begin + time, values, strict=True)
                writer.writerows([f"{at:.2f}", *(f"{v:.4g}" for v in row), label, f"s{subject}"] for at, row in rows)
                begin += SECONDS + 5
    return path


def baseline(table: Path) -> dict[str, float]:
    """Return the accuracy of a support vector machine on features of the same windows and split.

    The features are mean, deviation, minimum, maximum and the eight lowest frequencies of every column.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from zoo.data import load

    data = load(configuration("conv1d", table).resolved())

    def features(x: np.ndarray) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1))[:, 1:9]
        return np.concatenate([x.mean(1), x.std(1), x.min(1), x.max(1), spectrum.reshape(len(x), -1)], axis=1)

    machine = make_pipeline(StandardScaler(), SVC(C=10)).fit(features(data.train.x), data.train.y)
    return {"accuracy": float(machine.score(features(data.test.x), data.test.y)), "examples": len(data.test)}


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each model."""
    lines = [
        "| model | parameters | test accuracy of windows, mean | each seed | of recordings, by vote | int8, bytes |"
        " int8 accuracy (Keras) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model in dict.fromkeys(row["model"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["model"] == model]
        found = [row["test"]["accuracy"] for row in rows]
        votes = statistics.mean(row["test"]["recording_accuracy"] for row in rows)
        file = rows[0]["int8"]
        lines.append(
            f"| {model} | {rows[0]['parameters']:,} | {statistics.mean(found):.2%} |"
            f" {', '.join(f'{100 * one:.2f}' for one in found)} | {votes:.2%} | {file['bytes']:,} |"
            f" {file['test']['litert']['accuracy']:.2%} ({file['test']['keras']['accuracy']:.2%}) |"
        )
    lines.append(f"| features and SVM | | {result['baseline']['accuracy']:.2%} | | | | |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    count = result["baseline"]["examples"]
    note = f"{count:,} test windows of subjects that training has not seen; generated recordings."
    return "\n".join([*table(result), "", note])
