"""The files that the commands of the guides read, made small."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.io import wavfile

from tests.conftest import blobs
from tests.zoo.data.annotations.pictures import voc
from tests.zoo.data.test_records import example, write_tar, write_tfrecord

SIDE = 28
TEST_DIGITS = 360  # examples of the test split of the embedded digits, which groups.csv describes
# Of the embedded set `family`, so that embeddings can be taken over by name.
PEOPLE = (
    *("Christopher", "Penelope", "Andrew", "Christine", "Margaret", "Arthur"),
    *("Victoria", "James", "Jennifer", "Charles", "Colin", "Charlotte"),
)
GOOD, DULL = "what a fine film", "such a dull film"


def make(folder: Path) -> None:
    """Write every input into a folder."""
    _pictures(folder / "photos", ("circle", "square", "triangle"), each=40)
    _pictures(folder / "pets", ("cat", "dog"), each=60)
    _own_model(folder)
    _numbers(folder)
    _texts(folder)
    _captions(folder)
    _series(folder)
    _events(folder)
    _sounds(folder)
    _tables(folder)
    _records(folder)
    voc(folder / "cells", {"train": 32, "val": 8, "test": 8})
    shutil.copy(folder / "cells" / "JPEGImages" / "test_0.png", folder / "cells" / "JPEGImages" / "one.png")
    _motion(folder)
    _masks(folder)
    _digit().save(folder / "seven.png")
    lines = [json.dumps({"x": "seven.png", "y": "7"})] * 96
    (folder / "new.jsonl").write_text("\n".join(lines) + "\n")
    rows = [("ink" if i % 2 else "pencil", "left" if i % 5 == 0 else "right") for i in range(TEST_DIGITS)]
    (folder / "groups.csv").write_text("\n".join(["pen,writer", *map(",".join, rows)]) + "\n")


def own_model(folder: Path) -> None:
    """Write mine.keras, and photographs of its four classes, whose brightness in [0, 1] it was trained on."""
    import keras
    from keras import layers

    rng = np.random.default_rng(0)
    y = np.arange(200) % 4
    x = np.clip(30 + 60 * y[:, None, None, None] + rng.normal(0, 20, (200, SIDE, SIDE, 3)), 0, 255).astype("uint8")
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        path = folder / "photographs" / f"kind_{label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    keras.utils.set_random_seed(0)
    hidden = [layers.GlobalAveragePooling2D(), layers.Dense(16, activation="relu")]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *hidden, layers.Dense(4, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(x / 255, y, epochs=40, verbose=0)
    model.save(folder / "mine.keras")


def _tables(folder: Path) -> None:
    """Write a table of houses, one of pictures with an age, and one of texts with stars."""
    rng = np.random.default_rng(0)
    sizes, places = rng.uniform(40, 200, 300), rng.choice(["north", "south", "west"], 300)
    built = np.datetime64("1950-01-01") + rng.integers(0, 25_000, 300)
    rows = [
        f"{size:.0f},{place},{day},{3000 * size + 1e5 * (place == 'west'):.0f},{int(size > 120)},{int(place == 'west')}"
        for size, place, day in zip(sizes, places, built, strict=True)
    ]
    (folder / "houses.csv").write_text("\n".join(["size,place,built,price,has_garden,has_view", *rows]) + "\n")
    files = sorted((folder / "photos").rglob("*.png"))
    pictures = [f"{file.relative_to(folder)},{number % 60}" for number, file in enumerate(files)]
    (folder / "photos.csv").write_text("\n".join(["image,age", *pictures]) + "\n")
    texts = [f"{GOOD if number % 2 else DULL},{5 if number % 2 else 1}" for number in range(120)]
    (folder / "stars.csv").write_text("\n".join(["text,stars", *texts]) + "\n")


def _records(folder: Path) -> None:
    """Write pictures and recordings as TFRecord files, and pictures as an archive of WebDataset."""
    files = sorted((folder / "photos").rglob("*.png"))
    names = sorted({file.parent.name for file in files})
    for place in ("shards", "recordings", "archives"):
        (folder / place).mkdir()
    for shard in range(2):
        mine = [(file.read_bytes(), names.index(file.parent.name)) for file in files[shard::2]]
        shown = [example({"image/encoded": content, "image/class/label": label}) for content, label in mine]
        write_tfrecord(folder / "shards" / f"photos.tfrecord-{shard:05}-of-00002", shown)
        members = [
            (f"{number:04}.{ending}", part)
            for number, (content, label) in enumerate(mine)
            for ending, part in (("jpg", content), ("json", json.dumps({"label": label}).encode()))
        ]
        write_tar(folder / "archives" / f"{shard:05}.tar", members)
    rng, time = np.random.default_rng(0), np.arange(128)[:, None]
    recorded = [
        example({"signal": (np.sin(time * (1 + i % 3) / 9) + rng.normal(0, 0.1, (128, 9))).ravel(), "activity": i % 3})
        for i in range(120)
    ]
    write_tfrecord(folder / "recordings" / "all.tfrecord", recorded)


def _pictures(folder: Path, names: tuple[str, ...], each: int) -> None:
    x, y = blobs(each * len(names), (SIDE, SIDE), classes=len(names))
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        path = folder / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image).astype("uint8")).save(path)


def _own_model(folder: Path) -> None:
    """Write a model of one's own that takes pixels from 0 to 255, and photographs that it was trained on."""
    import keras

    names = ("crow", "owl", "swan")
    _pictures(folder / "photographs", names, each=60)
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    x, y = blobs(180, (SIDE, SIDE, 1), classes=3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")]
    first = [keras.Input((SIDE, SIDE, 1)), keras.layers.BatchNormalization(momentum=0.5)]
    model = keras.Sequential([*first, *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(255 * x, y, epochs=15, verbose=0)
    model.save(folder / "mine.keras")
    Image.fromarray((255 * x[0, ..., 0]).astype("uint8")).save(folder / "photo.jpg")


def _numbers(folder: Path) -> None:
    x, y = blobs(150, (SIDE, SIDE))
    np.savez(folder / "letters.npz", x=(255 * x).astype("uint8"), y=y)
    np.savez(folder / "more.npz", x=(255 * x[:3, :, :, None]).astype("uint8"))


def _texts(folder: Path) -> None:
    films = [(f"{text} by {name}", label) for name in PEOPLE for text, label in ((GOOD, "good"), (DULL, "bad"))]
    (folder / "films.tsv").write_text("\n".join(["text\tlabel", *map("\t".join, films * 6)]) + "\n")
    (folder / "reviews.csv").write_text("\n".join(["text,label", *map(",".join, films * 6)]) + "\n")
    words = {"ein": "a", "Hund": "dog", "Kind": "child", "läuft": "runs", "schläft": "sleeps", "heute": "today"}
    pairs = [
        (f"{a} {b} {c}", f"{words[a]} {words[b]} {words[c]}")
        for a, b, c in itertools.product(("ein", "heute"), ("Hund", "Kind"), ("läuft", "schläft"))
    ]
    (folder / "pairs.tsv").write_text("\n".join(map("\t".join, pairs * 20)) + "\n")
    (folder / "book.txt").write_text("It was a dark and stormy night; the rain fell in torrents.\n" * 400)
    names = [*PEOPLE, *(f"Guest {number}" for number in range(28))]
    triples = [
        (head, relation, names[(i + step) % len(names)])
        for i, head in enumerate(names)
        for step, relation in enumerate(("father", "mother", "wife", "husband", "aunt", "uncle"), 1)
    ]
    (folder / "triples.tsv").write_text("\n".join(["head\trelation\ttail", *map("\t".join, triples)]) + "\n")


def _captions(folder: Path) -> None:
    paths = sorted((folder / "photos").rglob("*.png"))
    rows = [f"{path.relative_to(folder).as_posix()},a bright {path.parent.name} number {path.stem}" for path in paths]
    (folder / "said.csv").write_text("\n".join(["image,caption", *rows]) + "\n")


def _sounds(folder: Path) -> None:
    """Write tones of three pitches by five speakers and a recording of one; sounds of a machine, and one of a shift."""
    for place, name in enumerate(("six", "seven", "eight")):
        for number in range(30):
            speaker = ("ann", "ben", "eva", "leo", "zoe")[number % 5]
            path = folder / "spoken" / name / f"{name}_{speaker}_{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(path, 8000, _tone(300 * (place + 1) + number))
    wavfile.write(folder / "seven.wav", 8000, _tone(610))
    wavfile.write(folder / "meeting.wav", 8000, np.concatenate([_tone(300, 0.5), 0 * _tone(1, 1.0), _tone(620, 0.5)]))
    (folder / "said.csv").write_text("file,start,end,label\nmeeting.wav,0,0.5,six\nmeeting.wav,1.5,2.0,seven\n")
    for name, count, squeal in (("normal", 60, 0), ("anomalous", 10, 0.2)):
        (folder / "machine_sounds" / name).mkdir(parents=True)
        for number in range(count):
            content = _tone(100 + number % 7) + (squeal * _tone(2500)).astype(np.int16)
            wavfile.write(folder / "machine_sounds" / name / f"{number}.wav", 8000, content)
    wavfile.write(folder / "shift.wav", 8000, _tone(102, 3.0))


def _masks(folder: Path) -> None:
    """Write pictures of a road under a sky, with a car on some, and masks of these three classes."""
    rng, place = np.random.default_rng(0), folder / "street"
    for kind in ("images", "masks"):
        (place / kind).mkdir(parents=True)
    for number in range(40):
        mask = np.zeros((30, 40), np.uint8)
        mask[rng.integers(10, 18) :] = 1
        if number % 2:
            left = rng.integers(0, 30)
            mask[14:22, left : left + 10] = 2
        picture = np.array([(90, 160, 230), (80, 80, 80), (200, 40, 30)])[mask] + rng.normal(0, 15, (30, 40, 3))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(place / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(place / "masks" / f"{number:02}.png")
    (place / "classes.txt").write_text("sky\nroad\ncar\n")
    Image.open(place / "images" / "07.png").resize((120, 80)).save(folder / "photo.png")


def _tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000)).astype(np.int16)


def _series(folder: Path) -> None:
    """Write four weeks of hours: a load that follows the day and the price, and a temperature."""
    hours = np.arange(24 * 28)
    times = np.datetime64("2024-01-01T00:00") + hours * np.timedelta64(1, "h")
    price = 20 + 5 * (hours // 24 % 7 < 5)
    load = 500 + 80 * np.sin(hours * np.pi / 12) - 4 * price
    rows = zip(times, load, 10 + 3 * np.cos(hours * np.pi / 12), price, strict=True)
    lines = [f"{time},{a:.1f},{b:.2f},{c}" for time, a, b, c in rows]
    (folder / "load.csv").write_text("\n".join(["time,load,temperature,price", *lines]) + "\n")


def _motion(folder: Path) -> None:
    """Write recordings of subjects who sit and walk, those of one, a machine that fails, and parts with faults."""
    rng, time = np.random.default_rng(0), np.arange(600) / 50
    lines = []
    for subject in range(8):
        for label, size in (("sit", 0.05), ("walk", 0.6)):
            axes = size * np.sin(2 * np.pi * (1.8 + 0.05 * subject) * time[:, None] + np.arange(3))
            axes += rng.normal(0, 0.05, axes.shape)
            lines += [f"{a:.3f},{b:.3f},{c:.3f},{label},s{subject}" for a, b, c in axes]
    names = "ax,ay,az,label,subject"
    (folder / "motion.csv").write_text("\n".join([names, *lines]) + "\n")
    (folder / "new.csv").write_text("\n".join([names, *lines[:600]]) + "\n")
    wave = np.sin(np.arange(6000) / 8) + rng.normal(0, 0.1, 6000)
    rows = [f"{v + 3 * (5000 < i < 5300):.3f},{'fault' if 5000 < i < 5300 else 'normal'}" for i, v in enumerate(wave)]
    (folder / "machine.csv").write_text("\n".join(["vibration,state", *rows]) + "\n")
    _pictures(folder / "parts", ("good", "scratched"), each=80)
    _digit().save(folder / "new.png")


def _events(folder: Path) -> None:
    """Write purchases and ratings of 60 users, half of whom like the first 20 of 40 items."""
    rng = np.random.default_rng(0)
    taken = [(f"u{user}", item + 20 * (user % 2)) for user in range(60) for item in rng.permutation(20)[:10]]
    lines = [f"{user},i{item},{rng.integers(1, 6)},{row}" for row, (user, item) in enumerate(taken)]
    (folder / "purchases.csv").write_text("\n".join(["user,item,stars,time", *lines]) + "\n")


def _digit() -> Image.Image:
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).line([(6, 5), (21, 5), (11, 23)], fill=255, width=3)
    return image
