"""Recipes that train, end to end: what is asserted is read from the exported file."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

from compression.flatbuffers import flatbuffer
from compression.pipeline import pipeline, stages
from compression.receipts.subject import reference
from compression.recipes import language
from compression.recipes.options import StageTraining
from compression.runtime import litert
from compression.surgery.copying import copies
from compression.surgery.layers import kernels_of, with_kernels
from compression.tasks import classification
from tests.compression.conftest import CLASSES, small
from tests.conftest import blobs
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import from_tf_data
from zoo.training.callbacks import Checkpointer

TRAINING = TrainConfig(epochs=4, batch_size=16, learning_rate=1e-2, label_smoothing=0.0, clip_norm=1.0).resolved()


@pytest.fixture(scope="module")
def data():
    x, y = blobs(160, (9, 10, 1), CLASSES)
    x = (x * 255).astype("uint8")
    return from_tf_data("blobs", [(x[:112], y[:112])], [(x[112:], y[112:])])


@pytest.fixture(scope="module")
def model(data):
    """A small cnn with normalisations that knows its data."""
    made, _, _ = small("cnn", filters=(8, 12), units=24)
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    passes = 60  # 420 steps: after 60 the averages of the normalisations are still more their start than the data's
    x, y = data.train.x / np.float32(255), data.train.y
    made.fit(np.tile(x, (passes, 1, 1, 1)), np.tile(y, passes), batch_size=16, verbose=0)
    return made


def compressed(model, data, recipe, folder, teachers=None):
    return pipeline.compress(model, data, recipe, folder, training=StageTraining(TRAINING, teachers))


def stored(path):
    """Return the kernels of a file by the layer's name: int8 values, and the zero point is zero."""
    found = flatbuffer.read(path)
    kernels = {}
    for tensor in found.subgraphs[0].tensors:
        values = found.buffers[tensor.buffer].data
        if values is not None and len(tensor.shape) > 1 and tensor.type == flatbuffer.schema.TensorType.INT8:
            name = next(n for n in ("conv_1", "conv_2", "hidden", "head") if n in tensor.name.decode())
            kernels[name] = np.asarray(values, np.uint8).view(np.int8)
    return kernels


CHAIN = "prune(0.7, budget=layer) + cluster(8) + qat + int8"


@pytest.fixture(scope="module")
def chain(model, data, tmp_path_factory):
    """What the whole recipe made of the model."""
    before = model.get_weights()
    made = compressed(model, data, CHAIN, tmp_path_factory.mktemp("chain"))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    return made


def restored(model, data, recipe, folder, index, training=TRAINING):
    """Return the model that a stage left in its folder."""
    few = data.train.x[:8] / np.float32(255)
    return stages.restored(stages.Stages(copies(model), data, language.parse(recipe), folder, training, few), index)


def test_all_words_together_keep_what_each_won(chain, model):
    kernels = stored(chain.path)
    shapes = {path: kernels_of(layer)[0].shape for path, layer in with_kernels(model).items()}
    assert set(kernels) == set(shapes)
    for name, values in kernels.items():
        size = int(np.prod(shapes[name]))
        assert len(np.unique(values)) <= 8, name
        assert int((values == 0).sum()) >= size - round(size * 0.3), name
    exact = [int((v == 0).sum()) == v.size - round(v.size * 0.3) for v in kernels.values()]
    assert sum(exact) >= 3  # a shared value may round to zero, a zero to nothing else
    rows = chain.receipt["stages"]
    assert [row["stage"] for row in rows] == ["start", "prune(0.7, budget=layer)", "cluster(8)", "qat"]
    assert rows[0]["accuracy"] == 1
    assert rows[-1]["accuracy"] == chain.receipt["test"]["litert"]["accuracy"] > 0.9
    assert rows[2]["gzip_bytes"] < rows[1]["gzip_bytes"] < rows[0]["gzip_bytes"]
    assert chain.path.with_suffix(".stages.png").stat().st_size > 10_000


