"""Contrastive runs, from images and captions to a report, in this process; their scores against slow references."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import blobs, run_module, stop_after
from zoo import evaluate, generate, predict, train
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted
from zoo.data import Captions, Split
from zoo.explain import __main__ as explain
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.runs.inference import probabilities
from zoo.sweep.comparison import accuracy_of
from zoo.tasks import contrastive
from zoo.tasks.contrastive import Embedded
from zoo.training.loop import train as fit

SMALL = {"filters": (4, 8), "pools": 1, "units": 16, "word_dim": 16, "embedding_dim": 8}
TRAINING = {"batch_size": 16, "learning_rate": 1e-2, "seed": 1, "epochs": 1}
RESUMED = {"settings": SMALL | {"dropout": 0.1}, "shift": 1, "epochs": 6, "early_stopping": 4, "checkpoint_every": 1,
           "deterministic": True}  # fmt: skip


def slow_recall(scores, answers, k):
    """The share of rows with an answer before the k-th wrong item that scores no less."""
    hits = []
    for row, wanted in zip(scores, answers, strict=True):
        best = max(row[i] for i in wanted)
        hits.append(sum(1 for i, value in enumerate(row) if i not in wanted and value >= best) < k)
    return np.mean(hits)


@pytest.mark.parametrize("head", ["cosine", "fusion"])
@pytest.mark.parametrize("by", ["class", "caption"])
def test_scores_are_those_of_loops(head, by, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(contrastive, "CELLS", 300)  # several chunks
    images, texts = (rng.integers(-2, 3, (n, 5)).astype("float32") for n in (40, 12))  # with many ties
    found = Embedded(images, texts, np.full(5, 0.5, "float32"), head)
    if by == "class":
        known = Captions(tuple("abcdefghijkl"), np.zeros((12, 1), "int32"), tuple((i, i + 4, i + 8) for i in range(4)))
        target = rng.integers(0, 4, 40)
        said = [known.of_class[t] for t in target]
        offered = list(range(12))
    else:
        known = Captions(tuple("abcdefghijkl"), np.zeros((12, 1), "int32"))
        said = [tuple(rng.choice(11, rng.integers(1, 4), replace=False)) for _ in range(40)]  # never the last
        target, offered = np.arange(40), sorted({i for row in said for i in row})
    y = np.full((40, 4), -1, "int32")
    for i, row in enumerate(said):
        y[i, : 1 + len(row)] = [target[i], *row]
    result = contrastive.scores(found, Split(images, y), SimpleNamespace(captions=known))
    every = np.array([[_score(a, b, head) for b in texts] for a in images.astype(float)])
    for k in (1, 5, 10):
        expected = slow_recall(every[:, offered], [[offered.index(c) for c in row] for row in said], k)
        assert result[f"image_to_caption_recall_at_{k}"] == pytest.approx(expected)
        of = [[i for i, row in enumerate(said) if c in row] for c in offered]
        assert result[f"caption_to_image_recall_at_{k}"] == pytest.approx(slow_recall(every[:, offered].T, of, k))
    assert 0 < result["image_to_caption_recall_at_1"] < 1 and result["answers_by"] == by
    if by == "caption":
        assert "zero_shot_accuracy" not in result
        return
    if head == "cosine":
        means = np.stack([texts[list(group)].astype(float).mean(0) for group in known.of_class])
        logits = images @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    else:
        logits = np.stack([every[:, list(group)].mean(1) for group in known.of_class], 1)
    assert result["zero_shot_accuracy"] == pytest.approx((logits.argmax(1) == target).mean())


def _score(a, b, head):
    return 0.5 * ((a * b).sum() if head == "cosine" else np.maximum(a + b, 0).sum())


def test_vectors_that_are_all_the_same_find_nothing():
    known = Captions(tuple("abcd"), np.zeros((4, 1), "int32"), ((0, 1), (2, 3)))
    y = np.array([[0, 0, 1], [1, 2, 3]] * 3, "int32")
    for value in (1.0, np.nan):
        found = Embedded(np.full((6, 3), value), np.full((4, 3), value), np.ones(3), "cosine")
        result = contrastive.scores(found, Split(y, y), SimpleNamespace(captions=known))
        assert result["image_to_caption_recall_at_1"] == result["caption_to_image_recall_at_1"] == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with 150 images of three classes with names, as arrays and with captions of their own."""
    folder = tmp_path_factory.mktemp("pairs")
    x, y = blobs(150, (10, 10))
    x = (x * 255).astype("uint8")
    np.savez(folder / "blobs.npz", x=x, y=y, class_names=["low", "middle", "high"])
    lines = []
    for i, (image, label) in enumerate(zip(x[:60], y[:60], strict=True)):
        Image.fromarray(image).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{['light below', 'light between', 'light above'][label]} in picture {i % 7}\n")
    (folder / "said.csv").write_text("image,caption\n" + "".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """The folder of a finished run, with what a careless resume forgets: dropout, moved images, early stopping."""
    fit(config(folder, folder / "run", **RESUMED), verbose=False)
    return folder / "run"


def config(folder, output, **values):
    common = {"model": "cross_modal", "data": folder / "blobs.npz", "settings": SMALL, **TRAINING, "output": output}
    return TrainConfig(**common | values)


def test_a_run_learns_which_caption_is_of_which_image(run, folder, capsys):
    test = RunFolder(run).read_metrics()["test"]
    assert test["zero_shot_accuracy"] == test["image_to_caption_recall_at_1"] == 1
    assert test["answers_by"] == "class" and 0 <= test["loss"] < 0.2
    assert accuracy_of({"zero_shot_accuracy": 0.5, "image_to_caption_recall_at_1": 0.4}) == 0.5
    page = (run / "report.html").read_text()
    for text in ("zero-shot accuracy", "recall@10, by class", "temperature", "Mean cosine of images and captions"):
        assert text in page
    assert (run / "confusion_matrix.csv").read_text().startswith("true \\ predicted,low,middle,high")
    assert (run / "vocabulary.json").is_file()
    assert evaluate.main([str(run), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {name: again[name] for name in test} == pytest.approx(test)
    assert evaluate.main([str(run), "--data", str(folder / "said.csv")]) == 0
    out = capsys.readouterr().out
    assert "answers_by         caption" in out and "zero_shot" not in out


def test_images_are_classified_by_any_text(run, folder, capsys):
    image, labels = str(folder / "0.png"), "a low,the HIGH,one zebra is low"
    assert predict.main([str(run), image, "--labels", labels, "--json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert row["label"] in ("a low", "one zebra is low")
    assert sum(entry["probability"] for entry in row["top"]) == pytest.approx(1)
    # By hand: the softmax of the scaled cosines.
    model, data = RunFolder(run).load_model(), fit_data(folder)
    x = np.asarray(Image.open(image), "float32")[None, ..., None] / 255
    ids = data.vocabulary.encode(labels.split(","), data.spec.target_shape[0])
    logits = np.asarray(model.encode_image(x)) @ np.asarray(model.encode_text(ids)).T * np.exp(model.log_scale)
    expected = probabilities(logits)[0]
    found = {entry["label"]: entry["probability"] for entry in row["top"]}
    assert [found[label] for label in labels.split(",")] == pytest.approx(expected.tolist(), abs=1e-5)
    assert "2 of 4 tokens are not in the run's vocabulary" in err
    assert predict.main([str(run), image, str(folder / "blobs.npz")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1] for row in rows[::3]] == ["low"] + [["low", "middle", "high"][i % 3] for i in range(150)]


def fit_data(folder):
    from zoo.data import load

    return load(TrainConfig(model="cross_modal", data=folder / "blobs.npz").resolved())


@pytest.mark.parametrize(("words", "message"), [
    ((predict, "{image}", "--labels", "a low"), "--labels: expected two or more texts separated by commas, received 1"),
    ((predict, "{image}", "--labels", "a low,a low"), "--labels: expected every text once, received 'a low'"),
    ((predict, "{image}", "--labels", "a low,zebra"), "--labels 'zebra': expected a text with words of the run's voc"),
    ((predict, "none.png"), "INPUT none.png: expected a file, found none"),
    ((predict, "{image}", "--top", "0"), "--top: expected at least 1, received 0"),
    ((generate, "a text"), "this one gives captions; use zoo.predict"),
    ((explain, "{image}"), "expected a run that gives classes or texts, this one is for contrastive"),
])  # fmt: skip
def test_mistakes_are_one_sentence(words, message, run, folder, capsys):
    command, *rest = words
    assert command.main([str(run), *(word.format(image=folder / "0.png") for word in rest)]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert message in err[-1] and len([line for line in err if "expected" in line]) == 1


@pytest.mark.parametrize(("words", "message"), [
    (("--model", "cross_modal", "--dataset", "addition"), "learns contrastive, and addition is for translation"),
    (("--model", "cross_modal", "--task", "classification"), "learns contrastive, and digits is for classification"),
    (("--model", "cnn", "--task", "contrastive"), "and digits is for contrastive; models for"),
    (("--model", "cross_modal", "--set", "head=dot"), "--set head: expected one of cosine, fusion, received 'dot'"),
    (("--model", "cross_modal", "--batch-size", "1"), "--batch-size 1: expected 2 or more for contrastive"),
    (("--model", "cross_modal", "--caption-templates", "photo"), "each with one {} for the name of the class"),
    (("--model", "cross_modal", "--label-smoothing", "0.1"), "--label-smoothing 0.1: expected 0 for contrastive"),
    (("--model", "cross_modal", "--class-weights", "balanced"), "--class-weights balanced: expected data with classes"),
])  # fmt: skip
def test_trainings_that_cannot_be_are_refused(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main([*words, "--epochs", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_that_resumes_has_the_same_bits(folder, run, tmp_path):
    with pytest.raises(Interrupted):
        fit(config(folder, tmp_path / "broken", **RESUMED), callbacks=[stop_after(9)], verbose=False)
    again = fit(config(folder, tmp_path / "broken", resume=True, **RESUMED), verbose=False)
    ours, theirs = (checkpoints.newest(place / "checkpoints")[0] for place in (tmp_path / "broken", run))
    np.testing.assert_equal(ours.arrays, theirs.arrays)
    assert (tmp_path / "broken" / "history.csv").read_bytes() == (run / "history.csv").read_bytes()
    assert again.metrics["test"] == RunFolder(run).read_metrics()["test"]


@pytest.mark.slow
def test_another_training_begins_with_both_towers_and_the_vocabulary(folder, run, tmp_path, capsys):
    x, y = blobs(60, (10, 10))
    np.savez(tmp_path / "more.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "heaven"])
    words = {"data": tmp_path / "more.npz", "init_from": run, "freeze": ("image",)}
    begun = fit(config(folder, tmp_path / "begun", **words))
    err = capsys.readouterr().err
    assert "have words that are not in the reused vocabulary" in err and "'heaven'" in err
    before, after = RunFolder(run).load_model(), begun.model
    np.testing.assert_array_equal(before.image.hidden.kernel, after.image.hidden.kernel)
    assert np.abs(np.asarray(before.text_hidden.kernel) - np.asarray(after.text_hidden.kernel)).max() > 0
    assert (tmp_path / "begun" / "vocabulary.json").read_bytes() == (run / "vocabulary.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["cosine", "fusion"])
def test_two_replicas_train_like_one(head, folder, tmp_path):
    """Losses, weights and validation: the captions of each replica are compared with the images of both."""
    options = {"settings": SMALL | {"head": head}, "optimizer": "sgd", "learning_rate": 0.5}
    one = fit(config(folder, tmp_path / "one", **options), verbose=False)
    mirrored = {"strategy": "mirrored", "virtual_devices": 2}
    two = fit(config(folder, tmp_path / "two", **options, **mirrored), verbose=False)
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for ours, theirs in zip(one.history, two.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert one.history[0]["val_loss"] != pytest.approx(one.history[0]["loss"], abs=0.01)


@pytest.mark.slow
def test_a_run_on_captions_of_its_own(folder, tmp_path, capsys):
    run = tmp_path / "run"
    words = {"data": folder / "said.csv", "settings": SMALL | {"head": "fusion"}}
    test = fit(config(folder, run, **words), verbose=False).metrics["test"]
    assert test["answers_by"] == "caption" and "temperature" not in test and test["examples"] == 12
    assert accuracy_of(test) == test["image_to_caption_recall_at_1"] and not (run / "confusion_matrix.csv").exists()
    assert "captions rank above its own" in (run / "report.html").read_text()
    capsys.readouterr()
    assert predict.main([str(run), str(folder / "0.png")]) == 2
    assert "--labels: expected texts to choose from, as this run has captions and no" in capsys.readouterr().err
    assert predict.main([str(run), str(folder / "0.png"), "--labels", "light below,light above", "--top", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert evaluate.main([str(run), "--data", str(folder / "blobs.npz")]) == 2
    assert "expected a table of images and captions, as the run was trained on" in capsys.readouterr().err


WAYS = {
    "multi_worker": (
        "strategies.launch",
        "--workers",
        "2",
        "--",
        "python",
        "-m",
        "zoo.train",
        "--strategy",
        "multi_worker",
    ),
    "data_parallel": ("zoo.train", "--strategy", "data_parallel", "--virtual-devices", "2"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
def test_workers_and_devices_of_jax_train_like_one(way, folder, run, tmp_path, monkeypatch):
    """From the same weights, on the same engine; 12 validation images and batches that both share."""
    words = ["--model", "cross_modal", "--data", folder / "blobs.npz", "--init-from", run, "--optimizer", "sgd"]
    words += ["--learning-rate", "0.1", "--epochs", "2", "--batch-size", "16", "--seed", "1"]
    words += [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}".replace(" ", ""))]
    monkeypatch.setenv("KERAS_BACKEND", "jax" if way == "data_parallel" else "tensorflow")
    run_module("zoo.train", *words, "--output", tmp_path / "one", cwd=tmp_path, check=0, timeout=500)
    run_module(*WAYS[way], *words, "--output", tmp_path / "two", cwd=tmp_path, check=0, timeout=500)
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    assert two.read_config()["config"].strategy == way
    for a, b in zip(one.load_model().get_weights(), two.load_model().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    ours, theirs = (np.genfromtxt(each.history_file, delimiter=",", names=True) for each in (one, two))
    assert ours.dtype.names == theirs.dtype.names and "val_loss" in ours.dtype.names
    for name in ours.dtype.names:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-5, err_msg=name)
    assert one.read_metrics()["test"] == pytest.approx(two.read_metrics()["test"], abs=2e-5)
