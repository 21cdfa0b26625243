"""Files of records: TFRecord, ArrayRecord, WebDataset and Parquet."""

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.zoo.data.encoding import config, encoded
from zoo.config import catalogue, records
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import digests, load
from zoo.data.stored import shards, spans


def example(fields):
    from tensorflow.train import BytesList, Example, Feature, Features, FloatList, Int64List

    made = {}
    for name, value in fields.items():
        if isinstance(value, bytes):
            made[name] = Feature(bytes_list=BytesList(value=[value]))
        elif isinstance(value, int):
            made[name] = Feature(int64_list=Int64List(value=[value]))
        else:
            made[name] = Feature(float_list=FloatList(value=value))
    return Example(features=Features(feature=made)).SerializeToString()


def write_tfrecord(path, contents):
    from tensorflow.io import TFRecordWriter

    with TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)


def write_array_record(path, contents):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for content in contents:
        writer.write(content)
    writer.close()


def write_parquet(path, columns, group=None):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, row_group_size=group)


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def examples_of(pictures):
    return [
        example({"image/encoded": encoded(p), "image/label": i % 2, "image/width": [float(p.shape[1])]})
        for i, p in enumerate(pictures)
    ]


@pytest.fixture(scope="module")
def sharded(pictures, tmp_path_factory):
    """The pictures of `folder` in each format."""
    root = tmp_path_factory.mktemp("sharded")
    contents = examples_of(pictures)
    members = [[(f"{i:04}.cls", str(i % 2).encode()), (f"{i:04}.jpg", encoded(p))] for i, p in enumerate(pictures)]
    for name in ("tfrecord", "array_record", "tar", "parquet"):
        (root / name).mkdir()
    for shard in range(2):
        half = slice(30 * shard, 30 * shard + 30)
        write_tfrecord(root / "tfrecord" / f"set.tfrecord-0000{shard}-of-00002", contents[half])
        write_array_record(root / "array_record" / f"set-0000{shard}.array_record", contents[half])
        write_tar(root / "tar" / f"set-{shard}.tar", sum(members[half], []))
        rows = [{"bytes": encoded(p), "path": None} for p in pictures[half]]
        labels = [i % 2 for i in range(60)][half]
        write_parquet(root / "parquet" / f"set-{shard}.parquet", {"image": rows, "label": labels}, group=7)
    return root


def loaded(path, **options):
    return load(config(path, validation_split=0.0, test_split=0.5, **options))


@pytest.mark.parametrize("form", ["tfrecord", "array_record", "tar", "parquet"])
@pytest.mark.parametrize("small", [True, False])
def test_records_are_the_pictures_that_were_written(form, small, sharded, folder, monkeypatch):
    if not small:  # read in blocks, with chunks that records lie across
        monkeypatch.setattr(shards, "SMALL", 0)
        monkeypatch.setattr(shards, "BLOCK", 16_000)
        monkeypatch.setattr(spans, "CHUNK", 16_000)
    data, read = loaded(sharded / form), loaded(sharded / form, memory=1000)
    assert data.spec.class_names == ("0", "1") and data.spec.input_shape == (24, 24, 3)
    assert (data.train.block > 1) == (not small)
    whole = {mark.tobytes() for split in (data.train, data.test) for mark in split.marks}
    of_folder = load(config(folder))
    assert whole == {m.tobytes() for s in (of_folder.train, of_folder.validation, of_folder.test) for m in s.marks}
    np.testing.assert_array_equal(np.asarray(read.train.x), data.train.x)
    assert digests.of_data(data) == digests.of_data(read)
    np.testing.assert_array_equal(read.test.x[::-3], data.test.x[::-3])


def test_numbers_are_read_in_the_shape_of_the_schema(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 12)).astype("float32")
    contents = [example({"signal": row.tolist(), "label": b"high" if row[0] > 0 else b"low"}) for row in x]
    write_tfrecord(tmp_path / "train.tfrecord", contents[:30])
    write_tfrecord(tmp_path / "test.tfrecord", contents[30:])
    for schema, shape in ((None, (12,)), ("x=signal:float32[4,3], y=label", (4, 3))):
        data = load(TrainConfig(model="lstm", data=tmp_path, schema=schema, memory=10))
        assert data.spec.input_shape == shape and data.spec.class_names == ("high", "low")
        np.testing.assert_array_equal(np.asarray(data.test.x).reshape(10, 12), x[30:])
        np.testing.assert_array_equal(data.test.y, (x[30:, 0] <= 0).astype(int))


