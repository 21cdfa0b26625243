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
from zoo.isolation import passed
from zoo.system.files import sha256

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


@pytest.mark.parametrize("activation", ["softmax", pytest.param(None, marks=pytest.mark.slow)])
def test_a_file_computes_what_predict_computes(activation, tmp_path):
    model = dense(activation=activation)
    made = api.compress(model, "float32", data=both(X, Y), output=tmp_path)
    np.testing.assert_allclose(litert.run(made.path, X), model.predict(X, verbose=0), atol=1e-6)
    expected = (model.predict(X, verbose=0).argmax(1) == Y).mean()
    assert made.receipt["test"]["litert"]["accuracy"] == pytest.approx(expected)
    assert made.receipt["parity"]["same_answer"] == 1


@pytest.mark.slow
def test_a_recipe_that_trains_uses_the_compiled_loss(tmp_path):
    """With a loss of zeros nothing is learnt; the usual loss of such an output would move the weights."""
    model = dense(loss=lambda y, p: 0.0 * keras.ops.sum(p, axis=-1))
    before = model.predict(X, verbose=0)
    made = api.compress(model, "prune(0) + float32", data=both(X, Y), output=tmp_path, epochs=1, batch_size=32)
    np.testing.assert_allclose(litert.run(made.path, X), before, atol=1e-6)
    moved = api.compress(dense(), "prune(0) + float32", data=both(X, Y), output=tmp_path / "b", epochs=1, batch_size=32)
    assert moved.receipt["stages"]


