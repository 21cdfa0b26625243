"""Damaged files and numbers out of range: each is refused in one sentence that names the file and the place."""

import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Split, cache, casts, from_tf_data, images, load, npz
from zoo.data.reading import Tally
from zoo.data.sources import tables
from zoo.data.sources.arrays import read_npz
from zoo.data.stored import column as stored
from zoo.data.stored import keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files
from zoo.data.text import Vocabulary


def npy(header, content=b"", version=1):
    text = header.encode("latin-1")
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + content


def packed(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def described(descr="'<f4'", shape="(2,)", by_columns="False"):
    return f"{{'descr': {descr}, 'fortran_order': {by_columns}, 'shape': {shape}, }}"


@pytest.mark.parametrize(("header", "message"), [
    (described(shape="(1099511627776, 1099511627776)"), "expected 4,835,703,278,458,516,698,824,704 bytes for float32"),
    (described(shape="(3,)"), r"x: expected 12 bytes for float32 of shape \(3,\), received 8"),
    (described("'|O'"), "x: expected numbers or texts, received the type '|O'"),
    (described("[('a', '<f4'), ('b', '|O')]"), "x: expected numbers or texts, received the type"),
    (described("'<c16'"), "x: expected numbers or texts"),
    (described(shape="(-2,)"), r"x: expected a shape of whole numbers, received \(-2,\)"),
    (described(shape="(" + "9" * 5000 + ",)"), "x: expected a header with descr"),
    ("[" * 3000, "x: expected a header with descr"),
    ("{" + " " * 20_000 + "}", "x: expected a header of at most 10,000 bytes, received 20,002"),
])  # fmt: skip
def test_a_header_is_refused_before_memory_is_allocated(header, message, tmp_path):
    path = packed(tmp_path / "a.npz", [("x.npy", npy(header, bytes(8)))])
    tracemalloc.start()
    with pytest.raises(UsageError, match=f"a.npz: {message}" if message.startswith("x") else message):
        npz.read(path, {"x"})
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_arrays_are_read_as_numpy_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "floats": rng.random((3, 4)).astype(">f4"),
        "columns": np.asfortranarray(rng.integers(0, 9, (3, 4))),
        "texts": np.array([["on", "öff"], ["", "a"]]),
        "none": np.zeros((0, 5), np.uint8),
        "scalar": np.float64(3),
        "bools": np.array([True, False]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found, listed = npz.read(tmp_path / "a.npz", arrays)
        assert listed == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].flags.writeable


def test_members_are_checked(tmp_path):
    whole = npy(described(), bytes(8))
    path = tmp_path / "a.npz"
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed(path, [("x.npy", whole), ("x.npy", whole)])
    with pytest.raises(UsageError, match="a.npz: expected each array once, received 'x' twice"):
        npz.read(path, {"x"})
    packed(path, [("x.npy", whole)], zipfile.ZIP_BZIP2)
    with pytest.raises(
        UsageError, match="x: expected an array that is stored or deflated, .* received compression bzip2"
    ):
        npz.read(path, {"x"})
    content = bytearray(packed(path, [("x.npy", whole)]).read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="x: expected an array without a password"):
        npz.read(path, {"x"})
    content[place + 8] ^= 1
    content[place + 24 : place + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="x: expected a size that fits the file, received 2,147,483,648 bytes from"):
        npz.read(path, {"x"})
    cut = packed(path, [("x.npy", npy(described(shape="(60000,)"), bytes(240_000)))], zipfile.ZIP_DEFLATED).read_bytes()
    damaged = bytearray(cut)
    damaged[60] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match="a.npz: x: expected an undamaged array: "):
        npz.read(path, {"x"})


def test_what_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=np.zeros((100, 4)), y=np.zeros(100, int))
    (tmp_path / "a.csv").write_text("text,label\n" + "a,b\n" * 1000)
    (tmp_path / "a.png").write_bytes(saved(np.zeros((64, 64), np.uint8), "png"))
    column = Column(Files(tmp_path, [tmp_path / "a.png"]), Pictures((64, 64, 1), "crop"))
    for module in (npz, tables, stored):
        monkeypatch.setattr(module, "available_memory", lambda: 2000)
    with pytest.raises(UsageError, match="a.npz: expected arrays that fit in the 2,000 bytes of free memory"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="a.csv: expected texts that fit in the 2,000 bytes of free memory"):
        tables.read_text(tmp_path / "a.csv")
    with pytest.raises(
        UsageError, match="expected examples that fit in the 2,000 bytes of free memory, received 1 of 4"
    ):
        np.asarray(column)


