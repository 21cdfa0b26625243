"""What a file that completes triples cannot have, said before work starts. Standard library only."""

from compression.recipes.language import Recipe
from compression.recipes.passes import Channels, Distill
from compression.recipes.refusals import check_words
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError


def check(
    recipe: Recipe,
    *,
    uint8: bool = False,
    batch: int = 1,
    beam: Beam | None = None,
    skip_worst: int = 0,
) -> None:
    """Refuse the words and options that a file of a run on triples cannot have.

    Args:
        recipe: parsed.
        uint8: whether camera bytes were asked for.
        batch: static batch size.
        beam: the search that was asked for, None where none was.
        skip_worst: how many layers were to be left out.

    Raises:
        UsageError: with the reason.
    """
    if uint8:
        raise UsageError("--uint8-input: expected a run on images, this one takes triples")
    if beam is not None:
        raise UsageError("--beams: expected a run that translates, this one gives entities")
    if batch != 1:
        raise UsageError(f"--batch {batch}: a file of a run on triples answers one question at a time; expected 1")
    if skip_worst or recipe.skip:
        raise UsageError(
            f"--recipe {recipe}: skip: the table of entities is nearly all of the model, and one layer; leave skip out"
        )
    if recipe.precision in ("int8", "int16x8"):
        steps = "has 256 steps for the scores of all entities, so that most of them tie"
        why = steps if recipe.precision == "int8" else "cannot be calibrated for whole-number inputs"
        raise UsageError(f"--recipe {recipe}: {recipe.precision} of a run on triples {why}; use dynamic or int4")
    check_words(recipe, "a run on triples", _refusal)


def _refusal(stage: object) -> str | None:
    if isinstance(stage, Channels):
        return "a number of every embedding would go; train a run with a smaller dim"
    if isinstance(stage, Distill):
        return "its losses are of classes; train the smaller run by itself"
    return None
