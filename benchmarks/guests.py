"""Networks as people bring them, small enough for two cores, and examples that each of them can learn.

Networks of keras.applications and KerasHub are built from their configurations, without a download.

A network with random weights gives nearly the same answer for every example, so that the smallest rounding changes it.
`examples` therefore draws examples of separable classes, and `fit` trains a network on them for a short time. Its
answers are then far enough apart that the share of equal answers tells whether a file is right.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

SIZE, CLASSES, EXAMPLES = 32, 10, 96
# Side of the coarse patterns that tell the classes of images apart, and the share of noise in an example.
COARSE, NOISE = 4, 0.25
# `fit` ends at this accuracy on fresh examples, or share of explained variance, or after this many steps.
LEARNT, STEPS, BATCH, EPOCHS = 0.99, 800, 32, 4
FRESH = 100  # seed of the first examples that train

_APPLICATIONS = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"include_preprocessing": False},
    "MobileNetV3Large": {"include_preprocessing": False},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {"include_preprocessing": False},
    "ResNet50": {},
    "DenseNet121": {},
    "NASNetMobile": {},
    "ConvNeXtTiny": {"include_preprocessing": False},
    "Xception": {},
}
# Smallest images that a network takes, where they are larger than SIZE.
_LARGER = {"Xception": 71, "NASNetMobile": 64}


def application(name: str) -> keras.Model:
    """Return a network of keras.applications with random weights, ten classes and a softmax."""
    size = _LARGER.get(name, SIZE)
    made = getattr(keras.applications, name)
    return made(weights=None, input_shape=(size, size, 3), classes=CLASSES, **_APPLICATIONS[name])


def residual() -> keras.Model:
    """Return a residual network with an average pooling, as MLPerf Tiny's ResNet-8."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for filters in (8, 16):
        short = layers.Conv2D(filters, 1, strides=2)(x)
        for strides in (2, 1):
            x = layers.Conv2D(filters, 3, strides=strides, padding="same")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Activation("relu")(layers.Add()([short, x]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def unet() -> keras.Model:
    """Return a U-Net with concatenation, transposed convolution and upsampling, and one class a pixel."""
    inputs = keras.Input((SIZE, SIZE, 3))
    down = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(down))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(x))
    x = layers.Conv2DTranspose(16, 2, strides=2)(x)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([x, down]))
    return keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax")(x))


def squeeze() -> keras.Model:
    """Return a network with squeeze-and-excite, hard swish and PReLU."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, strides=2, activation="hard_swish")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(gate)
    x = layers.PReLU(shared_axes=(1, 2))(layers.Multiply()([x, gate]))
    x = layers.SeparableConv2D(24, 3, activation="relu6")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(layers.GlobalMaxPooling2D()(x)))


def tcn() -> keras.Model:
    """Return a temporal convolutional network with dilation and residuals."""
    x = inputs = keras.Input((48, 6))
    for dilation in (1, 2, 4):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = layers.Add()([layers.Conv1D(16, 1)(x), y])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def ds_cnn() -> keras.Model:
    """Return a depthwise-separable network for spectrograms."""
    x = inputs = keras.Input((49, 10, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, (10, 4), strides=2, padding="same")(x)))
    for _ in range(2):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 1)(x)))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def autoencoder() -> keras.Model:
    """Return a dense autoencoder, whose labels are its inputs."""
    widths = (64, 32, 8, 32, 64)
    hidden = [layers.Dense(width, activation="relu") for width in widths]
    return keras.Sequential([keras.Input((120,)), *hidden, layers.Dense(120)], name="autoencoder")


def bigru() -> keras.Model:
    """Return a bidirectional GRU."""
    inputs = keras.Input((20, 8))
    x = layers.Bidirectional(layers.GRU(12))(inputs)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def attention() -> keras.Model:
    """Return a transformer block with Keras' own attention, layer normalization and GELU."""
    x = inputs = keras.Input((16, 24))
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 12)(y, y)])
    y = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(24)(y)])
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def group_norm() -> keras.Model:
    """Return a network with group normalization."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.GroupNormalization(4)(layers.Conv2D(16, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def two_inputs() -> keras.Model:
    """Return a network for a picture and a row of numbers."""
    picture, row = keras.Input((SIZE, SIZE, 3), name="picture"), keras.Input((5,), name="row")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(picture))
    x = layers.Concatenate()([x, layers.Dense(8, activation="relu")(row)])
    return keras.Model({"picture": picture, "row": row}, layers.Dense(CLASSES, activation="softmax")(x))


def two_outputs() -> keras.Model:
    """Return a network that gives classes and a number."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(inputs))
    classes = layers.Dense(CLASSES, activation="softmax", name="classes")(x)
    return keras.Model(inputs, [classes, layers.Dense(1, name="size")(x)])


