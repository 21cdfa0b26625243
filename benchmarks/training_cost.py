"""Cost of a step of pruning, clustering, quantization-aware training or distillation, relative to plain training.

Measured are the milliseconds per step on MNIST at batch 128, for plain training and for each pass. All cases alternate
in one process in rounds of 20 steps, so that other load affects them equally. The fastest median of the rounds after
the first counts, because it is least affected. Pruning is measured while its masks change. A distillation step includes
the forward pass of the teacher.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

MODELS = ("cnn", "simplenet", "lstm")
PASSES = ("prune(0.8, end=200)", "cluster(16)", "qat", "distill(itself)")
BATCH, ROUNDS, STEPS = 128, 6, 20  # the first round is not counted
TARGET = 1.5  # maximum cost of pruning and quantization-aware training, relative to a plain step


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the milliseconds of a step for each model and pass.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    from strategies import backend

    backend.start()
    from zoo.config.train_config import TrainConfig
    from zoo.data import load

    data = load(TrainConfig(dataset="mnist", data_dir=data_dir).resolved())
    rows = []
    for name in MODELS:
        models = {text: _made(name, text, data) for text in ("plain", *PASSES)}
        medians: dict[str, list[float]] = {text: [] for text in models}
        for number in range(ROUNDS):
            for text, model in models.items():
                medians[text].append(statistics.median(_round(model, data, number)))
        found = {text: 1000 * min(rounds[1:]) for text, rounds in medians.items()}
        rows.append({"model": name, "milliseconds": found})
        print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows, "target": TARGET}


def _made(name: str, text: str, data: Any) -> Any:
    """Return a compiled model, plain or wrapped by a pass."""
    import keras

    model = _wrapped(name, text, data)
    model.compile(keras.optimizers.AdamW(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _wrapped(name: str, text: str, data: Any) -> Any:
    import numpy as np

    from compression.passes import clustering, parametrize, pruning, qat
    from compression.passes.distillation import Distillation
    from compression.recipes import language
    from zoo.config import registry

    few = data.train.x[:64].astype(np.float32) / 255
    model = registry.model_class(name)(num_classes=10)
    model.build((None, *data.spec.input_shape))
    if text == "plain":
        return model
    stage = language.parse(text).stages[0]
    if stage.word == "prune":
        return pruning.Pruned(model, stage, 2 * ROUNDS * STEPS)
    if stage.word == "cluster":
        return clustering.clustered(model, stage, set())
    if stage.word == "qat":
        points = qat.Points(model, few[:8])
        return qat.Quantized(model, points=points, functions={}, ranges=qat.calibrated(model, points, few))
    made = parametrize.Parametrized(model, {})
    teacher = registry.model_class(name)(num_classes=10)
    teacher.build((None, *data.spec.input_shape))
    made.distillation = Distillation(stage, [teacher], model, few[:8])
    return made


def _round(model: Any, data: Any, number: int) -> list[float]:
    """Return the seconds of each step of a round."""
    import keras

    from zoo.data.batches.pipeline import training_batches

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)

    start = number * STEPS
    batches = training_batches(data.train, batch_size=BATCH, seed=0, start=start, stop=start + STEPS)
    model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[Clock()])
    return seconds


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    names = list(result["rows"][0]["milliseconds"])
    lines = [f"| training step | {' | '.join(f'{name}, ms' if name == 'plain' else name for name in names)} |"]
    lines.append("| --- |" + " --- |" * len(names))
    for row in result["rows"]:
        found = row["milliseconds"]
        cells = [f"{found['plain']:.2f}"] + [f"{found[name] / found['plain']:.2f}" for name in names if name != "plain"]
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Relative to a plain step, batch {BATCH}; the target for prune and qat is at most {result['target']}.",
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
