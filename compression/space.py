"""What a search chooses between: the widths of layers, and the words of a recipe. Standard library only."""

import dataclasses
import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression import recipes
from compression.passes import Channels, Cluster, Distill, Pass, Prune, Qat
from compression.recipes import PRECISIONS, Recipe
from zoo.errors import UsageError, nearest

WIDTH = "width."
NARROWEST = 16  # of a layer's width, the part that stays at least
NO_TEACHER = "none"
TEMPERATURE = 3.0
# Of the epochs of the first stage, those of one that goes on with what it left.
LATER_EPOCHS = {"prune": 0.5, "cluster": 0.25, "qat": 0.25}
# Of the learning rate of the first stage, the same.
LATER_RATES = {"prune": 0.5, "cluster": 0.1, "qat": 0.1}
ROUNDED = ("int8", "dynamic", "int4", "int16x8")  # what qat trains for


@dataclass(frozen=True)
class Range:
    """Whole numbers from low to high, on a logarithmic scale."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


Values = Range | tuple[Any, ...]


@dataclass(frozen=True)
class Space:
    """The choices, by name: a range of whole numbers, or a few values.

    Args:
        choices: `width.LAYER`, and those of `MEANINGS`.
        widths: of the layers as they are, by path.
        epochs: of the run; a choice is a multiple of them.
        learning_rate: the same.
    """

    choices: Mapping[str, Values]
    widths: Mapping[str, int]
    epochs: int
    learning_rate: float

    def recipe(self, chosen: Mapping[str, Any]) -> Recipe:
        """Return the recipe of one value of every choice; what has no effect beside the others is left out."""
        precision, rounded = chosen["precision"], chosen["precision"] in ROUNDED
        words = [(Channels, self._narrower(chosen))] if self._narrower(chosen) else []
        words += [(Prune, {"sparsity": chosen["sparsity"]})] if chosen["sparsity"] else []
        words += [(Cluster, {"number": chosen["clusters"]})] if chosen["clusters"] else []
        words += [(Qat, {})] if chosen["qat"] and rounded else []
        stages: list[Pass] = []
        for kind, arguments in words:
            word, later = kind.__name__.lower(), bool(stages)
            epochs = self.epochs * chosen["epochs"] * (LATER_EPOCHS.get(word, 1) if later or word == "qat" else 1)
            rate = self.learning_rate * chosen["rate"] * (LATER_RATES.get(word, 1) if later or word == "qat" else 1)
            stages.append(kind(**arguments, epochs=max(1, round(epochs)), learning_rate=float(f"{rate:.3g}")))
        taught = stages and chosen["distill"] != NO_TEACHER
        distill = Distill(teacher=(chosen["distill"],), temperature=TEMPERATURE) if taught else None
        per_tensor = bool(chosen["per_tensor"]) and "per_tensor" in recipes.parameters(precision)
        return Recipe(precision, per_tensor=per_tensor, stages=tuple(stages), distill=distill)

    def _narrower(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        kept = {layer: chosen[WIDTH + layer] for layer in self.widths if chosen[WIDTH + layer] < self.widths[layer]}
        return {"keep": tuple(f"{layer}:{n}" for layer, n in kept.items()), "init": chosen["init"]} if kept else {}

    def scaled(self, share: float, **others: Any) -> dict[str, Any]:
        """Return the choices with this share of every width, as far as the space has it, and others as they are given.

        What is not given is the first of its values; a value that the space does not have becomes the first as well.
        """
        found = {}
        for name, values in self.choices.items():
            if isinstance(values, Range):
                wanted = max(1, round(self.widths[name.removeprefix(WIDTH)] * share))
                found[name] = min(max(wanted, values.low), values.high)
            else:
                found[name] = others[name] if others.get(name) in values else values[0]
        return found

    def lines(self) -> list[str]:
        """Return what there is to choose, a line for each."""
        longest = max(map(len, self.choices))
        return [f"{name:<{longest}}  {_shown(values):<28}  {_meaning(name)}" for name, values in self.choices.items()]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        values = {name: str(v) if isinstance(v, Range) else list(v) for name, v in self.choices.items()}
        return dataclasses.asdict(self) | {"choices": values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Space":
        """Rebuild a space from `to_json`'s values."""
        choices = {n: tuple(v) if isinstance(v, list) else _range(n, v) for n, v in values["choices"].items()}
        return cls(choices, values["widths"], values["epochs"], values["learning_rate"])


MEANINGS = {
    "init": "narrower layers go on with the run's weights (own), or are trained from scratch",
    "sparsity": "share of the weights that is zero; 0: not pruned",
    "clusters": "values that the weights of a layer share; 0: not clustered",
    "qat": "train with the file's rounding",
    "distill": "the run that teaches; none: labels alone",
    "precision": "of the file",
    "per_tensor": "one scale a weight tensor instead of one a channel: fewer bytes",
    "epochs": "times the run's epochs, of the first stage",
    "rate": "times the run's learning rate, of the first stage",
}


