"""What a file that draws images cannot have, said before work starts. Standard library only."""

from compression.recipes.language import Recipe
from compression.recipes.passes import Channels, Distill
from compression.recipes.refusals import check_words
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError


def check(recipe: Recipe, *, uint8: bool = False, beam: Beam | None = None) -> None:
    """Refuse the words and options that a file that draws images cannot have.

    Args:
        recipe: parsed.
        uint8: whether camera bytes were asked for.
        beam: the search that was asked for, None where none was.

    Raises:
        UsageError: with the reason.
    """
    if uint8:
        raise UsageError("--uint8-input: expected a run on images, this one draws them from noise")
    if beam is not None:
        raise UsageError("--beams: expected a run that translates, this one draws images")
    check_words(recipe, "a run that draws images", _refusal)


def _refusal(stage: object) -> str | None:
    if isinstance(stage, Channels):
        return (
            "the channels of transposed convolutions are not taken out; use prune, or train with smaller --set filters"
        )
    if isinstance(stage, Distill):
        return "every recipe that trains learns from the run's own generator already; leave distill out"
    return None
