"""The search space: widths of layers and words of a recipe. Standard library only."""

import dataclasses
import fnmatch
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.recipes import language
from compression.recipes.language import PRECISIONS, Recipe
from compression.recipes.passes import Channels, Cluster, Distill, Pass, Prune, Qat
from zoo.console.errors import SHOWN, UsageError, few, nearest, short

WIDTH = "width."
# Largest file of a space. The parser's time grows with the square of the length of a dotted name.
MOST_BYTES = 1 << 14
NARROWEST = 16  # layers keep at least 1 / 16 of their width
NO_TEACHER = "none"
ITSELF = "itself"  # a model of one's own, which has no run
TEMPERATURE = 3.0
# Epochs of a later stage, relative to the first stage.
LATER_EPOCHS = {"prune": 0.5, "cluster": 0.25, "qat": 0.25}
# Learning rate of a later stage, relative to the first stage.
LATER_RATES = {"prune": 0.5, "cluster": 0.1, "qat": 0.1}
# How a file in int8 saves memory in TFLite Micro: arguments of the precision.
MEMORY: Mapping[str, Mapping[str, Any]] = {
    "usual": {},
    "plan": {"plan": True},
    "patches": {"patches": "auto", "plan": True},
}
ROUNDED = ("int8", "dynamic", "int4", "int16x8")  # precisions that qat trains for


@dataclass(frozen=True)
class Range:
    """Integers from low to high, on a logarithmic scale."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


Values = Range | tuple[Any, ...]


@dataclass(frozen=True)
class Space:
    """Search space.

    Args:
        choices: A range of integers or a tuple of values for each choice: `width.LAYER` and the names in `MEANINGS`.
        widths: Present widths of the layers, by path.
        epochs: Number of epochs of the run, which the choice `epochs` multiplies.
        learning_rate: Learning rate of the run, which the choice `rate` multiplies.
        temperature: Temperature of distillation.
    """

    choices: Mapping[str, Values]
    widths: Mapping[str, int]
    epochs: int
    learning_rate: float
    temperature: float = TEMPERATURE

    def recipe(self, chosen: Mapping[str, Any]) -> Recipe:
        """Return the recipe for one value of every choice, without values that have no effect.

        Args:
            chosen: Value of every choice, by name.
        """
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
        teacher = () if chosen["distill"] == ITSELF else (chosen["distill"],)
        distill = Distill(teacher=teacher, temperature=self.temperature) if taught else None
        per_tensor = bool(chosen["per_tensor"]) and "per_tensor" in language.parameters(precision)
        memory = MEMORY[chosen.get("memory", "usual")] if precision == "int8" else {}
        return Recipe(precision, per_tensor=per_tensor, stages=tuple(stages), distill=distill, **memory)

    def _narrower(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        kept = {layer: chosen[WIDTH + layer] for layer in self.widths if chosen[WIDTH + layer] < self.widths[layer]}
        return {"keep": tuple(f"{layer}:{n}" for layer, n in kept.items()), "init": chosen["init"]} if kept else {}

    def scaled(self, share: float, **others: Any) -> dict[str, Any]:
        """Return choices with all widths scaled alike.

        Args:
            share: Share of every width, limited to the ranges of the space.
            others: Values of other choices. Missing values, and values that the space does not have, are replaced by
                the first value of the choice.
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
        """Return a description of the space, one line per choice."""
        longest = max(map(len, self.choices))
        return [f"{name:<{longest}}  {_shown(values):<28}  {_meaning(name)}" for name, values in self.choices.items()]

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        values = {name: str(v) if isinstance(v, Range) else list(v) for name, v in self.choices.items()}
        return dataclasses.asdict(self) | {"choices": values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Space":
        """Return the space that `to_json` described."""
        choices = {n: tuple(v) if isinstance(v, list) else _range(n, v) for n, v in values["choices"].items()}
        return cls(choices, values["widths"], values["epochs"], values["learning_rate"])


MEANINGS = {
    "init": "initial weights of narrower layers: the run's (own) or random (scratch)",
    "sparsity": "share of weights pruned to zero; 0: no pruning",
    "clusters": "number of shared weight values per layer; 0: no clustering",
    "qat": "quantization-aware training",
    "distill": "teacher for distillation; none: labels only",
    "precision": "precision of the file",
    "per_tensor": "one scale per weight tensor instead of one per channel: fewer bytes",
    "memory": "what saves memory of int8 files in TFLite Micro: plan=true, or with patches=auto as well",
    "epochs": "multiple of the run's epochs for the first stage",
    "rate": "multiple of the run's learning rate for the first stage",
}


def _meaning(name: str) -> str:
    return MEANINGS.get(name) or "number of channels, units, cells or heads to keep in the layer"


def _shown(values: Values) -> str:
    return str(values) if isinstance(values, Range) else ",".join(map(_text, values))


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):  # may be nested too deeply for `str`
        raise UsageError("--space-file: expected a string, a number or a list of them for each choice")
    if isinstance(value, int) and abs(value) >= 2**63:  # hexadecimal, and too long for `str`
        raise UsageError("--space-file: expected numbers of at most 64 bits, received a larger one")
    return str(value).lower() if isinstance(value, bool) else str(value)


