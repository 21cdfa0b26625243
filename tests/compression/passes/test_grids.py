"""Where training rounds, and on which grids, against files that the converter made of every kind of layer."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from compression.exporting import tflite
from compression.exporting.endpoints import Endpoint, endpoints
from compression.passes import grids, qat
from compression.surgery.folding import fold_batch_norms
from tests.compression.conftest import AS_THEY_ARE
from zoo.console.errors import UsageError
from zoo.isolation import child

SHAPE = (8, 8, 4)


@dataclass(frozen=True)
class Several:
    """A file with several outputs."""

    shapes: tuple[tuple[int, ...], ...]


@endpoints.register(Several)
def _of_several(interface, model, probabilities=True):
    def serve(*x):
        made = model(list(x) if len(x) > 1 else x[0], training=False)
        return {f"y{i:03}": tensor for i, tensor in enumerate(keras.tree.flatten(made))}

    given = tuple((f"x{i}", (1, *shape), "float32") for i, shape in enumerate(interface.shapes))
    return [Endpoint("serve", serve, given)]


class Output(NamedTuple):
    """An output of a model as it is trained and of its file, in steps of the file's grid."""

    trained: np.ndarray
    file: np.ndarray

    @property
    def largest(self):
        return float(np.abs(self.trained - self.file).max())

    @property
    def different(self):
        return float((np.abs(self.trained - self.file) > 0.5).mean())


def compared(model, x, folder: Path, loops: bool = False) -> list[Output]:
    """Return every output of a model, rounded as in training and computed by its file."""
    flat = keras.tree.flatten(x)
    fold_batch_norms(model, x)
    points = grids.Points(model, keras.tree.map_structure(lambda a: a[:4], x))
    made = qat.Quantized(model, points=points, functions={}, ranges=qat.calibrated(model, points, x))
    trained = [np.asarray(t) for t in keras.tree.flatten(made(x))]
    model = made.strip()
    interface = Several(tuple(a.shape[1:] for a in flat))
    ranges = tflite.Ranges(points, made.final_ranges())
    traced = tflite.save(model, folder / "saved", interface, "unrolled" if loops else "auto", True, ranges)
    np.savez(folder / "examples.npz", **{f"x{i}": a for i, a in enumerate(flat)})
    job = {"saved_model": folder / "saved", "calibration": folder / "examples.npz", "batch": 1, "allow_flex": False}
    job |= {"ranges": dict(traced.ranges), "functions": None, "rolled_out": False}
    file = {
        "output": folder / "made.tflite",
        "precision": "int8",
        "integer_io": True,
        "integer_input": True,
        "integer_output": True,
    }
    child.run(
        "compression.exporting.converter",
        {**job, "files": [{**file, "per_tensor": False, "skip": [], **AS_THEY_ARE}]},
        seconds=300,
    )
    return [Output(t / step, f) for t, (f, step) in zip(trained, run(file["output"], flat), strict=True)]


