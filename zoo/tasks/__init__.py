"""What a model is trained for: its metrics, its scores and what a report shows of it.

A module a task, with the same functions: `training_metrics(spec)`, `rank(row)`, `measure(model, data, split)`, which
returns the scores and what else there is to show, `save(run, data, shown)` and `page(data, scores, shown)`.
"""

import importlib
from types import ModuleType


def of(task: str) -> ModuleType:
    """Return the module of a task: classification, language_model or translation."""
    return importlib.import_module(f"zoo.tasks.{task}")
