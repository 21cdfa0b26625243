"""Checks of annotated pictures, and their objects as an array."""

from collections.abc import Sequence

import numpy as np

from zoo.config.task_facts import Fit
from zoo.data.annotations.annotated import Faults, Picture
from zoo.data.annotations.placing import LEAST_VISIBLE, Placing, visible
from zoo.data.reading import Tally

# Values of an object: x1, y1, x2, y2 in pixels of the input, and the class; -1 fills up.
VALUES, NONE = 5, -1.0
# Pixels by which sides may lie beyond the edge: annotations count from 0 or from 1.
SLACK = 1.0


def checked(one: Picture, size: tuple[int, int], classes: Sequence[str], faults: Faults, tally: Tally) -> Picture:
    """Return a picture with those of its objects that have no fault, in pixels, cut at its edges.

    Args:
        one: Picture.
        size: (height, width) of the upright picture.
        classes: Names of the classes.
        faults: Takes the faults.
        tally: Takes the number of boxes that are cut, and of those that are left out because they occur twice.
    """
    height, width = size
    boxes = one.boxes * (width, height, width, height) if one.shares else one.boxes
    name, kept, known, seen = one.file.name, [], set(classes), set()
    for index, (kind, box) in enumerate(zip(one.classes, boxes, strict=True)):
        if kind not in known:
            faults.add("boxes of an unknown class", f"{kind!r} in {name}")
        elif not np.isfinite(box).all():
            faults.add("boxes that are no numbers", name)
        elif box[2] < box[0] or box[3] < box[1]:
            faults.add("boxes with swapped corners", name)
        elif box[2] == box[0] or box[3] == box[1]:
            faults.add("empty boxes", name)
        elif box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
            faults.add("boxes outside their picture", name)
        elif not one.shares and box.max() <= 1:
            faults.add("boxes within the first pixel, as if they were shares of the sides", name)
        elif (same := (kind, *box.tolist())) in seen:
            tally.changed["boxes that occur twice left out"] += 1
        else:
            seen.add(same)
            kept.append(index)
    inside = np.clip(boxes[kept], 0, (width, height, width, height))
    if cut := int((np.abs(inside - boxes[kept]) > SLACK).any(axis=1).sum()):
        tally.changed["boxes cut at the edge of their picture"] += cut
    return Picture(one.file, tuple(one.classes[i] for i in kept), inside, size=(width, height))


def stated_size_is_right(one: Picture, size: tuple[int, int], faults: Faults) -> bool:
    """Return whether the size that an annotation states is that of the picture; note a fault otherwise."""
    if one.size is None or one.size == size[::-1]:
        return True
    turned = " (it is stored on its side, and turned upright)" if one.size == size else ""
    stated, own = (f"{w}x{h}" for w, h in (one.size, size[::-1]))
    faults.add("annotations of another picture size", f"{one.file.name}: {stated}, the picture has {own}{turned}")
    return False


def placed(
    pictures: Sequence[Picture], classes: Sequence[str], size: tuple[int, int], fit: Fit, most: int, tally: Tally
) -> np.ndarray:
    """Return the objects of pictures as an array (pictures, most, 5) float32; see `VALUES`.

    Args:
        pictures: Pictures after `checked`.
        classes: Names of the classes.
        size: (height, width) of the model's input.
        fit: How pictures of another aspect ratio are brought to it.
        most: Largest number of objects in a picture.
        tally: Takes the number of boxes that `fit` leaves out.
    """
    index = {name: i for i, name in enumerate(classes)}
    found = np.full((len(pictures), most, VALUES), 0, np.float32)
    found[..., 4] = NONE
    for row, one in zip(found, pictures, strict=True):
        moved = Placing.of(one.size[::-1], size, fit).to_input(one.boxes)
        cut, share = visible(moved, size)
        kept = np.flatnonzero(share >= LEAST_VISIBLE)
        if lost := len(moved) - len(kept):
            tally.changed[f"boxes cut off by --fit {fit}, of which less than {LEAST_VISIBLE:.0%} is left"] += lost
        row[: len(kept), :4] = cut[kept]
        row[: len(kept), 4] = [index[one.classes[i]] for i in kept]
    return found
