"""What a step of pruning, clustering, quantization-aware training or distillation costs, in plain training steps.

Milliseconds a step of MNIST at batch 128, median of 100 steps after 30, of the model as zoo.train trains it and as each
pass does, in one process, one after the other. Pruning is measured while its masks change. A distilled step includes
the teacher's answer.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODELS = ("cnn", "simplenet", "lstm")
PASSES = ("prune(0.8, end=200)", "cluster(16)", "qat", "distill(itself)")
BATCH, WARM_UP, STEPS = 128, 30, 100
TARGET = 1.5  # plain steps, of pruning and of quantization-aware training


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the milliseconds of a step for each model and pass."""
    from strategies import backend

    backend.start()
    from zoo.config import TrainConfig
    from zoo.data import load

    data = load(TrainConfig(dataset="mnist", data_dir=data_dir).resolved())
    rows = []
    for name in MODELS:
        ways = {text: _made(name, text, data) for text in ("plain", *PASSES)}
        rows.append({"model": name, "milliseconds": {text: _milliseconds(make, data) for text, make in ways.items()}})
        print(rows[-1], flush=True)
    return {"rows": rows, "target": TARGET}


def _made(name: str, text: str, data: Any) -> Callable[[], Any]:
    """Return a function that returns a new model, wrapped for a pass, or plain."""

    def make() -> Any:
        import numpy as np

        from compression import clustering, parametrize, pruning, qat, recipes
        from compression.distillation import Distillation
        from zoo import registry

        few = data.train.x[:64].astype(np.float32) / 255
        model = registry.model_class(name)(num_classes=10)
        model.build((None, *data.spec.input_shape))
        if text == "plain":
            return model
        stage = recipes.parse(text).stages[0]
        if stage.word == "prune":
            return pruning.Pruned(model, stage, WARM_UP + STEPS + 100)
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

    return make


def _milliseconds(make: Callable[[], Any], data: Any) -> float:
    import keras

    from zoo.data.batches import training_batches

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)

    model = make()
    model.compile(keras.optimizers.AdamW(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = training_batches(data.train, batch_size=BATCH, seed=0, start=0, stop=WARM_UP + STEPS)
    model.fit(batches, epochs=1, verbose=0, callbacks=[Clock()])
    return 1000 * statistics.median(seconds[WARM_UP:])


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
        f"Times a plain step, batch {BATCH}; the target for prune and qat is at most {result['target']}.",
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
