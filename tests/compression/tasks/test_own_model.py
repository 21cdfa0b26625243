"""Models of one's own: the file computes what the model's own predict computes, and is compared with it."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from compression import api
from compression.flatbuffers import flatbuffer
from compression.runtime import litert
from zoo.console.errors import UsageError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 12)).astype("float32")
Y = (X[:, :3].argmax(1)).astype("int32")


def dense(units=3, activation="softmax", **compiled):
    model = keras.Sequential([keras.Input((12,)), layers.Dense(16, activation="relu"),
                              layers.Dense(units, activation=activation)])  # fmt: skip
    if compiled:
        model.compile(**compiled)
    return model


def both(x, y):
    return {"train": (x, y), "test": (x, y)}


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_file_computes_what_predict_computes(activation, tmp_path):
    model = dense(activation=activation)
    made = api.compress(model, "float32", data=both(X, Y), output=tmp_path)
    np.testing.assert_allclose(litert.run(made.path, X), model.predict(X, verbose=0), atol=1e-6)
    expected = (model.predict(X, verbose=0).argmax(1) == Y).mean()
    assert made.receipt["test"]["litert"]["accuracy"] == pytest.approx(expected)
    assert made.receipt["parity"]["same_answer"] == 1


def test_a_recipe_that_trains_uses_the_compiled_loss(tmp_path):
    """With a loss of zeros nothing is learnt; the usual loss of such an output would move the weights."""
    model = dense(loss=lambda y, p: 0.0 * keras.ops.sum(p, axis=-1))
    before = model.predict(X, verbose=0)
    made = api.compress(model, "prune(0) + float32", data=both(X, Y), output=tmp_path, epochs=1, batch_size=32)
    np.testing.assert_allclose(litert.run(made.path, X), before, atol=1e-6)
    moved = api.compress(dense(), "prune(0) + float32", data=both(X, Y), output=tmp_path / "b", epochs=1, batch_size=32)
    assert moved.receipt["stages"]


def test_the_scores_follow_what_the_outputs_mean(tmp_path):
    from sklearn import metrics

    def scored(model, y):
        made = api.compress(model, "float32", data=both(X, y), output=tmp_path / str(RNG.integers(1 << 30)))
        return made.receipt["test"]["keras"], model.predict(X, verbose=0)

    found, p = scored(dense(1, "sigmoid"), (Y == 1).astype("int32"))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(Y == 1, p[:, 0]))
    assert found["accuracy"] == pytest.approx(((p[:, 0] > 0.5) == (Y == 1)).mean())
    numbers = RNG.standard_normal((96, 2)).astype("float32")
    found, p = scored(dense(2, None), numbers)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(numbers, p), rel=0.05)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(numbers, p), rel=1e-5)
    one = numbers[:, 0]
    found, p = scored(dense(1, None), one)
    assert found["r2"] == pytest.approx(metrics.r2_score(one, p[:, 0]), rel=1e-5)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(one, p[:, 0]), rel=1e-5)
    several = RNG.integers(0, 2, (96, 4)).astype("int32")
    found, p = scored(dense(4, "sigmoid"), several)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(several, p > 0.5, average="macro", zero_division=0))
    one_hot = np.eye(3, dtype="float32")[Y]
    found, p = scored(dense(), one_hot)
    assert found["accuracy"] == pytest.approx((p.argmax(1) == Y).mean())


def test_several_inputs_and_outputs(tmp_path):
    left, right = keras.Input((12,), name="left"), keras.Input((2,), name="right")
    x = layers.Concatenate()([layers.Dense(8, activation="relu")(left), right])
    outputs = {"kind": layers.Dense(3, activation="softmax")(x), "size": layers.Dense(1)(x)}
    model = keras.Model({"left": left, "right": right}, outputs)
    x = {"left": X, "right": X[:, :2].copy()}
    y = {"kind": Y, "size": X[:, 0]}
    for recipe in ("float32", "prune(0.5) + int8"):
        made = api.compress(model, recipe, data=both(x, y), output=tmp_path, epochs=1, batch_size=32)
        assert set(made.receipt["test"]["litert"]) >= {"kind.accuracy", "size.rmse", "size.r2"}
        assert {"kind.largest_difference", "size.largest_difference"} <= set(made.receipt["parity"])
        found = litert.run_named(made.path, x)
        assert found["kind"].shape == (96, 3) and found["size"].shape == (96, 1)
    floats = litert.run_named(tmp_path / "float32.tflite", x)
    for name, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(floats[name], expected, atol=1e-6)


class Plain(keras.Model):
    """A subclassed model without `build`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden, self.head = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.head(self.hidden(x))


def test_a_subclassed_model_without_build_is_pruned_clustered_and_quantized(tmp_path):
    layers.Dense(1)  # so that automatic names begin at other numbers
    model = Plain()
    model(X[:1])
    options = {"data": both(X, Y), "epochs": 1, "batch_size": 32}
    made = api.compress(model, "prune(0.5) + cluster(4) + qat + int8", output=tmp_path, **options)
    assert made.receipt["parity"]["same_answer"] > 0.97
    kernels = [row for row in made.receipt["constants"] if row["type"] == "int8"]
    assert kernels and all(row["distinct"] <= 5 for row in kernels)


def test_inputs_alone_are_enough(tmp_path):
    made = api.compress(dense(), "int8", data={"train": X, "test": X}, output=tmp_path)
    assert made.receipt["test"]["litert"] == {} and "largest_difference" in made.receipt["parity"]
    assert "no labels" in repr(made)


