"""Test examples that a file and the trained model answer differently."""

from typing import Any

import numpy as np
from PIL import Image

from zoo.data import Dataset, Split
from zoo.data.dataset import leaves
from zoo.data.images import as_bytes, scaled
from zoo.reports.mosaic import inline

SHOWN = 24
# Height and width of a picture on the page in pixels, at most.
SIDE = 112
WORDS = 40  # of a text


def changed(found: np.ndarray, before: np.ndarray, y: np.ndarray, data: Dataset) -> dict[str, Any]:
    """Return the test examples whose most probable class a file changed, the worst first.

    The worst is the one whose true class lost most of its probability.

    Args:
        found: Probabilities of the file, (examples, classes).
        before: Probabilities of the trained model.
        y: True classes, (examples,).
        data: Data whose test split it was.

    Returns:
        examples, changed, lost (right before, wrong now), gained (the reverse), and rows of up to SHOWN examples:
        index, true, before and now (name of a class and its probability), and the example as `picture` or `text`.
    """
    was, now = before.argmax(-1), found.argmax(-1)
    places = np.flatnonzero(was != now)
    fall = before[places, y[places]] - found[places, y[places]]  # of the probability of the true class
    names = data.spec.class_names or tuple(map(str, range(found.shape[-1])))
    return {
        "examples": len(y),
        "changed": len(places),
        "lost": int((was[places] == y[places]).sum()),
        "gained": int((now[places] == y[places]).sum()),
        "rows": [
            {
                "index": int(i),
                "true": names[y[i]],
                "before": [names[was[i]], float(before[i, was[i]])],
                "now": [names[now[i]], float(found[i, now[i]])],
                "change": "lost" if was[i] == y[i] else "gained" if now[i] == y[i] else "wrong",
                **_seen(data, int(i)),
            }
            for i in places[np.argsort(-fall, kind="stable")][:SHOWN]
        ],
    }


def _seen(data: Dataset, index: int) -> dict[str, str]:
    """Return what a page shows of a test example: its picture or its text; of other inputs nothing."""
    spec, example = data.spec, data.test.take(np.array([index]))
    if spec.kind == "image" and leaves(example.x)[0].shape[-1] in (1, 3):
        return {"picture": _picture(example, spec.pixel_range)}
    if spec.kind == "tokens" and data.vocabulary is not None:
        words = data.vocabulary.decode(np.asarray(example.x)[0]).split(" ")
        return {"text": " ".join(words[:WORDS]) + " …" * (len(words) > WORDS)}
    return {}


def _picture(example: Split, pixel_range: tuple[float, float]) -> str:
    low, high = pixel_range
    pixels = as_bytes((scaled(leaves(example.x)[0], pixel_range)[0] - low) / (high - low))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    return inline(np.asarray(image))
