"""Tasks: what models are trained for. `of(name)` returns one, an instance of `zoo.tasks.base.Task`.

A task is a module with one class and its instance `TASK`. Its section of the report is in `zoo.tasks.pages`, and what
commands must know of it before Keras is imported is a row of `zoo.config.task_facts`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.config import task_facts

if TYPE_CHECKING:
    from zoo.tasks.base import Task

# What metrics.json keeps of the results that are shown: 95 % intervals, why others have none, scores of each class or
# of each number.
KEPT = ("intervals", "no_intervals", "per_class", "per_column", "detected_by_class")


def of(name: str) -> Task:
    """Return a task by its name. This imports Keras and its backend.

    Raises:
        UsageError: Unknown name.
    """
    return importlib.import_module(task_facts.of(name).module or f"zoo.tasks.{name}").TASK


def kept(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a task's shown results that metrics.json keeps."""
    return {"intervals": {}} | {name: shown[name] for name in KEPT if name in shown}
