"""Networks as people bring them, small enough for two cores: each with random weights and inputs, and labels.

Networks of keras.applications and KerasHub are built from their configurations, without a download.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

SIZE, CLASSES, EXAMPLES = 32, 10, 96

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
            input_conv_filters=[8],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[8, 16],
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
    }
    back = small[kind]()
    outputs = back.output
    if isinstance(outputs, dict):
        outputs = outputs["pooled_output"]
    elif len(outputs.shape) == 3:
        outputs = outputs[:, 0]
    elif len(outputs.shape) == 4:
        outputs = layers.GlobalAveragePooling2D()(outputs)
    return keras.Model(back.input, layers.Dense(CLASSES, activation="softmax")(outputs))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    **{name: (lambda name=name: application(name)) for name in _APPLICATIONS},
    **{f"keras_hub {name}": (lambda name=name: hub_backbone(name)) for name in ("vit", "resnet", "bert")},
    **{
        made.__name__: made
        for made in (
            *(residual, unet, squeeze, tcn, ds_cnn, autoencoder, bigru, attention, group_norm, two_inputs, two_outputs),
            *(nested, shared, custom_layer, subclassed, sigmoid, regression, embedding, volume),
        )
    },
}


def examples(model: keras.Model, count: int = EXAMPLES, seed: int = 0) -> tuple[Any, Any]:
    """Return random inputs that a network takes, and labels of the kind that its outputs have.

    Args:
        model: Network of NETWORKS.
        count: Number of examples.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)

    def given(spec: Any) -> np.ndarray:
        shape = (count, *(16 if side is None else side for side in spec.shape[1:]))
        if "int" in keras.backend.standardize_dtype(spec.dtype):
            ones = any(word in spec.name for word in ("segment", "mask"))
            return rng.integers(0 if not ones else 1, 2 if ones else 200, shape).astype("int32")
        return rng.random(shape, np.float32)

    # A functional model with a dictionary of inputs is called with one; a subclassed model has no list of inputs.
    struct = getattr(model, "_inputs_struct", None)
    inputs = struct if isinstance(struct, dict) else getattr(model, "inputs", None) or [keras.KerasTensor((None, 16))]
    x = keras.tree.map_structure(given, inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs)
    y = keras.tree.map_structure(lambda out: _labels(np.asarray(out), rng), model.predict(x, verbose=0))
    return x, x if model.name.startswith("autoencoder") else y


def _labels(outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return labels that random outputs could be learnt with."""
    if outputs.shape[-1] > 1 and outputs.shape[-1] < 100:
        return outputs.argmax(-1).astype("int32")
    if outputs.min() >= 0 and outputs.max() <= 1:
        return rng.integers(0, 2, outputs.shape).astype("int32")
    return rng.standard_normal(outputs.shape).astype("float32")
