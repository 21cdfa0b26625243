"""How a word of a recipe is refused, whatever the task. Standard library only."""

from collections.abc import Callable

from compression.recipes.language import Recipe
from compression.recipes.passes import Pass
from zoo.console.errors import UsageError


def check_words(recipe: Recipe, of: str, reason: Callable[[Pass], str | None]) -> None:
    """Raise UsageError at the first word that trains and has a reason against it.

    Args:
        recipe: parsed.
        of: the run, for the sentence: "a run on triples".
        reason: of a word, why it cannot be; None where it can.
    """
    for stage in (*recipe.stages, *([recipe.distill] if recipe.distill else [])):
        if why := reason(stage):
            raise UsageError(f"--recipe {recipe}: {stage.word} of {of}: {why}")