def run(path: Path, flat: list[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """Return the values of every output in steps, and the step."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    given, made = runner.get_input_details(), runner.get_output_details()
    values: dict[str, list] = {name: [] for name in sorted(made)}
    for i in range(len(flat[0])):
        fed = {}
        for name, array in zip(sorted(given), flat, strict=True):
            step, zero = given[name]["quantization"]
            fed[name] = np.clip(np.round(array[i : i + 1] / step) + zero, -128, 127).astype("int8")
        for name, value in runner(**fed).items():
            values[name].append(value.astype("float32") - made[name]["quantization"][1])
    return [(np.concatenate(found), made[name]["quantization"][0]) for name, found in values.items()]


def conv(filters=4, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)


def residual(x):
    y = layers.ReLU()(layers.BatchNormalization()(conv(use_bias=False)(x)))
    z = layers.BatchNormalization()(conv(use_bias=False)(y))
    return layers.ReLU()(layers.Add()([y, z]))


def inverted(x):
    y = layers.ReLU(6.0)(layers.BatchNormalization()(conv(12, 1, use_bias=False)(x)))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    return layers.Add()([x, layers.BatchNormalization()(conv(4, 1, use_bias=False)(y))])


def squeezed(x):
    y = conv(activation="hard_silu")(x)
    z = layers.GlobalAveragePooling2D(keepdims=True)(y)
    z = conv(4, 1, activation="hard_sigmoid")(conv(4, 1, activation="leaky_relu")(z))
    return layers.Multiply()([y, z])


def nested(x):
    inner = keras.Input(SHAPE)
    return keras.Model(inner, layers.ReLU()(layers.Add()([conv()(inner), inner])))(x)


def shared(x):
    kernel = conv()
    return kernel(layers.ReLU()(kernel(x)))


def rows(x):
    return layers.Reshape((16, 16))(x)


def attended(x, **options):
    y = layers.Dense(6)(rows(x))
    heads = layers.MultiHeadAttention(2, 4, dropout=options.pop("dropout", 0.0))
    return layers.Add()([y, heads(y, y, **options)])


def two(layer):
    return lambda x: layer([conv()(x), conv()(x)])


# Each kind as a function of the model's input; all are branches of one model.
KINDS = {
    "pooled residual": lambda x: layers.AveragePooling2D(2)(residual(x)),
    "inverted residual": inverted,
    "squeeze and excite": squeezed,
    "shared layer": shared,
    "dense block": lambda x: layers.ReLU()(layers.BatchNormalization()(two(layers.Concatenate())(x))),
    "operators of a functional model": lambda x: ops.relu(ops.concatenate([conv()(x) + conv()(x), x], axis=-1)),
}
MORE = {
    "residual": residual,
    "nested model": nested,
    "two kernels": lambda x: layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")(x),
    "attention": attended,
    "concatenated": lambda x: layers.Concatenate()([conv(activation="relu")(x), layers.MaxPooling2D(1)(conv()(x))]),
    "concatenated twice": lambda x: layers.Concatenate()([two(layers.Concatenate())(x), conv()(x)]),
    "sum of three": lambda x: layers.ReLU()(layers.Add()([conv()(x), conv()(x), conv(4, 1)(x)])),
    "difference": lambda x: layers.ReLU(6.0)(two(layers.Subtract())(x)),
    "product": lambda x: layers.ReLU()(two(layers.Multiply())(x)),
    "mean of three": lambda x: layers.Average()([conv()(x), conv()(x), conv()(x)]),
    "maximum": two(layers.Maximum()),
    "minimum": two(layers.Minimum()),
    "ReLU after concatenation": lambda x: layers.ReLU()(two(layers.Concatenate())(x)),
    "average pooling": lambda x: layers.AveragePooling2D(2)(conv()(x)),
    "average pooling and ReLU": lambda x: layers.ReLU()(layers.AveragePooling2D(2)(conv()(x))),
    "maximum pooling and ReLU": lambda x: layers.ReLU()(layers.MaxPooling2D(2)(conv()(x))),
    "padding and ReLU": lambda x: layers.ReLU()(layers.ZeroPadding2D()(conv()(x))),
    "reshaping and ReLU": lambda x: layers.ReLU()(layers.Reshape((4, 16, 4))(conv()(x))),
    "cropping": lambda x: layers.Cropping2D(1)(conv()(x)),
    "permutation": lambda x: layers.Permute((2, 1, 3))(conv()(x)),
    "global average": lambda x: layers.GlobalAveragePooling2D()(conv(activation="relu")(x)),
    "global maximum": lambda x: layers.GlobalMaxPooling2D()(conv()(x)),
    "nearest upsampling": lambda x: layers.UpSampling2D(2)(conv()(x)),
    "bilinear upsampling": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(conv()(x)),
    "transposed": lambda x: layers.ReLU()(layers.Conv2DTranspose(4, 3, 2)(x)),
    "transposed without bias": lambda x: layers.ReLU()(layers.Conv2DTranspose(4, 3, 2, use_bias=False)(x)),
    "transposed and normalized": lambda x: layers.ReLU()(
        layers.BatchNormalization()(layers.Conv2DTranspose(4, 3, use_bias=False)(x))
    ),
    "convolution of rows": lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(4, 3)(rows(x)))),
    "transposed convolution of rows": lambda x: layers.Conv1DTranspose(4, 3, activation="relu")(rows(x)),
    "separable convolution of rows": lambda x: layers.SeparableConv1D(4, 3, activation="relu")(rows(x)),
    "depthwise convolution of rows": lambda x: layers.DepthwiseConv1D(3, activation="relu")(rows(x)),
    "convolution of volumes": lambda x: layers.Conv3D(2, 3, activation="relu")(layers.Reshape((8, 8, 4, 1))(x)),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, activation="relu6")(x),
    "dilated": lambda x: layers.Conv2D(4, 3, dilation_rate=2, activation="relu")(x),
    "grouped": lambda x: conv(groups=2, activation="relu")(x),
    "PReLU": lambda x: layers.PReLU(shared_axes=[1, 2])(conv()(x)),
    "ReLU up to 4": lambda x: layers.ReLU(max_value=4.0)(conv()(x)),
    "softmax": lambda x: layers.Softmax()(layers.Dense(3)(layers.Flatten()(x))),
    "normalized input": lambda x: layers.BatchNormalization()(x),
    "normalized sum": lambda x: layers.BatchNormalization()(two(layers.Add())(x)),
    "rescaled input": lambda x: layers.Rescaling(1 / 3.0, -0.5)(x),
    "rescaled kernel": lambda x: layers.Rescaling(1 / 3.0)(conv()(x)),
    "standardized": lambda x: layers.Normalization(mean=[0, 0.1, 0.2, 0.3], variance=[1, 2, 3, 4])(x),
    "group normalization": lambda x: layers.GroupNormalization(2)(conv()(x)),
    "operators": lambda x: ops.mean(conv()(x)[:, 1:-1], axis=(1, 2)),
    "swish by operators": lambda x: (lambda y: y * ops.sigmoid(y))(conv()(x)),
    "dense rows": lambda x: layers.Dense(5, activation="relu")(rows(x)),
    "dense and normalized": lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Dense(8)(layers.Flatten()(x)))),
    "einsum": lambda x: layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(rows(x)),
    "masked attention": lambda x: attended(x, use_causal_mask=True, dropout=0.1),
    **{
        f"{name} alone": (lambda x, name=name: layers.Activation(name)(conv()(x)))
        for name in ("hard_silu", "hard_sigmoid", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus")
    },
    **{
        f"{name} of a kernel": (lambda x, name=name: conv(activation=name)(x))
        for name in ("hard_silu", "hard_sigmoid", "elu", "gelu", "silu", "mish", "softmax", "exponential")
    },
}
# Share of values that may differ: elsewhere, only those that lie between two integers but for the precision of float32.
LOOSE = {"squeeze and excite": 0.04, "attention": 0.06, "masked attention": 0.06, "leaky_relu alone": 0.06}


def branches(kinds, seed=0):
    """Return a model with an output for each kind, with weights that no default hides."""
    keras.utils.set_random_seed(seed)
    x = keras.Input(SHAPE)
    model = keras.Model(x, [layers.Flatten()(kind(x)) for kind in kinds.values()])
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed" not in variable.path:
            sign = 1 if "variance" in variable.path else np.sign(rng.normal(size=variable.shape))
            variable.assign(variable + sign * rng.uniform(0.05, 0.3, variable.shape))
    return model


def examples(count=24, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def of_kinds(kinds, folder):
    return dict(zip(kinds, compared(branches(kinds), examples(), folder), strict=True))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return of_kinds(KINDS, tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return of_kinds(MORE, tmp_path_factory.mktemp("kinds"))


def check(kind, output):
    # A value between two integers at a kernel may be several steps away after a steep activation, and is rare.
    assert output.different <= LOOSE.get(kind, 0.012), (output.different, output.largest)
    assert output.largest <= 4.05


@pytest.mark.parametrize("kind", KINDS)
def test_training_rounds_as_the_file_does(kind, quick):
    check(kind, quick[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MORE)
def test_training_rounds_further_kinds_as_the_file_does(kind, slow):
    check(kind, slow[kind])


class Raw(keras.Model):
    """A subclassed model whose sum, ReLU and concatenation are no layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(name="a"), conv(name="b"), conv(size=1, name="c")
        self.head = layers.Dense(3, name="head")

    def call(self, x):
        y = ops.relu(self.a(x))
        y = ops.relu(y + self.b(y))  # used by `c`, and by `head` beside it
        y = ops.concatenate([y, self.c(y)], axis=-1)
        return self.head(ops.reshape(y, (-1, 8 * 8 * 8)))


def test_operators_of_a_subclassed_model_are_rounded_where_layers_use_them(tmp_path):
    keras.utils.set_random_seed(0)
    model, x = Raw(), examples()
    model(x)
    for bias in (layer.bias for layer in (model.a, model.b, model.c, model.head)):
        bias.assign(np.linspace(-0.3, 0.4, bias.shape[0]))
    points = grids.Points(model, x)
    places = {place.prefix: place for point in points.points for place in point.places}
    assert places["b"].inputs == ("b/given",) and places["c"].inputs == ("c/given",)
    assert places["a"].name is None  # fused with the ReLU
    assert points.grid("c") == points.grid("c/given") and points.grid("b") != points.grid("b/given")
    (output,) = compared(model, x, tmp_path)
    # The first term of `y + b(y)` reaches no layer, so only the file rounds it.
    assert output.largest <= 3.05 and np.abs(output.trained - output.file).mean() <= 0.75


class Positions(layers.Layer):
    """Adds what a layer makes of an array, as embeddings of positions do."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = layers.Dense(6)

    def build(self, shape):
        self.dense.build((None, 3))
        self.built = True

    def call(self, x):
        return x + self.dense(np.eye(4, 3, dtype="float32"))


def test_a_layer_that_is_called_with_an_array_is_trained_as_the_file_has_it(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6))
    model = keras.Model(inputs, layers.Dense(5)(Positions()(layers.Dense(6, activation="relu")(inputs))))
    x = np.random.default_rng(0).normal(size=(32, 4, 6)).astype("float32")
    (output,) = compared(model, x, tmp_path)
    assert output.largest <= 1.05 and output.different <= 0.04


def test_one_grid_follows_all_its_tensors():
    x = keras.Input(SHAPE)
    wide, narrow = conv(name="wide"), conv(activation="relu", name="narrow")
    y = layers.Concatenate(name="both")([layers.MaxPooling2D(2)(wide(x)), layers.MaxPooling2D(2)(narrow(x))])
    model, inputs = keras.Model(x, layers.Dense(2)(layers.Flatten()(y))), examples()
    points = grids.Points(model, inputs)
    assert points.grid("wide") == points.grid("narrow")
    ranges = qat.calibrated(model, points, inputs)
    assert ranges["wide"] == ranges["narrow"]
    made = qat.Quantized(model, points=points, functions={}, ranges=ranges, momentum=0.0)
    made(inputs * 0.5, training=True)
    low, high = made.final_ranges()["narrow"]
    seen = np.concatenate([np.asarray(layer(inputs * 0.5)) for layer in (wide, narrow)])
    np.testing.assert_allclose((low, high), (seen.min(), seen.max()), rtol=0.03)


def uneven():
    spread = np.geomspace(0.02, 2, 8)[:, None, None]
    return (examples() * spread).astype("float32")


NORMALIZED = {
    "layer": lambda x: layers.LayerNormalization()(x),
    "group": lambda x: layers.GroupNormalization(2)(x),
    "attention": lambda x: attended(layers.LayerNormalization()(x)),
}


def test_a_variance_that_rounds_to_zero_is_what_the_file_takes_it_for(tmp_path):
    outputs = dict(zip(NORMALIZED, compared(branches(NORMALIZED), uneven(), tmp_path), strict=True))
    for name, output in outputs.items():
        assert np.isfinite(output.trained).all()
        check(name, output)


@pytest.mark.slow
def test_normalisations_of_uneven_rows_are_trained_without_nan():
    model, x = branches(NORMALIZED), uneven()
    points = grids.Points(model, x[:4])
    made = qat.Quantized(model, points=points, functions={}, ranges=qat.calibrated(model, points, x), momentum=0.9)
    made.compile(keras.optimizers.Adam(1e-2), "mse")
    made.fit(x, [np.zeros_like(y) for y in model.predict(x, verbose=0)], batch_size=8, epochs=2, verbose=0)
    assert all(np.isfinite(ops.convert_to_numpy(v)).all() for v in made.variables)


def test_several_inputs_have_a_range_each(tmp_path):
    inputs = [keras.Input((6,)), keras.Input((4,))]
    y = layers.Concatenate()([layers.Dense(5)(inputs[0]), layers.Dense(5)(inputs[1] * 0.5)])
    model = keras.Model(inputs, [layers.Dense(3)(y), layers.Dense(2, activation="sigmoid")(y)])
    x = [examples(shape=(6,)), 10 * examples(seed=1, shape=(4,))]
    points = grids.Points(model, x)
    ranges = qat.calibrated(model, points, x)
    assert points.inputs == ["input", "input:1"]
    assert ranges["input:1"] == pytest.approx((x[1].min(), x[1].max()))
    for output in compared(model, x, tmp_path):
        assert output.different <= 0.1 and output.largest <= 1.05


@keras.saving.register_keras_serializable("tests")
class Cell(layers.Layer):
    """A recurrent cell with a layer inside."""

    state_size = output_size = 3

    def __init__(self):
        super().__init__()
        self.inside = layers.Dense(3, name="inside")

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x, states):
        y = ops.tanh(self.inside(x) + states[0])
        return y, [y]


def test_a_layer_inside_a_loop_is_refused_by_name():
    model = keras.Sequential([keras.Input((4, 5)), layers.RNN(Cell()), layers.Dense(2)])
    with pytest.raises(UsageError, match="inside.*inside one.*skip=.*inside"):
        grids.Points(model, examples(shape=(4, 5)))


def recurrent(layer):
    x = keras.Input((6, 5))
    return keras.Model(x, layers.Dense(3)(layer(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Bidirectional(layers.LSTM(4)),
        lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum"),
        lambda: layers.SimpleRNN(4, return_sequences=True),
    ],
)
def test_recurrent_layers_are_within_a_few_steps_of_their_file(layer, tmp_path):
    """The file rounds the products of inputs and states apart at each step, training only their sum."""
    keras.utils.set_random_seed(0)
    (output,) = compared(recurrent(layer()), examples(shape=(6, 5)), tmp_path, loops=True)
    assert output.largest <= 8 and np.abs(output.trained - output.file).mean() <= 1.5


@pytest.mark.parametrize("apart", [False, True])
def test_probabilities_that_a_model_gives_are_rounded_in_its_file_and_not_while_it_is_trained(apart):
    """A probability that is rounded to 0 makes the loss very large, and has no gradient."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    head = layers.Dense(4, activation=None if apart else "softmax")(inputs)
    model = keras.Model(inputs, layers.Softmax()(head) if apart else head)
    model.weights[0].assign(model.weights[0] * 20)
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    points = grids.Points(model, x[:4])
    made = qat.Quantized(model, points=points, functions={}, ranges=qat.calibrated(model, points, x))
    trained, file = (np.asarray(made(x, training=training)) for training in (True, False))
    assert trained.min() > 0 and file.min() == 0
    np.testing.assert_allclose(file, np.minimum(np.round(trained * 256), 255) / 256, atol=1e-6)
    np.testing.assert_allclose(trained.sum(1), 1, rtol=1e-5)