def test_columns_of_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    kinds = ["low" if row[0] < 0 else "high" for row in x]
    write_parquet(tmp_path / "t.parquet", {"a": x[:, 0], "label": kinds, "b": x[:, 1], "c": x[:, 2]}, group=8)
    for schema, columns in ((None, [0, 1, 2]), ("x=c|a, y=label", [2, 0])):
        data = load(TrainConfig(model="simplenet", data=tmp_path / "t.parquet", schema=schema, memory=10))
        assert data.spec.class_names == ("high", "low") and data.spec.kind == "vector"
        found = np.concatenate([np.asarray(s.x) for s in (data.train, data.validation, data.test)])
        assert sorted(map(tuple, found)) == sorted(map(tuple, x[:, columns]))
        assert (np.asarray(data.train.x)[:, columns.index(0)] < 0).astype(int).tolist() == data.train.y.tolist()


def test_the_same_files_elsewhere(sharded):
    import fsspec

    system = fsspec.filesystem("memory")
    for file in (sharded / "tar").iterdir():
        system.pipe(f"/bucket/set/{file.name}", file.read_bytes())
    here = loaded(sharded / "tar")
    for address, name in (("memory://bucket/set", "set"), (f"file://{sharded}/tar", "tar")):
        there = loaded(Path(address), memory=1000)
        np.testing.assert_array_equal(np.asarray(there.train.x), here.train.x)
        assert there.spec.name == name
    with pytest.raises(UsageError, match="--data memory://bucket/sett: expected a file or a folder, found none"):
        loaded(Path("memory://bucket/sett"))
    with pytest.raises(UsageError, match="nowhere://: expected a file system that fsspec knows"):
        loaded(Path("nowhere://x/y"))


def cut(path, content, size):
    path.write_bytes(content[:size])


def faults(root, pictures):
    """Yield what is wrong, the options, and what is said."""
    whole = examples_of(pictures[:6])
    rng = np.random.default_rng(0)
    shapes = [example({"a": rng.normal(size=5 + (i == 3)).tolist(), "label": 0}) for i in range(6)]
    yield (
        "cut.tfrecord",
        lambda p: (write_tfrecord(p, whole), cut(p, p.read_bytes(), -7)),
        {},
        (r"cut.tfrecord: record 5: the file is cut"),
    )
    yield (
        "flipped.tfrecord",
        lambda p: (write_tfrecord(p, whole), _flip(p, 3000)),
        {},
        (r"flipped.tfrecord: record \d: the record is damaged: its checksum differs"),
    )
    yield "text.tfrecord", lambda p: p.write_text("no records at all"), {}, "record 0: expected a TFRecord, received"
    yield "bytes.tfrecord", lambda p: write_tfrecord(p, [b"\x07\xff\xff"]), {}, "expected a tf.train.Example, received"
    yield (
        "field.tfrecord",
        lambda p: write_tfrecord(p, whole),
        {"schema": "x=image/encode, y=image/label"},
        (r"expected a field 'image/encode', its fields are image/encoded \(bytes\).*did you mean 'image/encoded'"),
    )
    yield (
        "shapes.tfrecord",
        lambda p: write_tfrecord(p, shapes),
        {"image_size": None},
        (r"shapes.tfrecord: record 3: expected 5 values of 'a', as the first record has, received 6"),
    )
    yield (
        "two.tfrecord",
        lambda p: write_tfrecord(p, [example({"a": 1, "b": 2, "c": [1.0, 2.0]})]),
        {},
        (r"--schema: expected y=FIELD, as several fields could be the label; the fields are a \(integers\), b"),
    )
    archive = [("0.jpg", encoded(pictures[0])), ("0.cls", b"1"), ("1.jpg", encoded(pictures[1])), ("1.cls", b"0")]
    yield (
        "cut.tar",
        lambda p: (write_tar(p, archive), cut(p, p.read_bytes(), 2000)),
        {},
        "cut.tar: record 0: the archive",
    )
    yield (
        "end.tar",
        lambda p: (write_tar(p, archive), cut(p, p.read_bytes(), _end(p))),
        {},
        "end.tar: record 1: .* is cut: it",
    )
    yield "member.tar", lambda p: write_tar(p, archive[:3]), {}, r"1: expected a member .cls, received jpg"
    yield "none.tar", lambda p: p.write_bytes(b"x" * 2000), {}, "none.tar: record 0: expected a tar archive that is not"
    yield (
        "json.tar",
        lambda p: write_tar(p, [("0.jpg", archive[0][1]), ("0.json", json.dumps({"a": 1}).encode())]),
        {"schema": "x=jpg,y=json/label"},
        "expected 'label' in the object of .json",
    )
    table = {"x": [1.0, 2.0], "label": [0, 1], "z": ["a", "b"]}
    yield "text.parquet", lambda p: write_parquet(p, table), {}, r"expected x=COLUMN, as z hold no numbers"
    yield (
        "column.parquet",
        lambda p: write_parquet(p, table),
        {"schema": "x=w"},
        "expected a column 'w', received x, label",
    )
    yield (
        "none.parquet",
        lambda p: write_parquet(p, {"x": [1.0, None], "label": [0, 1]}),
        {},
        ("record 0: expected a value in every row of 'x', received none in row 2"),
    )
    yield "cut.parquet", lambda p: (write_parquet(p, table), cut(p, p.read_bytes(), -9)), {}, "record 0: damaged or cut"
    yield "damaged.array_record", lambda p: p.write_bytes(b"x" * 4000), {}, "damaged.array_record: record 0: damaged"


