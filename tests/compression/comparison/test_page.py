"""The page that compares files says what their receipts and LiteRT say."""

import json
import re
import shutil

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from compression.comparison import described, page
from compression.flatbuffers import flatbuffer
from compression.receipts import quantiles
from compression.receipts.wording import short
from docs import browser
from tests.compression.test_commands import said
from tests.conftest import ROOT
from zoo import compare
from zoo.reports import page as report
from zoo.runs.folder import RunFolder

RESULTS = ROOT / "benchmarks" / "results"
LENETS = sorted(RESULTS.glob("lenet*.tflite"))
STOCK = sorted((ROOT / "zoo" / "stock" / "cnn-mnist" / "artifacts").glob("*.tflite"))


@pytest.mark.parametrize("path", [LENETS[0], STOCK[0]], ids=lambda path: path.stem)
def test_real_values_of_constants_are_those_of_litert(path):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    known = {}
    for entry in interpreter.get_tensor_details():
        scales = entry["quantization_parameters"]["scales"]
        try:
            values = interpreter.get_tensor(entry["index"]).astype(np.float32)
        except ValueError:  # memory that was not given to it yet
            continue
        shape = [1] * values.ndim
        if len(scales) > 1:
            shape[entry["quantization_parameters"]["quantized_dimension"]] = -1
        zeros = entry["quantization_parameters"]["zero_points"]
        known.setdefault(entry["name"], []).append(
            (values - zeros.reshape(shape)) * scales.reshape(shape) if len(scales) else values
        )
    found = flatbuffer.real_constants(flatbuffer.read(path))
    assert sum(values.size for _, values in found) > 1000
    for name, values in found:
        assert any(other.shape == values.shape and np.allclose(other, values) for other in known[name]), name


def test_the_graph_has_the_edges_that_litert_has():
    interpreter = Interpreter(str(STOCK[0]))
    details = interpreter._get_ops_details()
    nodes = flatbuffer.nodes(flatbuffer.read(STOCK[0]))[0]
    found = described.graph(flatbuffer.read(STOCK[0]))
    assert [op["operator"] for op in found] == [name for name, _, _ in nodes]
    made = {int(index): number for number, op in enumerate(details[: len(nodes)]) for index in op["outputs"]}
    for number, op in enumerate(details[: len(nodes)]):
        assert found[number]["takes"] == sorted({made[int(i)] for i in op["inputs"] if int(i) in made})
    shapes = {entry["index"]: entry["shape"].tolist() for entry in interpreter.get_tensor_details()}
    assert [op["shape"] for op in found] == [shapes[int(op["outputs"][0])] for op in details[: len(nodes)]]


def test_a_page_holds_the_numbers_of_the_receipts(tmp_path):
    found = page.write(LENETS, tmp_path / "page.html", 'LeNets </script> "and" others')
    text = (tmp_path / "page.html").read_text()
    embedded = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert embedded == json.loads(json.dumps(found)) and len(embedded["files"]) == len(LENETS)
    assert "{{" not in text.partition("<body>")[0] and "<title>LeNets &lt;/script&gt;" in text
    assert not re.search(r"(src|href)=\"?http", text)
    for row, path in zip(embedded["files"], LENETS, strict=True):
        receipt = json.loads(path.with_name(f"{path.stem}.receipt.json").read_text())
        assert row["bytes"] == path.stat().st_size == receipt["bytes"]
        assert row["scores"][0]["value"] == receipt["test"]["litert"]["accuracy"]
        assert sum(layer["bytes"] for layer in row["layers"]) == sum(each["bytes"] for each in receipt["constants"])
        for histogram in row["weights"]:
            assert sum(histogram["after"]) == pytest.approx(1, abs=1e-3)
    assert len({row["name"] for row in embedded["files"]}) == len(LENETS)