@pytest.mark.slow
def test_later_stages_move_no_zero_and_part_no_group(chain, model, data):
    folder = chain.path.parent / chain.receipt["made"]["stages_folder"]
    kernels = []
    for index in range(3):
        left = with_kernels(restored(model, data, CHAIN, folder, index).model)
        kernels.append([ops.convert_to_numpy(v) for layer in left.values() for v in kernels_of(layer)])
    for pruned, clustered, quantized in zip(*kernels, strict=True):
        assert np.count_nonzero(pruned) == round(pruned.size * 0.3)
        np.testing.assert_array_equal(pruned == 0, clustered == 0)
        assert not quantized[clustered == 0].any()
        for value in np.unique(clustered):
            assert len(np.unique(quantized[clustered == value])) == 1


def test_ranges_of_the_file_are_those_of_training(chain):
    folder = chain.path.parent / chain.receipt["made"]["stages_folder"]
    ranges = json.loads((folder / "3-qat.json").read_text())
    found = flatbuffer.read(chain.path)
    scales = {
        t.name.decode(): float(t.quantization.scale[0])
        for t in found.subgraphs[0].tensors
        if t.quantization is not None and found.buffers[t.buffer].data is None and t.quantization.scale is not None
    }
    for layer in ("hidden", "head"):
        low, high = ranges[layer]
        name = next(n for n in scales if f"/{layer}_" in n or f"/{layer}/" in n)
        assert scales[name] == pytest.approx((high - low) / 255, rel=1e-5)


def test_the_reference_is_the_model_with_its_activations_rounded(chain, model, data):
    folder = chain.path.parent / chain.receipt["made"]["stages_folder"]
    trained = restored(model, data, CHAIN, folder, 2)
    interface = classification.interface_of(data.spec)
    x = data.test.x / np.float32(255)
    rounded, plain = (
        reference(classification.ClassSubject(made, interface, data.test), x)
        for made in (trained.as_trained, trained.model)
    )
    found = litert.run(chain.path, x)
    # The outputs are rounded to 1/256, which hides most of the difference: count the outputs of another integer.
    steps = [np.rint(256 * outputs) for outputs in (found, rounded, plain)]
    assert (steps[0] != steps[1]).sum() < (steps[0] != steps[2]).sum()


def test_a_file_is_verified_with_its_stages(chain, model, data):
    _, differences = pipeline.verify(chain.path, model, data)
    assert differences == []
    folder = chain.path.parent / chain.receipt["made"]["stages_folder"]
    folder.rename(folder.with_name("elsewhere"))
    try:
        with pytest.raises(UsageError, match="expected the stages it was trained in"):
            pipeline.verify(chain.path, model, data)
    finally:
        folder.with_name("elsewhere").rename(folder)


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        pytest.param("lstm", {}, 1.5, marks=pytest.mark.slow),
        pytest.param("lstm", {"cell": "gru"}, 1.5, marks=pytest.mark.slow),
        pytest.param("self_attention", {}, 2.0, marks=pytest.mark.slow),
        # A step of a logit can be more than one of a probability.
        pytest.param("transformer", {"norm": "post"}, 2.0, marks=pytest.mark.slow),
    ],
)
def test_a_quantized_file_is_within_a_step_of_the_model_as_it_was_trained(name, settings, steps, data, tmp_path):
    model, interface, _ = small(name, **settings)
    made = compressed(model, data, "qat(epochs=1) + int8", tmp_path)
    types = {row["type"] for row in made.receipt["constants"] if row.get("elements", 0) > 8}
    assert "float32" not in types
    assert made.receipt["parity"]["largest_difference"] <= steps / 256  # half a step is the output's own rounding


@pytest.mark.slow
def test_channels_make_a_smaller_file_that_loads_alone(model, data, tmp_path):
    made = compressed(model, data, "channels(0.5, epochs=25, learning_rate=2e-2) + float32", tmp_path)
    first, last = made.receipt["stages"]
    assert last["bytes"] < 0.6 * first["bytes"] and last["accuracy"] > 0.9
    smaller = keras.saving.load_model(next(tmp_path.glob("*.stages/1-channels/model.keras")))
    assert (smaller.convolutions[0].filters, smaller.convolutions[1].filters, smaller.hidden.units) == (4, 6, 12)
    assert made.receipt["float32_weight_bytes"] == 4 * model.count_params()


