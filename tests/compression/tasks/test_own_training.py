"""How recipes train a model of one's own: teachers, augmentation, and options that are refused."""

import keras
import numpy as np
import pytest
from keras import layers

from compression import api
from compression.runtime import litert
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.augmentation import augmenter
from zoo.data.batches.order import epoch_order
from zoo.data.sources import structures
from zoo.tasks.own_model import OwnModel

RNG = np.random.default_rng(0)
X = RNG.standard_normal((192, 12)).astype("float32")
KINDS = X[:, :3].argmax(1).astype("int32")
OPTIONS = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02}
# Last layer, loss, and labels that the model was trained on, by what the output means.
ENDINGS = {
    "probabilities of classes": ((3, "softmax"), "sparse_categorical_crossentropy", KINDS),
    "logits of classes": ((3, None), keras.losses.SparseCategoricalCrossentropy(from_logits=True), KINDS),
    "probability": ((1, "sigmoid"), "binary_crossentropy", (KINDS == 1).astype("int32")),
    "labels": ((2, "sigmoid"), "binary_crossentropy", (X[:, :2] > 0).astype("int32")),
    "numbers": ((2, None), "mse", np.stack([X[:, 0] * 100, X[:, 1] - X[:, 2]], 1)),
}


def fitted(units, activation, loss, y):
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(24, activation="relu")
    model = keras.Sequential([keras.Input((12,)), hidden, layers.Dense(units, activation=activation)])
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(X, y, epochs=30, verbose=0)
    return model


def both(y, x=X):
    return {"train": (x, y), "test": (x, y)}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_model_teaches_itself_whatever_its_outputs_mean(ending, tmp_path):
    """The labels are shuffled: a model that learns from them alone forgets, one with a teacher does not."""
    last, loss, y = ENDINGS[ending]
    model = fitted(*last, loss, y)
    before, shuffled = model.predict(X, verbose=0), y[np.random.default_rng(1).permutation(len(y))]
    errors = {}
    for word in ("", "distill(alpha=0) + "):
        made = api.compress(
            model, f"prune(0.3) + {word}float32", data=both(shuffled), output=tmp_path / str(len(word)), **OPTIONS
        )
        errors[word] = float(np.abs(litert.run(made.path, X) - before).mean() / before.std())
    assert errors["distill(alpha=0) + "] < min(0.12, errors[""] / 3)
    assert made.receipt["made"]["recipe"] == "prune(0.3) + distill(alpha=0.0) + float32"
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_teacher_is_enough_without_labels(outputs, tmp_path, capsys):
    model = fitted(3, "softmax", "sparse_categorical_crossentropy", KINDS)
    if outputs == 2:
        given = keras.Input((12,))
        model = keras.Model(given, {"kind": model(given), "size": layers.Dense(2)(given)})
    before = keras.tree.flatten(model.predict(X, verbose=0))[0]
    options = {"data": {"train": X, "test": X}, "output": tmp_path, **OPTIONS}
    for recipe, least in (("channels(0.5) + qat + distill + int8", 0.9), ("channels(0.5) + int8", None)):
        if least is None:
            with pytest.raises(UsageError, match="give labels, a teacher"):
                api.compress(model, recipe, **options)
            continue
        made = api.compress(model, recipe, **options)
        found = litert.run_named(made.path, {made.receipt["interface"]["inputs"][0]["name"]: X})
        assert (next(iter(found.values())).argmax(1) == before.argmax(1)).mean() > least
        parity, name = made.receipt["parity"], "" if outputs == 1 else "kind."
        assert parity[f"{name}before_same_answer"] == pytest.approx(
            (next(iter(found.values())).argmax(1) == before.argmax(1)).mean()
        )
        assert made.test == {} and [row["stage"] for row in made.receipt["stages"]][0] == "start"
        assert "has no labels: the model learns from its teacher alone" in capsys.readouterr().err
        api.verify(made, model, data=options["data"])


@pytest.mark.slow
def test_each_of_several_outputs_is_learnt(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    outputs = {"kind": layers.Dense(3, activation="softmax")(hidden), "size": layers.Dense(1)(hidden)}
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), {"kind": "sparse_categorical_crossentropy", "size": "mse"})
    model.fit(X, {"kind": KINDS, "size": X[:, 0]}, epochs=20, verbose=0)
    before, order = model.predict(X, verbose=0), np.random.default_rng(1).permutation(len(X))
    data = both({"kind": KINDS[order], "size": X[order, 0]})
    made = api.compress(model, "channels(0.2) + distill(alpha=0) + float32", data=data, output=tmp_path, **OPTIONS)
    (port,) = made.receipt["interface"]["inputs"]
    found = litert.run_named(made.path, {port["name"]: X})
    assert (found["kind"].argmax(1) == before["kind"].argmax(1)).mean() > 0.85
    assert np.corrcoef(found["size"][:, 0], before["size"][:, 0])[0, 1] > 0.95


