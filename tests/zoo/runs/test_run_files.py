"""Files of a run that are damaged, edited or another run's are refused with one sentence that names them."""

import json
import shutil

import pytest

from tests.conftest import unsealed
from zoo import card, evaluate
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.scores import groups

SPEC = {"name": "digits", "kind": "image", "input_shape": [8, 8, 1], "class_names": ["a", "b"], "per_step": False}
METRICS = {
    "test": {"accuracy": 0.75, "loss": 0.5, "examples": 16},
    "intervals": {"accuracy": [0.5, 0.9375]},
    "per_class": [{"class": "a", "precision": 1.0, "recall": 0.5, "f1": 0.75, "examples": 8}],
    "epoch": 1,
    "epochs": 1,
    "seconds": 1.0,
    "parameters": 5,
    "model_sha256": "0" * 64,
}


def written(path, **options):
    run = RunFolder(path)
    run.write_config(TrainConfig(**options).resolved(), SPEC, ["python"])
    run.history_file.write_text("epoch,loss\n0,0.5\n")
    run.write_metrics(METRICS)
    return run


@pytest.fixture
def run(tmp_path):
    return written(tmp_path / "run")


NOT_JSON = {
    b"": "is damaged: expected JSON: Expecting value",
    b"{": "is damaged: expected JSON: Expecting property name",
    b"\xff\xfe": "is damaged: expected JSON",
    b"[]": "expected a JSON object, found list",
    b"null": "expected a JSON object, found NoneType",
    b"[" * 100_000: "nested too deeply",
    b'{"sha256": 7}': "expected hashes under 'sha256', found 7",
}


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize("content", NOT_JSON, ids=lambda content: repr(content[:8]))
@pytest.mark.parametrize("command", [card, evaluate])
def test_a_file_that_is_no_object_is_named(name, content, command, run, capsys):
    (run.path / name).write_bytes(content)
    assert command.main([str(run.path)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and f"{name} is damaged" in err and NOT_JSON[content] in err


def test_a_folder_in_the_place_of_a_file_is_named(run, capsys):
    (run.path / "MODEL_CARD.md").mkdir()
    run.config_file.unlink()
    run.config_file.mkdir()
    assert card.main([str(run.path)]) == 2
    assert "no config.json in it" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "old", "new"), [
    ("metrics.json", '"accuracy": 0.75', '"accuracy": 0.8125'),
    ("metrics.json", '"parameters": 5', '"parameters": 6'),
    ("config.json", '"seed": 0', '"seed": 1'),
    ("config.json", '"python"', '"another"'),
])  # fmt: skip
def test_an_edit_is_noticed(name, old, new, run, capsys):
    file = run.path / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    assert card.main([str(run.path)]) == 2
    assert f"{name} was altered since it was written" in capsys.readouterr().err


def test_paths_may_be_edited_because_data_may_move(run):
    stored = json.loads(run.config_file.read_text())
    stored["config"] |= {"data": "elsewhere.npz", "dataset": None, "output": "there"}
    run.config_file.write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="altered"):  # the name of a set is no path
        run.read_config()
    stored["config"]["dataset"] = "digits"
    stored["config"]["data"] = None
    stored["config"]["data_dir"] = "elsewhere"
    run.config_file.write_text(json.dumps(stored))
    assert str(run.read_config()["config"].data_dir) == "elsewhere"
    assert run.read_metrics() == METRICS


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_a_file_of_another_run_is_refused(name, run, tmp_path):
    other = written(tmp_path / "other", seed=1)
    shutil.copy(other.path / name, run.path)
    with pytest.raises(UsageError, match="are not of one run"):
        run.read_metrics()