@pytest.mark.parametrize(("x", "y", "message"), [
    (np.zeros((6, 2)), np.array([0, 1, 2**32, 0, 1, 0]), "y: .* within int32, received 4294967296 in example 2"),
    (np.zeros((6, 2)), np.array([0, 1, 2**31 - 1, 0, 1, 0]), "class 2147483647 is more than the 6 labels can fill"),
    (np.array([[0.0], [1e300]] * 3), np.arange(6) % 2, "x: .* within float32, received 1e.300 in example 1"),
    (np.array([[0.0], [np.inf]] * 3), np.arange(6) % 2, "x: expected finite numbers, .* the first in example 1"),
    (np.array([[1, 2**31 - 1]] * 6), np.arange(6) % 2, "x: expected token ids .*, received 2147483647 in example 0"),
    (np.array([[1, -1]] * 6), np.arange(6) % 2, "x: expected token ids from 0 to 9,999,999, received -1 in example 0"),
    (np.zeros((6, 2, 2), int) - 1, np.arange(6) % 2, "x: expected pixels from 0 to 255, received -1 in example 0"),
    (np.zeros((6, 0)), np.arange(6) % 2, "x: expected examples of one value or more"),
    (np.zeros(()), np.arange(6) % 2, "x: expected examples of one value or more"),
    (np.zeros((6, 2)), np.zeros((6, 1, 1), int), "y: expected a label for each example or time step"),
])  # fmt: skip
def test_numbers_are_checked_before_they_are_cast(x, y, message, tmp_path):
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(UsageError, match=message):
        load(TrainConfig(data=tmp_path / "a.npz"))


def test_casts_of_other_types():
    np.testing.assert_array_equal(casts.as_int32("a", np.array([1.0, -2.0])), [1, -2])
    np.testing.assert_array_equal(casts.as_int32("a", np.array([1, 2**31 - 1], np.uint64)), [1, 2**31 - 1])
    for bad, received in (([0.5], "0.5"), ([np.nan], "nan"), ([1e300], "1e.300")):
        with pytest.raises(UsageError, match=f"expected whole numbers within int32, received {received} in example 0"):
            casts.as_int32("a", np.array(bad))
    for cast in (casts.as_int32, casts.as_float32):
        for bad in (np.array(["1"]), np.array([1j]), np.array([{}])):
            with pytest.raises(UsageError, match="numbers, received"):
                cast("a", bad)
    with pytest.raises(UsageError, match="class 999999999 is more than the 4 labels can fill"):
        from_tf_data("parts", [(np.zeros((2, 3)), np.array([0, 999_999_999]))], [(np.zeros((2, 3)), np.array([0, 1]))])


@pytest.mark.parametrize(("line", "message"), [
    ("[" * 100_000, "line 2: expected JSON, received lists or objects that are nested too deeply"),
    ('{"text": "a", "label": ' + "9" * 5000 + "}", "line 2: expected JSON, received a number with too many digits"),
    ('{"text": "a", "label": NaN}', "line 2, label: expected a text or a finite number, received nan"),
    ('{"text": "a", "label": 1e400}', "line 2, label: expected a text or a finite number, received inf"),
    ('{"text": ["a", 1], "label": 1}', "line 2, text: expected a text or a number, received a list"),
    ('{"text": "a", "label": ["b"]}', "line 2, label: expected a text or a number, received a list"),
    ('{"text": {"a": 1}, "label": 1}', "line 2, text: expected a text or a number, received an object"),
    (r'{"text": "a\ud800", "label": 1}', r"line 2, text: expected Unicode text, received half of a surrogate pair"),
    ('{"text": "a", "label": "' + "b" * 5000 + '"}', "record 2: expected the name of a class of at most 200"),
    ('{"text": "a",', "line 2: expected JSON: "),
])  # fmt: skip
def test_a_bad_line_of_json_is_named(line, message, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a", "label": 0}) + "\n" + line + "\n")
    with pytest.raises(UsageError, match=f"a.jsonl, {message}"):
        load(TrainConfig(model="lstm", data=path))


def test_triples_in_csv_name_the_line_of_a_csv_error(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,r,b\na,r\rb,c\n")
    with pytest.raises(UsageError, match="t.csv, line 2: "):
        tables.read_triples(tmp_path / "t.csv", False, Tally())


def test_labels_that_only_look_like_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "a,--5\nb,7\n" * 20 + f"c,{'9' * 150}\nd,{'9' * 150}\n" * 10)
    found = load(TrainConfig(model="lstm", data=tmp_path / "a.csv", vocabulary_size=100))
    assert found.spec.class_names == ("--5", "7", "9" * 150)


def png(width, height, depth=8, colour=0, content=b""):
    def chunk(kind, inside):
        return struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + ends


def saved(pixels, form):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, form)
    return made.getvalue()


