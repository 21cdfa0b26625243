"""Find objects in pictures with a .tflite file. The script runs on a device with only ai-edge-litert, numpy and Pillow.

    python detect.py FILE.tflite picture.jpg --min-score 0.5

`compression.compress` writes such files. They give raw boxes and logits; decoding and non-maximum suppression are here,
in float32, and follow `zoo.predict`: if the file computes what the Keras model does, both find the same objects.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Name of the metadata entry that describes the file.
METADATA = "keras_compression_zoo"
# Scales of the encoding of centres and of sizes, where a file's boxes are offsets (Liu et al., 2016).
CENTRE, SIZE = 0.1, 0.2


class Unusable(ValueError):
    """A file or picture is missing, damaged or does not match the other."""


@dataclass(frozen=True)
class Object:
    """An object in a picture.

    Args:
        label: Class.
        score: Probability.
        box: x1, y1, x2, y2 in pixels of the picture.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Model:
    """A .tflite file that finds objects.

    Args:
        path: Path of the .tflite file.
        threads: Number of LiteRT threads.

    Raises:
        Unusable: The file is missing, is not a TFLite file, or does not describe how its boxes are decoded.
    """

    def __init__(self, path: Path, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise Unusable(f"{path}: expected a .tflite file, found none")
        try:
            interpreter = Interpreter(str(path), num_threads=threads)
        except ValueError as error:
            raise Unusable(f"{path}: expected a .tflite file: {error}") from None
        about = metadata(path)
        if about.get("task") != "detection":
            raise Unusable(f"{path}: expected a file that describes how it gives objects, this one does not")
        self.about, self.labels = about, about["labels"]
        self._run = interpreter.get_signature_runner()
        self._input = about["input"]["name"]
        self._details = self._run.get_input_details()[self._input]
        self._outputs = self._run.get_output_details()
        # A file that was made with --nms file decodes boxes and suppresses overlapping ones itself.
        self.priors = priors(about["decoding"]) if "decoding" in about else None

    def detect(self, picture: np.ndarray, least: float = 0.3) -> list[Object]:
        """Return the objects in a picture, best first.

        Args:
            picture: Picture (height, width, channels) uint8.
            least: Lowest score.
        """
        size = tuple(self.about["input"]["shape"][:2])
        x, scale, offset = fitted(picture, size, self.about["input"].get("fit", "stretch"))
        if self._details["dtype"] != np.uint8:
            x = x.astype(np.float32) / 255
        made = self._run(**{self._input: quantized(x[None], self._details)})
        raw, logits = (dequantized(made[name], self._outputs[name])[0] for name in ("boxes", "scores"))
        if self.priors is None:
            count = int(made["count"][0])
            boxes, scores, classes = raw[:count], logits[:count], made["classes"][0, :count]
            kept = scores >= least
            boxes, classes, scores, inner = boxes[kept], classes[kept], scores[kept], self.about["size"]
        else:
            decoding = self.about["decoding"]
            found = decode(raw, logits, self.priors, decoding, least, **self.about["suppression"])
            (boxes, classes, scores), inner = found, decoding["size"]
        # A file that resizes its input gives boxes in pixels of the size inside.
        boxes = boxes * ([size[1] / inner[1], size[0] / inner[0]] * 2)
        boxes = (boxes - [*offset, *offset]) / [*scale, *scale]
        height, width = picture.shape[:2]
        boxes = np.clip(boxes, 0, [width, height, width, height])
        return [
            Object(self.labels[kind], float(score), tuple(map(float, box)))
            for kind, score, box in zip(classes, scores, boxes, strict=True)
        ]


def priors(decoding: dict[str, Any]) -> np.ndarray:
    """Return centre x, centre y, width and height of the priors, (places, 4), from the description of a file."""
    parts = []
    for level in decoding["levels"]:
        y, x = np.meshgrid(np.arange(level["rows"]), np.arange(level["columns"]), indexing="ij")
        centres = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) * level["stride"]
        shapes = np.broadcast_to(np.asarray(level["sizes"], np.float64), (len(centres), len(level["sizes"]), 2))
        parts.append(np.concatenate([np.broadcast_to(centres, shapes.shape), shapes], axis=-1).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def decode(
    raw: np.ndarray,
    logits: np.ndarray,
    priors: np.ndarray,
    decoding: dict[str, Any],
    least: float,
    overlap: float,
    candidates: int,
    most: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (x1, y1, x2, y2) in pixels of the file's input, their classes and their scores, best first.

    Args:
        raw: Raw boxes (places, 4).
        logits: Logits of the scores, (places, classes).
        priors: Priors of the places, (places, 4).
        decoding: Description of the decoding in the metadata of the file.
        least: Lowest score.
        overlap: Largest intersection over union of two boxes of a class.
        candidates: Number of best boxes that are looked at.
        most: Largest number of objects.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -60, 60)))
    place, kind = np.nonzero(scores >= least)
    values = scores[place, kind]
    order = np.argsort(-values, kind="stable")[:candidates]
    place, kind, values = place[order], kind[order], values[order]
    x, y, width, height = priors[place].T
    one, two, three, four = (raw[place].astype(np.float32) - decoding["middle"]).T
    if decoding["coding"] == "distances":
        boxes = np.stack(
            [x - width * np.exp(one), y - height * np.exp(two), x + width * np.exp(three), y + height * np.exp(four)],
            axis=-1,
        )
    else:
        x, y = x + width * CENTRE * one, y + height * CENTRE * two
        across, down = width / 2 * np.exp(SIZE * three), height / 2 * np.exp(SIZE * four)
        boxes = np.stack([x - across, y - down, x + across, y + down], axis=-1)
    rows, columns = decoding["size"]
    boxes = np.clip(boxes.reshape(-1, 4), 0, [columns, rows, columns, rows]).astype(np.float32)
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(kind[i] != kind[j] or iou(boxes[i], boxes[j]) <= overlap for j in kept):
            kept.append(i)
            if len(kept) == most:
                break
    return boxes[kept], kind[kept], values[kept]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return shared / max(union, 1e-9)