CONTRADICTIONS = {
    "outside its own interval": lambda m: m["test"].update(accuracy=0.25),
    "expected a share from 0 to 1 as 'accuracy'": lambda m: m["test"].update(accuracy=1.5),
    "expected a multiple of 1/16 as 'accuracy'": lambda m: m["test"].update(accuracy=0.76),
    "expected a share from 0 to 1 as 'accuracy' of 'test', found \"high\"": lambda m: m["test"].update(accuracy="high"),
    "expected an object as 'test', found none": lambda m: m.pop("test"),
    "expected an object as 'test', found \\[1\\]": lambda m: m.update(test=[1]),
    "expected a whole number as 'parameters'": lambda m: m.update(parameters="many"),
    "expected a whole number as 'epochs', found true": lambda m: m.update(epochs=True),
    "expected the two ends of 'accuracy'": lambda m: m["intervals"].update(accuracy=[0.5]),
    "expected a number as 'precision', found none": lambda m: m["per_class"][0].pop("precision"),
    "expected a SHA-256 as 'model_sha256'": lambda m: m.update(model_sha256="0"),
    "expected a number of test examples from 1": lambda m: m["test"].update(examples=0),
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_metrics_of_version_0_1_that_contradict_themselves_are_refused(message, run, capsys):
    metrics = unsealed(run.path, "metrics.json")
    assert card.main([str(run.path)]) == 0
    CONTRADICTIONS[message](metrics)
    run.metrics_file.write_text(json.dumps(metrics))
    with pytest.raises(UsageError, match=f"metrics.json is damaged: .*{message}"):
        run.read_metrics()


WRONG = {
    "--seed: expected an integer, received 'x'": lambda c: c["config"].update(seed="x"),
    "there is no option 'sed'; did you mean 'seed'": lambda c: c["config"].update(sed=1),
    "--set: expected values by name, received \\[\\]": lambda c: c["config"].update(settings=[]),
    "expected 'settings' in 'config'": lambda c: c["config"].pop("settings"),
    "--seed: expected a value from": lambda c: c["config"].update(seed=-1),
    "expected an object as 'data'": lambda c: c.update(data=3),
    "expected one of image, .* as 'kind'": lambda c: c["data"].update(kind="smell"),
    "expected a list of whole numbers as 'input_shape'": lambda c: c["data"].update(input_shape=["8"]),
    "expected sizes from 1 as 'input_shape'": lambda c: c["data"].update(input_shape=[8, 0, 1]),
    "expected a list of texts as 'class_names'": lambda c: c["data"].update(class_names=[1, 2]),
    "expected texts as 'command'": lambda c: c.update(command=[1]),
}


@pytest.mark.parametrize("message", WRONG)
def test_values_of_the_wrong_type_in_the_config_are_named(message, run):
    stored = unsealed(run.path, "config.json")
    WRONG[message](stored)
    run.config_file.write_text(json.dumps(stored))
    with pytest.raises(UsageError, match=f"config.json is damaged: .*{message}"):
        run.read_metrics()


@pytest.mark.parametrize("content", [b"epoch,loss\n0,0.6\n", b"epoch,loss\n0\n", b"\xff", None])
def test_a_history_that_was_altered_is_refused(content, run):
    assert run.read_history() == [{"epoch": "0", "loss": "0.5"}]
    run.history_file.unlink() if content is None else run.history_file.write_bytes(content)
    with pytest.raises(UsageError, match="history.csv"):
        run.read_history()


@pytest.mark.parametrize(("old", "new", "message"), [
    ("0.5,", "0.6,", "the interval in row 2 is not the one"),
    ("0.5,", "high,", "is damaged: could not convert"),
    ("accuracy", "precision", "expected the columns"),
])  # fmt: skip
def test_groups_that_contradict_themselves_are_refused(old, new, message, run, capsys):
    rows = groups.measured({"pen": ["ink"] * 10 + ["lead"] * 10}, [True] * 15 + [False] * 5)
    groups.write(run.groups_file, "digits", "test", rows)
    assert card.main([str(run.path)]) == 0
    run.groups_file.write_text(run.groups_file.read_text().replace(old, new, 1))
    assert card.main([str(run.path)]) == 2
    err = capsys.readouterr().err
    assert "groups.csv is damaged" in err and message in err