@pytest.mark.slow
def test_a_narrower_network_begins_from_scratch_where_that_is_asked_for(model, data, tmp_path):
    # At such a rate nothing is learnt: what the file says is what the network began with.
    ways = {init: f"channels(0.5, init={init}, epochs=1, learning_rate=1e-9) + float32" for init in ("own", "scratch")}
    found = {init: compressed(model, data, recipe, tmp_path / init) for init, recipe in ways.items()}
    sizes = {made.receipt["bytes"] for made in found.values()}
    own, scratch = (made.receipt["test"]["litert"]["loss"] for made in found.values())
    assert len(sizes) == 1 and own != pytest.approx(scratch, abs=1e-2)


def test_stages_are_refused_before_any_is_trained(model, data, tmp_path):
    for recipe, words in {
        "prune(0.5) + cluster(900)": "cluster: number: expected at most",
        "prune(0.5, end=999)": "end: expected at most the training.s 28 steps",
        "prune(0.5, pattern=2:4)": "conv_1",
        "prune(0.5) + qat(skip=haed) + int8(skip=haed)": "did you mean 'head'",
        "channels(0.5, skip=nothing)": "skip=nothing",
    }.items():
        with pytest.raises(UsageError, match=words):
            compressed(model, data, recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_model_does_not_continue_these_stages(chain, data):
    other, _, _ = small("cnn", filters=(8, 12), units=24)
    with pytest.raises(UsageError, match="holds other stages: model"):
        compressed(other, data, CHAIN, chain.path.parent)


def test_another_teacher_does_not_continue_these_stages(model, data, tmp_path):
    recipe = "distill(teacher, epochs=1) + float32"
    plan = stages.Stages(
        copies(model), data, language.parse(recipe), tmp_path, TRAINING, data.train.x[:8] / np.float32(255)
    )
    first, second = (small("cnn", filters=(3, count))[0] for count in (5, 6))
    stages.check(dataclasses.replace(plan, teachers=lambda: [first]))
    stages.check(dataclasses.replace(plan, teachers=lambda: [first]))
    with pytest.raises(UsageError, match="holds other stages: teachers"):
        stages.check(dataclasses.replace(plan, teachers=lambda: [second]))


@pytest.mark.slow
def test_interrupted_stages_go_on_to_the_same_bits(model, data, tmp_path, monkeypatch):
    recipe = "prune(0.5) + cluster(4) + float32"
    training = dataclasses.replace(TRAINING, deterministic=True)
    whole = pipeline.compress(model, data, recipe, tmp_path / "whole", training=StageTraining(training))
    before = Checkpointer.on_train_batch_end
    steps = []

    def stopping(self, batch, logs=None):
        steps.append(batch)
        if len(steps) in (4, 40):  # inside the first stage, and inside the second
            self.signal = 2
        before(self, batch, logs)

    monkeypatch.setattr(Checkpointer, "on_train_batch_end", stopping)
    for word in ("prune", "cluster"):
        with pytest.raises(Interrupted, match=f"{word}.*give the same command again"):
            pipeline.compress(model, data, recipe, tmp_path / "parts", training=StageTraining(training))
    parts = pipeline.compress(model, data, recipe, tmp_path / "parts", training=StageTraining(training))
    assert len(steps) == 28 + 14
    assert parts.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param("prune(0.5)", marks=pytest.mark.slow),
        pytest.param("cluster(4)", marks=pytest.mark.slow),
        # As on two workers, in test_multi_worker.py.
        pytest.param("prune(0.5) + qat(epochs=1) + int8", marks=pytest.mark.slow),
    ],
)
def test_two_replicas_give_what_one_gives(recipe, data, tmp_path, mirrored):
    model, _, _ = small("cnn", batch_norm=False)  # whose averages are each replica's own
    files = {}
    for strategy, devices in (("none", 0), ("mirrored", 2)):
        # Steps per execution were resolved for no strategy, and others run one at a time.
        changes = {"strategy": strategy, "virtual_devices": devices, "steps_per_execution": None}
        training = dataclasses.replace(TRAINING, **changes).resolved()
        made = pipeline.compress(model, data, recipe, tmp_path / strategy, training=StageTraining(training))
        folder = made.path.parent / made.receipt["made"]["stages_folder"]
        last = len(language.parse(recipe).stages) - 1
        files[strategy] = restored(model, data, recipe, folder, last, training)
    one, two = (files[name].model.get_weights() for name in ("none", "mirrored"))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        np.testing.assert_allclose(a, b, atol=2e-4)
    for name, pair in (files["none"].ranges or {}).items():
        np.testing.assert_allclose(files["mirrored"].ranges[name], pair, atol=2e-3)


