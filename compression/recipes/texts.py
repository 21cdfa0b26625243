"""What a file that makes texts cannot have, said before work starts. Standard library only."""

from compression.recipes.language import Recipe
from compression.recipes.passes import Channels, Distill, Qat
from compression.recipes.refusals import check_words
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError


def check(task: str, recipe: Recipe, *, uint8: bool = False, batch: int = 1, beam: Beam | None = None) -> None:
    """Refuse the words and options that a file of this task cannot have.

    Args:
        task: translation or language_model.
        recipe: parsed.
        uint8: whether camera bytes were asked for.
        batch: static batch size.
        beam: the search that was asked for, None where none was.

    Raises:
        UsageError: with the reason.
    """
    if uint8:
        raise UsageError("--uint8-input: expected a run on images, this one takes texts")
    if batch != 1:
        raise UsageError(f"--batch {batch}: a file that makes texts has one at a time; expected 1")
    if beam is not None and task == "language_model":
        raise UsageError("--beams: expected a run that translates, this one goes on with a text")
    if recipe.precision == "int16x8":
        raise UsageError(
            "--recipe int16x8: the converter cannot calibrate it for whole-number inputs (token ids);"
            " use int8 or dynamic"
        )
    if recipe.skip:
        raise UsageError(
            f"--recipe {recipe}: skip: the layers of a decoder's step have no names of their own in the file, so none"
            " can be left out; leave skip out"
        )
    check_words(recipe, "a run that makes texts", lambda stage: _refusal(stage, recipe))


def check_classes(beam: Beam | None) -> None:
    """Refuse a search for a run that gives classes."""
    if beam is not None:
        raise UsageError("--beams: expected a run that translates, this one gives classes")


def _refusal(stage: object, recipe: Recipe) -> str | None:
    if isinstance(stage, Channels):
        return (
            "what a unit is part of is found in one pass over whole texts, and a decoder's step has others; use prune"
        )
    if isinstance(stage, Distill):
        return "a teacher's probabilities would be learnt at padding as well; train the smaller run by itself"
    if isinstance(stage, Qat) and recipe.precision == "int8":
        return "it trains ranges over whole texts, and the file computes a step at a time; use qat with dynamic or int4"
    return None
