"""Pictures and sounds in files, as columns of examples of one shape."""

from collections.abc import Mapping

from zoo.config.task_facts import Fit
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.sound import clips
from zoo.data.stored import keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files
from zoo.system.machine import available_memory

# Memory of a training step for each pixel: a first layer of 32 channels in float32, with its gradient.
BYTES_A_PIXEL = 32 * 4 * 2
PROPOSED_SIZE = 224


def pictures_of(
    config: TrainConfig, sources: Mapping[str, Files], shape: tuple[int, ...] | None, fit: Fit, tally: Tally
) -> dict[str, Column]:
    """Return columns of pictures by split.

    Args:
        config: Has the size that was asked for.
        sources: Files of each split.
        shape: (height, width, channels) of the pictures; None for the size that was asked for, or that of all files.
        fit: How pictures are brought to the shape.
        tally: Takes the sizes of the files.

    Raises:
        UsageError: Files of several sizes, of which none was asked for; or a size of which no batch fits in memory.
    """
    if shape is None:
        size, channels = keeping.common_shape(list(sources.values()), tally)
        shape = (*((config.image_size,) * 2 if config.image_size else size), channels)
        check_size(config, shape)
    decoder = Pictures(tuple(shape), fit)
    return {split: Column(source, decoder) for split, source in sources.items()}


def sounds_of(
    config: TrainConfig, sources: Mapping[str, Files], shape: tuple[int, ...] | None, tally: Tally
) -> tuple[dict[str, Column], int]:
    """Return columns of clips by split, and their samples in a second.

    Args:
        config: Has the rate and the length that were asked for.
        sources: Files of each split.
        shape: (samples,) of the clips, of the rate that was asked for; None for the length of most files.
        tally: Takes what was changed.

    Raises:
        UsageError: Files that are no sounds.
    """
    wanted = config.rate and int(config.rate)
    seconds = config.seconds if shape is None else shape[0] / wanted
    samples, rate = clips.common_form(list(sources.values()), wanted, seconds, tally)
    decoder = clips.Clips(samples, rate)
    return {split: Column(source, decoder) for split, source in sources.items()}, rate


def check_size(config: TrainConfig, image_shape: tuple[int, ...]) -> None:
    """Raise UsageError for pictures of their own size of which no batch fits in memory.

    Args:
        config: Has the size that was asked for, and the batch size.
        image_shape: (height, width, channels).
    """
    if config.image_size or config.batch_size is None:
        return
    height, width, _ = image_shape
    needed, free = config.batch_size * height * width * BYTES_A_PIXEL, available_memory()
    if free is not None and needed > free and height * width > PROPOSED_SIZE**2:
        raise UsageError(
            f"--image-size: expected with pictures of {width}x{height} pixels, received none: a step of"
            f" {config.batch_size} of them takes about {needed / 1e9:,.0f} GB of memory and {free / 1e9:,.0f} GB are"
            f" free; --image-size {PROPOSED_SIZE} is usual for photographs"
        )