def fitted(picture: np.ndarray, size: Sequence[int], fit: str) -> tuple[np.ndarray, tuple, tuple]:
    """Return a picture in the size of an input, and how pixels were moved: new = old * scale + offset, along x and y.

    Args:
        picture: Picture (height, width, channels) uint8.
        size: (height, width) of the input.
        fit: crop, pad or stretch, as in training.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    if fit == "stretch" or height * size[1] == width * size[0]:
        resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(resized).reshape(*size, -1), (size[1] / width, size[0] / height), (0.0, 0.0)
    if fit == "pad":
        least = min(size[0] / height, size[1] / width)
        inner = [max(1, round(side * least)) for side in (height, width)]
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        framed = np.zeros((*size, picture.shape[2]), np.uint8)
        small = image.resize((inner[1], inner[0]), Image.Resampling.BILINEAR)
        framed[top : top + inner[0], left : left + inner[1]] = np.asarray(small).reshape(*inner, -1)
        return framed, (inner[1] / width, inner[0] / height), (left, top)
    scale = max(size[0] / height, size[1] / width)
    wide, tall = size[1] / scale, size[0] / scale
    box = ((width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2)
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized).reshape(*size, -1), (scale, scale), (-box[0] * scale, -box[1] * scale)


def quantized(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Return values in the type of a file's input."""
    scale, zero = details["quantization"]
    if not scale or x.dtype == details["dtype"]:
        return x.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(x / scale + zero), limits.min, limits.max).astype(details["dtype"])


def dequantized(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Return the values of a file's output as float32."""
    scale, zero = details["quantization"]
    return (x.astype(np.float32) - zero) * np.float32(scale) if scale else x.astype(np.float32)


def metadata(path: Path) -> dict[str, Any]:
    """Return the project's metadata of a .tflite file; an empty dictionary if they were removed."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == METADATA.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the objects in pictures."""
    parser = argparse.ArgumentParser(description="Find objects in pictures with a .tflite file.")
    parser.add_argument("file", type=Path, help=".tflite file")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="picture file")
    parser.add_argument("--min-score", type=float, default=0.3, help="lowest score of an object (default: 0.3)")
    parser.add_argument("--threads", type=int, default=1, help="number of threads (default: 1)")
    options = parser.parse_args(argv)
    from PIL import Image, ImageOps

    try:
        model = Model(options.file, options.threads)
        mode = "L" if model.about["input"]["shape"][-1] == 1 else "RGB"
        for name in options.pictures:
            try:
                image = ImageOps.exif_transpose(Image.open(name)).convert(mode)
            except OSError as error:
                raise Unusable(f"{name}: expected a picture: {error}") from None
            pixels = np.asarray(image).reshape(image.height, image.width, -1)
            for one in model.detect(pixels, options.min_score):
                print(name, one.label, f"{one.score:.3f}", *(f"{side:.1f}" for side in one.box), sep="\t")
    except Unusable as error:
        print(f"detect: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
