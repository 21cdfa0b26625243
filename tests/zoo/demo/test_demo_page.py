"""The JavaScript of the demo page compared with Pillow, numpy, scipy and tokenizers."""

import json

import numpy as np
import pytest

from zoo.data.fitting import resize
from zoo.data.images import scaled
from zoo.data.text import Vocabulary
from zoo.reports.masks import palette


def test_an_upload_is_turned_upright_and_composed_on_white(javascript):
    """The browser decodes the file; a canvas that keeps numbers stands for its own."""
    from PIL import Image

    from zoo.data import pixels

    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (5, 4, 4), np.uint8)
    stored[0, :, 3] = 0, 255, 1, 254
    found = javascript(
        'import { decoded } from "./pictures/image.js";\n'
        "let asked;\n"
        "globalThis.createImageBitmap = async (file, options) => ((asked = options), file);\n"
        "globalThis.OffscreenCanvas = class {\n"
        "  constructor(width, height) { this.data = new Float64Array(4 * width * height); }\n"
        "  getContext() { return this; }\n"
        "  fillRect() { this.data.fill(this.fillStyle === 'white' ? 255 : 0); }\n"
        "  drawImage({ data }) {\n"
        "    data.forEach((value, i) => {\n"
        "      const opacity = data[i - (i % 4) + 3] / 255;\n"
        "      this.data[i] = i % 4 === 3 ? 255 : value * opacity + this.data[i] * (1 - opacity);\n"
        "    });\n"
        "  }\n"
        "  getImageData() { return Array.from(this.data, Math.round); }\n"
        "};\n"
        "const made = await decoded({ data: value.flat(2), width: 4, height: 5 });\n"
        "console.log(JSON.stringify([asked, made]));",
        stored.tolist(),
    )
    assert found[0] == {"imageOrientation": "from-image", "colorSpaceConversion": "none"}
    expected = pixels.as_bytes(Image.fromarray(stored), 3).astype(int)
    assert np.abs(np.array(found[1]).reshape(5, 4, 4)[..., :3] - expected).max() <= 1


@pytest.mark.parametrize(("channels", "fit"), [(1, "stretch"), (3, "stretch"), (1, "crop"), (3, "pad")])
def test_pictures_are_brought_to_the_input_as_training_does(javascript, channels, fit):
    from PIL import Image

    rng = np.random.default_rng(3)
    pictures, expected, shapes = [], [], []
    for (height, width), (rows, columns) in (
        *(((280, 280), (28, 28)), ((37, 51), (28, 28)), ((8, 8), (28, 28))),
        *(((20, 33), (20, 12)), ((5, 40), (32, 40)), ((17, 9), (17, 9)), ((101, 67), (32, 32)), ((64, 99), (24, 17))),
    ):
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        grey = np.asarray(Image.fromarray(rgb).convert("L"))[..., None]
        expected.append(resize(grey if channels == 1 else rgb, (rows, columns), fit).reshape(-1).tolist())
        opaque = np.concatenate([rgb, np.full((height, width, 1), 255, np.uint8)], -1)
        pictures.append({"data": opaque.reshape(-1).tolist(), "height": height, "width": width})
        shapes.append([rows, columns, channels])
    found = javascript(
        'import { pixels } from "./pictures/image.js";\n'
        "const made = value.pictures.map(({ data, ...size }, i) =>"
        " Array.from(pixels({ data: Uint8ClampedArray.from(data), ...size }, value.shapes[i], value.fit)));\n"
        "console.log(JSON.stringify(made));",
        {"pictures": pictures, "shapes": shapes, "fit": fit},
    )
    assert found == expected


def test_bytes_are_given_as_they_are(javascript):
    found = javascript(
        'import { quantize } from "./numbers.js";\n'
        "const given = new Uint8Array(4);\n"
        'quantize(Uint8Array.from(value), given, { type: "uint8", scale: 1 / 255, zero_point: 3 });\n'
        "console.log(JSON.stringify(Array.from(given)));",
        [0, 1, 200, 255],
    )
    assert found == [0, 1, 200, 255]


