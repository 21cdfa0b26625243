import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from compression.exporting import tapping, tflite
from compression.flatbuffers import flatbuffer, weights
from compression.flatbuffers.interface import Interface
from compression.recipes.language import parse

OPERATORS = {
    "dense": ((6,), lambda: layers.Dense(5, bias_initializer="normal")),
    "convolution": ((8, 7, 3), lambda: layers.Conv2D(4, (3, 2), strides=2, bias_initializer="normal")),
    "same": ((8, 7, 3), lambda: layers.Conv2D(4, 3, strides=2, padding="same", bias_initializer="normal")),
    "dilated": ((9, 8, 3), lambda: layers.Conv2D(4, 3, dilation_rate=2, bias_initializer="normal")),
    "sequence": ((9, 3), lambda: layers.Conv1D(4, 3, padding="same", bias_initializer="normal")),
    "grouped": ((8, 7, 6), lambda: layers.Conv2D(9, 3, groups=3, bias_initializer="normal")),
    "depthwise": ((8, 7, 3), lambda: layers.DepthwiseConv2D(3, padding="same", bias_initializer="normal")),
    "multiplied": ((8, 7, 3), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="normal")),
    "transposed": ((5, 4, 3), lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same")),
    "valid": ((5, 4, 3), lambda: layers.Conv2DTranspose(4, (3, 2), strides=2)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_outputs_are_the_patches_times_the_matrix(name, tmp_path):
    keras.utils.set_random_seed(0)
    shape, layer = OPERATORS[name]
    model = keras.Sequential([keras.Input(shape), layer()])
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse("float32"), Interface("x", shape), probabilities=False)
    content = flatbuffer.read(path)
    (found,) = weights.find(content)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    (reader,), (given,) = found.readers, found.inputs(content)
    made = int(content.subgraphs[0].operators[reader].outputs[0])
    ((_, values),) = tapping.run(content, lambda: iter([{"x": x}]), {0: {given, made}})
    matrix = found.matrix(weights.constant(content, 0, found.tensor))
    patches = found.patches(content, reader, values[given], 10**6, np.random.default_rng(0))
    outputs = np.einsum("rd,rnd->nr", matrix, patches) if patches.ndim == 3 else patches @ matrix.T
    bias = 0 if found.bias is None else weights.constant(content, 0, found.bias)
    np.testing.assert_allclose(outputs + bias, values[made].reshape(outputs.shape), atol=1e-5)
    np.testing.assert_array_equal(found.arranged(matrix), weights.constant(content, 0, found.tensor))
    few = found.patches(content, reader, values[given], 3, np.random.default_rng(0))
    assert few.shape[-2] == min(3, patches.shape[-2])


def test_a_tapped_file_is_left_as_it_was(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2, activation="softmax")])
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse("float32"), Interface("x", (4,)), probabilities=False)
    content = flatbuffer.read(path)
    before = flatbuffer.pack(content)
    inside = tapping.before_softmax(content, 0)
    x = np.ones((1, 4), np.float32)
    ((_, values),) = tapping.run(content, lambda: iter([{"x": x}]), {0: inside})
    (logits,) = values.values()
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), model(x), rtol=1e-5)
    assert flatbuffer.pack(content) == before


def test_packed_int4_values_are_read_back():
    integers = np.arange(-7, 8, dtype=np.int8)
    tensor = schema.TensorT()
    tensor.type, tensor.shape = schema.TensorType.INT4, [15]
    np.testing.assert_array_equal(flatbuffer.stored_values(tensor, weights.packed(integers)), integers)
