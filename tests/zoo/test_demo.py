"""The page of zoo.demo: what is served and what is refused, and its JavaScript against Pillow, numpy and tokenizers."""

import base64
import hashlib
import http.client
import io
import json
import shutil
import socket
import subprocess
import tarfile
import threading

import numpy as np
import pytest

from tests.conftest import ROOT
from zoo import demo, demo_runtime, demo_server
from zoo.data.images import resize, scaled
from zoo.data.text import Vocabulary

# A small int4 LeNet with its metadata and receipt; its content stands for any file here.
LENET = ROOT / "benchmarks" / "results" / "lenet5-5936.tflite"
MOST_PAGE_BYTES = 300_000


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """The folder of packages that stand for LiteRT.js, pinned as they are."""
    folder = tmp_path / "packages"
    folder.mkdir()
    pinned = demo_runtime.pinned()
    for package in pinned["packages"]:
        with tarfile.open(folder / package["file"], "w:gz") as archive:
            for member in package["takes"]:
                content = f'{member}: import "@litertjs/wasm-utils"'.encode()
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        digest = hashlib.sha512((folder / package["file"]).read_bytes()).digest()
        package["integrity"] = f"sha512-{base64.b64encode(digest).decode()}"
    file = tmp_path / "pinned.json"
    file.write_text(json.dumps(pinned))
    monkeypatch.setattr(demo_runtime, "PINNED_FILE", file)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def model(tmp_path):
    """A .tflite file that nothing is known of."""
    path = tmp_path / "model.tflite"
    shutil.copyfile(LENET, path)
    return path


@pytest.fixture
def served(model, packages):
    """The port of a server of its page."""
    server = demo_server.bound(demo.page("title", [model], packages), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response, response.read()


def test_the_page_its_model_and_its_runtime_are_served(served, model):
    response, body = get(served, "/")
    assert response.status == 200 and b"<!doctype html>" in body
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    response, body = get(served, "/models/model.tflite")
    assert body == model.read_bytes()
    response, body = get(served, "/litert/litert_wasm_internal.wasm", method="HEAD")
    assert (response.headers["Content-Type"], body) == ("application/wasm", b"")
    assert b'"./wasm-utils.js"' in get(served, "/litert/index.js")[1]


@pytest.mark.parametrize(
    "path",
    ["/absent", "/models/", "/litert", "/../demo.py", "/%2e%2e/demo.py", "//etc/passwd", "/models/../../pinned.json",
     "/litert.json"],
)  # fmt: skip
def test_nothing_else_is_served(served, path):
    assert get(served, path)[0].status == 404


def test_another_name_of_this_machine_reads_nothing(served):
    assert get(served, "/", Host=f"elsewhere.example:{served}")[0].status == 403
    assert get(served, "/", Host=f"localhost:{served}")[0].status == 200


def test_a_port_in_use_is_left_for_another_which_is_told(model, packages, capsys):
    servers = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = demo.run(servers, {"source": model, "runtime": packages, "port": port})
    (server,) = servers
    server.server_close()
    assert server.server_address[0] == "127.0.0.1"
    other = server.server_address[1]
    assert other != port and found["url"] == f"http://127.0.0.1:{other}/"
    assert f"--port {port} is in use, so the page is on {other}" in capsys.readouterr().err


def test_an_export_holds_what_is_served(model, packages, tmp_path, capsys):
    words = [str(model), "--runtime", str(packages), "--export", str(tmp_path / "site")]
    assert demo.main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "site")
    found = {p.relative_to(tmp_path / "site").as_posix(): p.read_bytes() for p in (tmp_path / "site").rglob("*.*")}
    site = demo.page("model.tflite", [model], packages)
    assert found == {name: c if isinstance(c, bytes) else c.read_bytes() for name, c in site.items()}
    assert demo.main(words) == 2
    assert "expected a new or empty folder, this one is not empty" in capsys.readouterr().err


def test_a_file_says_what_it_is_and_one_that_does_not_is_shown_as_tensors(model, packages):
    def listed(path):
        (facts,) = json.loads(demo.page("t", [path], packages)["models.json"])["files"]
        return facts

    known, bare = listed(LENET), listed(model)
    receipt = json.loads(LENET.with_suffix(".receipt.json").read_text())
    assert known["about"] == receipt["about"]
    assert known["measured"]["accuracy"] == receipt["test"]["litert"]["accuracy"]
    assert (bare["about"], bare["measured"], bare["data"]) == ({}, {}, "")  # this file was made with --bare
    assert bare["signatures"] == known["signatures"]
    assert bare["sha256"] == receipt["sha256"]


