"""Detection of anomalies: what is trained on, how errors become answers, and what the commands say."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import blobs
from zoo import evaluate, predict
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Split, load
from zoo.models.autoencoder import Autoencoder
from zoo.objectives.losses import Reconstruction
from zoo.runs.folder import RunFolder
from zoo.tasks import anomaly
from zoo.training.loop import train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with features of two normal classes and one other."""
    folder = tmp_path_factory.mktemp("anomalies")
    random = np.random.default_rng(0)
    base = random.normal(size=(3, 8))
    y = np.arange(600) % 3
    x = (base[:2].repeat(2, 0)[y % 2] + 0.1 * random.normal(size=(600, 8))) * [1, 1, 1, 1, 100, 100, 1, 1]
    x[y == 2] += random.normal(0, 3, (200, 8)) * [1, 1, 1, 1, 100, 100, 1, 1]
    names = np.array(["good", "fine", "odd"])
    np.savez(folder / "x.npz", x=x.astype("float32"), y=names[y])
    return folder


def config(place, **options):
    settings = {"units": (16,), "code": 3}
    return TrainConfig(
        model="autoencoder", task="anomaly", data=place / "x.npz", settings=settings, normal_class=("good", "fine"),
        epochs=15, batch_size=16, learning_rate=1e-2, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(place):
    return train(config(place, output=place / "run", false_alarm_rate=0.05), verbose=False)


def test_training_and_validation_have_normal_examples_alone(place):
    data = load(config(place).resolved())
    names = np.array(data.spec.class_names)
    assert set(names[data.train.y]) | set(names[data.validation.y]) == {"good", "fine"}
    assert (names[data.test.y] == "odd").sum() == 200 and len(data.train) + len(data.validation) + len(data.test) == 600
    assert data.spec.normal == ("good", "fine") and data.spec.false_alarm_rate == 0.01
    np.testing.assert_allclose(data.spec.mean, data.train.x.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(data.spec.std, data.train.x.std(0), rtol=1e-4)
    assert "anomalies are in the test split alone" in data.reading.warning()


def pictures(folder, **counts):
    """Write pictures into folders; `split__class=count`, or `class=count`."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        place = folder.joinpath(*name.split("__"))
        place.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(place / f"{number}.png")
    return folder


def of_pictures(folder):
    return load(TrainConfig(model="autoencoder", task="anomaly", data=folder).resolved())


def test_other_classes_may_be_in_the_test_split_alone(tmp_path):
    """As in MVTec AD, where the class to train on has any name."""
    data = of_pictures(pictures(tmp_path, train__plain=20, test__plain=5, test__scratch=4, test__dent=3))
    assert data.spec.normal == ("plain",) and data.spec.class_names == ("dent", "plain", "scratch")
    names = np.array(data.spec.class_names)
    assert len(data.train) + len(data.validation) == 20 and set(names[data.train.y]) == {"plain"}
    assert dict(zip(*np.unique(names[data.test.y], return_counts=True), strict=True)) == {
        "plain": 5, "scratch": 4, "dent": 3,
    }  # fmt: skip


def test_a_folder_of_normal_examples_alone_is_learnt_from(tmp_path):
    data = of_pictures(pictures(tmp_path, parts=30))
    assert data.spec.normal == ("parts",) and len(data.train) + len(data.validation) + len(data.test) == 30
    assert "there is no other" in data.reading.warning()


def test_several_classes_to_train_on_need_a_normal_one(tmp_path):
    folder = pictures(tmp_path, train__a=6, train__b=6, test__c=3)
    with pytest.raises(UsageError, match="--normal-class: expected the name of the class to train on, one of a, b, c"):
        of_pictures(folder)
    with pytest.raises(UsageError, match="expected a folder for each of one or more classes, received 0"):
        of_pictures(pictures(tmp_path, none__empty=0) / "none" / "empty")


def test_a_classifier_still_wants_two_classes(tmp_path):
    with pytest.raises(UsageError, match="expected a folder for each of two or more classes, received 1"):
        load(TrainConfig(model="cnn", data=pictures(tmp_path, parts=6)).resolved())


def test_the_normal_class_is_found_by_its_name_or_asked_for(place):
    plain = TrainConfig(model="autoencoder", task="anomaly", data=place / "x.npz").resolved()
    data = load(plain)
    assert data.spec.normal == ("good",)
    assert "class 'good' is taken for normal, fine, odd for anomalies (--normal-class)" in data.reading.warning()
    with pytest.raises(UsageError, match="--normal-class 'godo'.*did you mean 'good'"):
        load(TrainConfig(model="autoencoder", task="anomaly", data=place / "x.npz", normal_class=("godo",)).resolved())
    np.savez(place / "named.npz", x=np.zeros((40, 3), "float32"), y=np.array(["left", "right"] * 20))
    with pytest.raises(UsageError, match="--normal-class: expected the name of the class to train on, one of left, ri"):
        load(TrainConfig(model="autoencoder", task="anomaly", data=place / "named.npz").resolved())


def test_a_named_test_split_stays_and_anomalies_elsewhere_are_left_out(tmp_path):
    x, y = blobs(90, (6,))
    arrays = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    np.savez(tmp_path / "s.npz", **{name: a.astype("float32") if "x" in name else a for name, a in arrays.items()})
    data = load(TrainConfig(model="autoencoder", task="anomaly", data=tmp_path / "s.npz").resolved())
    assert len(data.test) == 30 and len(data.train) + len(data.validation) == 20
    assert data.reading.left_out == {"that are anomalous, of splits other than test": 40}


def test_scores_are_mean_squared_errors_of_standardised_inputs(run, place):
    data = load(config(place).resolved())
    model, x = run.model, data.test.x
    z = (x.astype(np.float64) - data.spec.mean) / data.spec.std
    expected = np.square(z - np.asarray(model(x))).mean(1)
    np.testing.assert_allclose(anomaly.errors(model, data.test), expected, rtol=1e-4)
    loss = Reconstruction(data.spec.mean, data.spec.std)
    assert float(loss(x, model(x))) == pytest.approx(expected.mean(), rel=1e-4)
    assert run.metrics["test"]["auc"] > 0.99


def test_the_threshold_lets_the_stated_share_of_validation_examples_through(run, place):
    data = load(config(place).resolved())
    limit = run.metrics["test"]["threshold"]
    above = (anomaly.errors(run.model, data.validation) > limit).mean()
    assert above <= 0.05 and above > 0.05 - 1.01 / len(data.validation)


@pytest.mark.slow
def test_answers_have_score_and_threshold(run, place, capsys):
    np.savez(place / "new.npz", x=np.load(place / "x.npz")["x"][:3])
    assert predict.main([str(run.run.path), str(place / "new.npz"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in rows] == ["normal", "normal", "anomalous"]
    assert all((row["score"] > row["threshold"]) == (row["label"] == "anomalous") for row in rows)
    assert predict.main([str(run.run.path), str(place / "new.npz")]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["input", "label", "score", "threshold"]


def test_evaluation_keeps_the_threshold_of_the_run(run, place, capsys):
    assert evaluate.main([str(run.run.path), "--data", str(place / "x.npz"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["threshold"] == run.metrics["test"]["threshold"] and found["auc"] > 0.99


def test_windows_with_an_anomalous_sample_are_anomalous(tmp_path):
    label = np.array(["normal"] * 200)
    label[150:153] = "fault"
    rows = [f"{np.sin(i / 3):.3f},{name}" for i, name in enumerate(label)]
    (tmp_path / "m.csv").write_text("\n".join(["v,label", *rows]))
    options = {"window": 10, "hop": 5, "label_column": "label", "task": "anomaly"}
    data = load(TrainConfig(model="autoencoder", data=tmp_path / "m.csv", **options).resolved())
    odd = data.test.x[anomaly.anomalies(data.spec, data.test)]
    assert len(odd) == 2  # the windows from 145 and from 150
    assert data.spec.class_names == ("fault", "normal")


def test_a_model_without_standardisation_reconstructs_its_input():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    x = np.random.default_rng(0).random((6, 4), "float32")
    found = anomaly.errors(model, Split(x, np.zeros(6, np.int32)))
    np.testing.assert_allclose(found, np.square(x - np.asarray(model(x))).mean(1), rtol=1e-5)


def test_a_run_without_a_threshold_is_refused(tmp_path):
    with pytest.raises(UsageError):
        anomaly.threshold_of(RunFolder(tmp_path))


def test_options_of_anomalies_are_refused_for_other_tasks(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((8, 3), "float32"), y=np.arange(8) % 2)
    with pytest.raises(UsageError, match="--normal-class: expected with --task anomaly"):
        load(TrainConfig(model="simplenet", data=tmp_path / "x.npz", normal_class=("0",)).resolved())


def test_an_autoencoder_is_saved_with_the_statistics_of_its_data(run):
    loaded = run.run.load_model()
    assert isinstance(loaded, Autoencoder) and len(loaded.mean) == 8 and max(loaded.std) > 50 * min(loaded.std)
