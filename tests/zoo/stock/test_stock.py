"""The pretrained runs: complete, within their size limits, as accurate as stated, and refused when altered."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import zoo
from benchmarks import restock
from compression import inspect, verify
from compression.receipts.artifacts import sealed
from tests.conftest import DATA_DIR, ROOT, run_module
from zoo import evaluate, generate, predict, stock
from zoo import list as listing
from zoo.config.catalogue import EMBEDDED
from zoo.console.errors import Failed, UsageError
from zoo.demo import __main__ as demo
from zoo.demo import artifacts
from zoo.runs.folder import RunFolder, pretrained
from zoo.tasks import generation

INDEX = json.loads((ROOT / "zoo" / "stock" / "index.json").read_text())
FILES = [path for path in (ROOT / "zoo" / "stock").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
CHEAPEST = "cnn-digits"


def test_the_index_names_every_file_and_nothing_else():
    assert list(INDEX) == list(restock.STOCK)
    assert len(FILES) == 1 + sum(len(entry["files"]) for entry in INDEX.values())
    for name, entry in INDEX.items():
        folder = ROOT / "zoo" / "stock" / name
        assert {path.relative_to(folder).as_posix() for path in FILES if folder in path.parents} == set(entry["files"])
        for file, fact in entry["files"].items():
            content = (folder / file).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (fact["bytes"], fact["sha256"]), file


def test_the_stock_is_within_its_limits():
    restock.check_limits(INDEX)
    assert sum(path.stat().st_size for path in FILES) <= restock.MOST_ALL


@pytest.mark.parametrize("name", INDEX)
def test_each_was_made_as_the_table_says_under_a_stated_licence(name):
    entry, made = INDEX[name], restock.STOCK[name]
    folder = ROOT / "zoo" / "stock" / name
    receipt = json.loads((folder / entry["file"]).with_suffix(".receipt.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert entry["train"] == f"python -m zoo.train {made.words}"
    assert " ".join(config["command"]) == f"{entry['train']} --output {restock.trained_as(name)}"
    assert receipt["sha256"] == entry["files"][entry["file"]]["sha256"]
    assert receipt["made"]["recipe"] == entry["recipe"] and receipt == sealed(receipt)
    assert receipt["made"]["model_sha256"] == metrics["model_sha256"] == entry["files"]["model.keras"]["sha256"]
    if config["data"]["task"] == "classification":  # other tasks count windows of text or generated images
        assert receipt["test"]["examples"] == metrics["split_examples"]["test"]
    assert entry["licence"] and entry["source"]


def test_no_file_names_a_place_on_the_machine_that_made_it():
    place = re.compile(rb"[\"' =](/(work|tmp|root|home|Users|mnt|var)/[^\"' ]*)")
    for path in FILES:
        assert not place.findall(b" " + path.read_bytes()), path


def test_a_model_is_as_good_as_it_says():
    from zoo.runs.inference import load_like, logits_of

    run = pretrained(CHEAPEST)
    test = load_like(run, run.read_config()["config"]).test
    right = logits_of(zoo.load(CHEAPEST), test).argmax(-1) == test.y
    assert right.mean() == run.read_metrics()["test"]["accuracy"] > 0.95


def test_the_pretrained_knowledge_graph_answers_a_question(capsys):
    assert predict.main(["kg_embedding-family", "Christopher wife ?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == "Penelope"  # Hinton (1986)


@pytest.mark.parametrize(("words", "sentence"), [
    ("kg_embedding-family 'Colin father ?' --threshold 0.9", "--threshold 0.9: expected a run on sound, this one"),
    ("kg_embedding-family 'Colin father ?' --hop 1", "--hop 1: expected a run on sound, this one takes triples"),
    ("kg_embedding-family 'Colin father ?' --text-column q", "--text-column q: expected a run on texts, this"),
    ("kg_embedding-family 'Colin father ?' --min-score 0.9", "this one gives entities; it takes --top"),
    ("cnn-digits x.npz --labels a,b", "--labels a,b: expected a run that gives captions, this one gives classes"),
    ("ds_cnn-kws x.wav --min-score 0.5", "this one gives classes; it takes --top"),
    ("cross_modal-digits x.npz --text-column q", "expected a run on texts, this one takes image inputs"),
])  # fmt: skip
def test_an_option_that_a_run_does_not_follow_is_refused(words, sentence, capsys):
    assert predict.main(shlex.split(words)) == 2
    err = capsys.readouterr().err
    assert sentence in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(("words", "sentence"), [
    ("transformer_seq2seq-addition 12+3 --greedy --beams 8", "--greedy and --beams 8: expected the most probable"),
    ("transformer_seq2seq-addition 12+3 --greedy --length-penalty 5", "--greedy and --length-penalty 5: expected"),
    ("transformer_seq2seq-addition 12+3 --count 2", "--count 2: expected 1 for a search, which finds one text"),
    ("transformer_lm-tiny_shakespeare a --greedy --count 2", "--count 2: expected 1 for --greedy, which finds one"),
])  # fmt: skip
def test_contradictory_options_of_generate_are_refused(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert generate.main(words.split()) == 2
    assert sentence in capsys.readouterr().err


def test_a_small_file_is_measured_again_by_its_name(capsys):
    assert verify.main([CHEAPEST]) == 0
    out = capsys.readouterr().out
    assert "reproduced: test accuracy" in out
    assert out.splitlines()[-1] == str(ROOT / "zoo" / "stock" / CHEAPEST / INDEX[CHEAPEST]["file"])


def test_the_images_of_a_gan_are_reproduced_on_any_processor(monkeypatch):
    monkeypatch.setattr(generation, "SAMPLES", 10_000)  # tests of that task draw fewer
    assert verify.main(["gan_dense-digits"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", INDEX)
def test_every_small_file_is_reproduced(name, tmp_path):
    words, given = [], restock.STOCK[name].given
    if INDEX[name]["dataset"] not in EMBEDDED:
        if not DATA_DIR.is_dir():
            pytest.skip(f"no prepared TFDS sets in {DATA_DIR}; set ZOO_TEST_DATA to a folder that has them")
        words = ["--data-dir", str(DATA_DIR)]
    if given and given.write is not None:
        given.write(DATA_DIR, inputs := tmp_path / f"{given.inputs}.npz")
        words = ["--data", str(inputs)]
    assert verify.main([name, *words]) == 0
    reference = ROOT / "zoo" / "stock" / name / "artifacts" / "float32.tflite"
    assert verify.main([str(reference), *words]) == 0


def test_the_list_has_every_number_of_the_table(capsys):
    assert listing.main(["pretrained", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["pretrained"]
    assert list(told) == list(INDEX)
    for name, cells in told.items():
        text = "; ".join(cells.values())
        entry = INDEX[name]
        receipt = json.loads((ROOT / "zoo" / "stock" / name / entry["file"]).with_suffix(".receipt.json").read_text())
        numbers = [f"{receipt[key]:,} bytes" for key in ("bytes", "gzip_bytes")]
        numbers += [f"{row['median_ms']:.3f}" for row in receipt["latency"] if row["threads"] == 1]
        metrics = json.loads((ROOT / "zoo" / "stock" / name / "metrics.json").read_text())
        if "accuracy" in receipt["test"]["litert"] and "tokens" not in receipt["test"]["litert"]:
            numbers += [f"{scores['accuracy']:.2%}" for scores in (metrics["test"], receipt["test"]["litert"])]
        assert not [number for number in [*numbers, entry["recipe"], entry["train"]] if number not in text], name


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """Return a copy of the stock that a test may alter, and change to an empty working directory."""
    folder = tmp_path / "package"
    shutil.copytree(stock.FOLDER, folder)
    monkeypatch.setattr(stock, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("file", ["config.json", "model.keras", INDEX[CHEAPEST]["file"]])
def test_a_flipped_byte_is_refused(file, altered, capsys):
    path = altered / CHEAPEST / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    expected, found = INDEX[CHEAPEST]["files"][file]["sha256"], hashlib.sha256(content).hexdigest()
    sentence = f"{path}: expected SHA-256 {expected}, found {found}; reinstall the package"
    with pytest.raises(UsageError, match=re.escape(sentence)):
        zoo.load(CHEAPEST)
    for command, words in ((predict, ["image.png"]), (evaluate, []), (verify, []), (demo, [])):
        assert command.main([CHEAPEST, *words]) == 2
        assert capsys.readouterr().err.endswith(f": {sentence}\n")
    path.unlink()
    with pytest.raises(UsageError, match=re.escape(f"{path}: expected SHA-256 {expected}, found no such file")):
        pretrained(CHEAPEST)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="unknown pretrained run 'cnn-mnst': .*; did you mean 'cnn-mnist'?"):
        zoo.load("cnn-mnst")
    for command, words in ((predict, ["image.png"]), (evaluate, []), (demo, [])):
        assert command.main(["cnn-mnst", *words]) == 2
        sentence = "cnn-mnst: expected the folder of a run, found no such folder; did you mean 'cnn-mnist'?"
        assert sentence in capsys.readouterr().err
    for command in (verify, inspect):
        assert command.main(["cnn-mnst"]) == 2
        assert "expected a .tflite file, found none; did you mean 'cnn-mnist'?" in capsys.readouterr().err


def test_names_are_read_where_they_are_and_written_in_a_copy(altered, tmp_path, capsys):
    assert stock.path(Path(CHEAPEST), "run") == altered / CHEAPEST
    assert stock.path(Path(CHEAPEST), "file") == altered / CHEAPEST / INDEX[CHEAPEST]["file"]
    copy = Path("runs/stock") / CHEAPEST
    assert evaluate.main([CHEAPEST]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(copy / "evaluations" / "digits-test.json")
    assert err.splitlines()[0] == f"{CHEAPEST} was copied to {copy}; new files are written there"
    assert stock.path(Path(CHEAPEST), "copy") == copy and not capsys.readouterr().err  # announced only once
    assert not (altered / CHEAPEST / "evaluations").exists()
    assert RunFolder(copy).read_metrics() == pretrained(CHEAPEST).read_metrics()


def test_an_existing_path_wins_over_a_name_and_an_older_copy_is_refused(altered, tmp_path):
    Path(CHEAPEST).mkdir()
    assert stock.path(Path(CHEAPEST), "copy") == Path(CHEAPEST)
    Path(CHEAPEST).rmdir()
    copy = stock.path(Path(CHEAPEST), "copy")
    (copy / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match=f"expected a copy of this package's {CHEAPEST}, found another version"):
        stock.path(Path(CHEAPEST), "copy")


def test_predictions_by_name(tmp_path, capsys):
    from zoo.runs.inference import load_like

    run = pretrained(CHEAPEST)
    test = load_like(run, run.read_config()["config"]).test
    np.savez(tmp_path / "digits.npz", x=test.x[:20])
    assert predict.main([CHEAPEST, str(tmp_path / "digits.npz"), "--json"]) == 0
    labels = [int(row["label"]) for row in json.loads(capsys.readouterr().out)]
    assert np.mean(labels == test.y[:20]) >= 0.9


def test_the_demo_of_a_name_needs_nothing_made():
    files = artifacts.files(stock.path(Path("cnn-mnist"), "run"), None)
    assert [path.name for path in files] == ["float32.tflite", Path(INDEX["cnn-mnist"]["file"]).name]


def test_neither_importing_the_zoo_nor_listing_the_stock_brings_keras():
    code = "import sys, zoo, zoo.stock; from zoo import list; list.main(['pretrained'])"
    run_module("-c", f"{code}; sys.exit('keras' in sys.modules or 'numpy' in sys.modules)", cwd=ROOT, check=0)


@pytest.mark.slow
# setuptools warns, by its version, that it reads this table of pyproject.toml.
@pytest.mark.filterwarnings("ignore:Support for `\\[tool.setuptools\\]`")
def test_a_wheel_has_every_file(monkeypatch):
    pytest.importorskip("setuptools", minversion="77", reason="pyproject.toml needs setuptools 77")
    from setuptools import Distribution

    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    build.manifest_files = {}  # makes the result independent of git
    assert "zoo.stock" in distribution.packages
    found = {Path(file).as_posix() for file in build.find_data_files("zoo.stock", "zoo/stock")}
    listed = {f"zoo/stock/{name}/{file}" for name, entry in INDEX.items() for file in entry["files"]}
    assert found == {*listed, "zoo/stock/index.json"}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (
            ["cnn-mnst"],
            "unknown pretrained run 'cnn-mnst': expected one of .*; did you mean 'cnn-mnist'?",
        ),
        (["cnn-mnist", "--data-dir", "absent"], "--data-dir .*absent: expected the prepared set mnist, found none"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_before_work_starts(words, sentence, capsys):
    assert restock.main(words) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_a_file_or_a_stock_that_is_too_large_is_refused():
    def entries(size, count=1):
        return {str(i): {"files": {"model.keras": {"bytes": size}}} for i in range(count)}

    restock.check_limits(entries(500_000, 36))
    restock.check_limits({"wakeword": entries(1_200_000)["0"]})
    with pytest.raises(Failed, match=r"0/model.keras: expected at most 500,000 bytes, found 500,001"):
        restock.check_limits(entries(500_001))
    with pytest.raises(Failed, match=r"wakeword/model.keras: expected at most 1,200,000 bytes, found 1,200,001"):
        restock.check_limits({"wakeword": entries(1_200_001)["0"]})
    with pytest.raises(Failed, match=r"the stock: expected at most 18,000,000 bytes, found 18,500,000"):
        restock.check_limits(entries(500_000, 37))


@pytest.mark.slow
def test_a_run_is_made_again_from_scratch(altered, capsys):
    metrics = altered / CHEAPEST / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"parameters": 1}))
    assert restock.main([CHEAPEST]) == 0
    out = capsys.readouterr().out
    rows = [line.split("\t") for line in out.splitlines()[1:-1]]
    parameters = RunFolder(ROOT / "zoo" / "stock" / CHEAPEST).read_metrics()["parameters"]
    assert [CHEAPEST, "parameters", "1", str(parameters)] in rows
    assert out.splitlines()[-1] == str(altered / "index.json")
    assert list(stock.index()) == list(INDEX)
    assert verify.main([CHEAPEST]) == 0
