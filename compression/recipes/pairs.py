"""What a file that matches images and captions cannot have, said before work starts. Standard library only."""

from compression.recipes.language import Recipe
from compression.recipes.passes import Channels, Distill, Qat
from compression.recipes.refusals import check_words
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError


def check(recipe: Recipe, *, uint8: bool = False, batch: int = 1, beam: Beam | None = None) -> None:
    """Refuse the words and options that a file of two towers cannot have.

    Args:
        recipe: parsed.
        uint8: whether camera bytes were asked for.
        batch: static batch size.
        beam: the search that was asked for, None where none was.

    Raises:
        UsageError: with the reason.
    """
    if uint8:
        raise UsageError("--uint8-input: expected a run that gives classes, this one matches images and captions")
    if batch != 1:
        raise UsageError(f"--batch {batch}: a file of two towers takes one image or one caption at a time; expected 1")
    if beam is not None:
        raise UsageError("--beams: expected a run that translates, this one matches images and captions")
    if recipe.precision == "int16x8":
        raise UsageError(
            "--recipe int16x8: the converter cannot calibrate it for whole-number inputs (token ids), which the text"
            " tower has; use int8 or dynamic"
        )
    if recipe.skip:
        raise UsageError(
            f"--recipe {recipe}: skip: the converter leaves layers out of files of one function alone, and this one has"
            " two; leave skip out"
        )
    check_words(recipe, "a run on images and captions", lambda stage: _refusal(stage, recipe))


def _refusal(stage: object, recipe: Recipe) -> str | None:
    if isinstance(stage, Channels):
        return "units are found by following one input, and this model has two; use prune"
    if isinstance(stage, Distill):
        return "it learns probabilities of classes, and this model gives vectors; train the smaller run by itself"
    if isinstance(stage, Qat) and recipe.precision == "int8":
        return "it trains the ranges of one input, and this model has two; use qat with dynamic or int4"
    return None