def default(
    widths: Mapping[str, int],
    *,
    epochs: int,
    learning_rate: float,
    teachers: Sequence[str],
    gzipped: bool,
    timed: bool,
    numbers: bool = False,
    memory: tuple[str, ...] = (),
) -> Space:
    """Return the default search space of a model.

    Args:
        widths: Widths of the prunable layers, by path.
        epochs: Number of epochs of the run.
        learning_rate: Learning rate of the run.
        teachers: Names of runs that may be teachers.
        gzipped: Whether gzipped bytes are limited; only these shrink with zeros and shared values.
        timed: Whether the latency is limited; float16 and float32 may then be the fastest.
        numbers: Whether a teacher's outputs are numbers, which have no temperature.
        memory: Names in MEMORY to choose from; none leaves files as they are.
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
        **({"memory": memory} if memory else {}),
    }
    return Space(choices, dict(widths), epochs, learning_rate, Distill.temperature if numbers else TEMPERATURE)


def read(path: Path) -> dict[str, str]:
    """Read the table `space` of a TOML file, with a string, a number or a list for each choice.

    Raises:
        UsageError: The file is missing, is not TOML or has no such table.
    """
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise FileNotFoundError("No such file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UsageError(f"--space-file {path}: expected at most {MOST_BYTES:,} bytes, received {size:,}")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except UsageError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not TOML, or too many digits
        said = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise UsageError(f"--space-file {path}: expected a TOML file with a table [space]; {said}") from None
    if not isinstance(content.get("space"), dict):
        raise UsageError(
            f"--space-file {path}: expected a table [space], received"
            f" {few([short(name) for name in content]) or 'nothing'}"
        )
    return {
        name: ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
        for name, value in content["space"].items()
    }


def narrowed(space: Space, given: Mapping[str, str]) -> Space:
    """Return a space with some choices replaced.

    Args:
        space: Default space.
        given: New values by name or name pattern: `LOW:HIGH` or a number for widths, otherwise values separated by
            commas.

    Raises:
        UsageError: A name is not a choice, or a value is not valid for it.
    """
    choices = dict(space.choices)
    for pattern, text in given.items():
        names = [name for name in choices if fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(
                f"--space: expected one of {', '.join(choices)}, received {short(pattern)}"
                f"{nearest(pattern[:SHOWN], choices)}"
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
        raise UsageError(f"--space {name}: expected LOW:HIGH or a whole number, received {short(text)}") from None
    if not 1 <= found.low <= found.high <= (widest or found.high):
        raise UsageError(
            f"--space {name}: expected 1 <= LOW <= HIGH <= {widest or 'its width'}, received {short(text)}"
        )
    return found


_BOOLEANS = {"true": True, "false": False}


def _values(name: str, text: str) -> tuple[Any, ...]:
    found = tuple(_value(name, part.strip()) for part in text.split(",") if part.strip())
    if not found or len(set(found)) < len(found):
        raise UsageError(f"--space {name}: expected different values separated by commas, received {short(text)}")
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
        if name == "memory":
            known = tuple(MEMORY)
            return {word: word for word in known}[text]
        if name == "precision":
            known = tuple(PRECISIONS)
            return {word: word for word in known}[text]
        if name == "distill":
            return text
        value = int(text) if name in ("clusters", "epochs") else float(text)
        if math.isfinite(value) and {"sparsity": 0 <= value < 1, "clusters": value == 0 or value > 1}.get(
            name, value > 0
        ):
            return value
    except (ValueError, KeyError, OverflowError):
        pass
    expected = {"sparsity": "a share from 0 to below 1", "clusters": "0, or at least 2"}
    what = f"one of {', '.join(known)}" if known else expected.get(name, "a number above 0")
    raise UsageError(f"--space {name}: expected {what}, received {short(text)}{nearest(text[:SHOWN], known)}")