def test_weights_before_a_recipe_come_from_the_file_in_float32(tmp_path):
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    pruned = np.where(np.abs(values) < 0.7, 0, values)
    known = {"layer": [quantiles.summary(values)], "other": [quantiles.summary(2 * values)]}
    (row,) = described.histograms({"layer": pruned}, known)
    assert row["zeros"] == pytest.approx((np.abs(values) < 0.7).mean())
    assert row["before"] != row["after"] and sum(row["before"]) == pytest.approx(1, abs=1e-3)
    assert row["after"][described.BINS // 2] > 0.4 > row["before"][described.BINS // 2]
    assert described.histograms({"layer": values}, {})[0]["before"] is None
    assert described.histograms({"layer/Tensordot": values}, known)[0]["before"] == pytest.approx(
        described._shares(values, np.linspace(-np.abs(values).max(), np.abs(values).max(), described.BINS + 1)),
        abs=0.004,
    )


def test_a_kernel_of_several_is_known_by_its_size():
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    two = {"cell": [quantiles.summary(values), quantiles.summary(values[:64])]}
    assert described._before("cell/lstm", 64, two)[-1] == pytest.approx(values[:64].max(), rel=1e-3)
    assert described._before("cell/lstm", 50, two) is None and described._before("other", 64, two) is None


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("int8", "int8"),
        (
            "channels(0.7, epochs=6, learning_rate=0.003) + qat(epochs=2) + int8(per_tensor=true)",
            "channels(0.7) + qat + int8",
        ),
        ("channels(keep=conv_1:9|conv_2:8) + distill(runs/a+b, temperature=3.0) + int4", "channels + distill + int4"),
        ("prune(0.8) + cluster(16) + int8", "prune(0.8) + cluster(16) + int8"),
    ],
)
def test_labels_are_the_words_of_a_recipe(recipe, expected):
    assert short(recipe) == expected


def test_the_command_compares_folders_and_files_and_names_what_is_left_out(tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in LENETS:
        shutil.copy(path, folder)
        shutil.copy(path.with_name(f"{path.stem}.receipt.json"), folder)
    (folder / f"{LENETS[0].stem}.receipt.json").write_text("{}")
    status, out, error = said(capsys, compare, folder, STOCK[0], "--output", tmp_path / "page.html")
    assert status == 0, error
    lines = out.splitlines()
    assert lines[-1] == str(tmp_path / "page.html") and any(line.startswith("left out: ") for line in lines)
    assert len([line for line in lines if "%" in line]) == len(LENETS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("absent",), "absent: expected a run, a folder of .tflite files or a file, found none"),
        ((".",), "expected .tflite files with receipts, found none; make them with compress"),
        ((LENETS[0], "--output", "no/page.html"), "--output no/page.html: expected a path in a folder that exists"),
    ],
)
def test_mistakes(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, _, error = said(capsys, compare, *words)
    assert status == 2 and sentence in error


def test_a_report_gets_one_link(tmp_path):
    (tmp_path / "report.html").write_text("<main><h1>run</h1><div class=tiles></div></main>")
    for _ in range(2):
        report.link(RunFolder(tmp_path), "compression.html", "compressed files")
    text = (tmp_path / "report.html").read_text()
    assert text.count("<a href=compression.html>compressed files</a>") == 1


@pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="no Chromium or Chrome is installed")
def test_the_page_is_used_by_keyboard_and_fits_narrow_windows_and_paper(tmp_path):
    page.write(STOCK, tmp_path / "page.html", "Files of cnn-mnist")
    marks = "[...document.querySelectorAll('.mark')]"
    with browser.opened(browser.program()) as shown:
        for width in (1280, 390):
            shown.show((tmp_path / "page.html").as_uri(), width, 800)
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert (
                shown.evaluate("document.querySelector('#front svg').getBoundingClientRect().width") > 0.8 * width - 30
            )
        before = shown.evaluate("document.getElementById('file').value")
        other = f"{marks}.find((each) => !each.classList.contains('chosen'))"
        shown.evaluate(f"{other}.focus()")
        shown.evaluate(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"
        )
        assert shown.evaluate("document.getElementById('file').value") != before
        assert shown.evaluate("document.activeElement.classList.contains('chosen')")
        assert shown.evaluate(f"{marks}.every((each) => each.getAttribute('aria-label') && each.tabIndex === 0)")
        before = float(shown.evaluate("document.querySelector('#graph svg').getAttribute('width')"))
        shown.evaluate("document.getElementById('closer').click()")
        assert float(shown.evaluate("document.querySelector('#graph svg').getAttribute('width')")) > before


def test_a_score_of_another_task_is_named(capsys):
    device = {"arena_bytes": None, "cycles": None}
    scores = [("RMSE", 100003.4, False), ("RMSE", 2.5, False), ("accuracy", 0.5, True)]
    files = [
        {"name": f"f{i}", "bytes": 1000, "gzip_bytes": 500, "device": device}
        | {"scores": [{"label": label, "value": value, "percent": percent}]}
        for i, (label, value, percent) in enumerate(scores)
    ]
    compare.show({"files": files, "left_out": [], "path": "page.html"})
    header, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[:-1]]
    assert header[3] == "RMSE" and [row[3] for row in rows] == ["100,003", "2.5", "accuracy 50.00%"]
