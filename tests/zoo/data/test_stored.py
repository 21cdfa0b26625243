"""Examples that are decoded when they are looked at: the same pixels, batches and digests as those in memory."""

import gzip
import io
import json
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.config import catalogue, records
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError
from zoo.data import digests, load
from zoo.data.batches import order, pipeline, streamed
from zoo.data.batches.pipeline import evaluation_batches, gathered, training_batches
from zoo.data.dataset import Split
from zoo.data.stored import keeping, shards, spans
from zoo.data.stored.column import Column


def encoded(image, form="jpeg"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def picture(rng, height, width):
    """Return a picture with areas, which JPEG keeps."""
    return np.kron(rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1)))[
        :height, :width
    ].astype("uint8")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(64, 96), (96, 64), (40, 40), (200, 120)]
    return [picture(rng, *sizes[i % 4]) for i in range(60)]


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    for i, image in enumerate(pictures):
        place = root / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        (place / f"{i:02}.jpg").write_bytes(encoded(image))
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def config(data, **options):
    return TrainConfig(model="cnn", data=data, **({"image_size": 24} | options))


def test_streamed_and_kept_examples_are_the_same_bits(folder):
    kept, read = load(config(folder)), load(config(folder, memory=1000))
    assert kept.train.in_memory and not read.train.in_memory
    assert "decoded in memory" in kept.reading.line() and "more than --memory 1.0 kB" in read.reading.line()
    assert digests.of_data(kept) == digests.of_data(read)
    x = kept.train.x
    column = read.train.x
    assert column.shape == x.shape and column.dtype == x.dtype and len(column) == len(x)
    for index in (3, slice(2, 5), np.array([7, 1, 7]), (slice(1, 3), slice(0, 4)), (4, 0)):
        np.testing.assert_array_equal(column[index], x[index])
    np.testing.assert_array_equal(np.asarray(column), x)
    few = np.array([5, 2])
    np.testing.assert_array_equal(read.train.take(few).marks, kept.train.take(few).marks)
    options = {"batch_size": 8, "seed": 1, "start": 2, "stop": 11, "class_weights": np.array([1, 3], "float32")}
    batches = [list(training_batches(data.train, **options).as_numpy_iterator()) for data in (kept, read)]
    assert len(batches[0]) == len(batches[1]) == 9
    for theirs, ours in zip(*batches, strict=True):
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_array_equal(one, other)
    for part in range(2):  # each of two workers reads its half of every batch
        found = training_batches(read.train, part=(part, 2), **options).as_numpy_iterator()
        for theirs, ours in zip(batches[0], found, strict=True):
            np.testing.assert_array_equal(theirs[0][4 * part : 4 * part + 4], ours[0])
    x, y = zip(*evaluation_batches(read.test, batch_size=5).as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(np.concatenate(y), kept.test.y)
    assert gathered(read.train, batch_size=8, seed=1) is None


def test_memory_may_be_a_text_in_python():
    assert TrainConfig(memory="1.5g").memory == 1_500_000_000
    with pytest.raises(UsageError, match="--memory: expected a number of bytes such as 20000, .* received 'much'"):
        TrainConfig(memory="much")


def test_a_first_look_that_is_interrupted_goes_on(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keeping, "PORTION", 25)
    whole, seen = keeping._portion, []

    def interrupted(column):
        seen.append(column.name(0))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(column)

    monkeypatch.setattr(keeping, "_portion", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(config(folder, memory=1000))
    data = load(config(folder, memory=1000))
    assert seen == ["a/00.jpg", "a/50.jpg", "a/50.jpg", "b/41.jpg"]  # the first 25 once
    assert digests.of_data(data) == digests.of_data(load(config(folder)))


def test_an_example_that_disappears_is_named(folder, pictures):
    gone = folder / "a" / "00.jpg"
    data = load(config(folder, memory=1000))
    gone.rename(folder / "gone")
    try:
        with pytest.raises(
            UsageError, match="a/00.jpg: cannot be read: No such file.*; the data changed since the start"
        ):
            np.asarray(data.train.x), np.asarray(data.validation.x), np.asarray(data.test.x)
        with pytest.raises(Failed, match="a/00.jpg: cannot be read: No such file"), streamed.told():
            for split in (data.train, data.validation, data.test):
                list(evaluation_batches(split, batch_size=8))
    finally:
        (folder / "gone").rename(gone)


@pytest.mark.parametrize(("examples", "block"), [(1000, 7), (1000, 1), (5, 100), (20_000, 3)])
def test_an_order_of_blocks_has_every_example_once(examples, block):
    found = order.epoch_order(examples, 1, 2, block=block)
    np.testing.assert_array_equal(np.sort(found), np.arange(examples))
    np.testing.assert_array_equal(found, order.epoch_order(examples, 1, 2, block=block))
    assert block == 100 or (found != order.epoch_order(examples, 1, 3, block=block)).any()


def test_a_window_has_whole_blocks():
    block = 4
    found = order.epoch_order(10_000, 0, 0, block=block)
    window = found[: order.WINDOW * block] // block
    assert len(np.unique(window)) == order.WINDOW
    assert (np.diff(found[:block]) != 1).any()  # mixed


def test_every_example_is_read_once_an_epoch_by_one_of_any_number_of_workers():
    """The epoch is begun by two workers and, after a restart, ended by three."""
    split = Split(np.arange(50, dtype="float32")[:, None], np.arange(50, dtype="int32"), block=4)
    read = []
    for workers, (start, stop) in ((2, (0, 3)), (3, (3, 8))):
        for worker in range(workers):
            options = {"batch_size": 6, "seed": 2, "start": start, "stop": stop, "part": (worker, workers)}
            for x, y in training_batches(split, **options).as_numpy_iterator():
                assert len(y) == 6 // workers
                np.testing.assert_array_equal(x[:, 0], y)
                read += y.tolist()
    assert len(read) == len(set(read)) == 48  # two of 50 do not fill a batch
    whole = order.epoch_order(50, 2, 0, block=4)[:48]
    assert set(read) == set(whole.tolist())


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


def test_a_split_of_arrays_shares_its_memory():
    from zoo.data.batches.pipeline import _shared

    split = Split(np.zeros((300, 64, 64, 1), np.uint8), np.zeros(300, np.int32)).take(np.arange(290))
    tensor = _shared(split.x)
    split.x[3, 0, 0, 0] = 7
    assert int(tensor[3, 0, 0, 0]) == 7


def test_batches_of_arrays_are_made_ahead_and_are_the_same(folder, monkeypatch):
    """Keras on JAX takes them one by one, from any step on."""
    kept, read = load(config(folder)), load(config(folder, memory=1000))
    monkeypatch.setattr(pipeline, "on_tensorflow", lambda: False)
    monkeypatch.setattr(streamed, "cores", lambda: 3)
    decoded, by = Column.decoded, []

    def noted(column, rows, bad):
        by.append(threading.current_thread().name)
        return decoded(column, rows, bad)

    monkeypatch.setattr(Column, "decoded", noted)
    options = {"batch_size": 8, "seed": 1, "class_weights": np.array([1, 3], "float32")}
    whole = training_batches(kept.train, start=0, stop=18, **options)
    for start in (0, 7):
        found = training_batches(read.train, start=start, stop=18, **options)
        assert len(found) == 18 - start
        for step in [*range(18 - start), 3, 0]:  # also one that was made before
            for ours, theirs in zip(found[step], whole[start + step], strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert {name.rpartition("_")[0] for name in by} == {"batches"} and len(set(by)) > 1
    ours, theirs = (evaluation_batches(data.test, batch_size=5) for data in (kept, read))
    assert len(ours) == len(theirs) > 1
    for step in range(len(ours)):
        for one, other in zip(ours[step], theirs[step], strict=True):
            np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(Column, "decoded", lambda column, rows, bad: bad.update({0: "gone"}))
    with pytest.raises(UsageError, match="cannot be read: gone; the data changed since the start"):
        training_batches(read.train, start=0, stop=1, **options)[0]