def _meaning(name: str) -> str:
    return MEANINGS.get(name) or "channels, units, cells or heads that the layer keeps"


def _shown(values: Values) -> str:
    return str(values) if isinstance(values, Range) else ",".join(map(_text, values))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def default(
    widths: Mapping[str, int],
    *,
    epochs: int,
    learning_rate: float,
    teachers: Sequence[str],
    gzipped: bool,
    timed: bool,
) -> Space:
    """Return the space of a model.

    Args:
        widths: of the layers that can be narrower, by path.
        epochs: of the run.
        learning_rate: of the run.
        teachers: runs that may teach.
        gzipped: whether gzipped bytes are bounded, the only ones that zeros and shared values save.
        timed: whether the latency is, for which float32 may be the fastest.
    """
    choices: dict[str, Values] = {WIDTH + layer: Range(max(1, n // NARROWEST), n) for layer, n in widths.items()}
    choices |= {
        "init": ("own", "scratch") if widths else ("own",),
        "sparsity": (0.0, 0.5, 0.7, 0.8, 0.9) if gzipped else (0.0,),
        "clusters": (0, 16, 32, 64) if gzipped else (0,),
        "qat": (True, False),
        "distill": (*teachers, NO_TEACHER),
        "precision": ("int8", "int4", "dynamic", *(("float16", "float32") if timed else ())),
        "per_tensor": (True, False),
        "epochs": (1, 2, 3),
        "rate": (0.5, 1.0, 2.0),
    }
    return Space(choices, dict(widths), epochs, learning_rate)


def read(path: Path) -> dict[str, str]:
    """Return the narrowings of a TOML file's table `space`: a text, a number or a list for each name.

    Raises:
        UsageError: no such file, no TOML, or no such table.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--space-file {path}: expected a TOML file with a table [space]; {error}") from None
    if not isinstance(content.get("space"), dict):
        raise UsageError(f"--space-file {path}: expected a table [space], received {', '.join(content) or 'nothing'}")
    return {
        name: ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
        for name, value in content["space"].items()
    }


def narrowed(space: Space, given: Mapping[str, str]) -> Space:
    """Return the space with some choices replaced.

    Args:
        space: the default one.
        given: `LOW:HIGH` or a number for a width, values separated by commas for others, by name or a pattern of names.

    Raises:
        UsageError: a name that is no choice, or values that it cannot have.
    """
    choices = dict(space.choices)
    for pattern, text in given.items():
        names = [name for name in choices if fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(
                f"--space {pattern}: expected one of {', '.join(choices)}, received {pattern!r}"
                f"{nearest(pattern, choices)}"
            )
        for name in names:
            if name.startswith(WIDTH):
                choices[name] = _range(name, text, space.widths[name.removeprefix(WIDTH)])
            else:
                choices[name] = _values(name, text)
    return dataclasses.replace(space, choices=choices)


def _range(name: str, text: str, widest: int | None = None) -> Range:
    low, _, high = str(text).partition(":")
    try:
        found = Range(int(low), int(high or low))
    except ValueError:
        raise UsageError(f"--space {name}: expected LOW:HIGH or a whole number, received {text!r}") from None
    if not 1 <= found.low <= found.high <= (widest or found.high):
        raise UsageError(f"--space {name}: expected 1 <= LOW <= HIGH <= {widest or 'its width'}, received {text!r}")
    return found


_BOOLEANS = {"true": True, "false": False}


def _values(name: str, text: str) -> tuple[Any, ...]:
    found = tuple(_value(name, part.strip()) for part in text.split(",") if part.strip())
    if not found or len(set(found)) < len(found):
        raise UsageError(f"--space {name}: expected different values separated by commas, received {text!r}")
    return found


def _value(name: str, text: str) -> Any:
    known: tuple[str, ...] = ()
    try:
        if name in ("qat", "per_tensor"):
            known = tuple(_BOOLEANS)
            return _BOOLEANS[text]
        if name == "init":
            known = ("own", "scratch")
            return {word: word for word in known}[text]
        if name == "precision":
            known = tuple(PRECISIONS)
            return {word: word for word in known}[text]
        if name == "distill":
            return text
        value = int(text) if name in ("clusters", "epochs") else float(text)
        if {"sparsity": 0 <= value < 1, "clusters": value == 0 or value > 1}.get(name, value > 0):
            return value
    except (ValueError, KeyError):
        pass
    expected = {"sparsity": "a share from 0 to below 1", "clusters": "0, or at least 2"}
    what = f"one of {', '.join(known)}" if known else expected.get(name, "a number above 0")
    raise UsageError(f"--space {name}: expected {what}, received {text!r}{nearest(text, known)}")
