"""The convolutions of a classifier as an encoder, which gives feature maps of several resolutions."""

from collections.abc import Sequence

from keras import layers

from zoo.introspection.layers import in_order
from zoo.models.efficientnet_lite import EfficientNetLite
from zoo.models.mobilenet_v2 import MobileNetV2
from zoo.models.parts.vision import VisionModel

# Classifiers by the name that `--set backbone=` takes, which is their name in the zoo.
BACKBONES: dict[str, type[VisionModel]] = {"efficientnet_lite": EfficientNetLite, "mobilenet_v2": MobileNetV2}
# Stride of the deepest feature map of both networks.
DEEPEST = 32


class Encoder(layers.Layer):
    """The standardisation, the first convolution and the first blocks of a classifier of the zoo.

    Args:
        backbone: Name of the classifier, a key of `BACKBONES`.
        alpha: Width multiplier of the classifier.
        strides: Strides of the feature maps, relative to the input: increasing powers of 2 from 2 to 32.
        blocks: Number of blocks; 0 for all up to the largest stride.
        mean: What is subtracted from the pixels; empty for that of the classifier's published weights.
        std: What the difference is divided by, likewise.
        widths: Channels of every convolution, in the order of their use; empty: those of the classifier.

    Input shape: (batch, height, width, channels), pixels in [0, 1].
    Output: A list of feature maps, one for each stride: (batch, height / stride, width / stride, channels).

    Raises:
        ValueError: An unknown classifier, or strides or a number of blocks that it has not.
    """

    def __init__(
        self,
        backbone: str,
        alpha: float,
        strides: Sequence[int],
        blocks: int = 0,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, received {backbone!r}")
        self.backbone, self.alpha, self.strides = backbone, alpha, tuple(strides)
        given = {name: tuple(value) for name, value in (("mean", mean), ("std", std)) if value}
        options = given | {"first_stride": 2, "alpha": alpha, "dtype": self.dtype_policy}
        usual = BACKBONES[backbone](1, **options)
        parts = usual.blocks[:-1]  # without the convolution before the classes
        if not 0 <= blocks <= len(parts):
            raise ValueError(f"blocks: expected 0 to {len(parts)}, received {blocks}")
        ends = _ends(parts[: blocks or None])
        if missing := [stride for stride in self.strides if stride not in ends]:
            raise ValueError(f"strides: expected some of {', '.join(map(str, ends))}, received {missing[0]}")
        self.ends = [ends[stride] for stride in self.strides]
        count = self.ends[-1] + 1
        own = len(widths_of([usual.stem, *parts[:count]]))
        if widths and len(widths) != own:
            raise ValueError(f"widths: expected {own} numbers for the {backbone} encoder, received {len(widths)}")
        made = BACKBONES[backbone](1, **options, widths=(*widths, *usual.usual_widths[own:])) if widths else usual
        self.usual_widths = usual.usual_widths[:own]
        self.mean, self.std = made.mean, made.std
        self.standardize, self.stem, self.blocks = made.standardize, made.stem, made.blocks[:count]

    def build(self, input_shape):
        self.stem.conv.strides = (2, 2)
        shape, self.shapes = input_shape, []
        for part in (self.stem, *self.blocks):
            part.build(shape)
            shape = part.compute_output_shape(shape)
            self.shapes.append(shape)
        self.shapes = [self.shapes[end + 1] for end in self.ends]
        self.built = True

    def compute_output_shape(self, input_shape):
        shape, found = self.stem.compute_output_shape(input_shape), []
        for block in self.blocks:
            shape = block.compute_output_shape(shape)
            found.append(shape)
        return [found[end] for end in self.ends]

    def call(self, x, training=None):
        x = x if self.standardize is None else self.standardize(x)
        x, found = self.stem(x, training=training), []
        for block in self.blocks:
            x = block(x, training=training)
            found.append(x)
        return [found[end] for end in self.ends]

    def classifier(self, **options) -> VisionModel:
        """Return a whole classifier with the layers of the encoder, for weights that were trained with classes."""
        given = {"alpha": self.alpha, "mean": self.mean, "std": self.std, "first_stride": 2, "name": self.backbone}
        return BACKBONES[self.backbone](**given, **options)


def _ends(blocks: Sequence[layers.Layer]) -> dict[int, int]:
    """Return the index of the last block of each stride."""
    stride, found = 2, {}
    for index, block in enumerate(blocks):
        stride *= block.depthwise.conv.strides[0]
        found[stride] = index
    return found


def widths_of(parts: Sequence[layers.Layer], without: Sequence[layers.Layer] = ()) -> tuple[int, ...]:
    """Return the channels of the convolutions in some layers, in the order of their use.

    Args:
        parts: Layers.
        without: Convolutions that do not count.
    """
    left_out = {id(layer) for layer in without}
    found = [layer for part in parts for layer in [part, *in_order(part)] if isinstance(layer, layers.Conv2D)]
    return tuple(layer.filters for layer in found if id(layer) not in left_out)