def test_numbers_are_quantized_as_python_does(javascript):
    from compression.runtime.litert import dequantized, quantized

    scale, zero = float(np.float32(1 / 255)), -128
    x = scaled(np.arange(256, dtype=np.uint8))
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1000, -1000], np.float32)
    cases = [(x, scale, zero), (halves, 1.0, 3), (np.linspace(-3, 3, 1001, dtype=np.float32), 0.0234375, -5)]
    found = javascript(
        'import { dequantized, quantize } from "./numbers.js";\n'
        "const made = value.map(({ x, scale, zero }) => {\n"
        '  const tensor = { type: "int8", scale, zero_point: zero };\n'
        "  const q = new Int8Array(x.length);\n"
        "  quantize(x, q, tensor);\n"
        "  return [Array.from(q), Array.from(dequantized(q, tensor))];\n"
        "});\nconsole.log(JSON.stringify(made));",
        [{"x": x.tolist(), "scale": scale, "zero": zero} for x, scale, zero in cases],
    )
    for (values, step, offset), (q, back) in zip(cases, found, strict=True):
        details = {"dtype": np.int8, "quantization": (step, offset)}
        assert q == quantized(values, details).tolist()
        assert np.array_equal(np.float32(back), dequantized(np.int8(q), details))


TEXTS = [
    "A film I'd see again, and again!",
    "  Naïve CAFÉ — 3.5 stars… (really?)\tYES\n",
    "ΣΟΦΟΣ İstanbul \N{COMBINING ACUTE ACCENT}e\N{COMBINING ACUTE ACCENT} 漢字 🙂 x\u00a0y\u2003z",
    "[PAD] [UNK] it's we've don't 'S 12ab34  $5^2",
    "",
]


@pytest.mark.parametrize("tokens", ["word", "character", "subword"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_texts_are_cut_as_the_tokenizers_do(javascript, tmp_path, tokens, lowercase):
    vocabulary = Vocabulary.train([*TEXTS[:3], *TEXTS[:2], "it is not unknown"], 400, tokens, lowercase=lowercase)
    vocabulary.save(tmp_path / "vocabulary.json")
    texts = [*TEXTS, "a word that was never seen: quixotic"]
    found = javascript(
        'import { cutter } from "./words.js";\n'
        "const cut = cutter(value.vocabulary);\n"
        "console.log(JSON.stringify(value.texts.map((text) => cut(text).map(({ id }) => id))));",
        {"vocabulary": json.loads((tmp_path / "vocabulary.json").read_text()), "texts": texts},
    )
    assert found == vocabulary.rows(texts)


def test_draws_are_normal_and_repeat(javascript):
    from scipy import stats

    found = javascript(
        'import { normal } from "./numbers.js";\n'
        "console.log(JSON.stringify(value.map((seed) => Array.from(normal(20000, seed)))));",
        [1, 1, 2],
    )
    assert found[0] == found[1] != found[2]
    assert stats.kstest(found[0], "norm").pvalue > 0.01
    assert abs(np.corrcoef(found[0], found[2])[0, 1]) < 0.03


def test_a_drawing_is_put_where_the_sets_images_are(javascript):
    drawn = np.zeros((280, 280), np.uint8)
    drawn[10:110, 20:70] = 255  # a bar in a corner
    mnist, digits = (
        np.array(each).reshape(28, 28)
        for each in javascript(
            'import { fitted } from "./pictures/fit.js";\n'
            'const made = ["mnist", "digits"].map((set) =>'
            " Array.from(fitted(Uint8Array.from(value), 280, [28, 28, 1], set)));\n"
            "console.log(JSON.stringify(made));",
            drawn.reshape(-1).tolist(),
        )
    )
    rows, columns = np.nonzero(mnist)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 10)
    assert (rows.mean(), columns.mean()) == (13.5, 13.5)
    rows, columns = np.nonzero(digits > 127)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (28, 14)


def test_masks_have_the_classes_and_colours_of_python(javascript):
    scores = np.random.default_rng(0).integers(-3, 3, (5, 7, 4))  # with equal ones, of which the first counts
    found = javascript(
        'import { highest, palette, sharesOf } from "./views/masks.js";\n'
        "const mask = highest(Float32Array.from(value), 4);\n"
        "console.log(JSON.stringify([Array.from(mask), sharesOf(mask, 4), palette(30)]));",
        scores.reshape(-1).tolist(),
    )
    mask, shares, colours = found
    assert mask == scores.argmax(-1).reshape(-1).tolist() and colours == palette(30).tolist()
    np.testing.assert_allclose(shares, np.bincount(mask, minlength=4) / 35)
