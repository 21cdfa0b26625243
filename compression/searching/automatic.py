"""`--recipe auto`: the recipe with the best file within a budget, chosen by measuring files on validation examples.

Recipes that do not train are tried first, those that serve the layers of the network: they take seconds. If no file is
within the budget at nearly the accuracy of the run, recipes that train are searched (`compression.searching.search`).
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compression.pipeline.source import OpenedRun
from compression.recipes import language
from compression.recipes.language import Recipe
from compression.searching import pareto, worker
from compression.searching.budget import Budget
from compression.searching.space import MEMORY
from compression.searching.wording import searched
from compression.searching.worker import SearchInputs
from zoo.config import privacy
from zoo.console import words
from zoo.console.errors import Failed, UsageError
from zoo.console.values import Bytes, Count
from zoo.guests.model import OpenedModel
from zoo.runs.folder import RunFolder

# Number of recipes that train to try, unless the recipe says it.
TRIALS = 20

# Recipes that do not train, by what a network has. Depthwise kernels have channels of very different ranges, which
# equalization and corrected biases are for (Nagel et al., 2019); the activations of recurrent layers and of attention
# often have rare large values, which `dynamic` does not round to a fixed range.
DEPTHWISE = ("int8", "int8(correct_bias=true, ranges=mse)", "int8(equalize=true, correct_bias=true)", "int4")
SEQUENCES = ("int8", "dynamic", "int4")
OTHERS = ("int8", "int8(per_tensor=true)", "int4", "dynamic")


def auto(
    max_bytes: Bytes | None = None,
    max_gzip_bytes: Bytes | None = None,
    max_latency_ms: float | None = None,
    max_arena: Bytes | None = None,
    max_flash: Bytes | None = None,
    max_cycles: Count | None = None,
    min_accuracy: float | None = None,
    trials: int = TRIALS,
) -> None:
    """Choose the recipe with the best file within these limits, or without limits the smallest file that loses at most
    half a percentage point. Recipes that do not train are tried first; if none is good enough, `trials` that train.
    """


@dataclass(frozen=True)
class Automatic:
    """What `auto` was asked for.

    Args:
        budget: Limits of the file.
        trials: Number of recipes that train to try.
    """

    budget: Budget
    trials: int


def parse(text: str) -> Automatic | None:
    """Return what a recipe asks of `auto`, or None if it is another recipe.

    Raises:
        UsageError: An argument does not exist or is out of range, or other words stand beside `auto`.
    """
    if "auto" not in (part.partition("(")[0].strip() for part in text.split("+")):
        return None
    if "+" in text:
        raise UsageError(f"--recipe {text!r}: auto chooses all words itself; expected it alone")
    known = {"auto": dict(inspect.signature(auto).parameters)}
    such_as = "auto or auto(max_bytes=50k, min_accuracy=0.85)"
    _, given = words.parse("--recipe", text.strip(), known, what="recipe word", such_as=such_as)
    trials = given.pop("trials", TRIALS)
    if trials < 1:
        raise UsageError(f"--recipe auto: trials: expected at least 1, received {trials}")
    return Automatic(Budget(**given), trials)


def choose(
    wanted: Automatic,
    chosen: SearchInputs,
    opened: OpenedRun | OpenedModel,
    teachers: Mapping[str, RunFolder],
    loaded: tuple[Any, Any],
    say: Callable[[str], None],
) -> Recipe:
    """Return the recipe whose file is best within the budget.

    Args:
        wanted: Budget and number of trials.
        chosen: Inputs of a search.
        opened: Run or model to compress.
        teachers: Runs that may be teachers, by name.
        loaded: (keras.Model, Dataset) of `opened`.
        say: Function that receives a line about each recipe.

    Raises:
        UsageError: There are no validation examples, or the budget is below the smallest file.
        Failed: No file is within the budget.
    """
    privacy.check_searched(opened.config.private)
    subject = worker.load_subject(chosen, opened, teachers, loaded)
    from compression.searching import search
    from compression.searching.trials import estimate

    plan = search.make_plan(subject, wanted.budget, trials=wanted.trials)
    search.check_smallest(subject, plan)
    demanding = plan.budget
    if demanding.min_accuracy is None:
        own = estimate(subject, language.parse("float32"))["accuracy"]
        demanding = dataclasses.replace(demanding, min_accuracy=max(round(own - search.LOSS, 4), 1e-4))
    say(f"recipes that do not train are tried first, for {demanding}")
    rows = _untrained(subject, plan.budget, say)
    best = pareto.winner(rows, demanding, plan.costs)
    if best is None:
        say("no file of a recipe that does not train is good enough: recipes that train are tried")
        study = search.open_study(subject, plan, chosen.folder, say)
        search.run_trials(subject, plan, study, say)
        found = search.finish_search(subject, plan, study, chosen.folder, say)
        trained = [found.winner] if found.winner else []
        best = pareto.winner([*trained, *rows], plan.budget, plan.costs)
        if best is None:
            raise Failed(searched(found.result))
    say(f"auto chose {best['recipe']}: {best['bytes']:,} bytes, {best['accuracy']:.2%} of the validation examples")
    return language.parse(best["recipe"])


def candidates(model: Any) -> tuple[str, ...]:
    """Return the recipes that do not train and that serve the layers of a model.

    Args:
        model: Built Keras model.
    """
    from compression.surgery import layers, survey

    found = layers.paths(model).values()
    if any(isinstance(layer, (*layers.RECURRENT, survey.ATTENTION)) for layer in found):
        return SEQUENCES
    depthwise = (len(layers.channel_axes(layer, kernel)) > 1 for layer in found for kernel in layers.kernels_of(layer))
    return DEPTHWISE if any(depthwise) else OTHERS


def _untrained(subject: Any, budget: Budget, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the measurements of the files of recipes that do not train."""
    from compression.searching.trials import estimate

    recipes = list(candidates(subject.model))
    if budget.max_bytes:
        recipes.append(f"int4(mixed={budget.max_bytes})")
    if budget.max_arena:
        recipes.append(str(Recipe("int8", **MEMORY["patches"])))
    rows = []
    for recipe in recipes:
        try:
            row = estimate(subject, language.parse(recipe))
        except (UsageError, Failed) as error:  # a device or the network does not allow this one
            say(f"{recipe}: {error}")
            continue
        rows.append(row | {"recipe": recipe})
        say(f"{recipe}: {row['bytes']:,} bytes, {row['accuracy']:.2%}")
    return rows
