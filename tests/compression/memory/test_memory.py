"""Patches, orders and plans take less memory, and change no output."""

import itertools
import random

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from compression.devices import arena, cortex_m, vela
from compression.devices.targets import versions
from compression.exporting import tflite
from compression.flatbuffers import arena_plan, editing, flatbuffer, lifetimes
from compression.flatbuffers.interface import Interface
from compression.memory import choosing, greedy, ordering, patching, planning
from compression.recipes.language import parse
from tests.compression.conftest import CLASSES
from tests.compression.devices.test_devices import MEASURED, installed, reference
from zoo.console.errors import UsageError


def residual(given):
    """Padded convolutions in steps of one and two, a shortcut with its own convolution, and pooling."""
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(given)
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([layers.Conv2D(8, 1, activation="relu")(y), x])
    y = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.Conv2D(12, 3, padding="same")(y)
    x = layers.ReLU()(layers.Add()([layers.Conv2D(12, 1, strides=2)(x), y]))
    return layers.MaxPooling2D(2)(x)


def unpadded(given):
    """Convolutions without padding, kernels of even height, and branches that are joined."""
    x = layers.Conv2D(6, (5, 3), strides=2, activation="relu")(given)
    x = layers.Conv2D(8, 4, padding="same")(x)
    x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6")(x)
    x = layers.Concatenate()([y, layers.MaxPooling2D(3, strides=2, padding="same")(x)])
    return layers.Conv2D(8, 2)(x)


def dilated(given):
    """Kernels with holes, and a step of three."""
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu")(given)
    x = layers.Conv2D(8, 5, strides=3, padding="same")(x)
    return layers.Conv2D(8, 3, padding="same", activation="relu")(x)


def cropped(given):
    """A convolution that never reads the last row, which the converter cuts off first."""
    return layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, strides=2, activation="relu")(given))


NETWORKS = {
    "residual": (residual, (13, 11, 3)),
    "residual, even": (residual, (16, 16, 2)),
    "unpadded": (unpadded, (27, 12, 2)),
    "cropped": (cropped, (16, 12, 2)),
    "dilated": (dilated, (21, 10, 2)),
}
SLOW = ("residual, even", "unpadded", "dilated")
networks = pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NETWORKS])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function that writes one of the networks in int8, once, and returns the path."""
    found = {}

    def write(name, recipe="int8(unfold=false)"):
        if (name, recipe) not in found:
            keras.utils.set_random_seed(1)
            build, shape = NETWORKS[name]
            given = keras.Input(shape)
            model, options = keras.Model(given, build(given)), {"probabilities": False}
            path = tmp_path_factory.mktemp("exported") / "model.tflite"
            x = np.random.default_rng(1).uniform(0, 1, (32, *shape)).astype("float32")
            tflite.export(model, path, parse(recipe), Interface("x", shape), calibration=x, **options)
            found[name, recipe] = path
        return found[name, recipe]

    return write


def inputs(details, count=6):
    generator = np.random.default_rng(0)
    return generator.integers(-128, 127, (count, *details["shape"]), np.int8, endpoint=True)


def in_litert(content, reference_kernels=False):
    """Return the outputs of a file for random inputs, in LiteRT's kernels for this processor or its reference ones."""
    kind = OpResolverType.BUILTIN_REF if reference_kernels else OpResolverType.AUTO
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for x in inputs(given):
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        found.append(interpreter.get_tensor(made["index"]).copy())
    return np.array(found)