def test_a_way_of_training_of_its_own_is_not_replaced_silently(tmp_path):
    class Custom(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    model = Custom([keras.Input((12,)), layers.Dense(3, activation="softmax")])
    with pytest.raises(
        UsageError, match="a train_step of its own, which recipes do not follow; give data without labels"
    ):
        api.compress(model, "prune(0.5) + float32", data=both(X, Y), output=tmp_path / "labels", epochs=1)
    unlabelled = {"train": X, "test": X}
    made = api.compress(model, "prune(0.5) + distill + float32", data=unlabelled, output=tmp_path / "own", epochs=1)
    assert made.receipt["stages"]


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
    sure = dense()
    sure.layers[-1].kernel.assign(sure.layers[-1].kernel * 200)  # some probabilities are below what a float32 holds
    found, p = scored(sure, Y)
    expected = -np.log(np.maximum(p[np.arange(len(Y)), Y], 1e-7)).mean()
    assert p.min() == 0 and found["loss"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("recipe", "options"),
    [("float32", {}), pytest.param("prune(0.5) + int8", {"epochs": 1, "batch_size": 32}, marks=pytest.mark.slow)],
)
def test_several_inputs_and_outputs(recipe, options, tmp_path):
    left, right = keras.Input((12,), name="left"), keras.Input((2,), name="right")
    x = layers.Concatenate()([layers.Dense(8, activation="relu")(left), right])
    outputs = {"kind": layers.Dense(3, activation="softmax")(x), "size": layers.Dense(1)(x)}
    model = keras.Model({"left": left, "right": right}, outputs)
    x = {"left": X, "right": X[:, :2].copy()}
    y = {"kind": Y, "size": X[:, 0]}
    made = api.compress(model, recipe, data=both(x, y), output=tmp_path, **options)
    assert set(made.receipt["test"]["litert"]) >= {"kind.accuracy", "size.rmse", "size.r2"}
    assert {"kind.largest_difference", "size.largest_difference"} <= set(made.receipt["parity"])
    found = litert.run_named(made.path, x)
    assert found["kind"].shape == (96, 3) and found["size"].shape == (96, 1)
    if recipe == "float32":
        for name, expected in model.predict(x, verbose=0).items():
            np.testing.assert_allclose(found[name], expected, atol=1e-6)


class Plain(keras.Model):
    """A subclassed model without `build`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden, self.head = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.head(self.hidden(x))


@pytest.mark.slow
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


def test_labels_of_whole_floats_are_class_indices(tmp_path):
    made = api.compress(dense(), "float32", data=both(X, Y.astype("float32")), output=tmp_path)
    whole = api.compress(dense(), "float32", data=both(X, Y), output=tmp_path / "b")
    assert made.test.keys() == whole.test.keys() and "accuracy" in made.test


def test_a_recipe_that_trains_needs_labels(tmp_path):
    with pytest.raises(UsageError, match="expected labels to train with"):
        api.compress(dense(), "prune(0.5) + int8", data={"train": X, "test": X}, output=tmp_path)
    assert not list(tmp_path.rglob("*.keras"))


def test_losses_by_name_are_those_of_their_outputs(tmp_path):
    """The loss of `zeta` is zero, so that only the layer of `alpha` learns."""
    inputs = keras.Input((12,))
    zeta = layers.Dense(1, activation="sigmoid", name="zeta")(inputs)
    model = keras.Model(inputs, [zeta, layers.Dense(3, activation="softmax", name="alpha")(inputs)])
    losses = {"alpha": "sparse_categorical_crossentropy", "zeta": lambda y, p: 0.0 * keras.ops.sum(p, axis=-1)}
    model.compile("sgd", losses)
    before = dict(zip(("zeta", "alpha"), model.predict(X, verbose=0), strict=True))
    data = both(X, ((Y == 1).astype("int32"), Y))
    made = api.compress(model, "prune(0) + float32", data=data, output=tmp_path, epochs=1, batch_size=32)
    (port,) = made.receipt["interface"]["inputs"]
    after = litert.run_named(made.path, {port["name"]: X})
    np.testing.assert_allclose(after["zeta"], before["zeta"], atol=1e-6)
    assert np.abs(after["alpha"] - before["alpha"]).max() > 1e-4


def test_what_was_read_is_said(tmp_path, capsys):
    images = RNG.integers(0, 256, (40, 8, 8, 3)).astype("uint8")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    api.compress(model, "float32", data=both(images, np.arange(40) % 2), output=tmp_path)
    said = "40 training, 40 test examples; inputs uint8 (8, 8, 3), bytes as 0 to 255; labels int32 ()"
    assert said in capsys.readouterr().err


def test_a_folder_of_fewer_classes_than_the_model_tells_apart_has_no_labels(tmp_path, capsys):
    """Names of five flowers would be taken for the first five of a thousand classes."""
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
    for number in range(40):
        image = RNG.integers(0, 256, (8, 8, 3)).astype("uint8")
        Image.fromarray(image).save(tmp_path / "images" / "ab"[number % 2] / f"{number}.png")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(7, activation="softmax")])
    options = {"data": tmp_path / "images", "output": tmp_path / "out", "input_range": (0.0, 1.0)}
    made = api.compress(model, "int8", **options)
    assert made.test == {} and "labels" not in made.receipt["about"]
    assert "names 2 classes, and the model tells 7 apart" in capsys.readouterr().err


@pytest.mark.slow
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
    with pytest.raises(UsageError, match=r"sample weights are not taken: leave them out by .map\(lambda x, y, weight"):
        api.compress(dense(), data={"train": weighted, "test": weighted}, **options)
    with pytest.raises(UsageError, match=r"data: expected a finite tf.data.Dataset, received one that repeats"):
        api.compress(dense(), data=batched.repeat(), **options)


def test_what_does_not_fit_is_refused_before_work(tmp_path):
    def refused(match, model, y, x=X):
        with pytest.raises(UsageError, match=match):
            api.compress(model, "prune(0.5) + int8", data=both(x, y), output=tmp_path, epochs=1)
        assert not any(tmp_path.iterdir())

    refused("tells 3 classes apart; expected labels from 0 to 2, received 0 to 7", dense(), np.arange(96) % 8)
    refused("expected whole numbers from 0 to 2 as class indices, received 0.43", dense(), np.full(96, 0.43))
    refused("expected labels of shape", dense(), np.zeros((96, 5), "int32"))
    refused("train: expected arrays of one length, received 96 in x, 95 in y", dense(), Y[:-1])
    refused("expected at least one example, received none", dense(), Y[:0], X[:0])
    refused("labels: expected numbers, received <U1 .*; give class indices, and class_names", dense(), Y.astype("U1"))
    refused("labels: expected an array .*a list or a tuple stands for several arrays: .*numpy.asarray", dense(), [*Y])
    refused("expected data that it takes", dense(), Y, X[:, :5])
    refused("NaN", dense(), Y, np.where(X > 2, np.nan, X))


@pytest.mark.slow
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
    assert "--output: expected a folder" in capsys.readouterr().err
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

    from zoo.isolation.models import loaded

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


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a model of two outputs, one of one output, and their data."""
    folder = tmp_path_factory.mktemp("files")
    dense().save(folder / "mine.keras")
    arrays = {"x": X, "y": Y}
    splits = ("train", "validation", "test")
    np.savez(folder / "data.npz", **{f"{side}_{split}": array for side, array in arrays.items() for split in splits})
    np.savez(folder / "bare.npz", x_train=X, x_test=X)
    left, right = keras.Input((12,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([layers.Dense(8, activation="relu")(left), right])
    outputs = {"size": layers.Dense(1, name="size")(both), "kind": layers.Dense(3, activation="softmax")(both)}
    keras.Model({"left": left, "right": right}, outputs).save(folder / "two.keras")
    arrays = {"x_{}.left": X, "x_{}.right": X[:, :2], "y_{}.kind": Y, "y_{}.size": X[:, 0]}
    np.savez(folder / "two.npz", **{n.format(split): a for n, a in arrays.items() for split in ("train", "test")})
    for file in folder.glob("*.keras"):
        passed.remember(sha256(file))  # as of a training of this user; tests/zoo/isolation has the trial of others
    return folder


def said(capsys, command, *words):
    status = command.main([*map(str, words)])
    return status, capsys.readouterr().out


@pytest.mark.slow
def test_sensitivity_names_the_layer_that_compress_skips(files, tmp_path, capsys):
    import shlex

    from compression import compress, sensitivity

    words = ("--data", files / "two.npz", "--recipe", "dynamic", "--output", tmp_path)
    status, out = said(capsys, sensitivity, files / "two.keras", *words)
    assert status == 0
    rows = json.loads((tmp_path / "dynamic.sensitivity.json").read_text())["layers"]
    assert len(rows) == 4 and rows[0]["layer"] == "every layer"
    assert all({"kind.accuracy", "kind.accuracy_loss", "largest_difference"} <= set(row) for row in rows)
    assert rows[1]["mean_difference"] >= rows[2]["mean_difference"] >= rows[3]["mean_difference"]
    again = shlex.split(next(line for line in out.splitlines() if line.startswith("next:")).removeprefix("next:"))
    status, out = said(capsys, compress, *again[3:], "--json")
    assert status == 0 and json.loads(out)["made"]["recipe"] == f"dynamic(skip={rows[1]['layer']})"


def test_sensitivity_without_labels_and_of_numbers():
    from compression.pipeline import sensitivity
    from compression.recipes.language import parse
    from zoo.data.sources import structures

    rows = sensitivity.measure(dense(), structures.dataset({"train": X, "test": X}), parse("int8"))
    assert sensitivity.score_of(rows[0]) is None and rows[0]["mean_difference"] > 0
    worse = sensitivity._worsened({"rmse": 2.0}, {"rmse": 1.5})
    assert worse == {"rmse": 2.0, "rmse_loss": 0.5}  # more of an error is worse


@pytest.mark.slow
@pytest.mark.parametrize("form", ["savedmodel", "onnx"])
def test_other_formats_compute_what_predict_computes(form, files, tmp_path, capsys):
    from compression import export

    words = ("--data", files / "two.npz", "--to", form, "--output", tmp_path)
    status, out = said(capsys, export, files / "two.keras", *words, "--json")
    found = json.loads(out)
    assert status == 0 and found["parity"]["largest_difference"] < 1e-5
    assert found["test"][form]["kind.accuracy"] == found["test"]["keras"]["kind.accuracy"]
    model = keras.saving.load_model(files / "two.keras")
    expected = model.predict({"left": X[:3], "right": X[:3, :2]}, verbose=0)
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(found["path"])
        kind = session.run(["kind"], {"left": X[:3], "right": X[:3, :2]})[0]
        np.testing.assert_allclose(kind, expected["kind"], atol=1e-5)


@pytest.mark.slow
def test_inspect_lists_the_layers_of_a_model_file(files):
    found = api.inspect(files / "mine.keras")
    assert sum(row["bytes"] for row in found.tensors) == 4 * (12 * 16 + 16 + 16 * 3 + 3)
    assert sum(row["bytes"] for row in found.table()) == 2 * (files / "mine.keras").stat().st_size


def test_verify_takes_a_model_in_memory(tmp_path):
    model = dense()
    made = api.compress(model, "int8", data=both(X, Y), output=tmp_path)
    assert "reproduced" in repr(api.verify(made, model, data=both(X, Y)))
    with pytest.raises(UsageError, match="expected the model that it was made from"):
        api.verify(made, dense(), data=both(X, Y))


@pytest.mark.slow
def test_search_of_a_model_file_ends_with_a_command_that_makes_the_same_file(files, tmp_path, capsys):
    import shlex

    from compression import compress, search

    words = ("--max-bytes", "2500", "--trials", 1, "--epochs", 1, "--output", tmp_path)
    status, out = said(capsys, search, files / "mine.keras", "--data", files / "data.npz", *words)
    assert status == 0
    again = shlex.split(next(line for line in out.splitlines() if line.startswith("again:")).removeprefix("again:"))
    status, made = said(capsys, compress, *again[3:], "--json")
    assert status == 0
    found = json.loads(made)
    receipt = json.loads((tmp_path / "files" / f"{found['file'].removesuffix('.tflite')}.receipt.json").read_text())
    assert receipt["sha256"] == found["sha256"]


def test_search_needs_an_accuracy_and_validation_examples(files, tmp_path):
    options = {"max_bytes": 2500, "trials": 1, "output": tmp_path / "found"}
    with pytest.raises(UsageError, match="one output of classes .* received kind: classes, size: numbers"):
        api.search(files / "two.keras", data=files / "two.npz", **options)
    with pytest.raises(UsageError, match="received no labels"):
        api.search(files / "mine.keras", data=files / "bare.npz", **options)
    with pytest.raises(UsageError, match="expected a validation split"):
        api.search(dense(), data=both(X, Y), **options)
    with pytest.raises(UsageError, match="expected output beside a Keras model"):
        api.search(dense(), data=both(X, Y), max_bytes=2500)
    assert not (tmp_path / "found").exists()


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