def _end(path):
    """Return the size of an archive without the zeros at its end."""
    return -(-len(path.read_bytes().rstrip(b"\0")) // 512) * 512


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_files_that_are_wrong_say_so_in_one_sentence(pictures, tmp_path):
    for name, make, options, message in faults(tmp_path, pictures):
        make(tmp_path / name)
        with pytest.raises(UsageError, match=message):
            loaded(tmp_path / name, **options)


def test_parquet_without_pyarrow(sharded, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="Parquet files: expected the package pyarrow: pip install pyarrow"):
        loaded(sharded / "parquet")


def test_names_of_files_tell_the_splits(tmp_path):
    for names, message in (
        (["a.tar", "b.tfrecord"], "all in one format, found TFRecord and tar"),
        (["train-0.tar", "rest.tar"], "in the name of every file or of none, found .*rest.tar without"),
        (["test-0.tar"], "expected files of train beside those of test"),
        (["train-test.tar"], "expected one split in the name, received test and train"),
        (["a.tar.gz"], "expected files that are not compressed"),
    ):
        root = tmp_path / names[0].replace(".", "")
        root.mkdir()
        for name in names:
            (root / name).write_bytes(b"")
        with pytest.raises(UsageError, match=message):
            shards.found(root)
    root = tmp_path / "good"
    for name in ("train/0.tar", "train/1.tar", "val/0.tar"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    found = shards.found(root).files
    assert {split: [Path(file).name for file in files] for split, files in found.items()} == {
        "train": ["0.tar", "1.tar"], "validation": ["0.tar"]
    }  # fmt: skip


def test_labels_of_records_lose_the_spaces_around_them(pictures, tmp_path):
    columns = {
        "image": [encoded(each) for each in pictures[:30]],
        "label": [("neg", "neg ", "pos")[i % 3] for i in range(30)],
    }
    write_parquet(tmp_path / "t.parquet", columns)
    reading = load(config(tmp_path / "t.parquet")).reading
    assert reading.classes == {"neg": 20, "pos": 10}
    assert reading.changed["labels without the spaces around them"] == 10


def test_a_row_without_a_picture_is_named(pictures, tmp_path):
    images = [encoded(each) for each in pictures[:9]]
    write_parquet(
        tmp_path / "t.parquet", {"image": [*images[:5], None, *images[6:]], "label": [i % 2 for i in range(9)]}
    )
    with pytest.raises(UsageError, match="expected a value in every row of 'image', received none in row 6"):
        load(config(tmp_path / "t.parquet"))


def test_compressed_files_of_records_are_told_to_be(tmp_path):
    write_tfrecord(tmp_path / "plain.tfrecord", [b"x" * 40])
    packed = gzip.compress((tmp_path / "plain.tfrecord").read_bytes())
    for name, said in (
        ("a.tfrecord", "received gzip; unpack the file"),
        ("a.tfrecord.gz", "not compressed, .*unpack it"),
    ):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(UsageError, match=said):
            catalogue.check_source(config(tmp_path / name))
            load(config(tmp_path / name))


def test_files_that_are_missing_in_the_middle_of_a_set_are_found():
    names = ["a/train.tar-00000-of-00003", "a/train.tar-00002-of-00003", "a/test.tar-00000-of-00001"]
    found = shards.Shards("tar", {"train": names[:2], "test": names[2:]})
    assert shards.missing(found) == ["a/train.tar-00001-of-00003"]


def test_schemas():
    assert records.parse("x=image/encoded, y=image/class/label") == records.Schema("image/encoded", "image/class/label")
    assert records.parse(" y = b , x = a : uint8[96, 96,3] ") == records.Schema("a", "b", "uint8", (96, 96, 3))
    assert records.parse(None) == records.Schema()
    for text, message in (
        ("z=1", "expected x=FIELD, y=FIELD"), ("x=a, x=b", "expected x=FIELD"), ("x=a:float64", "received 'float64'"),
        ("y=a:float32", "expected y=FIELD without a type"), ("x=a:picture[3]", "--image-size"),
        ("x=a:uint8[0]", "from 1"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            TrainConfig(model="cnn", schema=text)