def test_a_damaged_file_is_one_sentence(model, packages, capsys):
    words = [str(model), "--runtime", str(packages)]
    whole = model.read_bytes()
    model.write_bytes(whole[:3000])
    assert demo.main(words) == 2
    assert "a TFLite flatbuffer that is cut short or altered" in capsys.readouterr().err
    model.write_bytes(b"text, and more of it")
    assert demo.main(words) == 2
    assert "expected a TFLite flatbuffer" in capsys.readouterr().err
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shutil.copyfile(LENET.with_suffix(".receipt.json"), model.with_suffix(".receipt.json"))
    assert demo.main(words) == 2
    assert "its SHA-256 is not the one of its receipt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("absent", "absent: expected the folder of a run, found no such folder"),
        ("absent.tflite", "absent.tflite: expected a .tflite file or the folder of a run, found none"),
        ("absent --port 70000", "--port 70000: expected a value from 0 to 65535"),
        ("absent --runtime there", "--runtime there: expected a folder, found none"),
    ],
)
def test_mistakes(words, sentence, capsys):
    assert demo.main(words.split()) == 2
    assert capsys.readouterr().err == f"zoo.demo: {sentence}\n"


def test_packages_other_than_the_pinned_are_refused(model, packages, capsys):
    words = [str(model), "--runtime", str(packages)]
    core, utilities = (packages / package["file"] for package in demo_runtime.pinned()["packages"])
    content = utilities.read_bytes()
    utilities.write_bytes(content + b"\0")
    assert demo.main(words) == 2
    assert "not the @litertjs/wasm-utils that is pinned: its SHA-512 is another" in capsys.readouterr().err
    utilities.write_bytes(content)
    core.unlink()
    assert demo.main(words) == 2
    assert f"--runtime {packages}: expected {core.name} in it, found none" in capsys.readouterr().err


def test_npm_fetches_the_runtime_once(packages, tmp_path, monkeypatch, capsys):
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    (tools / "npm").write_text(f'#!/bin/sh\necho "$@" >> {log}\n/bin/cp {packages}/* .\n')
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    found = [demo_runtime.files(tmp_path / "cache") for _ in range(2)]
    assert found[0] == found[1] and all(path.is_file() for path in found[0].values())
    version = demo_runtime.pinned()["version"]
    (line,) = log.read_text().splitlines()
    assert line.endswith(f"@litertjs/core@{version} @litertjs/wasm-utils@{version}")


@pytest.mark.parametrize(
    "script, sentence",
    [
        (None, "there is no npm here; run `npm pack @litertjs/core@"),
        ("echo no network >&2; exit 1", "npm could not fetch LiteRT.js (no network); run `npm pack @litertjs/core@"),
    ],
)
def test_without_npm_or_network_a_sentence_says_what_to_do(
    script, sentence, model, packages, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "npm").chmod(0o755)
    assert demo.main([str(model)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line and "with --runtime" in line


def test_the_page_is_small_and_asks_no_other_host():
    files = [path for path in demo.PAGE.iterdir() if path.suffix != ".json"]
    assert sum(path.stat().st_size for path in files) < MOST_PAGE_BYTES
    assert not [path for path in files if "://" in path.read_text()]


@pytest.fixture
def javascript(tmp_path):
    """A function that runs JavaScript on the modules of the page, and returns its JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's JavaScript with")
    for path in demo.PAGE.glob("*.js"):
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(code, value):
        (tmp_path / "value.json").write_text(json.dumps(value))
        (tmp_path / "run.js").write_text(
            'import { readFileSync } from "node:fs";\n'
            'const value = JSON.parse(readFileSync("value.json", "utf8"));\n'
            f"{code}"
        )
        done = subprocess.run([node, "run.js"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_resized_as_pillow_does(javascript, channels):
    from PIL import Image

    rng = np.random.default_rng(3)
    pictures, expected, shapes = [], [], []
    for (height, width), (rows, columns) in (
        *(((280, 280), (28, 28)), ((37, 51), (28, 28)), ((8, 8), (28, 28))),
        *(((20, 33), (20, 12)), ((5, 40), (32, 40)), ((17, 9), (17, 9))),
    ):
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        grey = np.asarray(Image.fromarray(rgb).convert("L"))[..., None]
        expected.append(resize(grey if channels == 1 else rgb, (rows, columns)).reshape(-1).tolist())
        opaque = np.concatenate([rgb, np.full((height, width, 1), 255, np.uint8)], -1)
        pictures.append({"data": opaque.reshape(-1).tolist(), "height": height, "width": width})
        shapes.append([rows, columns, channels])
    found = javascript(
        'import { pixels } from "./image.js";\n'
        "const made = value.pictures.map(({ data, ...size }, i) =>"
        " Array.from(pixels({ data: Uint8ClampedArray.from(data), ...size }, value.shapes[i])));\n"
        "console.log(JSON.stringify(made));",
        {"pictures": pictures, "shapes": shapes},
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
    from compression.litert import dequantized, quantized

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
            'import { fitted } from "./fit.js";\n'
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