def test_tf_data_batched_or_not(tmp_path):
    import tensorflow as tf

    batched = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
    one_by_one = tf.data.Dataset.from_tensor_slices((X, Y))
    options = {"output": tmp_path, "recipe": "float32"}
    first = api.compress(dense(), data={"train": batched, "test": batched}, **options)
    second = api.compress(dense(), data={"train": one_by_one, "test": one_by_one}, **options)
    arrays = api.compress(dense(), data=both(X, Y), **options)
    digests = {made.receipt["test"]["sha256"] for made in (first, second, arrays)}
    assert len(digests) == 1
    weighted = tf.data.Dataset.from_tensor_slices((X, Y, X[:, 0])).batch(10)
    with pytest.raises(UsageError, match="sample weights are not taken"):
        api.compress(dense(), data={"train": weighted, "test": weighted}, **options)


def test_what_does_not_fit_is_refused_before_work(tmp_path):
    def refused(match, model, y, x=X):
        with pytest.raises(UsageError, match=match):
            api.compress(model, "prune(0.5) + int8", data=both(x, y), output=tmp_path, epochs=1)
        assert not any(tmp_path.iterdir())

    refused("tells 3 classes apart; expected labels from 0 to 2, received 0 to 7", dense(), np.arange(96) % 8)
    refused("expected whole numbers from 0 to 2 as class indices, received 0.43", dense(), np.full(96, 0.43))
    refused("expected labels of shape", dense(), np.zeros((96, 5), "int32"))
    refused("expected arrays of one length", dense(), Y[:-1])
    refused("expected data that it takes", dense(), Y, X[:, :5])
    refused("NaN", dense(), Y, np.where(X > 2, np.nan, X))


def test_a_model_file_on_the_command_line(tmp_path, capsys):
    from compression import compress

    model = dense(loss="sparse_categorical_crossentropy")
    model.save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y, x_test=X[:40], y_test=Y[:40])
    words = [str(tmp_path / "mine.keras"), "--data", str(tmp_path / "data.npz"), "--recipe", "int8"]
    assert compress.main([*words, "--output", str(tmp_path / "out"), "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    from zoo.system.files import sha256

    assert receipt["made"]["model_sha256"] == sha256(tmp_path / "mine.keras")
    assert receipt["test"]["examples"] == 40
    assert flatbuffer.signature(flatbuffer.read(tmp_path / "out" / "int8.tflite"))["inputs"][0]["type"] == "int8"
    assert compress.main(words) == 2
    assert "--output: expected the folder" in capsys.readouterr().err
    assert compress.main([words[0], "--output", str(tmp_path / "out")]) == 2
    assert "expected data beside a model file" in capsys.readouterr().err


def test_a_file_of_a_model_file_is_verified_with_its_command(tmp_path, capsys):
    import shlex

    from compression import compress, verify

    model = dense()
    model.save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y, x_test=X[:40], y_test=Y[:40])
    words = [str(tmp_path / "mine.keras"), "--data", str(tmp_path / "data.npz"), "--output", str(tmp_path / "out")]
    assert compress.main([*words, "--recipe", "int8"]) == 0
    printed = capsys.readouterr().out
    command = next(line for line in printed.splitlines() if line.startswith("next:"))
    again = shlex.split(command.removeprefix("next:"))
    assert again[:3] == ["python", "-m", "compression.verify"]
    assert verify.main(again[3:]) == 0
    assert "reproduced: test accuracy" in capsys.readouterr().out
    dense().save(tmp_path / "other.keras")
    assert verify.main([again[3], str(tmp_path / "other.keras"), *again[5:]]) == 2
    assert "expected the model that int8.tflite was made from" in capsys.readouterr().err


def test_h5_files_of_keras_2_are_read(tmp_path):
    """Keras 2 wrote an argument `groups` for depthwise convolutions, which Keras 3 refuses."""
    import h5py

    from compression.pipeline.own import loaded

    inputs = keras.Input((8, 8, 2))
    x = layers.DepthwiseConv2D(3)(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model.save(tmp_path / "k2.h5")
    with h5py.File(tmp_path / "k2.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        next(row for row in config["config"]["layers"] if row["class_name"] == "DepthwiseConv2D")["config"][
            "groups"
        ] = 1
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(TypeError, match="groups"):
        keras.saving.load_model(tmp_path / "k2.h5")
    x = RNG.random((4, 8, 8, 2), np.float32)
    found = loaded(tmp_path / "k2.h5")
    np.testing.assert_allclose(found.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    config["config"]["layers"].append({"class_name": "Lambda", "config": {}})
    with h5py.File(tmp_path / "k2.h5", "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UsageError, match="found a Lambda layer"):
        loaded(tmp_path / "k2.h5")


def test_images_that_a_model_does_not_take_are_refused_before_ranges_are_tried(tmp_path):
    images = RNG.integers(0, 256, (40, 8, 8, 1)).astype("uint8")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.save(tmp_path / "mine.keras")
    for name in "ab":
        (tmp_path / "grey" / name).mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "grey" / "ab"[number % 2] / f"{number}.png")
    with pytest.raises(UsageError, match=r"expected images that it takes, \(8, 8, 3\), received \(8, 8, 1\)"):
        api.compress(tmp_path / "mine.keras", "int8", data=tmp_path / "grey", output=tmp_path)


def test_a_model_that_gives_a_class_for_each_pixel_is_trained_by_a_recipe(tmp_path):
    """Its accuracy is a share of pixels, so it is no multiple of one example."""
    x = RNG.random((30, 8, 8, 3), np.float32)
    y = x.argmax(-1).astype("int32")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1, activation="softmax")])
    options = {"data": both(x, y), "epochs": 1, "batch_size": 16}
    made = api.compress(model, "prune(0.5) + int8", output=tmp_path, **options)
    assert made.receipt["stages"] and (made.test["accuracy"] * 30) % 1 != 0