def nested() -> keras.Model:
    """Return a backbone in a model of its own, and a head."""
    back = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(8, 3, activation="relu"),
                             layers.BatchNormalization(), layers.Conv2D(12, 3, activation="relu"),
                             layers.GlobalAveragePooling2D()], name="backbone")  # fmt: skip
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(back(inputs)))


def shared() -> keras.Model:
    """Return a network that calls one convolution twice."""
    inputs = keras.Input((SIZE, SIZE, 3))
    twice = layers.Conv2D(3, 3, padding="same", activation="relu")
    x = layers.GlobalAveragePooling2D()(twice(twice(inputs)))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


@keras.saving.register_keras_serializable("benchmarks")
class Block(layers.Layer):
    """A custom layer with sublayers that have no names."""

    def __init__(self, units: int = 16, **options: Any):
        super().__init__(**options)
        self.units = units
        self.first, self.second = layers.Dense(units, activation="relu"), layers.Dense(units)

    def call(self, x: Any) -> Any:
        return x + self.second(self.first(x))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}


def custom_layer() -> keras.Model:
    """Return a network with two custom layers."""
    inputs = keras.Input((16,))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(Block()(Block()(inputs))))


@keras.saving.register_keras_serializable("benchmarks")
class Subclassed(keras.Model):
    """A subclassed model without `build`."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.hidden, self.head = layers.Dense(24, activation="relu"), layers.Dense(CLASSES)

    def call(self, x: Any) -> Any:
        return ops.softmax(self.head(self.hidden(x)))


def subclassed() -> keras.Model:
    """Return a subclassed model, built by one call."""
    model = Subclassed()
    model(np.zeros((1, 16), "float32"))
    return model


def sigmoid() -> keras.Model:
    """Return a network with one yes or no."""
    return keras.Sequential([keras.Input((12,)), layers.Dense(16, activation="relu"),
                             layers.Dense(1, activation="sigmoid")])  # fmt: skip


def regression() -> keras.Model:
    """Return a network with one number."""
    return keras.Sequential([keras.Input((8,)), layers.Normalization(), layers.Dense(32, activation="relu"),
                             layers.Dense(1)])  # fmt: skip


def embedding() -> keras.Model:
    """Return a network for token ids."""
    return keras.Sequential([keras.Input((20,), dtype="int32"), layers.Embedding(200, 16),
                             layers.GlobalAveragePooling1D(), layers.Dense(CLASSES, activation="softmax")])  # fmt: skip


def volume() -> keras.Model:
    """Return a network of three-dimensional convolutions."""
    inputs = keras.Input((8, 12, 12, 1))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(8, 3, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def hub_backbone(kind: str) -> keras.Model:
    """Return a KerasHub backbone of a small configuration, with a head."""
    import keras_hub

    small = {
        "vit": lambda: keras_hub.models.ViTBackbone(
            image_shape=(SIZE, SIZE, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64
        ),
        "resnet": lambda: keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[64, 16],
            stackwise_num_blocks=[1, 1],
            stackwise_num_strides=[1, 2],
            block_type="basic_block",
            image_shape=(SIZE, SIZE, 3),
        ),
        "bert": lambda: keras_hub.models.BertBackbone(
            vocabulary_size=200,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            intermediate_dim=64,
            max_sequence_length=16,
        ),
        "mobilenet": lambda: keras_hub.models.MobileNetBackbone(
            stackwise_expansion=[[16, 24], [24, 48]],
            stackwise_num_blocks=[2, 2],
            stackwise_num_filters=[[8, 8], [16, 16]],
            stackwise_kernel_size=[[3, 3], [5, 5]],
            stackwise_num_strides=[[2, 1], [2, 1]],
            stackwise_se_ratio=[[None, None], [0.25, 0.25]],
            stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
            stackwise_padding=[[1, 1], [2, 2]],
            output_num_filters=48,
            depthwise_filters=8,
            depthwise_stride=1,
            depthwise_residual=False,
            last_layer_filter=64,
            squeeze_and_excite=0.5,
            input_activation="hard_swish",
            output_activation="hard_swish",
            input_num_filters=8,
            image_shape=(SIZE, SIZE, 3),
        ),
        "efficientnet": lambda: keras_hub.models.EfficientNetBackbone(
            stackwise_kernel_sizes=[3, 5],
            stackwise_num_repeats=[1, 2],
            stackwise_input_filters=[16, 8],
            stackwise_output_filters=[8, 16],
            stackwise_expansion_ratios=[1, 4],
            stackwise_strides=[1, 2],
            stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
            stackwise_block_types=["v1", "v1"],
            width_coefficient=1.0,
            depth_coefficient=1.0,
            input_shape=(SIZE, SIZE, 3),
        ),
    }
    back = small[kind]()
    # Called as one layer, as KerasHub's own tasks do: the layers of its ViT cannot be rebuilt one by one (0.32).
    inputs = keras.tree.map_structure(
        lambda given: keras.Input(given.shape[1:], dtype=given.dtype, name=given.name), back.input
    )
    outputs = back(inputs)
    if isinstance(outputs, dict):
        outputs = outputs["pooled_output"]
    elif len(outputs.shape) == 3:
        outputs = outputs[:, 0]
    elif len(outputs.shape) == 4:
        outputs = layers.GlobalAveragePooling2D()(outputs)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(outputs))


_HUB = ("vit", "resnet", "bert", "mobilenet", "efficientnet")
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    **{name: (lambda name=name: application(name)) for name in _APPLICATIONS},
    **{f"keras_hub {name}": (lambda name=name: hub_backbone(name)) for name in _HUB},
    **{
        made.__name__: made
        for made in (
            *(residual, unet, squeeze, tcn, ds_cnn, autoencoder, bigru, attention, group_norm, two_inputs, two_outputs),
            *(nested, shared, custom_layer, subclassed, sigmoid, regression, embedding, volume),
        )
    },
}


def examples(model: keras.Model, count: int = EXAMPLES, seed: int = 0) -> tuple[Any, Any]:
    """Return inputs that a network takes, of classes that it can tell apart, and labels for its outputs.

    Each class has a pattern, which is the same for every seed; an example is the pattern of its class with noise.
    Labels of a network without classes are numbers that follow from the class, or the inputs (autoencoder).

    Args:
        model: Network of NETWORKS.
        count: Number of examples.
        seed: Seed of the noise.
    """
    # A functional model with a dictionary of inputs is called with one; a subclassed model has no list of inputs.
    struct = getattr(model, "_inputs_struct", None)
    inputs = struct if isinstance(struct, dict) else getattr(model, "inputs", None) or [keras.KerasTensor((None, 16))]
    inputs = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
    outputs = getattr(model, "outputs", None) or [keras.KerasTensor((None, CLASSES))]
    rng = np.random.default_rng([seed, 1])
    chosen = np.arange(count) % CLASSES
    if len(outputs[0].shape) == 4:  # a class for each pixel
        blocks = rng.integers(0, outputs[0].shape[-1], (count, COARSE, COARSE))
        chosen = np.kron(blocks, np.ones((1, SIZE // COARSE, SIZE // COARSE), int))
    x = keras.tree.map_structure(lambda given: _of_classes(given, chosen, rng), inputs)
    if model.name.startswith("autoencoder"):
        return x, x
    labels = [_labels(chosen, output.shape, _decides(model)) for output in outputs]
    return x, labels[0] if len(labels) == 1 else tuple(labels)


def _of_classes(given: Any, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an input of each example, with the pattern of its class and noise."""
    shape = tuple(16 if side is None else side for side in given.shape[1:])
    fixed = np.random.default_rng(len(shape))
    if "int" in keras.backend.standardize_dtype(given.dtype):
        if any(word in given.name for word in ("segment", "mask")):
            return np.ones((len(chosen), *shape), np.int32)
        own = fixed.integers(1, 200, (CLASSES, 8))  # tokens that are frequent in texts of a class
        frequent = own[chosen[:, None], rng.integers(0, 8, (len(chosen), *shape))]
        return np.where(rng.random(frequent.shape) < NOISE, rng.integers(1, 200, frequent.shape), frequent).astype(
            "int32"
        )
    if chosen.ndim > 1:
        pattern = fixed.random((CLASSES, shape[-1]))[chosen]
    elif len(shape) > 2:
        coarse = fixed.random((CLASSES, *(min(side, COARSE) for side in shape[:-1]), shape[-1]))
        coarse = (coarse + fixed.random((CLASSES, *[1] * (len(shape) - 1), shape[-1]))) / 2  # and a colour of its own
        for axis, side in enumerate(shape[:-1], 1):
            coarse = coarse.take(np.arange(side) * coarse.shape[axis] // side, axis)
        pattern = coarse[chosen]
    else:
        pattern = fixed.random((CLASSES, *shape))[chosen]
    return ((1 - NOISE) * pattern + NOISE * rng.random((len(chosen), *shape))).astype("float32")


def _decides(model: keras.Model) -> bool:
    last = model.layers[-1]
    return getattr(last, "activation", None) is keras.activations.sigmoid


def _labels(chosen: np.ndarray, shape: tuple[int | None, ...], decides: bool) -> np.ndarray:
    """Return labels of an output of a shape, from the class of each example."""
    if shape[-1] > 1:
        return (chosen % shape[-1]).astype("int32")
    if decides:
        return (chosen % 2)[:, None].astype("int32")
    return ((chosen - (CLASSES - 1) / 2) / CLASSES)[:, None].astype("float32")


def fit(model: keras.Model, count: int) -> None:
    """Train a network until its answers are right for fresh examples, or for a limited number of steps.

    The noise is drawn anew every few epochs: a large network would learn that of some hundred examples by heart. The
    averages of batch normalization get a short memory, so that they follow the short training.

    Args:
        model: Network of NETWORKS, which is changed and stays compiled.
        count: Number of examples of an epoch.
    """
    from zoo.tasks.parts.outputs import meanings

    x, y = examples(model, count, FRESH)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.8
        if isinstance(layer, layers.Normalization):
            layer.adapt(keras.Model(model.inputs, layer.input).predict(x, verbose=0))
    few = keras.tree.map_structure(lambda array: array[:8], x)
    found = keras.tree.flatten(model.predict_on_batch(few))
    means = meanings([str(number) for number in range(len(found))], found, y)
    losses = [each.loss() for each in means]
    loss = losses if len(losses) > 1 else losses[0]
    model.compile(keras.optimizers.Adam(4e-3 if model.count_params() < 10_000 else 1e-3), loss)
    steps = EPOCHS * -(-count // BATCH)
    for seed in range(FRESH + 1, FRESH + 1 + max(1, STEPS // steps)):
        model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        x, y = examples(model, count, seed)
        outputs = keras.tree.flatten(model.predict(x, verbose=0))
        parts = zip(means, outputs, keras.tree.flatten(y), strict=True)
        if min(each.scores(found, truth)[score_of(each)] for each, found, truth in parts) >= LEARNT:
            break
    model.compile("sgd", loss)  # a saved model then has no moments


def score_of(output: Any) -> str:
    """Return the name of the score that tells how good a `zoo.tasks.parts.outputs.Output` is, at most 1."""
    return "r2" if output.kind == "numbers" else "accuracy"
