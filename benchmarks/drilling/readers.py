"""The readers of users' files: whole files of each kind, how one is read, and how it is damaged."""

import contextlib
import dataclasses
import io
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.drilling import mutations
from zoo import stock

Prepared = tuple[dict[str, bytes], Callable[[Path], Any]]


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Args:
        prepare: Function of an empty folder that returns whole files by name and a function that reads one by its path.
        mutate: Damage to a file, see `benchmarks.drilling.mutations`.
        share: Cases of 100,000; the slower a reader, the fewer.
    """

    prepare: Callable[[Path], Prepared]
    mutate: Callable[[Random, bytes, Sequence[bytes]], bytes]
    share: int


def _loaded(model: str, **options: Any) -> Callable[[Path], Any]:
    """Return a function that reads own data as a training of a model would."""
    from zoo.config.train_config import TrainConfig
    from zoo.data import load

    return lambda path: load(TrainConfig(model=model, data=path, **options))


def _arrays(folder: Path) -> Prepared:
    rng, files = np.random.default_rng(0), {}
    y = np.arange(60) % 3
    forms = {
        "images.npz": {"x": rng.integers(0, 256, (60, 4, 4), np.uint8), "y": y},
        "vectors.npz": {"x_train": rng.random((60, 4)), "y_train": y, "x_test": rng.random((6, 4)), "y_test": y[:6]},
        "tokens.npz": {"x": rng.integers(0, 9, (60, 5)), "y": y, "class_names": np.array(["a", "b", "c"])},
        "texts.npz": {"x": rng.random((60, 4, 2), np.float32), "y": np.array(["on", "off", "on"] * 20)},
    }
    for name, arrays in forms.items():
        made = io.BytesIO()
        np.savez_compressed(made, **arrays) if name == "texts.npz" else np.savez(made, **arrays)
        files[name] = made.getvalue()
    return files, _loaded("cnn")


def _tables(folder: Path) -> Prepared:
    words = [f"word{i % 5} and, word{i % 3}" for i in range(30)]
    rows = [{"text": word, "label": ("on", "off")[i % 2]} for i, word in enumerate(words)]
    return {
        "a.csv": b"text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in rows).encode(),
        "a.tsv": b"text\tlabel\n" + "".join(f"{r['text']}\t{i % 3}\n" for i, r in enumerate(rows)).encode(),
        "a.jsonl": "".join(json.dumps(row | {"label": i % 2}) + "\n" for i, row in enumerate(rows)).encode(),
    }, _loaded("lstm", vocabulary_size=100)


def _pairs(folder: Path) -> Prepared:
    rows = [(f"eins {i % 4} zwei", f"one {i % 4} two") for i in range(30)]
    return {
        "p.csv": b"source,target\n" + "".join(f"{a},{b}\n" for a, b in rows).encode(),
        "p.tsv": "".join(f"{a}\t{b}\n" for a, b in rows).encode(),
        "p.jsonl": "".join(json.dumps({"source": a, "target": b}) + "\n" for a, b in rows).encode(),
    }, _loaded("transformer", vocabulary_size=100, tokens="word", task="translation")


def _triples(folder: Path) -> Prepared:
    rows = [(f"person{i % 7}", ("knows", "likes")[i % 2], f"person{i % 5}") for i in range(40)]
    return {
        "t.csv": b"head,relation,tail\n" + "".join(",".join(row) + "\n" for row in rows).encode(),
        "t.tsv": "".join("\t".join(row) + "\n" for row in rows).encode(),
        "t.jsonl": "".join(
            json.dumps(dict(zip(("lhs", "relation", "rhs"), row, strict=True))) + "\n" for row in rows
        ).encode(),
    }, _loaded("kg_embedding")


def _plain(folder: Path) -> Prepared:
    text = "".join(f"Line {i} of a text – with a dash.\n" for i in range(20)).encode()
    return {"plain.txt": text}, _loaded("transformer_lm", vocabulary_size=100)


def _pictures(folder: Path) -> Prepared:
    from PIL import Image

    from zoo.data import DataSpec
    from zoo.data.images import common_shape
    from zoo.data.reading import Tally
    from zoo.runs import inference

    rng, files = np.random.default_rng(0), {}
    grey, colour = rng.integers(0, 256, (9, 7), np.uint8), rng.integers(0, 256, (9, 7, 3), np.uint8)
    for form in ("png", "jpeg", "bmp", "gif", "webp", "tiff", "ppm"):
        for name, pixels in (("grey", grey), ("colour", colour), ("deep", grey.astype(np.uint16) * 257)):
            made = io.BytesIO()
            with contextlib.suppress(OSError, KeyError):  # a format without this depth
                Image.fromarray(pixels).save(made, form)
                files[f"{name}.{form}"] = made.getvalue()

    def read(path: Path) -> Any:
        size, channels = common_shape([path], Tally())
        spec = DataSpec("one", "image", (*(min(n, 64) for n in size), channels), ("a", "b"))
        return inference.read_inputs([str(path)], spec, None, "text")

    return files, read


def _sounds(folder: Path) -> Prepared:
    from scipy.io import wavfile

    from zoo.data import DataSpec
    from zoo.runs import inference

    rng, files = np.random.default_rng(0), {}
    kinds = {"u1": (128, 128), "<i2": (0, 32767), "<i4": (0, 2**31 - 1), "<f4": (0, 1), "<f8": (0, 1)}
    for kind, (middle, scale) in kinds.items():
        for channels in (1, 2):
            made = io.BytesIO()
            x = middle + scale * rng.uniform(-0.9, 0.9, (60, channels))
            wavfile.write(made, 8000, x.astype(kind))
            files[f"{kind.strip('<')}-{channels}.wav"] = made.getvalue()
    spec = DataSpec("one", "sound", (60,), ("a", "b"), rate=8000)
    return files, lambda path: inference.read_inputs([str(path)], spec, None, "text")


def _boxes(folder: Path) -> Prepared:
    from PIL import Image

    read, files = _loaded("detector", image_size=32), {}
    for i in range(16):
        Image.fromarray(np.full((24, 24, 3), 9 * i, np.uint8)).save(folder / f"{i:02}.png")
        boxes = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{place}</xmin><ymin>2</ymin><xmax>{place + 9}</xmax>"
            "<ymax>12.5</ymax></bndbox></object>"
            for place, name in ((1, "disc"), (12, "square"))
        )
        size = "<size><width>24</width><height>24</height><depth>3</depth></size>"
        files[f"{i:02}.xml"] = f"<annotation><filename>{i:02}.png</filename>{size}{boxes}</annotation>".encode()
        (folder / f"{i:02}.xml").write_bytes(files[f"{i:02}.xml"])
    return files, lambda path: read(path.parent)


def _captions(folder: Path) -> Prepared:
    from PIL import Image

    for i in range(12):
        Image.fromarray(np.full((4, 4), i * 20, np.uint8)).save(folder / f"{i}.png")
    rows = [(f"{i}.png", f"a picture of {i}") for i in range(12)]
    return {
        "c.csv": b"image,caption\n" + "".join(f"{a},{b}\n" for a, b in rows).encode(),
        "c.jsonl": "".join(json.dumps({"image": a, "caption": b}) + "\n" for a, b in rows).encode(),
    }, _loaded("cross_modal", vocabulary_size=100)


def _vocabularies(folder: Path) -> Prepared:
    from zoo.data.text import Vocabulary

    texts = ["one two three, four", "two three", "three"]
    for tokens in ("word", "character", "subword"):
        Vocabulary.train(texts, 300, tokens, pairs=True).save(folder / f"{tokens}.json")

    def read(path: Path) -> Any:
        return Vocabulary.load(path).tokens

    return {path.name: path.read_bytes() for path in folder.glob("*.json")}, read


def _groups(folder: Path) -> Prepared:
    from zoo.scores import groups

    return {"g.csv": b"age,place\n" + b"".join(b"%d,p%d\n" % (i % 3, i % 2) for i in range(20))}, groups.read


def _spaces(folder: Path) -> Prepared:
    from compression.searching import space

    default = space.default(
        {"conv": 32, "dense": 64}, epochs=3, learning_rate=1e-3, teachers=["runs/a"], gzipped=True, timed=True
    )
    text = (
        b'[space]\nsparsity = [0.0, 0.5]\nqat = [true, false]\nprecision = ["int8", "int4"]\n"width.*" = "4:32"\n'
        b"epochs = 2\nrate = [0.5, 1]\nclusters = [0, 16]\n"
    )
    return {"space.toml": text}, lambda path: space.narrowed(default, space.read(path))


def _streams(folder: Path) -> Prepared:
    from zoo.data.dataset import DataSpec
    from zoo.data.text import Vocabulary
    from zoo.online import records, streams

    vocabulary = Vocabulary.train(["one two three"], 20)
    specs = {
        "pixels.jsonl": (DataSpec("d", "image", (2, 2, 1), ("a", "b")), None),
        "vectors.jsonl": (DataSpec("d", "vector", (4,), ("a", "b")), None),
        "tokens.jsonl": (DataSpec("d", "tokens", (4,), ("a", "b"), vocabulary_size=9), None),
        "texts.jsonl": (DataSpec("d", "tokens", (4,), ("a", "b"), vocabulary_size=len(vocabulary)), vocabulary),
    }
    inputs = {"pixels.jsonl": [[0, 255], [7, 9]], "vectors.jsonl": [0.5, -1e3, 2, 0], "tokens.jsonl": [1, 2, 3, 0],
              "texts.jsonl": "one two"}  # fmt: skip

    def read(path: Path) -> Any:
        parse = records.parser(*specs[path.name], path.parent)
        return list(records.of_lines(streams.lines(path), parse))

    lines = {name: json.dumps({"x": x, "y": "a"}) + "\n" + json.dumps({"x": x, "y": 1}) for name, x in inputs.items()}
    return {name: line.encode() for name, line in lines.items()}, read


def _flatbuffers(folder: Path) -> Prepared:
    from compression import inspect
    from compression.mcu import c_array, snippets
    from compression.mcu.facts import facts_of
    from compression.receipts.described import described

    files = sorted(stock.FOLDER.glob("*/artifacts/*.tflite"), key=lambda path: path.stat().st_size)
    contents = {f"{path.parts[-3]}.tflite": path.read_bytes() for path in files[:4]}

    def read(path: Path) -> None:
        inspect.run({"file": path})
        facts = facts_of(path)
        c_array.header(facts)
        described(path)
        snippets.words_of(path, facts)

    return contents, read


def _receipts(folder: Path) -> Prepared:
    from compression.receipts.artifacts import read_receipt, receipt_path
    from compression.receipts.described import described

    path = min(stock.FOLDER.glob("*/artifacts/*.tflite"), key=lambda path: path.stat().st_size)
    shutil.copy(path, folder / path.name)

    def read(_: Path) -> None:
        read_receipt(folder / path.name)
        described(folder / path.name)

    return {receipt_path(path).name: receipt_path(path).read_bytes()}, read


def _runs(folder: Path) -> Prepared:
    from zoo.runs.folder import RunFolder
    from zoo.runs.vocabularies import read_spec

    source = stock.FOLDER / "transformer_seq2seq-addition"
    files = {path.name: path.read_bytes() for path in source.glob("*.json")}
    for name, content in files.items():
        (folder / name).write_bytes(content)

    def read(path: Path) -> None:
        run = RunFolder(path.parent)
        try:
            run.read_config()
            read_spec(run)
            run.read_metrics()
        finally:
            path.write_bytes(files[path.name])

    return files, read


def _sets(folder: Path) -> Prepared:
    import tensorflow_datasets as tfds

    from zoo.config.train_config import TrainConfig
    from zoo.data import load

    kinds = {"texts": tfds.features.Text(), "pictures": tfds.features.Image(shape=(4, 4, 1))}
    for name, feature in kinds.items():
        examples = [
            {"x": np.full((4, 4, 1), i, np.uint8) if name == "pictures" else f"word{i % 5} word", "label": i % 2}
            for i in range(20)
        ]
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict({"x": feature, "label": tfds.features.ClassLabel(num_classes=2)}),
            split_datasets={"train": list(enumerate(examples)), "test": list(enumerate(examples))},
            data_dir=str(folder),
        )
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def read(path: Path) -> None:
        name = path.relative_to(folder).parts[0]
        model = "cnn" if name == "pictures" else "lstm"
        try:
            load(TrainConfig(model=model, dataset=name, data_dir=folder, vocabulary_size=100))
        finally:
            path.write_bytes(files[path.relative_to(folder).as_posix()])

    return files, read


def _records(folder: Path) -> Prepared:
    """Pictures as records of each format; every record is checked, as a training would, without the cache."""
    import tarfile

    import pyarrow
    import tensorflow as tf
    from array_record.python.array_record_module import ArrayRecordWriter
    from PIL import Image
    from pyarrow import parquet

    def feature(**values: Any) -> tf.train.Feature:
        return tf.train.Feature(**values)

    pictures, examples = [], []
    for i in range(60):
        made = io.BytesIO()
        Image.fromarray(np.full((4, 4), 4 * i, np.uint8)).save(made, "png")
        pictures.append(made.getvalue())
        fields = {
            "image/encoded": feature(bytes_list=tf.train.BytesList(value=[pictures[-1]])),
            "image/label": feature(int64_list=tf.train.Int64List(value=[i % 2])),
        }
        examples.append(tf.train.Example(features=tf.train.Features(feature=fields)).SerializeToString())
    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        for example in examples:
            writer.write(example)
    writer = ArrayRecordWriter(str(folder / "a.array_record"), "group_size:1")
    for example in examples:
        writer.write(example)
    writer.close()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for i, picture in enumerate(pictures):
            for suffix, content in (("cls", str(i % 2).encode()), ("png", picture)):
                member = tarfile.TarInfo(f"{i:04}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    rows = [{"bytes": picture, "path": None} for picture in pictures]
    parquet.write_table(pyarrow.table({"image": rows, "label": [i % 2 for i in range(60)]}), folder / "a.parquet")
    return {path.name: path.read_bytes() for path in folder.glob("a.*")}, _loaded("cnn")


def _options(folder: Path) -> Prepared:
    from zoo.console import cli
    from zoo.sizing import adaptation

    toml = (
        b'model = "cnn"\nepochs = 3\nlearning-rate = 2e-3\nskip_bad = true\n\n[set]\nfilters = [4, 8]\ndropout = 0.5\n'
    )
    yaml = b"model: cnn\nepochs: 3\nlearning-rate: 2e-3\nskip_bad: true\nset:\n  filters: [4, 8]\n  dropout: 0.5\n"

    def read(path: Path) -> Any:
        return cli.parse(adaptation.Options, ["--config", str(path)], prog="zoo.train", description="")

    return {"a.toml": toml, "a.yaml": yaml}, read


def _in_record(rng: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage a file of a TFDS set: JSON as text, a TFRecord file in its bytes or in a record with a right checksum."""
    if content[:1] == b"{":
        return mutations.in_text(rng, content)
    if rng.random() < 0.5:
        return mutations.in_bytes(rng, content)
    import tensorflow as tf

    records = []
    while content:
        size = struct.unpack("<Q", content[:8])[0]
        records.append(content[12 : 12 + size])
        content = content[16 + size :]
    index = rng.randrange(len(records))
    records[index] = mutations.in_bytes(rng, records[index])
    if rng.random() < 0.3:
        del records[rng.randrange(len(records))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        return path.read_bytes()


READERS = {
    "arrays (.npz)": Reader(_arrays, mutations.in_npz, 15_000),
    "tables of texts": Reader(_tables, mutations.in_text, 3_000),
    "tables of pairs": Reader(_pairs, mutations.in_text, 1_500),
    "tables of triples": Reader(_triples, mutations.in_text, 12_000),
    "plain texts": Reader(_plain, mutations.in_text, 4_000),
    "images": Reader(_pictures, mutations.in_png, 15_000),
    "sounds (.wav)": Reader(_sounds, mutations.in_bytes, 4_500),
    "boxes (Pascal VOC)": Reader(_boxes, mutations.in_text, 500),
    "tables of captions": Reader(_captions, mutations.in_text, 1_000),
    "vocabularies": Reader(_vocabularies, mutations.in_text, 15_000),
    "tables of groups": Reader(_groups, mutations.in_text, 8_000),
    "search spaces (.toml)": Reader(_spaces, mutations.in_text, 8_000),
    "streams of examples": Reader(_streams, mutations.in_text, 8_000),
    ".tflite files": Reader(_flatbuffers, mutations.in_bytes, 2_000),
    "receipts": Reader(_receipts, mutations.in_text, 1_200),
    "run folders": Reader(_runs, mutations.in_text, 1_200),
    "TFDS sets": Reader(_sets, _in_record, 100),
    "records of pictures": Reader(_records, mutations.in_bytes, 1_000),
    "options (.toml, .yaml)": Reader(_options, mutations.in_text, 6_000),
}
