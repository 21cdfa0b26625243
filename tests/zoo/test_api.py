"""The public functions of the zoo: any form of data, readable results, and no effect on the process that calls them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import blobs, run_module
from zoo import api
from zoo.console.errors import UsageError
from zoo.console.tables import Table
from zoo.data import from_tf_data, load
from zoo.data.own import saved
from zoo.data.sources.arrays import read_npz
from zoo.runs.results import Run

slices = tf.data.Dataset.from_tensor_slices
SMALL = {"epochs": 2, "settings": {"units": (8,)}, "verbose": False}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def images():
    x, y = blobs(120, (12, 12, 1))
    return (x * 255).astype("uint8"), y


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("api")
    path = folder / "blobs.npz"
    np.savez(path, x=images[0], y=images[1])
    return api.train("simplenet", data=str(path), output=str(folder / "run"), **SMALL)


def test_a_run_shows_what_its_files_say(run):
    assert run.test["accuracy"] == run.metrics["test"]["accuracy"]
    assert f"{run.test['accuracy']:.2%}" in repr(run) and str(run.path) in repr(run)
    assert run.history.column("epoch") == [0, 1] and len(run.history) == 2
    assert "<table>" in run._repr_html_() and run.report.is_file()
    again = Run(run.path)  # read from the folder alone
    np.testing.assert_array_equal(again.model.get_weights()[0], run.model.get_weights()[0])


def test_arrays_give_the_run_that_a_file_gives(run, images, here):
    weights = [run.model.get_weights()]
    weights.append(api.train("simplenet", data=images, **SMALL).model.get_weights())
    for mine, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    saved(slices(images).batch(50), here / "runs" / "data")
    assert len(list((here / "runs" / "data").iterdir())) == 1  # the same arrays are written once


def test_splits_in_pairs_and_mappings_keep_their_names(images, here):
    x, y = images
    paths = [
        saved(((x[:90], y[:90]), (x[90:], y[90:])), here),
        saved({"x_train": x[:90], "y_train": y[:90], "x_test": x[90:], "y_test": y[90:]}, here),
    ]
    assert paths[0] == paths[1]
    _, splits, names = read_npz(saved((x, np.array(["a", "b", "c"])[y]), here))
    assert names == ("a", "b", "c") and list(splits) == ["all"]
    _, splits, _ = read_npz(paths[0])
    assert len(splits["train"]) == 90 and len(splits["test"]) == 30
    assert saved((x, y), here, ["u", "v", "w"]) != saved((x, y), here)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (3, r"data: expected \(x, y\), .*, received int"),
        ({"x_trian": np.zeros(3)}, "received 'x_trian'"),
        ((np.array([{}]), np.zeros(1)), "expected arrays of numbers, received objects in x"),
        (slices((np.zeros((5, 4)), np.zeros(5))), "received single examples; call .batch"),
        (slices((np.zeros((5, 1)), np.zeros(5))), "received single examples; call .batch"),
        (slices((np.zeros((5, 4)), np.zeros(5))).batch(2).repeat(), r"repeats without end; leave out .repeat\(\)"),
        (
            slices((np.zeros((5, 4)), np.zeros(5), np.ones(5))).batch(2),
            r"expected elements \(x, y\) .* three parts; sample weights are not used here: .*map\(lambda x, y, weight",
        ),
        (slices(np.zeros((5, 4))).batch(2), "received x alone; labels are added by tf.data.Dataset.zip"),
        (
            slices({"image": np.zeros((5, 4)), "label": np.zeros(5)}).batch(2),
            "received a dictionary with 'image', 'label'; call .map",
        ),
        (slices((np.zeros((5, 4)), {"a": np.zeros(5)})).batch(2), "received several arrays of inputs or labels"),
        (
            slices((tf.ragged.range([1, 2, 4, 4]), np.zeros(4))).batch(2).map(lambda x, y: (x.to_tensor(), y)),
            r"data: x: expected examples of one shape in all batches, received \(2,\) and \(4,\)",
        ),
    ],
)
def test_other_forms_of_data_are_refused(data, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        saved(data, tmp_path)


def test_mistakes_are_refused_with_the_nearest_name(here):
    with pytest.raises(UsageError, match="train: .*received 'epoch'; did you mean 'epochs'"):
        api.train("simplenet", epoch=3)
    with pytest.raises(UsageError, match="config or options by name, received both"):
        api.train(config=api.TrainConfig(), epochs=3)
    with pytest.raises(UsageError, match="unknown pretrained run 'cnn-mnst'"):
        api.load("cnn-mnst")
    with pytest.raises(UsageError, match="train: sampling: expected one of all, balanced, received 'Balanced'"):
        api.train("simplenet", sampling="Balanced")
    with pytest.raises(
        UsageError, match="train: callbacks: expected instances of keras.callbacks.Callback, received <"
    ):
        api.train("simplenet", callbacks=[print])
    with pytest.raises(UsageError, match="predict: top: expected an integer, received '2'"):
        api.predict("cnn-digits", "a.png", top="2")
    with pytest.raises(UsageError, match="received both"):
        api.train(config=api.TrainConfig(), class_names=["a"])
    with pytest.raises(UsageError, match="expected the model 'cnn' of config or none beside it, received 'simplenet'"):
        api.train("simplenet", config=api.TrainConfig(model="cnn"))
    for named in ({"data": "photos"}, {"dataset": "digits"}, {}):
        with pytest.raises(UsageError, match="class_names: expected with arrays"):
            api.train("simplenet", class_names=["a"], **named)


def test_scores_and_predictions_are_those_of_the_commands(run, images):
    scores = api.evaluate(run)
    assert scores["accuracy"] == run.test["accuracy"] and "95 % interval" in repr(scores)
    x, y = images
    answers = api.predict(run, x[:6])
    logits = run.model.predict(x[:6] / 255.0, verbose=0)
    assert [int(label) for label in answers.labels] == logits.argmax(-1).tolist()
    floats = api.predict(str(run.path), x[:6] / 255.0, top=2)
    assert [row["label"] for row in floats] == answers.labels and len(floats.table()) == 12
    with pytest.raises(UsageError, match="inputs: expected at least one example, received none"):
        api.predict(run.model, [])
    np.savez(run.path.parent / "none.npz", x=x[:0])
    with pytest.raises(UsageError, match="none.npz: expected at least one example, received none in x"):
        api.predict(run, run.path.parent / "none.npz")
    with pytest.raises(UsageError, match=r"expected float images in \[0, 1\]"):
        api.predict(run, x[:2].astype("float32"))


def test_messages_about_arrays_name_the_argument(run, images, here):
    x, y = images
    cures = {
        r"data: y: expected whole numbers .*, received bool; store y.astype\('int32'\)": (x, y > 0),
        r"data: y: expected whole numbers .*, received float64; store y.astype\('int32'\)": (x, y / 1),
        "data: y: expected whole .*, received float64; numbers are learnt with --task regression": (x, y + 0.5),
        "data: expected as many labels as examples, received 120 x, 119 y": (x, y[:-1]),
        "data: expected at least one example, received none in x": (x[:0], y[:0]),
        r"data: expected y of shape \(examples, ...\), received a single value": (x[0], y[0]),
        "data: class 'b' of y is not in class_names": {"x": x, "y": np.array(["a", "b"])[y % 2]},
    }
    for sentence, data in cures.items():
        names = ["a", "c"] if isinstance(data, dict) else None
        with pytest.raises(UsageError, match=f"^{sentence}"):
            api.train("simplenet", data=data, class_names=names, **SMALL)
    with pytest.raises(UsageError, match="^data: y: expected whole numbers .*, received bool"):
        api.evaluate(run, data=(x, y > 0))


def test_inputs_that_are_no_batch_are_refused_by_their_name(run, images):
    x, _ = images
    for sentence, inputs in {
        r"expected a batch .*, received one example of shape \(12, 12, 1\); give inputs\[None\]": x[0],
        r"expected image inputs of shape \(12, 12, 1\), received image of \(9, 12, 1\)": x[:, 3:],
        "expected at least one example, received none": [],
        "expected examples of one shape, received examples of several": [x[0], x[0][:5]],
        "expected an array of numbers, received objects": np.array([*x, None], object)[:-1],
        r"expected an array \(examples, ...\) for a run, received dict": {"x": x},
        r"expected an array \(examples, ...\) for a run, received _": slices(x).batch(4),
    }.items():
        with pytest.raises(UsageError, match=f"^inputs: {sentence}"):
            api.predict(run, inputs)
    assert api.predict(run, list(x[:3])).labels == api.predict(run, x[:3]).labels


def test_a_model_of_ones_own_is_trained(images, here):
    inputs = keras.Input((12, 12, 1))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    before = (mine := keras.Model(inputs, outputs, name="mine")).get_weights()[0]
    run = api.train(mine, data=images, epochs=1, verbose=False)
    assert run.path.name.startswith("mine-arrays-")
    assert not np.array_equal(run.model.get_weights()[0], before)
    np.testing.assert_array_equal(api.load(run.path / "model.keras").get_weights()[0], run.model.get_weights()[0])
    assert run.table().rows[1] == ("model", "mine")
    assert f"<title>mine on {run.config.data_name}" in run.report.read_text(encoding="utf-8")
    assert "--set filters" not in run.report.read_text(encoding="utf-8")  # of the cnn, whose name stands in config.json


def test_options_that_make_a_model_of_the_zoo_are_refused_with_ones_own(images, here):
    def mine():
        return keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])

    given = {"settings": {"unit": 1}, "pretrained": "imagenet", "input_range": (0.0, 1.0)}
    for name, value in given.items():
        with pytest.raises(
            UsageError, match=f"{name}: expected with the name of a model, received with the model mine"
        ):
            api.train(mine, data=images, verbose=False, **{name: value})
    config = api.TrainConfig(dataset="digits", settings={"filters": (9,)})
    with pytest.raises(UsageError, match="settings: expected with the name of a model"):
        api.train(mine, config=config)
    assert not (here / "runs").exists()


def test_a_model_that_gives_probabilities_is_refused(images, here):
    def softmax():
        layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        return keras.Sequential(layers, name="soft")

    for model in (softmax, softmax()):
        with pytest.raises(UsageError, match="model soft: expected logits, received outputs that are probabilities"):
            api.train(model, data=images, epochs=1, verbose=False)


def test_a_compiled_loss_is_not_replaced_silently(images, here, capsys):
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="hinge")
    model.compile("sgd", "categorical_hinge")
    with pytest.raises(UsageError, match="model hinge: expected a model that is not compiled.*categorical_hinge"):
        api.train(model, data=images, epochs=1, verbose=False)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    capsys.readouterr()
    assert api.train(model, data=images, epochs=1, verbose=False).test["accuracy"] >= 0
    assert (
        "model hinge: the optimizer and the metrics that it was compiled with are not used" in capsys.readouterr().err
    )


def test_a_model_that_does_not_fit_the_data_is_refused(images, here):
    few = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(2)], name="few")
    with pytest.raises(UsageError, match="model few: expected outputs of shape .3,. for each example"):
        api.train(few, data=images, epochs=1, verbose=False)
    other = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="other")
    with pytest.raises(UsageError, match="model other: expected a model that takes"):
        api.train(other, data=images, epochs=1, verbose=False)


def test_numbers_that_a_cast_would_change_are_refused(images, here):
    x, y = images
    with pytest.raises(UsageError, match="y: expected whole numbers within int32, received 4294967296 in example 0"):
        api.train("simplenet", data=(x, y.astype("int64") + 2**32), **SMALL)
    wide = np.where(np.arange(120)[:, None] == 7, 1e300, np.ones((120, 4)))
    with pytest.raises(UsageError, match="x: expected numbers within float32, received 1e\\+300"):
        api.train("simplenet", data=(wide, y), **SMALL)
    batches = [(np.ones((4, 3), "float32"), np.array([0, 1, 0.5, 1]))]
    with pytest.raises(UsageError, match="parts: expected whole numbers within int32, received 0.5"):
        from_tf_data("parts", batches, batches)


def test_tables_are_read_as_they_look():
    table = Table.of([{"a": 1, "b": "<x>"}, {"a": 0.25}])
    assert repr(table) == "a     b\n1     <x>\n0.25"
    assert "&lt;x&gt;" in table._repr_html_() and table[1] == {"a": 0.25, "b": None}
    with pytest.raises(KeyError, match="expected one of a, b"):
        table.column("c")


_HOST = """
import gc, os, sys, keras
before = dict(os.environ), os.stat("/dev/fd/2").st_ino, gc.get_freeze_count(), gc.isenabled()
import zoo
model = zoo.load("cnn-digits")
import numpy as np
from zoo.api import predict
assert len(predict("cnn-digits", np.zeros((2, 28, 28, 1), "uint8"))) == 2
after = dict(os.environ), os.stat("/dev/fd/2").st_ino, gc.get_freeze_count(), gc.isenabled()
assert before == after, (before, after)
assert all(sys.modules.get(name, True) for name in ("sklearn", "matplotlib", "jax"))
print(model.count_params())
"""


def test_loading_changes_nothing_in_the_host_process(tmp_path):
    assert run_module("-c", _HOST, cwd=tmp_path, check=0).stdout.strip() == "33194"


def test_a_dataset_is_kept_with_its_splits_and_names(here):
    x, y = blobs(90, (6,))
    data = from_tf_data("mine", [(x[:50], y[:50])], [(x[70:], y[70:])], [(x[50:70], y[50:70])], ["a", "b", "c"])
    _, splits, names = read_npz(saved(data, here))
    assert names == ("a", "b", "c")
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(splits[name].x, getattr(data, name).x)
        np.testing.assert_array_equal(splits[name].y, getattr(data, name).y)
    with pytest.raises(UsageError, match="expected a Dataset of arrays and classes, received pairs"):
        saved(load(api.TrainConfig(dataset="addition", model="transformer_seq2seq").resolved()), here)


_FIRST = """
import gc, os, sys
before = set(os.environ), os.stat("/dev/fd/2").st_ino
import numpy as np
from zoo.api import predict
assert len(predict("cnn-digits", np.zeros((2, 28, 28, 1), "uint8"))) == 2
assert gc.get_freeze_count() == 0 and os.stat("/dev/fd/2").st_ino == before[1]
assert "TF_ENABLE_ONEDNN_OPTS" not in set(os.environ) - before[0]
"""


@pytest.mark.slow
def test_predicting_first_imports_keras_plainly(tmp_path):
    run_module("-c", _FIRST, cwd=tmp_path, check=0)
