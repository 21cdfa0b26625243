"""The accuracies that `zoo.attack` and `compression.attack` write into a run. Standard library only."""

from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError
from zoo.runs import sealed

KINDS = ("fgsm", "pgd")


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file of the folder attack/ of a run.

    Raises:
        UsageError: The file is damaged or was altered.
    """
    made, seal = sealed.read(path)
    if not _is_whole(made):
        raise UsageError(f"{path} is damaged: expected an accuracy from 0 to 1 at each eps, and what was attacked")
    sealed.check(path, seal, made)
    return made


def _is_whole(made: dict[str, Any]) -> bool:
    eps, curves = made.get("eps"), made.get("accuracy")
    texts = [made.get(name) for name in ("attack", "model_sha256")]
    return (
        isinstance(eps, list)
        and isinstance(curves, dict)
        and all(isinstance(text, str) for text in texts)
        and made["attack"] in KINDS
        and all(_is_number(made.get(name, 1)) for name in ("examples", "steps", "restarts"))
        and "examples" in made
        and ("restarts" in made or "steps" not in made)
        and all(_is_number(value) for value in eps)
        and all(isinstance(curve, list) and len(curve) == len(eps) for curve in curves.values())
        and all(_is_number(value) and 0 <= value <= 1 for curve in curves.values() for value in curve)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