def in_micro(content):
    """Return the outputs of a file for random inputs in TFLite Micro."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 20)
    found = []
    for x in inputs({"shape": interpreter.get_input_details(0)["shape"]}):
        interpreter.set_input(x, 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).copy())
    return np.array(found)


@networks
def test_patches_give_the_same_integers_in_every_stage_number_and_cut(name, exported):
    model = flatbuffer.read(exported(name))
    plain, plain_reference = (in_litert(flatbuffer.pack(model), kernels) for kernels in (False, True))
    assert len(np.unique(plain)) > 50
    seen = patching.stages(model)
    assert len(seen) > 1 and max(len(stage.operators) for stage in seen) > 1
    for number, stage in enumerate(seen):
        for patches in range(2, min(min(stage.outputs.values()), 5) + 1):
            for cut in (True, False):
                trial = choosing.copied(model)
                patching.patch(trial, stage, patches, cut, upwards=patches % 2 == 1)
                content = flatbuffer.pack(trial)
                np.testing.assert_array_equal(in_litert(content), plain, f"{stage}, {patches}, {cut}")
                if number % 2:
                    np.testing.assert_array_equal(in_litert(content, True), plain_reference)
                weights = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
                now = sum(len(buffer.data) for buffer in trial.buffers if buffer.data is not None)
                assert now - weights < 32 * len(trial.subgraphs[0].operators)  # no weight is stored twice


@installed
@networks
def test_plans_of_patched_files_give_the_same_integers_in_tflite_micro(name, exported, tmp_path):
    model, path = flatbuffer.read(exported(name)), tmp_path / "planned.tflite"
    plain, planned = in_micro(flatbuffer.pack(model)), 0
    for stage in patching.stages(model):
        for patches, cut in ((2, True), (min(3, *stage.outputs.values()), False)):
            trial = choosing.copied(model)
            patching.patch(trial, stage, patches, cut)
            before = greedy.bytes_taken(trial)
            size = planning.plan(trial)
            planned += size < before
            assert planning.least(trial) <= size <= before
            np.testing.assert_array_equal(in_micro(flatbuffer.pack(trial)), plain, f"{stage}, {patches}, {cut}")
        flatbuffer.write(trial, path)
        assert arena.measure(path)["activation_bytes"] == size
    assert planned


def graph_of_sums(generator, count):
    """Return a file whose operators add tensors of random sizes, in a random order of reading."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.buffers, model.operatorCodes, model.subgraphs, graph.tensors, graph.operators = (
        [schema.BufferT()],
        [],
        [graph],
        [],
        [],
    )
    graph.name = b"sums"

    def tensor():
        made = schema.TensorT()
        made.type, made.name, made.buffer = schema.TensorType.INT8, f"t{len(graph.tensors)}".encode(), 0
        made.shape = [1, generator.choice([16, 64, 160, 400, 1000])]
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    graph.inputs = [tensor()]
    for _ in range(count):
        given = [generator.randrange(len(graph.tensors)) for _ in range(2)]
        options = schema.AddOptionsT()
        graph.operators.append(editing.operator(model, schema.BuiltinOperator.ADD, given, [tensor()], options))
    read = {index for operator in graph.operators for index in operator.inputs}
    graph.outputs = [index for index in range(1, len(graph.tensors)) if index not in read]
    return model


def test_the_order_of_operators_has_the_least_peak_of_all():
    generator, better = random.Random(0), 0
    for _ in range(20):
        model = graph_of_sums(generator, 6)
        graph, peaks = model.subgraphs[0], []
        operators, own = [*graph.operators], lifetimes.peak(model)
        for order in itertools.permutations(range(6)):
            made, known = True, {*graph.inputs}
            for number in order:
                made &= {*operators[number].inputs} <= known
                known |= {*operators[number].outputs}
            if made:
                graph.operators = [operators[number] for number in order]
                peaks.append(lifetimes.peak(model))
        graph.operators = operators
        graph.operators = [operators[number] for number in ordering.least(model)]
        assert lifetimes.peak(model) == min(peaks)
        better += min(peaks) < own
    assert better > 3


@installed
@pytest.mark.parametrize("name", MEASURED)
def test_the_planner_of_tflite_micro_is_followed_to_the_byte(name):
    path = reference(name)
    assert greedy.bytes_taken(flatbuffer.read(path)) == arena.measure(path)["activation_bytes"]