@pytest.mark.slow
def test_a_student_learns_from_its_teacher_alone_and_while_it_is_pruned(model, data, tmp_path):
    student, interface, _ = small("cnn", filters=(4, 5), units=6)
    teachers = lambda: [copies(model)()]  # noqa: E731
    x = data.train.x[:32] / np.float32(255)
    theirs = np.asarray(ops.softmax(model(x)))
    apart = np.abs(np.asarray(ops.softmax(student(x))) - theirs).mean()
    # Ten epochs in one: what surrounds an epoch takes longer than its few steps.
    longer = dataclasses.replace(data, train=data.train.take(np.tile(np.arange(len(data.train)), 10)))
    for recipe in (
        "distill(teacher, alpha=0, epochs=3)",
        "prune(0.5, budget=layer, epochs=3) + distill(teacher, alpha=0)",
    ):
        made = compressed(student, longer, recipe, tmp_path, teachers=teachers)
        found = litert.run(made.path, x)
        assert np.abs(found - theirs).mean() < 0.7 * apart
    kernel = kernels_of(with_kernels(student)["hidden"])[0]
    zeros = [
        row for row in made.receipt["constants"] if "hidden" in row["name"] and row["elements"] == kernel.shape[0] * 6
    ]
    assert zeros[0]["zeros"] == zeros[0]["elements"] - round(zeros[0]["elements"] * 0.5)


@pytest.mark.slow
def test_without_a_teacher_the_model_teaches_itself(model, data, tmp_path):
    named = compressed(
        model, data, "prune(0.5) + distill(a) + float32", tmp_path / "a", teachers=lambda: [copies(model)()]
    )
    alone = compressed(model, data, "prune(0.5) + distill + float32", tmp_path / "b")
    assert named.path.read_bytes() == alone.path.read_bytes()
    with pytest.raises(UsageError, match="distill: expected teachers"):
        compressed(model, data, "prune(0.5) + distill(a) + float32", tmp_path / "c")


@pytest.mark.slow
def test_a_model_of_ones_own_is_trained_too(data, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 10, 1))
    y = keras.layers.DepthwiseConv2D(3, name="depthwise")(
        keras.layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    )
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(y))
    own = keras.Model(inputs, keras.layers.Dense(CLASSES, name="head")(y))
    made = compressed(own, data, "prune(0.5, only=conv) + qat(epochs=1) + int8", tmp_path)
    assert made.receipt["parity"]["largest_difference"] <= 1.5 / 256
    assert {row["type"] for row in made.receipt["constants"] if row.get("elements", 0) > 8} <= {"int8", "int32"}


def test_a_stage_of_a_run_with_weights_from_elsewhere_begins_with_its_own_model():
    config = TrainConfig(model="mobilenet", pretrained="imagenet", input_range=(-1.0, 1.0), epochs=0).resolved()
    trained = stages.configured(config, language.parse("prune(0.5) + int8").stages[0])
    assert (trained.pretrained, trained.input_range, trained.probe) == (None, None, None)
    assert trained.epochs == language.parse("prune(0.5) + int8").stages[0].USUAL[0] and trained.freeze is None


@pytest.mark.parametrize(("given", "expected"), [(0.0, stages.CLIP), (0.25, 0.25), (5.0, 5.0)])
def test_gradients_of_a_stage_are_limited_also_if_those_of_the_run_were_not(given, expected):
    config = TrainConfig(model="cnn", clip_norm=given).resolved()
    (stage,) = language.parse("qat + int8").stages
    assert stages.configured(config, stage).clip_norm == expected