@pytest.mark.parametrize(("content", "message"), [
    (png(9000, 9000), "it promises 9000x9000 pixels in .* bytes"),
    (png(4, 4), "image file is truncated|unexpected end"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is not an image in the format PNG, JPEG"),
    (b"", "it is not an image in the format"),
    (saved(np.full((4, 4), 9.5, np.float32), "tiff"), "its pixels are floating-point numbers from 9.5 to 9.5, whose"),
    (saved(np.full((4, 4), np.nan, np.float32), "tiff"), "floating-point numbers from nan to nan"),
    (saved(np.full((4, 4), 70_000, np.int32), "tiff"), "its pixels are 32-bit integers from 70,000 to 70,000, whose"),
    (saved(np.full((4, 4), 200, np.uint16), "png"), "have 16 bits and reach only 200 of 65,535"),
])  # fmt: skip
def test_unreadable_images_say_why(content, message):
    with pytest.raises(images.Unreadable, match=message):
        images.decode(content, None, None)


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nothing.png")
    column = Column(Files(tmp_path, [tmp_path / "a.png"]), Pictures((4, 4, 1), "crop"))
    with pytest.raises(UsageError, match="1 of 1 pictures cannot be read: a.png; .*No such file"):
        keeping.kept(TrainConfig(), {"all": Split(column, np.zeros(1, np.int32))}, Tally(unit="pictures"))


def test_a_vocabulary_that_is_not_utf8_is_refused(tmp_path):
    for content in (b"\xff\xfe", b"{}", b"[" * 100_000, b'{"model": {"type": "WordLevel", "vocab": {"\\ud800": 1}}}'):
        (tmp_path / "v.json").write_bytes(content)
        with pytest.raises(UsageError, match="v.json is damaged"):
            Vocabulary.load(tmp_path / "v.json")


def altered(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "flipped":
        content[-1] ^= 1
    path.write_bytes(content) if how != "missing" else path.unlink()


@pytest.mark.parametrize("how", ["cut", "flipped", "missing"])
@pytest.mark.parametrize("name", ["a.npy", "contents.json"])
def test_a_damaged_entry_of_the_cache_is_set_aside_and_made_again(how, name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(100, dtype=np.uint8), "b": np.ones(3)}

    for _ in range(2):
        np.testing.assert_array_equal(cache.cached("key", make)["a"], np.arange(100))
    (entry,) = tmp_path.iterdir()
    altered(entry / name, how)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(cache.cached("key", make)["a"], np.arange(100))
    (said,) = capsys.readouterr().err.splitlines()
    assert "the cached examples are damaged" in said and "are made again; they are kept in" in said
    found = cache.cached("key", make)
    assert isinstance(found["b"], np.memmap) and len(made) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [entry.name, entry.name + ".damaged"]


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    events, fsync, rename = [], cache.os.fsync, cache.Path.rename
    monkeypatch.setattr(cache.os, "fsync", lambda descriptor: (events.append("synced"), fsync(descriptor)))
    monkeypatch.setattr(cache.Path, "rename", lambda path, to: (events.append("named"), rename(path, to))[1])
    cache.cached("key", lambda: {"a": np.ones(3), "b": np.ones(3)})
    place = events.index("named")
    assert events[:place].count("synced") >= 4 and events[place + 1 :] == ["synced"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path):
    path = tmp_path / "data.npz"
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"data.npz: expected an .npz file, found none"):
        npz.read(path, ())
    with pytest.raises(UsageError, match="--data .*: expected a file or a folder, found a pipe or a device"):
        load(TrainConfig(model="simplenet", data=path).resolved())
