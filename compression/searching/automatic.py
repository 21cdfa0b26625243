"""`--recipe auto`: the recipe with the best file within a budget, chosen by measuring files on validation examples.

Recipes that do not train are tried first, those that serve the family of the network: they take seconds. If no file is
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

# Accuracy that a file may lose compared with the run, unless the budget says how accurate it must be.
LOSS = 0.005

# Recipes that do not train, by family of networks. Depthwise kernels have channels of very different ranges, which
# equalization and corrected biases are for (Nagel et al., 2019); the activations of recurrent layers and of attention
# often have rare large values, which `dynamic` does not round to a fixed range.
_USUAL = ("int8", "int8(per_tensor=true)", "int4", "dynamic")
_DEPTHWISE = ("int8", "int8(correct_bias=true, ranges=mse)", "int8(equalize=true, correct_bias=true)", "int4")
_SEQUENCES = ("int8", "dynamic", "int4")
KNOWN = {
    **dict.fromkeys(
        ("mobilenet", "mobilenet_v2", "mobilenet_v3", "efficientnet_lite", "proxyless", "ds_cnn"), _DEPTHWISE
    ),
    **dict.fromkeys(("lstm", "self_attention", "transformer"), _SEQUENCES),
}


def auto(
    max_bytes: Bytes | None = None,
    max_gzip_bytes: Bytes | None = None,
    max_latency_ms: float | None = None,
    max_arena: Bytes | None = None,
    max_flash: Bytes | None = None,
    max_cycles: Count | None = None,
    min_accuracy: float | None = None,
    trials: int = 20,
) -> None:
    """The recipe with the best file within limits, those of compression.search; without any, the smallest file within
    half a percentage point of the run. If none that does not train is good enough, `trials` recipes that do are tried.
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
    trials = given.pop("trials", 20)
    if trials < 1:
        raise UsageError(f"--recipe auto: trials: expected at least 1, received {trials}")
    return Automatic(Budget(**given), trials)


def choose(
    wanted: Automatic,
    chosen: SearchInputs,
    opened: OpenedRun | OpenedModel,
    teachers: Mapping[str, RunFolder],
    say: Callable[[str], None],
) -> Recipe:
    """Return the recipe whose file is best within the budget.

    Args:
        wanted: Budget and number of trials.
        chosen: Inputs of a search.
        opened: Run or model to compress.
        teachers: Runs that may be teachers, by name.
        say: Function that receives a line about each recipe.

    Raises:
        UsageError: There are no validation examples, or the budget is below the smallest file.
        Failed: No file is within the budget.
    """
    privacy.check_searched(opened.config.private)
    subject = worker.load_subject(chosen, opened, teachers)
    from compression.searching import search

    plan = search.make_plan(subject, wanted.budget, trials=wanted.trials)
    rows, own = _untrained(subject, plan.budget, opened.config.model, say)
    demanding = plan.budget
    if demanding.min_accuracy is None:
        demanding = dataclasses.replace(demanding, min_accuracy=max(round(own - LOSS, 4), 1e-4))
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


def _untrained(
    subject: Any, budget: Budget, model: str, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], float]:
    """Return the measurements of recipes that do not train, and the accuracy of the run's own file in float32."""
    from compression.searching.trials import estimate

    recipes = list(KNOWN.get(model, _USUAL))
    if budget.max_bytes:
        recipes.append(f"int4(mixed={budget.max_bytes})")
    if budget.max_arena:
        recipes.append(str(Recipe("int8", **MEMORY["patches"])))
    own = estimate(subject, language.parse("float32"))["accuracy"]
    say(f"float32: {own:.2%} of the validation examples")
    rows = []
    for recipe in recipes:
        try:
            row = estimate(subject, language.parse(recipe))
        except (UsageError, Failed) as error:  # a device or the network does not allow this one
            say(f"{recipe}: {error}")
            continue
        rows.append(row | {"recipe": recipe})
        say(f"{recipe}: {row['bytes']:,} bytes, {row['accuracy']:.2%}")
    return rows, own
