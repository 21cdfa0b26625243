"""Small annotated pictures for tests: squares and discs on a plain ground, in each layout."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "square")


def scene(rng, size=(48, 64), most=3):
    """Return a picture (height, width, 3) uint8, and its objects as [(class, x1, y1, x2, y2)]."""
    height, width = size
    picture = np.full((height, width, 3), rng.integers(60, 120, 3), np.uint8)
    rows, columns = np.mgrid[:height, :width] + 0.5
    objects = []
    for _ in range(rng.integers(1, most + 1)):
        side = int(rng.integers(12, 25))
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        kind = CLASSES[rng.integers(2)]
        if kind == "disc":
            where = np.hypot(columns - x - side / 2, rows - y - side / 2) <= side / 2
        else:
            where = (columns > x) & (columns < x + side) & (rows > y) & (rows < y + side)
        picture[where] = rng.integers(160, 255, 3)
        objects.append((kind, x, y, x + side, y + side))
    return picture, objects


def scenes(counts, seed=0, size=(48, 64)):
    """Return [(name, picture, objects)] by split for the number of pictures of each."""
    rng = np.random.default_rng(seed)
    return {split: [(f"{split}_{i}", *scene(rng, size)) for i in range(n)] for split, n in counts.items()}


def write_picture(path: Path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def plain(value, size=(64, 64)):
    """Return a picture of one value, by which tests tell pictures apart."""
    return np.full((*size, 3), value, np.uint8)


def xml(name, size, objects, suffix=".png"):
    """Return an annotation of Pascal VOC."""
    rows = "".join(
        f"<object><name>{kind}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for kind, x1, y1, x2, y2 in objects
    )
    height, width = size
    return (
        f"<annotation><filename>{name}{suffix}</filename><size><width>{width}</width><height>{height}</height></size>{rows}"
        "</annotation>"
    )


def voc(folder: Path, counts=None, seed=0, size=(48, 64)):
    """Write a folder in the layout of Pascal VOC, and return what `scenes` gave."""
    made = scenes(counts or {"train": 24, "val": 8, "test": 8}, seed, size)
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for split, rows in made.items():
        for name, picture, objects in rows:
            write_picture(folder / "JPEGImages" / f"{name}.png", picture)
            (folder / "Annotations" / f"{name}.xml").write_text(xml(name, picture.shape[:2], objects))
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name, *_ in rows))
    return made


def coco(folder: Path, counts=None, seed=0, size=(48, 64)):
    """Write a folder in the layout of COCO, and return what `scenes` gave."""
    made = scenes(counts or {"train": 24, "val": 8, "test": 8}, seed, size)
    (folder / "annotations").mkdir(parents=True)
    for split, rows in made.items():
        found = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 3, "name": "disc"}, {"id": 7, "name": "square"}],
        }
        for number, (name, picture, objects) in enumerate(rows):
            write_picture(folder / split / f"{name}.png", picture)
            height, width = picture.shape[:2]
            found["images"].append({"id": number, "file_name": f"{name}.png", "width": width, "height": height})
            for kind, x1, y1, x2, y2 in objects:
                row = {"id": len(found["annotations"]), "image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                found["annotations"].append(row | {"category_id": {"disc": 3, "square": 7}[kind], "iscrowd": 0})
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(found))
    return made


def yolo(folder: Path, counts=None, seed=0, size=(48, 64)):
    """Write a folder in the layout of YOLO, and return what `scenes` gave."""
    made = scenes(counts or {"train": 24, "val": 8, "test": 8}, seed, size)
    for split, rows in made.items():
        for name, picture, objects in rows:
            write_picture(folder / "images" / split / f"{name}.png", picture)
            height, width = picture.shape[:2]
            lines = [
                f"{CLASSES.index(kind)} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width}"
                f" {(y2 - y1) / height}"
                for kind, x1, y1, x2, y2 in objects
            ]
            label = folder / "labels" / split / f"{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("\n".join(lines))
    (folder / "data.yaml").write_text(
        "".join(f"{split}: images/{split}\n" for split in made) + "names: [disc, square]\n"
    )
    return made
