"""Where training rounds, and on which grids, against files that the converter made of every kind of layer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from compression.exporting import tflite
from compression.exporting.endpoints import Endpoint, endpoints
from compression.passes import grids, qat
from compression.runtime import child
from compression.surgery.folding import fold_batch_norms

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
    file = {"output": folder / "made.tflite", "precision": "int8", "integer_io": True, "integer_input": True}
    child.run("compression.exporting.converter", {**job, "files": [{**file, "per_tensor": False, "skip": []}]}, seconds=300)
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
    "residual": residual,
    "pooled residual": lambda x: layers.AveragePooling2D(2)(residual(x)),
    "inverted residual": inverted,
    "squeeze and excite": squeezed,
    "nested model": nested,
    "shared layer": shared,
    "concatenated": lambda x: layers.Concatenate()([conv(activation="relu")(x), layers.MaxPooling2D(1)(conv()(x))]),
    "concatenated twice": lambda x: layers.Concatenate()([two(layers.Concatenate())(x), conv()(x)]),
    "dense block": lambda x: layers.ReLU()(layers.BatchNormalization()(two(layers.Concatenate())(x))),
    "operators of a functional model": lambda x: ops.relu(ops.concatenate([conv()(x) + conv()(x), x], axis=-1)),
    "two kernels": lambda x: layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")(x),
    "attention": attended,
}
MORE = {
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
# Ties of a mean are rounded up in training, and away from zero or to even in the file, by kernel.
TIES = {"pooled residual", "average pooling", "average pooling and ReLU", "bilinear upsampling"}
# Several roundings follow each other, so that a tie may end two steps away.
CHAINS = {"attention", "masked attention", "squeeze and excite"}


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
    assert output.largest <= (2.05 if kind in CHAINS else 1.05), output.largest
    assert output.different <= (0.6 if kind in TIES else 0.1), output.different


@pytest.mark.parametrize("kind", KINDS)
def test_training_rounds_as_the_file_does(kind, quick):
    check(kind, quick[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MORE)
def test_training_rounds_further_kinds_as_the_file_does(kind, slow):
    check(kind, slow[kind])
