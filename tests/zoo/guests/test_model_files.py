"""zoo.evaluate and zoo.predict of models of one's own, against the model's own predict."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from zoo import api, evaluate, predict
from zoo.console.errors import UsageError
from zoo.guests import model as guest
from zoo.isolation import passed
from zoo.system.files import sha256

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 12)).astype("float32")
Y = X[:, :3].argmax(1).astype("int32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model of classes, one of two outputs, one of images, and their data."""
    made = tmp_path_factory.mktemp("guests")
    keras.Sequential([keras.Input((12,)), layers.Dense(3, activation="softmax")]).save(made / "classes.keras")
    left, right = keras.Input((12,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([left, right])
    outputs = {"kind": layers.Dense(3, activation="softmax")(both), "size": layers.Dense(1)(both)}
    keras.Model({"left": left, "right": right}, outputs).save(made / "two.keras")
    image = keras.Input((4, 4, 1))
    keras.Model(image, layers.Dense(3)(layers.Flatten()(image))).save(made / "images.keras")
    np.savez(made / "data.npz", x_train=X, y_train=Y, x_test=X[:40], y_test=Y[:40])
    np.savez(made / "bare.npz", x_train=X, x_test=X)
    two = {"x_train.left": X, "x_train.right": X[:, :2], "y_train.kind": Y, "y_train.size": X[:, 0]}
    np.savez(made / "two.npz", **two, **{name.replace("train", "test"): array for name, array in two.items()})
    np.savez(made / "x.npz", x=X[:4], y=Y[:4])
    np.savez(made / "x_two.npz", **{"x.left": X[:2], "x.right": X[:2, :2]})
    Image.fromarray(RNG.integers(0, 256, (9, 7), dtype="uint8")).save(made / "picture.png")
    for file in made.glob("*.keras"):
        passed.remember(sha256(file))  # as of a training of this user; tests/zoo/isolation has the trial of others
    return made


def loaded(folder, name):
    return keras.saving.load_model(folder / f"{name}.keras")


def test_evaluate_measures_predict(folder, tmp_path, capsys):
    words = [str(folder / "classes.keras"), "--data", str(folder / "data.npz")]
    assert evaluate.main([*words, "--output", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = (loaded(folder, "classes").predict(X[:40], verbose=0).argmax(1) == Y[:40]).mean()
    assert found["accuracy"] == pytest.approx(expected) and found["examples"] == 40
    assert json.loads((tmp_path / "data-test.json").read_text())["accuracy"] == found["accuracy"]
    assert evaluate.main([*words, "--split", "train"]) == 0
    assert "60 examples" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.slow
def test_evaluate_measures_every_output(folder, capsys):
    assert evaluate.main([str(folder / "two.keras"), "--data", str(folder / "two.npz")]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert shown[0] == "kind.accuracy" and {"kind.f1", "size.rmse", "size.r2"} <= set(shown)
    assert "kind accuracy" in repr(api.evaluate(folder / "two.keras", data=folder / "two.npz"))


def test_predict_gives_classes_or_numbers(folder, capsys):
    p = loaded(folder, "classes").predict(X[:4], verbose=0)
    words = [str(folder / "classes.keras"), str(folder / "x.npz")]
    assert predict.main([*words, "--top", "2", "--labels", "a,b,c", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in rows] == ["abc"[i] for i in p.argmax(1)]
    assert rows[0]["top"][1]["probability"] == pytest.approx(float(np.sort(p[0])[1]), rel=1e-5)
    kinds = loaded(folder, "two").predict({"left": X[:2], "right": X[:2, :2]}, verbose=0)
    rows = api.predict(folder / "two.keras", folder / "x_two.npz")
    assert [row["output"] for row in rows] == ["kind", "size"] * 2
    assert rows[2]["label"] == str(kinds["kind"][1].argmax())
    assert rows[3]["values"] == pytest.approx(kinds["size"][1].tolist(), rel=1e-5)


def test_predict_brings_images_into_the_size_and_the_range(folder, tmp_path):
    from zoo.data import images

    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    model, options = folder / "images.keras", {"labels": (str(tmp_path / "names.txt"),), "input_range": (-1.0, 1.0)}
    (row,) = api.predict(model, folder / "picture.png", top=3, **options)
    pixels = images.decode(folder / "picture.png", (4, 4), 1)[None] / 127.5 - 1
    logits = loaded(folder, "images").predict(pixels, verbose=0)[0]
    assert [each["label"] for each in row["top"]] == [("one", "two", "three")[i] for i in logits.argsort()[::-1]]


def test_models_and_arrays_in_memory(folder):
    model = loaded(folder, "classes")
    expected = model.predict(X, verbose=0)
    assert api.evaluate(model, data={"train": (X, Y), "test": (X, Y)})["accuracy"] == (expected.argmax(1) == Y).mean()
    assert api.predict(model, X).labels == [str(i) for i in expected.argmax(1)]
    rows = api.predict(loaded(folder, "two"), {"left": X[:2], "right": X[:2, :2]})
    assert [row["input"] for row in rows] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        (evaluate, ["classes.keras"], "expected data beside a model file"),
        (evaluate, ["absent.keras", "--data", "data.npz"], "expected a model file, found none"),
        (evaluate, ["classes.keras", "--data", "data.npz", "--groups", "g.csv"], "--groups: expected with a run"),
        (predict, ["images.keras", "picture.png"], "--input-range: expected LOW,HIGH"),
        (predict, ["classes.keras", "absent.npz"], "expected a file, found none"),
        (predict, ["classes.keras", "x.npz", "--text-column", "a"], "--text-column: expected with a run"),
        (predict, ["classes.keras", "x.npz", "--input-range", "1,0"], "expected LOW,HIGH with LOW below HIGH"),
    ],
)
def test_mistakes_are_found_before_work(command, words, expected, folder, capsys, monkeypatch):
    monkeypatch.setattr(guest.OpenedModel, "load_model", lambda self: pytest.fail("began to work"))
    monkeypatch.chdir(folder)
    assert command.main(words) == 2
    assert expected in capsys.readouterr().err


def test_what_the_model_does_not_take_is_one_sentence(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="expected labels to measure against"):
        api.evaluate("classes.keras", data="bare.npz")
    with pytest.raises(UsageError, match="expected a name for each of 3 classes"):
        api.predict("classes.keras", "x.npz", labels=("a", "b"))
    with pytest.raises(
        UsageError, match="expected a name for each of 3 classes that the model tells apart, received 1"
    ):
        api.predict("classes.keras", "x.npz", labels="no")
    with pytest.raises(UsageError, match="which come in an .npz file"):
        api.predict("classes.keras", "picture.png", input_range=(0.0, 1.0))
    with pytest.raises(UsageError, match="expected data that it takes"):
        api.predict("classes.keras", "x_two.npz")


def test_names_and_answers_that_no_output_has_are_refused():
    yes = keras.Sequential([keras.Input((12,)), layers.Dense(1, activation="sigmoid")])
    yes.compile(loss="binary_crossentropy")
    assert set(api.predict(yes, X, labels=("no", "yes")).labels) <= {"no", "yes"}
    with pytest.raises(
        UsageError, match="expected a name for each of 2 classes that the model tells apart, received 3"
    ):
        api.predict(yes, X, labels=("a", "b", "c"))
    with pytest.raises(UsageError, match="--top 2: expected 1 for a model that gives no or yes"):
        api.predict(yes, X, top=2)
    numbers = keras.Sequential([keras.Input((12,)), layers.Dense(4)])
    with pytest.raises(UsageError, match="--labels a,b: expected a model that gives classes, this one gives numbers"):
        api.predict(numbers, X, labels=("a", "b"))
    with pytest.raises(UsageError, match="--top 2: expected 1 for a model that gives numbers"):
        api.predict(numbers, X, top=2)
