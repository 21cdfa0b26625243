"""What a file that draws images cannot have, said before work starts. Standard library only."""

from compression.passes import Channels, Distill
from compression.recipes import Recipe
from zoo.errors import UsageError
from zoo.sampling import Beam


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
    for stage in (*recipe.stages, *([recipe.distill] if recipe.distill else [])):
        if isinstance(stage, Channels):
            raise UsageError(
                f"--recipe {recipe}: channels of a run that draws images: the channels of transposed convolutions are"
                " not taken out; use prune, or train with smaller --set filters"
            )
        if isinstance(stage, Distill):
            raise UsageError(
                f"--recipe {recipe}: distill of a run that draws images: every recipe that trains learns from the run's"
                " own generator already; leave distill out"
            )
