"""What input costs a training step: the step of `fit` on batches of the pipeline, and on one batch over and over.

Both are the same compiled steps, and take turns of an execution of 25 steps in one process. What a step on the pipeline
takes longer is time spent waiting for a batch, and what making it takes from the step on the same cores. Each model has
its recipe's batch size; images are MNIST, texts SST-2's sentences.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import rounds, steps
from benchmarks.commands import told

ROUNDS, QUICK_ROUNDS, STEPS = 15, 5, 25
CASES = (
    ("cnn", "mnist"),
    ("simplenet", "mnist"),
    ("lstm", "mnist"),
    ("lstm", "sst2_sentences"),
    ("transformer", "sst2_sentences"),
)
QUICK = CASES[:2]
# Of a step, at most.
TARGET = 0.03


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return the share for each model and data set, each in a process of its own."""
    count, rows = QUICK_ROUNDS if quick else ROUNDS, []
    for model, dataset in QUICK if quick else CASES:
        with rounds.started("benchmarks.input_pipeline", [model, dataset, str(data_dir)]) as (ask, facts):
            found = [ask() for _ in range(count)]
        pipeline, batch = ([pair[i] for pair in found] for i in range(2))
        more, low, high = rounds.ratio(pipeline, batch)
        rows.append(
            told(
                {
                    "model": model,
                    "dataset": dataset,
                    **facts,
                    "step_ms": statistics.median(pipeline),
                    "step_on_one_batch_ms": statistics.median(batch),
                    "share": 1 - 1 / more,
                    "from": 1 - 1 / low,
                    "to": 1 - 1 / high,
                }
            )
        )
    return {"target": TARGET, "rows": rows}


def _side(name: str, dataset: str, data_dir: Path) -> None:
    from strategies import backend

    backend.start()
    import keras

    from zoo import tasks
    from zoo.config import TrainConfig
    from zoo.data import load

    config = TrainConfig(model=name, dataset=dataset, data_dir=data_dir).resolved()
    data, task = load(config), tasks.of("classification")
    keras.utils.set_random_seed(0)
    _, run = steps.compiled(config, data.spec)
    batches = task.training_batches(config, data, config.batch_size, 0, 1_000_000)
    sides = [iter(batches), steps.over_and_over(next(iter(batches)))]

    def step_ms(batches: Any) -> float:
        began = time.perf_counter()
        float(run(batches, STEPS)["loss"])
        return (time.perf_counter() - began) / STEPS * 1e3

    turn = 0

    def both() -> list[float]:
        nonlocal turn
        turn += 1
        found = {side: step_ms(sides[side]) for side in ((0, 1) if turn % 2 else (1, 0))}
        return [found[0], found[1]]

    rounds.serve(both, batch_size=config.batch_size)


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| input pipeline | batch | step, ms | on one batch, ms | cost of input, of the step |",
        "| --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {row['model']}, {row['dataset']} | {row['batch_size']} | {row['step_ms']:.1f} |"
        f" {row['step_on_one_batch_ms']:.1f} | {row['share']:.1%} (rounds from {row['from']:.1%} to {row['to']:.1%}) |"
        for row in result["rows"]
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join([*table(result), "", f"Target: at most {result['target']:.0%}."])


if __name__ == "__main__":
    _side(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
