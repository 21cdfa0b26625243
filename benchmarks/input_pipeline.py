"""Cost of the input pipeline: a training step of `fit` with its batches, compared with a step that repeats one batch.

Both alternate in one process, in executions of 16 steps and turns of about a second. The difference is the time spent
waiting for a batch, plus the time that preparing it takes from the same cores. Two pipelines are measured: batches
gathered from memory inside the step, as `zoo.train` does for these datasets, and batches passed by tf.data, as for
augmented images. Each model has the batch size of its default recipe. Images are MNIST, texts are SST-2 sentences.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import rounds, steps
from benchmarks.commands import told

ROUNDS, QUICK_ROUNDS = 15, 5
STEPS, SECONDS = 16, 1.0  # steps of an execution; approximate seconds of a turn
CASES = (
    ("cnn", "mnist"),
    ("simplenet", "mnist"),
    ("lstm", "mnist"),
    ("lstm", "sst2_sentences"),
    ("transformer", "sst2_sentences"),
)
QUICK = CASES[:2]
# Maximum share of the step spent on input.
TARGET = 0.03


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return the share of input in the step for each model and dataset, each in a separate process.

    Args:
        data_dir: Folder of prepared TFDS sets.
        quick: Whether to measure fewer cases and rounds.
    """
    count, rows = QUICK_ROUNDS if quick else ROUNDS, []
    for model, dataset in QUICK if quick else CASES:
        with rounds.started("benchmarks.input_pipeline", [model, dataset, str(data_dir)]) as (ask, facts):
            found = [ask() for _ in range(count)]
        gathered, handed, batch = ([turn[i] for turn in found] for i in range(3))
        row = {"model": model, "dataset": dataset, **facts}
        for name, times in (("gathered", gathered), ("handed", handed)):
            more, low, high = rounds.ratio(times, batch)
            shares = {"share": 1 - 1 / more, "from": 1 - 1 / low, "to": 1 - 1 / high}
            row[name] = {"step_ms": statistics.median(times), **shares}
        rows.append(told({**row, "step_on_one_batch_ms": statistics.median(batch)}))
    return {"target": TARGET, "rows": rows}


def _side(name: str, dataset: str, data_dir: Path) -> None:
    from strategies import backend

    backend.start()
    import keras

    from zoo import tasks
    from zoo.config.train_config import TrainConfig
    from zoo.data import load
    from zoo.training import executions

    config = TrainConfig(model=name, dataset=dataset, data_dir=data_dir).resolved()
    data, task = load(config), tasks.of("classification")
    keras.utils.set_random_seed(0)
    model, run = steps.compiled(config, data.spec)
    gathered = task.gathered(config, data, config.batch_size)
    gathering, done = executions.steps_of(model, gathered), 0
    batches = task.training_batches(config, data, config.batch_size, 0, 1_000_000)
    handed, repeated = iter(batches), steps.over_and_over(next(iter(batches)))

    def gather() -> Any:
        nonlocal done
        done += STEPS
        return gathering(gathered.indices(done - STEPS, STEPS), STEPS)

    sides = [gather, lambda: run(handed, STEPS), lambda: run(repeated, STEPS)]

    def step_ms(side: Any, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            logs = side()
        float(logs["loss"])
        return (time.perf_counter() - began) / times / STEPS * 1e3

    for side in sides:  # traces
        step_ms(side, 1)
    count = max(round(SECONDS / (step_ms(sides[-1], 1) * STEPS / 1e3)), 1)
    turn = 0

    def all_sides() -> list[float]:
        nonlocal turn
        turn += 1
        order = [(turn + i) % len(sides) for i in range(len(sides))]
        found = {side: step_ms(sides[side], count) for side in order}
        return [found[side] for side in range(len(sides))]

    rounds.serve(all_sides, batch_size=config.batch_size)


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| input pipeline | batch | step, ms | step on one batch, ms | input share | input share with tf.data |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {row['model']}, {row['dataset']} | {row['batch_size']} | {row['gathered']['step_ms']:.1f} |"
        f" {row['step_on_one_batch_ms']:.1f} | {_share(row['gathered'])} | {_share(row['handed'])} |"
        for row in result["rows"]
    ]


def _share(found: dict[str, float]) -> str:
    return f"{found['share']:.1%} (rounds from {found['from']:.1%} to {found['to']:.1%})"


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join([*table(result), "", f"Target: at most {result['target']:.0%}."])


if __name__ == "__main__":
    _side(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
