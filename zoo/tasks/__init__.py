"""What a model is trained for: how it is built and compiled, its batches, its scores and what a report shows of it.

A module a task, with the same functions:

- `arguments(config, spec)` and `build_shape(spec)`: of the model's constructor, and what it is built for.
- `compiled_with(config, spec)`: the loss and the metrics of `fit`.
- `training_batches(config, data, batch_size, start, stop)` and `validation_batches(data, stride)`: for `fit`; None
  where it evaluates nothing.
- `gathered(config, data, batch_size)`: the training batches for a step to gather by itself; None where it cannot.
- `callbacks(config, run, data)`: of `fit`, called before those that record and see what these add to an epoch's logs.
- `rank(row)`: what epochs are compared by, more is better.
- `measure(model, data, split, **measured_with(config))`: the scores of a split, and what else there is to show. What
  `KEPT` names of that goes into metrics.json: the 95 % intervals of figures by name, why others have none, each class.
- `remarks(history)`: what metrics.json says of the epochs besides.
- `save(run, data, shown)` and `page(data, scores, shown)`: into the run's folder, and for its report.
- `headline(scores, intervals)`: the scores that matter, in one line; and `USED_BY`, the command that a trained run
  is for, with `SHRUNK_BY` where that is compressed by another recipe than int8.
"""

import importlib
from types import ModuleType
from typing import Any

KEPT = ("intervals", "no_intervals", "per_class")


def of(task: str) -> ModuleType:
    """Return the module of a task, one of `zoo.config.train_config.Task`."""
    return importlib.import_module(f"zoo.tasks.{task}")


def kept(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what metrics.json keeps of what there is to show."""
    return {"intervals": {}} | {name: shown[name] for name in KEPT if name in shown}
