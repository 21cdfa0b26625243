"""Share of training time spent waiting for input: time blocked on the next batch, over the time of batch and step."""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 200
WARM_UP = 20


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the share for models on MNIST, each at its recipe's batch size."""
    from strategies import backend

    backend.start()
    return {"rows": [_row(model, data_dir) for model in ("cnn", "simplenet", "lstm")]}


def _row(name: str, data_dir: Path) -> dict[str, Any]:
    import keras

    from zoo import optimization, registry
    from zoo.config import TrainConfig
    from zoo.data import load
    from zoo.data.batches import training_batches
    from zoo.tasks import classification

    config = TrainConfig(model=name, dataset="mnist", data_dir=data_dir).resolved()
    data = load(config)
    keras.utils.set_random_seed(0)
    model = registry.model_class(name)(**classification.arguments(config, data.spec))
    model.compile(optimization.optimizer(config, STEPS), **classification.compiled_with(config, data.spec))
    waits, steps = [], []
    batches = iter(training_batches(data.train, batch_size=config.batch_size, seed=0, start=0, stop=STEPS + WARM_UP))
    for _ in range(STEPS + WARM_UP):
        began = time.perf_counter()
        x, y = next(batches)
        waited = time.perf_counter()
        model.train_on_batch(x, y)
        waits.append(waited - began)
        steps.append(time.perf_counter() - waited)
    waits, steps = waits[WARM_UP:], steps[WARM_UP:]
    row = {
        "model": name,
        "batch_size": config.batch_size,
        "wait_ms": statistics.mean(waits) * 1e3,
        "step_ms": statistics.mean(steps) * 1e3,
        "share_waiting": sum(waits) / (sum(waits) + sum(steps)),
    }
    print(row, file=sys.stderr)
    return row


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["| model | batch | waiting, ms a step | step, ms | share waiting |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {r['model']} | {r['batch_size']} | {r['wait_ms']:.2f} | {r['step_ms']:.1f} | {r['share_waiting']:.1%} |"
        for r in result["rows"]
    ]
    return "\n".join(lines)