@installed
def test_tensors_in_another_order_take_less_and_give_the_same(tmp_path):
    path, model = tmp_path / "ordered.tflite", flatbuffer.read(reference("mobilenet_vww96_int8_reference"))
    plain = in_litert(flatbuffer.pack(model))
    assert ordering.arrange(model)
    flatbuffer.write(model, path)
    assert arena.measure(path)["activation_bytes"] == greedy.bytes_taken(model) < 73_728
    np.testing.assert_array_equal(in_litert(path.read_bytes()), plain)
    assert not choosing.arrange(path)  # nothing is left to gain


@pytest.mark.slow
@installed
@pytest.mark.parametrize(
    ("name", "most", "patches"),
    [
        ("resnet8_cifar10_int8_reference", 43_000, 3),
        ("mobilenet_vww96_int8_reference", 74_000, 4),
        ("dscnn_kws_int8_reference", 24_272, 1),
    ],
)
def test_reference_files_take_the_least_arena_that_is_found(name, most, patches, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(reference(name).read_bytes())
    before = flatbuffer.read(path)
    made = choosing.fit(path, parse("int8(patches=auto, plan=true)"))
    assert made.arena_bytes == (MEASURED[name][0], arena.measure(path)["arena_bytes"])
    assert made.arena_bytes[1] <= most and made.patches == patches
    assert made.multiply_adds == tuple(map(cortex_m.multiply_adds, (before, flatbuffer.read(path))))
    assert made.multiply_adds[1] <= 1.25 * made.multiply_adds[0]
    np.testing.assert_array_equal(in_micro(path.read_bytes()), in_micro(reference(name).read_bytes()))


@installed
def test_vela_compiles_a_planned_file_without_its_plan(exported, tmp_path):
    path, compiled = tmp_path / "planned.tflite", tmp_path / "compiled.tflite"
    model = flatbuffer.read(exported("residual, even"))
    patching.patch(model, patching.stages(model)[-1], 2)
    flatbuffer.write(model, path)
    expected = vela.measure(path, "ethos-u55-128")
    planning.plan(model)
    assert arena_plan.bytes_taken(model) == lifetimes.aligned(arena_plan.bytes_taken(model))
    flatbuffer.write(model, path)
    found = vela.measure(path, "ethos-u55-128", compiled)
    assert found["npu_share"] == 1 and (found["cycles"], found["sram_bytes"]) == (
        expected["cycles"],
        expected["sram_bytes"],
    )
    plan = flatbuffer.metadata(flatbuffer.read(compiled), arena_plan.METADATA)
    assert len(plan) == 4 * (3 + len(flatbuffer.read(compiled).subgraphs[0].tensors))  # Vela's own


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("int8(patches=7)", "patches.*expected one of auto, 1, 2"),
        ("int8(recompute=0.5)", "recompute is what patches may add"),
        ("int8(patches=2, recompute=-1)", "recompute: expected a share above 0"),
        ("float32(patches=2)", "patches"),
    ],
)
def test_recipes_that_mean_nothing_are_refused(recipe, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(recipe)


def test_patches_are_part_of_the_file_name_but_not_of_the_training_name():
    recipe = parse("qat + int8(patches=auto, recompute=0.5, plan=true)")
    assert str(recipe) == "qat + int8(patches=auto, recompute=0.5, plan=true)" and parse(str(recipe)) == recipe
    assert recipe.training_name == parse("qat + int8").training_name


@pytest.mark.skipif(not versions(), reason="needs the extra `device`")
@pytest.mark.parametrize(
    ("made", "shape", "recipe", "sentence"),
    [
        ([layers.LSTM(4)], (6, 3), "int8(patches=2)", "this one is recurrent"),
        ([layers.Flatten(), layers.Dense(8)], (6, 6, 1), "int8(patches=auto)", "this one has none"),
    ],
)
def test_networks_without_pictures_are_refused_before_work_starts(made, shape, recipe, sentence):
    model = keras.Sequential([keras.Input(shape), *made, layers.Dense(CLASSES)])
    with pytest.raises(UsageError, match=sentence):
        tflite.check(model, parse(recipe), Interface("x", shape))
