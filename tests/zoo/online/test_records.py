"""Records: examples are read like those of `zoo.predict`, and every invalid line is rejected with a reason."""

import json

import numpy as np
import pytest
from PIL import Image

from zoo.data import DataSpec, Split
from zoo.data.text import Vocabulary
from zoo.online import records, streams
from zoo.online.records import Malformed
from zoo.online.streams import Position

IMAGES = DataSpec("drawn", "image", (2, 3, 1), ("low", "high"))
VECTORS = DataSpec("measured", "vector", (2,), ("3", "7"))
PIXELS = [[0, 1, 2], [253, 254, 255]]


def parsed(found, spec=IMAGES, vocabulary=None, folder=None):
    content = found if isinstance(found, bytes) else json.dumps(found).encode()
    return records.parser(spec, vocabulary, folder)(content)


def test_pixels_vectors_and_labels():
    for x in (PIXELS, np.reshape(PIXELS, (2, 3, 1)).tolist()):
        image, label = parsed({"x": x, "y": "high", "more": None})
        np.testing.assert_array_equal(image[..., 0], PIXELS)
        assert (image.dtype, image.shape, label) == (np.uint8, (2, 3, 1), 1)
    vector, label = parsed({"x": [0.5, -2], "y": "7"}, VECTORS)
    assert (vector.tolist(), vector.dtype, label) == ([0.5, -2], np.float32, 1)
    assert parsed({"x": [0, 0], "y": 0}, VECTORS)[1] == 0


def test_an_image_file_is_found_from_the_streams_folder(tmp_path):
    Image.fromarray(np.array(PIXELS, np.uint8)).save(tmp_path / "a.png")
    image, _ = parsed({"x": "a.png", "y": 0}, folder=tmp_path)
    np.testing.assert_array_equal(image[..., 0], PIXELS)


def test_texts_are_cut_into_the_runs_tokens():
    vocabulary = Vocabulary.train(["good film", "bad film"], 100)
    spec = DataSpec("said", "tokens", (3,), ("bad", "good"), vocabulary_size=len(vocabulary))
    ids, _ = parsed({"x": "Bad bad film film", "y": "bad"}, spec, vocabulary)
    np.testing.assert_array_equal(ids, vocabulary.encode(["bad bad film"], 3)[0])
    for x in ("  ", 3, None):
        with pytest.raises(Malformed, match="x: expected text"):
            parsed({"x": x, "y": "bad"}, spec, vocabulary)


def test_token_ids_are_whole_numbers_of_the_vocabulary():
    spec = DataSpec("coded", "tokens", (2,), ("a", "b"), vocabulary_size=9)
    assert parsed({"x": [8, 0], "y": "a"}, spec)[0].dtype == np.int32
    with pytest.raises(Malformed, match="integers from 0 to 8, received 0.0 to 9.0"):
        parsed({"x": [9, 0], "y": "a"}, spec)


@pytest.mark.parametrize(("line", "why"), [
    (b"{oops", "not JSON: Expecting property name"),
    (b"\xff\xfe", "not JSON: "),
    (b"[" * 100_000, "not JSON: "),
    (b'{"x": ' + b"9" * 5000 + b', "y": 0}', "not JSON: "),
    ([1], r"an object with x and y, received \[1\]"),
    ({"x": PIXELS}, "an object with x and y"),
    ({"x": PIXELS, "y": "middle"}, "y: expected the name of a class, or an index from 0 to 1, received \"middle\""),
    ({"x": PIXELS, "y": 2}, "y: expected .* received 2"),
    ({"x": PIXELS, "y": -1}, "y: expected .* received -1"),
    ({"x": PIXELS, "y": True}, "y: expected .* received true"),
    ({"x": PIXELS, "y": [0]}, "y: expected"),
    ({"x": PIXELS[:1], "y": 0}, r"x: expected the shape \(2, 3, 1\), received \(1, 3\)"),
    ({"x": [[1, 2, 3], [1, 2]], "y": 0}, "x: expected lists of equal length"),
    ({"x": [["1", "2", "3"]] * 2, "y": 0}, "x: expected numbers in lists"),
    ({"x": [[None] * 3] * 2, "y": 0}, "x: expected numbers in lists"),
    ({"x": {}, "y": 0}, "x: expected numbers in lists"),
    ({"x": [[10**30] * 3] * 2, "y": 0}, "x: expected numbers in lists"),
    ({"x": [[256, 0, 0]] * 2, "y": 0}, "x: expected integers from 0 to 255, received 0.0 to 256.0"),
    ({"x": [[0.5, 0, 0]] * 2, "y": 0}, "x: expected integers from 0 to 255"),
    ({"x": [[float("nan"), 0, 0]] * 2, "y": 0}, "x: expected finite numbers"),
    ({"x": [[float("inf"), 0, 0]] * 2, "y": 0}, "x: expected finite numbers"),
    ({"x": "absent.png", "y": 0}, 'x: "absent.png" cannot be read as an image: .*No such file'),
    ({"x": "a\0b", "y": 0}, "cannot be read as an image"),
    ({"x": "", "y": 0}, "cannot be read as an image"),
])  # fmt: skip
def test_what_is_no_example_says_why(line, why, tmp_path):
    with pytest.raises(Malformed, match=why):
        parsed(line, folder=tmp_path)


def test_numbers_too_large_for_a_float_are_not_finite():
    with pytest.raises(Malformed, match="x: expected finite numbers, received NaN, infinity or a number out of range"):
        parsed({"x": [1e300, 0], "y": 0}, VECTORS)


def test_records_name_their_line_and_a_last_line_that_is_cut_is_left(tmp_path, capsys):
    good = b'{"x": [0, 1], "y": 0}'
    file = tmp_path / "s.jsonl"
    for last, kept in ((good[:-5], 3), (good, 4), (b'{"x": 0, "y": 0}', 4)):
        file.write_bytes(b"\n".join([good, b" ", b'{"x": 0, "y": 0}', good, last]))
        found = list(records.of_lines(streams.lines(file), records.parser(VECTORS, None, tmp_path)))
        assert [record.position.line for record in found] == [1, 3, 4, 5][:kept]
        assert [bool(record.reason) for record in found][:3] == [False, True, False]
    assert capsys.readouterr().err.startswith("line 5 is incomplete")


def test_a_split_is_read_in_order_from_where_it_stood():
    split = Split(np.arange(5), np.arange(5))
    assert [(r.x, r.y, r.position.line) for r in records.of_split(split, Position(3))] == [(3, 3, 4), (4, 4, 5)]


def test_halves_of_surrogate_pairs_and_numbers_out_of_range_are_rejected_with_a_reason():
    vocabulary = Vocabulary.train(["one two"], 10)
    texts = DataSpec("said", "tokens", (4,), ("a", "b"), vocabulary_size=len(vocabulary))
    with pytest.raises(Malformed, match="x: expected Unicode text, received half of a surrogate pair"):
        parsed(rb'{"x": "one \ud800", "y": 0}', texts, vocabulary)
    for number in ("1e400", "1e300", "NaN", "1" + "0" * 400):
        with pytest.raises(Malformed, match="x: expected (finite )?numbers"):
            parsed(f'{{"x": [{number}, 0], "y": "3"}}'.encode(), VECTORS)
    with pytest.raises(
        Malformed, match="y: expected the name of a class, or an index from 0 to 1, received 4294967296"
    ):
        parsed({"x": [0, 0], "y": 2**32}, VECTORS)