@pytest.mark.slow
def test_the_teacher_may_be_another_model_file(tmp_path):
    keras.utils.set_random_seed(0)
    y = KINDS
    teacher = fitted(3, "softmax", "sparse_categorical_crossentropy", y)
    teacher.save(tmp_path / "teacher.keras")
    student = keras.Sequential([keras.Input((12,)), layers.Dense(8, activation="relu"), layers.Dense(3, "softmax")])
    shuffled = y[np.random.default_rng(1).permutation(len(y))]
    recipe = f"distill({tmp_path}/teacher.keras, alpha=0) + float32"
    made = api.compress(student, recipe, data=both(shuffled), output=tmp_path / "out", **OPTIONS | {"epochs": 40})
    assert (litert.run(made.path, X).argmax(1) == teacher.predict(X, verbose=0).argmax(1)).mean() > 0.9

    logits = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    logits.save(tmp_path / "logits.keras")
    four = keras.Sequential([keras.Input((12,)), layers.Dense(4, activation="softmax")])
    four.save(tmp_path / "four.keras")
    for name, match in (
        ("logits.keras", "teacher: expected probabilities, as the student gives them, received logits"),
        ("four.keras", r"expected outputs of the student's shape \(3,\), received \(4,\)"),
        ("absent.keras", "expected a model file, found none"),
        ("out", "expected a model file that ends in .keras or .h5 for a model of one's own, or no teacher"),
    ):
        with pytest.raises(UsageError, match=match):
            api.compress(
                student, f"distill({tmp_path}/{name}) + int8", data=both(y), output=tmp_path / "refused", epochs=1
            )
    with pytest.raises(UsageError, match="temperature is for probabilities of classes, and the model gives numbers"):
        numbers = keras.Sequential([keras.Input((12,)), layers.Dense(2)])
        api.compress(
            numbers, "distill(temperature=2) + int8", data=both(X[:, :2]), output=tmp_path / "refused", epochs=1
        )


@pytest.mark.slow
def test_a_search_lets_a_model_teach_itself(tmp_path):
    model = fitted(3, "softmax", "sparse_categorical_crossentropy", KINDS)
    data = {"train": (X, KINDS), "validation": (X, KINDS), "test": (X, KINDS)}
    narrowed = {"epochs": "1", "precision": "int8", "qat": "true"}
    api.search(model, data=data, max_bytes=2600, trials=1, output=tmp_path, space=narrowed)
    assert "distill(temperature=3.0)" in (tmp_path / "files.csv").read_text()


@pytest.mark.parametrize("pixel_range", [(0.0, 255.0), (-1.0, 1.0)])
def test_images_are_augmented_as_pixels_and_then_brought_into_the_range_of_the_model(pixel_range):
    images = RNG.integers(0, 256, (32, 8, 8, 3)).astype("uint8")
    labels = np.arange(32, dtype="int32") % 2
    data = structures.dataset({"train": (images, labels), "test": (images, labels)}, pixel_range=pixel_range)
    config = TrainConfig(augment="flip + colour(0.3)", batch_size=16, seed=3).resolved()
    (x, y), _ = OwnModel().training_batches(config, data, 16, 2, 4)
    order = epoch_order(len(images), 3, 1)[:16]
    pixels = images[order].astype("float32") / 255
    expected, _ = augmenter.of(config, 0).on_arrays(pixels, labels[order], order, 1)
    low, high = pixel_range
    np.testing.assert_allclose(x, low + expected * (high - low), atol=1e-4 * (high - low))
    np.testing.assert_array_equal(y, labels[order])
    assert np.abs(x - (low + pixels * (high - low))).max() > 0.05 * (high - low)


def test_options_that_no_recipe_follows_are_refused(tmp_path, capsys):
    images = RNG.integers(0, 256, (40, 8, 8, 3)).astype("uint8")
    classes = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    labels = np.arange(40) % 2

    def refused(match, model=classes, y=labels, recipe="prune(0.5) + int8", **options):
        with pytest.raises(UsageError, match=match):
            api.compress(model, recipe, data=both(y, images), output=tmp_path / "out", epochs=1, **options)
        assert not (tmp_path / "out").exists()

    refused("label_smoothing: expected none with a model of one's own: its own loss", label_smoothing=0.1)
    refused("weight_decay: .* each stage of a recipe decides it", weight_decay=0.1)
    refused("--augment mixup with data: mixup mixes the classes of two examples", augment="mixup")
    masks = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(1, 1, activation="sigmoid")])
    places = RNG.integers(0, 2, (40, 8, 8, 1)).astype("int32")
    refused(r"expected one label for each image, received labels of shape \(8, 8, 1\)", masks, places, augment="flip")
    refused("unknown recipe or word 'flop'", augment="flop")

    made = {"data": both(labels, images), "output": tmp_path / "out", "epochs": 1}
    api.compress(classes, "prune(0.5) + int8", augment="light", **made)
    assert "batches of 32 instead of the default 64, as there are 40" in capsys.readouterr().err
    with pytest.raises(UsageError, match="holds other stages: augment .*now None"):
        api.compress(classes, "prune(0.5) + int8", **made)


def test_augmentation_needs_images(tmp_path):
    model = keras.Sequential([keras.Input((12,)), layers.Dense(3, activation="softmax")])
    with pytest.raises(UsageError, match="expected images, received arrays"):
        api.compress(model, "prune(0.5) + int8", data=both(KINDS), output=tmp_path / "out", augment="flip")
