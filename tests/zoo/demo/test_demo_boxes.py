"""The boxes of the demo page, from what a file says of itself and gives, are those of zoo.scores.detections."""

import numpy as np
import pytest

from compression.exporting import suppression
from compression.flatbuffers.interface import ModelInterface, Port
from compression.tasks.detection import Detection
from zoo.data import Dataset, DataSpec, Split
from zoo.data.annotations.placing import Placing
from zoo.objectives.priors import Priors
from zoo.reports import boxes as drawing
from zoo.scores import detections

NAMES = ("disc", "square", "bar")
SIZES = [[(8, 8), (12, 6)], [(16, 16), (30, 20)]]


def form(size, coding="distances", *, nms=False, resize_from=None, fit="stretch"):
    """Return how a detector of random outputs becomes a file."""
    priors = Priors.of((*size, 3), (8, 16), SIZES, coding)
    spec = DataSpec("scenes", "image", (*size, 3), NAMES, task="detection", fit=fit)
    empty = Split(np.zeros((0, *size, 3), np.uint8), np.zeros((0, 1, 5), np.float32))
    places = len(priors.boxes)
    outputs = (Port("boxes", (places, 4)), Port("scores", (places, len(NAMES))))
    interface = ModelInterface((Port("image", (*size, 3)),), outputs, nms=nms, uint8=True, resize_from=resize_from)
    return Detection(Dataset(spec, empty, empty, empty), interface, priors)


def found_by_page(javascript, about, made, least=0.3):
    value = {"about": about, "least": least, "made": {name: each.reshape(-1).tolist() for name, each in made.items()}}
    return javascript(
        'import { detected } from "./pictures/detections.js";\n'
        "const made = Object.fromEntries(Object.entries(value.made).map(([k, v]) => [k, Float32Array.from(v)]));\n"
        "console.log(JSON.stringify(detected(made, value.about, value.least)));",
        value,
    )


def check(objects, found):
    assert [one["kind"] for one in objects] == found.classes.tolist()
    np.testing.assert_allclose([one["score"] for one in objects], found.scores, rtol=1e-6)
    np.testing.assert_allclose(np.reshape([one["box"] for one in objects], (-1, 4)), found.boxes, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("coding", ["distances", "offsets"])
@pytest.mark.parametrize("steps", [None, 40])
def test_boxes_are_decoded_and_suppressed_as_in_python(javascript, coding, steps):
    size, rng = (48, 80), np.random.default_rng(1)
    made = form(size, coding)
    raw, logits = rng.uniform(0, 6, (len(made.priors.boxes), 4)), rng.normal(-1, 2, (len(made.priors.boxes), 3))
    if steps:  # as of a quantized file, in which many scores are equal
        raw, logits = np.round(raw * steps / 6) * 6 / steps, np.round(logits * 4) / 4
    raw, logits = raw.astype(np.float32), logits.astype(np.float32)
    objects = found_by_page(javascript, made.about(), {"boxes": raw, "scores": logits}, 0.2)
    (expected,) = detections.detected(raw[None], logits[None], made.priors, size, least=0.2)
    assert 20 < len(expected.boxes) < (logits > -1.3).sum()  # some are suppressed
    check(objects, expected)


def test_no_more_boxes_are_looked_at_or_kept_than_in_python(javascript):
    size, rng = (160, 160), np.random.default_rng(2)
    made = form(size)
    raw = rng.uniform(2, 3, (len(made.priors.boxes), 4)).astype(np.float32)
    logits = rng.normal(0, 2, (len(raw), 3)).astype(np.float32)
    objects = found_by_page(javascript, made.about(), {"boxes": raw, "scores": logits}, 0.001)
    (expected,) = detections.detected(raw[None], logits[None], made.priors, size)
    assert len(raw) * 3 > detections.CANDIDATES and len(expected.boxes) == detections.MOST
    check(objects, expected)


def test_a_file_that_suppresses_gives_the_same_boxes(javascript):
    size, rng = (48, 80), np.random.default_rng(3)
    made = form(size, nms=True)
    raw = rng.uniform(0, 6, (1, len(made.priors.boxes), 4)).astype(np.float32)
    logits = rng.normal(-1, 2, (1, len(made.priors.boxes), 3)).astype(np.float32)
    given = {k: v.numpy() for k, v in suppression.suppressed(raw, logits, made.priors, size).items()}
    objects = found_by_page(javascript, made.about(), given)
    (expected,) = detections.detected(raw, logits, made.priors, size, least=0.3)
    assert len(expected.boxes) > 20
    check(objects, expected)
    assert found_by_page(javascript, made.about(), {**given, "count": np.zeros(1)}) == []


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("resize_from", [None, (96, 160)])
def test_boxes_are_moved_to_the_picture_as_in_python(javascript, fit, resize_from):
    size = (48, 80)
    made = form(size, fit=fit, resize_from=resize_from)
    boxes = np.random.default_rng(4).uniform(-5, 90, (20, 4))
    shown = [(480, 640), (48, 80), (333, 77)]
    found = javascript(
        'import { placed } from "./pictures/detections.js";\n'
        "const objects = value.boxes.map((box) => ({ box }));\n"
        "const made = value.shown.map(([height, width]) => placed(objects, value.about, { height, width }));\n"
        "console.log(JSON.stringify(made.map((rows) => rows.map(({ box }) => box))));",
        {"about": made.about(), "boxes": boxes.tolist(), "shown": shown},
    )
    factor = resize_from[0] / size[0] if resize_from else 1
    for (height, width), moved in zip(shown, found, strict=True):
        placing = Placing.of((height, width), tuple(made.about()["input"]["shape"][:2]), fit)
        np.testing.assert_allclose(moved, placing.to_picture(boxes * factor, (height, width)), atol=1e-9)


def test_classes_have_the_colours_of_python(javascript):
    found = javascript(
        'import { colour } from "./pictures/detections.js";\nconsole.log(JSON.stringify(value.map(colour)));',
        list(range(90)),
    )
    np.testing.assert_allclose(found, [drawing.colour(index) for index in range(90)], atol=1)


def test_objects_of_two_files_are_matched_once_each(javascript):
    boxes = [[[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], [[1, 0, 11, 10], [80, 80, 90, 90]]]
    found = javascript(
        'import { matched } from "./numbers.js";\nimport { overlap } from "./pictures/detections.js";\n'
        "const rows = matched(value, (a, b) => overlap(a, b) - 0.5);\n"
        "console.log(JSON.stringify(rows.map((row) => row.map((box) => box ?? null))));",
        boxes,
    )
    first, second = boxes
    assert found == [[first[0], second[0]], [first[1], None], [first[2], None], [None, second[1]]]


def test_files_of_detectors_are_shown_with_boxes(javascript):
    """What a file says of itself, and its inputs and outputs, decide about the view."""
    image = {"name": "image", "shape": [1, 48, 80, 3]}
    raw, suppressed = ("boxes", "scores"), ("boxes", "classes", "scores", "count")
    plain, own = form((48, 80)).about(), form((48, 80), nms=True).about()
    cases = [(plain, raw), (own, suppressed), (own, raw), (plain, suppressed), ({}, raw), (plain, ("boxes",))]
    files = []
    for about, names in cases:
        ends = {"inputs": [image], "outputs": [{"name": name, "shape": []} for name in names]}
        files.append({"about": about, "signatures": {"serve": ends}})
    found = javascript('import { viewOf } from "./choice.js";\nconsole.log(JSON.stringify(value.map(viewOf)));', files)
    assert found == ["boxes", "boxes", "tensors", "tensors", "tensors", "tensors"]
