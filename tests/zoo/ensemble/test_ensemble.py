"""Ensembles compared with numpy's mean of probabilities, in Keras and in the file, and refused combinations."""

import inspect
import json
import shutil

import keras
import numpy as np
import pytest

from compression import compress
from tests.conftest import blobs, unsealed
from zoo import calibrate, evaluate, predict, train
from zoo.config import registry
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, Split
from zoo.ensemble import __main__ as ensemble
from zoo.ensemble import ensembling
from zoo.explain import __main__ as explain
from zoo.models import CNN, Ensemble, SimpleNet
from zoo.runs.folder import RunFolder
from zoo.runs.inference import probabilities

SHAPE = (12, 12, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder of runs on images with 10 % wrong labels, and of runs that cannot be combined."""
    place = tmp_path_factory.mktemp("ensembles")
    x, y = blobs(600, SHAPE[:2])
    rng = np.random.default_rng(1)
    x = np.uint8(255 * np.clip(x + rng.normal(0, 0.8, x.shape), 0, 1))
    y = np.where(rng.random(len(y)) < 0.15, rng.integers(0, 3, len(y)), y)
    np.savez(place / "hard.npz", x=x, y=y)
    for name, model, more in (
        ("a", "simplenet", "--set units=6 --seed 1"),
        ("b", "simplenet", "--set units=6 --seed 2"),
        ("c", "cnn", "--set filters=4,4 --set pools=1 --set units=6 --set dropout=0 --seed 3"),
    ):
        words = f"--model {model} --data {place}/hard.npz --epochs 3 --batch-size 16 --learning-rate 0.01 {more}"
        assert train.main([*words.split(), "--output", str(place / name)]) == 0
    for name, changes in {"blind": {"validation_split": 0.0}, "blinder": {"validation_split": 0.0}}.items():
        _copy(place, "a" if name == "blind" else "b", name, config=changes)
    _copy(place, "b", "names", data={"class_names": ["high", "low", "middle"]})
    _copy(place, "b", "translates", data={"task": "translation"})
    _copy(place, "b", "larger", data={"input_shape": [14, 14, 1]})
    _copy(place, "b", "padded", data={"fit": "pad"})
    _copy(place, "b", "earlier")  # of data of which other examples were test examples
    known = dict(np.load(place / "b" / "examples.npz"))
    other = {"train": "test", "test": "train"}
    swapped = {".".join([other.get(part, part) for part in name.split(".")]): known[name] for name in known}
    np.savez(place / "earlier" / "examples.npz", **swapped)
    _copy(place, "b", "grouped", config={"group": "([ab])"})
    _copy(place, "b", "hub", config={"model": "hub_classifier", "settings": {"preset": "x"}})
    _copy(place, "a", "again")
    _copy(place, "b", "half")
    (place / "half" / "metrics.json").unlink()
    return place


def _copy(place, source, name, **changes):
    shutil.copytree(place / source, place / name)
    file = place / name / "config.json"
    stored = unsealed(file.parent, file.name)
    for key, values in changes.items():
        stored[key] |= values
    file.write_text(json.dumps(stored))


def made(place, words, output, command=ensemble):
    """Run a command on the runs in `place` and return the folder it wrote."""
    assert command.main([*words.format(place=place).split(), "--output", str(place / output)]) == 0
    return RunFolder(place / output)


@pytest.fixture(scope="module")
def soft(place):
    return made(place, "{place}/a {place}/b {place}/c", "soft")


def mean_of_members(place, x, names="abc", weights=None):
    """Return the mean of the members' probabilities, computed by numpy."""
    answers = [probabilities(np.asarray(RunFolder(place / name).load_model()(x))) for name in names]
    return np.average(answers, axis=0, weights=weights)


def images(place):
    return np.load(place / "hard.npz")["x"][:40, ..., None].astype("float32") / 255


def test_soft_voting_is_numpys_mean_in_keras_and_in_the_file(place, soft, capsys):
    from ai_edge_litert.interpreter import Interpreter

    x = images(place)
    expected = mean_of_members(place, x)
    np.testing.assert_allclose(probabilities(np.asarray(soft.load_model()(x))), expected, atol=1e-6)
    assert compress.main([str(soft.path), "--recipe", "float32", "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    interpreter = Interpreter(receipt["path"])
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in x:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(gives["index"])[0])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert receipt["test"]["litert"]["accuracy"] == soft.read_metrics()["test"]["accuracy"]


def test_the_other_commands_accept_the_run_of_an_ensemble(place, soft, capsys):
    metrics = soft.read_metrics()
    assert [row["run"].rpartition("/")[2] for row in metrics["members"]] == ["a", "b", "c"]
    for row in metrics["members"]:
        theirs = RunFolder(place / row["run"].rpartition("/")[2]).read_metrics()
        assert (row["test_accuracy"], row["share"]) == (theirs["test"]["accuracy"], pytest.approx(1 / 3))
        assert row["validation_accuracy"] == pytest.approx(theirs["validation"]["accuracy"])
    assert metrics["parameters"] == sum(
        RunFolder(place / name).read_metrics()["parameters"] for name in ("a", "b", "c")
    )
    assert soft.reliability_file.is_file()
    assert "Calibration on the test split" in soft.report_file.read_text()
    capsys.readouterr()
    assert evaluate.main([str(soft.path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {key: again[key] for key in metrics["test"]} == metrics["test"]
    assert predict.main([str(soft.path), str(place / "hard.npz"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = mean_of_members(place, images(place))
    for row, p in zip(rows, expected, strict=False):
        assert (row["label"], row["probability"]) == (str(p.argmax()), pytest.approx(p.max(), abs=1e-5))
    assert explain.main([str(soft.path), "test:0"]) == 0


def test_an_ensemble_teaches(place, soft, capsys):
    recipe = f"distill({soft.path}, epochs=1) + float32"
    assert compress.main([str(place / "a"), "--recipe", recipe, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"]["recipe"].startswith("distill(")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dynamic", "int8", "prune(0.3, epochs=1) + dynamic", "qat(epochs=1) + int8",
                                    "channels(0.2, epochs=1) + int8"])  # fmt: skip
def test_an_ensemble_is_shrunk_as_one_file(recipe, soft, capsys):
    assert compress.main([str(soft.path), "--recipe", recipe, "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["parity"]["same_answer"] >= 0.95
    assert receipt["test"]["litert"]["accuracy"] == pytest.approx(soft.read_metrics()["test"]["accuracy"], abs=0.1)


def test_given_weights_are_numpys_weighted_mean_and_a_weight_of_0_leaves_a_member_out(place):
    run = made(place, "{place}/a {place}/b {place}/c --method weighted --weights 3,0,1", "weighted")
    x = images(place)
    expected = mean_of_members(place, x, "ac", (0.75, 0.25))
    model = run.load_model()
    np.testing.assert_allclose(probabilities(np.asarray(model(x))), expected, atol=1e-6)
    assert [member.name for member in model.members] == ["member_1", "member_3"]
    assert [row["share"] for row in run.read_metrics()["members"]] == [0.75, 0, 0.25]


def test_fitted_weights_are_those_of_the_mixture_that_labels_were_drawn_from():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (3, 20_000, 4))
    mixture = np.average(probabilities(logits), axis=0, weights=(0.6, 0.4, 0))
    y = (mixture.cumsum(-1) > rng.random((len(mixture), 1))).argmax(-1)
    found = ensembling.fitted_weights(logits, y)
    np.testing.assert_allclose(found, (0.6, 0.4, 0), atol=0.02)
    assert sum(found) == pytest.approx(1)

    def loss(weights):
        p = np.average(probabilities(logits), axis=0, weights=weights)
        return -np.log(p[np.arange(len(y)), y]).mean()

    steps = np.array([[a, b, -a - b] for a in (-0.01, 0, 0.01) for b in (-0.01, 0, 0.01)])
    around = [loss(w) for w in np.array(found) + steps if min(w) >= 0]
    assert min(around) == pytest.approx(loss(found), abs=1e-7)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_stack_is_logistic_regression_on_log_probabilities(classes):
    from sklearn.linear_model import LogisticRegression

    models = [_small(seed, classes) for seed in (0, 1)]
    rng = np.random.default_rng(0)
    x, y = rng.random((60, *SHAPE), dtype="float32"), np.arange(60) % classes
    logits = np.stack([np.asarray(model(x)) for model in models])
    stack = ensembling.stacked(models, ensembling.Answers(logits, y, logits))
    features = np.concatenate([np.log(probabilities(each)) for each in logits], -1)
    truth = LogisticRegression(C=ensembling.HEAD_C, max_iter=1000).fit(features, y).predict_proba(features)
    np.testing.assert_allclose(probabilities(np.asarray(stack(x))), truth, atol=1e-5)
    with pytest.raises(UsageError, match=f"of every class, found none for 1 of {classes} classes .the first is 1"):
        ensembling.stacked(models, ensembling.Answers(logits, np.where(y == 1, 0, y), logits))


def test_stacking_learns_whom_to_trust(place):
    run = made(place, "{place}/a {place}/b {place}/c --method stacking --calibrate", "stack")
    model = run.load_model()
    assert model.head.units == 3
    assert model.temperature != 1
    assert run.read_metrics()["test"]["accuracy"] > 0.6
    assert run.read_metrics()["members"][0]["share"] is None


def _small(seed, classes=3, **more):
    keras.utils.set_random_seed(seed)
    model = CNN(classes, filters=(3,), pools=1, units=4, batch_norm=True, **more)
    model.build((None, *SHAPE))
    for variable in model.non_trainable_variables:
        if "moving" in variable.path:
            variable.assign(np.random.default_rng(seed).uniform(0.5, 1.5, variable.shape))
    return model


def test_a_soup_is_the_mean_of_weights_and_of_one_model_itself():
    first, second = _small(0), _small(1)
    for of_same, model in zip(ensembling.averaged([first] * 3).get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(of_same, model)
    soup = ensembling.averaged([first, second])
    for mixed, a, b in zip(soup.get_weights(), first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(mixed, (a + b) / 2, rtol=1e-6)
    wider = CNN(3, filters=(5,), pools=1, units=4, batch_norm=True)
    wider.build((None, *SHAPE))
    with pytest.raises(
        UsageError, match=r"RUN 2: expected weights of the same shapes as the first run .*, \S+ has shape \("
    ):
        ensembling.check_same_weights([first, wider])


def test_a_greedy_soup_leaves_out_who_does_harm(place):
    good = RunFolder(place / "a").load_model()
    near = ensembling.averaged([good])
    near.set_weights([w * 1.0001 for w in near.get_weights()])
    spoiled = ensembling.averaged([good])
    rng = np.random.default_rng(0)
    spoiled.set_weights([rng.normal(0, 9, w.shape) for w in spoiled.get_weights()])
    x = np.load(place / "hard.npz")
    split = Split(x["x"][:200, ..., None], x["y"][:200])
    data = Dataset(DataSpec("hard", "image", SHAPE, ("0", "1", "2")), split, split, split)
    models = [spoiled, good, near]
    logits = np.stack([ensembling.logits_of(model, split) for model in models])
    assert ensembling.greedy(models, ensembling.Answers(logits, split.y, logits), data) == [1, 2]


def test_a_soup_is_a_plain_run_of_the_members_model(place):
    run = made(place, "{place}/a {place}/b --method soup", "soup")
    assert isinstance(run.load_model(), SimpleNet)
    assert run.read_config()["config"].model == "simplenet"
    assert [row["share"] for row in run.read_metrics()["members"]] == [0.5, 0.5]
    assert made(place, "{place}/a {place}/b --method greedy_soup", "greedy").read_metrics()["method"] == "greedy_soup"


def test_a_calibrated_copy_gives_the_same_classes_at_the_fitted_temperature(place):
    run = made(place, "{place}/c", "cool", calibrate)
    metrics, x = run.read_metrics(), images(place)
    logits = np.asarray(RunFolder(place / "c").load_model()(x))
    temperature = metrics["calibration"]["temperature"]
    np.testing.assert_allclose(np.asarray(run.load_model()(x)), logits / temperature, rtol=1e-5)
    theirs = RunFolder(place / "c").read_metrics()
    assert metrics["test"]["accuracy"] == theirs["test"]["accuracy"]
    assert metrics["calibration"]["test_before"]["nll"] == pytest.approx(theirs["test"]["loss"])
    assert metrics["calibration"]["test"]["nll"] == pytest.approx(metrics["test"]["loss"])
    assert metrics["validation"]["loss"] < theirs["validation"]["loss"]
    # A second temperature, fitted on top of the first, is 1, because the first is already optimal.
    again = made(place, "{place}/cool", "cooler", calibrate)
    assert again.read_metrics()["calibration"]["temperature"] == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def rows(place):
    """Runs on the rows of a table, with other columns each."""
    a, b = np.random.default_rng(0).normal(size=(2, 160)).round(6)
    lines = [f"{x},{y},{'up' if x + y > 0 else 'down'}" for x, y in zip(a, b, strict=True)]
    (place / "rows.csv").write_text("\n".join(["a,b,kind", *lines]))
    words = f"--model tabular --data {place}/rows.csv --task classification --target-column kind --epochs 1"
    for name, columns in (("a", "a"), ("b", "b")):
        more = ["--columns", columns, "--output", str(place / f"rows_{name}")]
        assert train.main([*words.split(), *more]) == 0
    return place


def test_a_classifier_of_rows_is_calibrated(rows, capsys):
    run = made(rows, "{place}/rows_a", "cool_rows", calibrate)
    before = RunFolder(rows / "rows_a").read_metrics()["test"]
    assert run.read_metrics()["test"]["accuracy"] == before["accuracy"]
    assert predict.main([str(run.path), "a=2"]) == 0
    assert "up" in capsys.readouterr().out
    assert evaluate.main([str(run.path), "--data", str(rows / "rows.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seen_in_training"] == 115
    assert ensemble.main([str(rows / "rows_a"), str(rows / "rows_b"), "--output", str(rows / "none")]) == 2
    assert "expected the same inputs as" in capsys.readouterr().err


MISTAKES = {
    "{place}/a": "RUN: expected two or more runs, or one with snapshots .*, received only .*/a",
    "{place}/a {place}/again": "RUN .*/again: expected different models, .*/a is the same model",
    "{place}/a {place}/a": "RUN .*/a: expected different models, .*/a is the same model",
    "{place}/a {place}/half": "half: this run has not finished; continue it with --resume",
    "{place}/a {place}/absent": "absent: expected the folder of a run, found no such folder",
    "{place}/a {place}/translates": "RUN .*: expected a classification run, this one is for translation",
    "{place}/a {place}/hub": "RUN .*/hub: expected a model of the zoo, hub_classifier is one of KerasHub",
    "{place}/a {place}/larger": "RUN .*: expected the same input shape as .*/a, 12, 12, 1, received 14, 14, 1",
    "{place}/a {place}/padded": "RUN .*: expected the same fit as .*/a, crop, received pad",
    "{place}/a {place}/earlier": "RUN .*/earlier: expected the same splits .* it was trained on 120 of the 120 test",
    "{place}/a {place}/grouped": "RUN .*: expected the same splits as .*/a.*; --group was None for the first run and",
    "{place}/a {place}/names": "RUN .*: expected the same class names as .*/a, 0, 1, 2, received high, low, middle",
    "{place}/a {place}/blinder":
        "RUN .*: expected the same splits as .*; --validation-split was 0.1 for the first run and 0.0 for this one",
    "{place}/a {place}/b --weights 1,2": "--weights 1,2: expected with --method weighted, received with soft",
    "{place}/a {place}/b --method weighted --weights 1,2,3":
        "--weights 1,2,3: expected one for each of the 2 members, received 3",
    "{place}/a {place}/b --method weighted --weights 1,-2": "--weights 1,-2: expected numbers of at least 0",
    "{place}/a {place}/b --method weighted --weights 0,0": "--weights 0,0: expected .*, one of them above 0",
    "{place}/a {place}/b --method stack": "--method: expected one of soft, .* 'stack'; did you mean 'stacking'",
    "{place}/a {place}/c --method soup":
        "RUN .*/c: expected the same model as .*/a to average .*, simplenet, received cnn",
    "{place}/a {place}/b --method soup --calibrate":
        "--calibrate: expected with --method soft, .* use python -m zoo.calibrate",
    "{place}/blind {place}/blinder --method stacking": "--method stacking: expected validation examples to fit to",
    "{place}/blind {place}/blinder --method greedy_soup": "--method greedy_soup: expected validation examples",
    "{place}/blind {place}/blinder --calibrate": "--calibrate: expected validation examples to fit to",
    "{place}/a {place}/b --output {place}/a": "--output .*/a: expected a new or empty folder, this one holds a run",
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_invalid_combinations_are_refused_in_one_sentence(mistake, place, capsys, tmp_path, monkeypatch):
    import re

    monkeypatch.chdir(tmp_path)
    assert ensemble.main(mistake.format(place=place).split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(MISTAKES[mistake], err), err
    assert not list(tmp_path.rglob("*.json"))


def test_no_training_makes_an_ensemble(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--model", "ensemble"]) == 2
    assert (
        "--model ensemble: expected a model to train, but this model is made from trained runs"
        in capsys.readouterr().err
    )


def test_signature_read_from_source_is_the_constructors():
    real = inspect.signature(Ensemble.__init__).parameters
    read = registry.arguments("ensemble")
    assert list(read) == [name for name in real if name not in ("self", "kwargs")]


@pytest.mark.parametrize("arguments", [{"weights": (0.25, 0.75)}, {"head_units": 3, "temperature": 2.0}])
def test_saves_and_loads_with_other_arguments(arguments, tmp_path):
    model = Ensemble([_small(0), _small(1)], **arguments)
    model.build((None, *SHAPE))
    x = np.random.default_rng(0).random((4, *SHAPE), dtype="float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    plain, again = (json.loads(json.dumps(each.get_config())) for each in (model, loaded))  # lists for tuples
    assert again == plain
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"members": []}, "expected members, received none"),
    ({"weights": (1.0,)}, "expected 2 weights, one per member, received 1"),
    ({"weights": (0.5, 0.6)}, "expected weights of 0 or more that sum to 1"),
    ({"weights": (0.5, 0.5), "head_units": 3}, "expected weights or a head, received both"),
    ({"temperature": 0.0}, "expected a positive temperature, received 0.0"),
])  # fmt: skip
def test_members_and_weights_that_make_no_model_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**{"members": [_small(0), _small(1)], **arguments})
