"""LR-ASPP (Howard et al., 2019, arXiv:1905.02244, section 6.4): a small head for masks on a mobile network.

Differs from the paper: features are averaged over the whole picture, as in torchvision, where the paper takes windows
of 49x49; the head reads the last inverted residual, without the 1x1 convolution that follows it in a classifier; and
its resolution is that of the paper's reference, a sixteenth of the picture's, by dilated convolutions, or a 32nd.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.introspection.layers import in_order
from zoo.models.efficientnet_lite import EfficientNetLite
from zoo.models.mobilenet_v2 import MobileNetV2
from zoo.models.mobilenet_v3 import MobileNetV3
from zoo.models.parts.base import WIDE, NarrowedModel
from zoo.models.parts.convolutions import ConvNorm, InvertedResidual
from zoo.models.parts.layers import check_positive, logits_dtype
from zoo.models.parts.standardization import standardization
from zoo.models.parts.vision import SMALL, VisionModel, check_channels

BACKBONES = {"mobilenet_v2": MobileNetV2, "mobilenet_v3": MobileNetV3, "efficientnet_lite": EfficientNetLite}

# Stride of the features that show where borders are.
LOW = 8


class Head(layers.Layer):
    """Scores of the classes from coarse and from fine features.

    Args:
        num_classes: Number of classes.
        filters: Channels of the branch that keeps places.
        gates: Channels of the branch that weighs the others, as many.
        scores: Dtype of the scores.

    Call arguments:
        low: Fine features (batch, height, width, channels).
        high: Coarse features.
    """

    def __init__(self, num_classes: int, filters: int, gates: int, scores: str, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.project = ConvNorm(filters, activation="relu", dtype=policy, name="project")
        self.pool = layers.GlobalAveragePooling2D(keepdims=True, dtype=policy, name="pool")
        self.gate = layers.Conv2D(gates, 1, use_bias=False, activation="sigmoid", dtype=policy, name="gate")
        self.scale = layers.Multiply(dtype=policy, name="scale")
        self.of_low = layers.Conv2D(num_classes, 1, dtype=scores, name="of_low")
        self.of_high = layers.Conv2D(num_classes, 1, dtype=scores, name="of_high")
        self.add = layers.Add(dtype=scores, name="add")

    def build(self, shapes):
        low, high = shapes
        self.project.build(high)
        self.gate.build((high[0], 1, 1, high[-1]))
        self.of_low.build(low)
        self.of_high.build((*low[:-1], self.project.conv.filters))
        self.built = True

    def call(self, low, high, training=None):
        y = self.scale([self.project(high, training=training), self.gate(self.pool(high))])
        if y.shape[1:3] != low.shape[1:3]:
            y = ops.image.resize(y, low.shape[1:3], interpolation="bilinear")
        return self.add([self.of_low(low), self.of_high(y)])


@keras.saving.register_keras_serializable("zoo")
class LRASPP(NarrowedModel):
    """The inverted residuals of a mobile network, two branches on them, and bilinear enlargement to the picture's size.

    Args:
        num_classes: Number of classes.
        backbone: "mobilenet_v2", "mobilenet_v3" or "efficientnet_lite".
        size: Size of MobileNetV3, "small" or "large".
        alpha: Width multiplier of the backbone.
        filters: Channels of the two branches.
        output_stride: Pixels of the picture for each of the coarsest features along an axis: 16 dilates convolutions,
            32 leaves the backbone as it is, which is faster.
        mean: As of `VisionModel`; empty: that of the backbone.
        std: As of `VisionModel`; empty: that of the backbone.
        first_stride: As of `VisionModel`.
        widths: As of `NarrowedModel`.

    Input shape: (batch, height, width, channels) or (batch, height, width), pixels in [0, 1], of any size.
    Output shape: (batch, height, width, num_classes), logits.

    Raises:
        ValueError: A size that is not positive, another backbone, or widths of another network.
    """

    WIDTHS = {"alpha": 0.05, "filters": 1}

    def __init__(
        self,
        num_classes: int = 2,
        backbone: Literal["mobilenet_v2", "mobilenet_v3", "efficientnet_lite"] = "mobilenet_v3",
        size: Literal["small", "large"] = "small",
        alpha: float = 1.0,
        filters: int = 128,
        output_stride: Literal[16, 32] = 16,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(widths, **kwargs)
        check_positive("LRASPP", num_classes=num_classes, filters=filters, widths=tuple(widths))
        if output_stride not in (16, 32):
            raise ValueError(f"LRASPP: output_stride: expected 16 or 32, received {output_stride}")
        self.num_classes = num_classes
        self.backbone = backbone
        self.size = size
        self.alpha = alpha
        self.filters = filters
        self.output_stride = output_stride
        self.mean, self.std = tuple(mean), tuple(std)
        self.first_stride = first_stride
        policy = self.dtype_policy
        network = self.classifier(dtype=policy)
        self.mean, self.std = network.mean, network.std
        kept = 1 + sum(isinstance(block, InvertedResidual) for block in network.blocks)
        inside = sum(isinstance(layer, WIDE) for part in _parts(network)[:kept] for layer in in_order(part))
        self.usual_widths = network.usual_widths[:inside]
        if widths:
            network = self.classifier(widths=(*widths[:inside], *network.usual_widths[inside:]), dtype=policy)
        self.standardize = standardization(self.mean, self.std, policy)
        self.stem, *self.blocks = _parts(network)[:kept]
        self.fine = dilate(self.blocks, output_stride)
        self.head = Head(
            num_classes, self.width(filters), self.width(filters), logits_dtype(policy), dtype=policy, name="head"
        )
        self.check_widths()

    def classifier(self, **options) -> VisionModel:
        """Return the classifier whose features are used, with weights of its own."""
        given = {name: value for name in ("mean", "std") if (value := getattr(self, name))}
        given |= {"size": self.size} if self.backbone == "mobilenet_v3" else {}
        return BACKBONES[self.backbone](alpha=self.alpha, first_stride=self.first_stride, **given, **options)

    def stride(self, input_shape: tuple) -> int:
        """Return the stride of the first convolution for pictures of a shape."""
        return self.first_stride or (1 if min(input_shape[1:3]) < SMALL else 2)

    def outputs_of_width(self):
        return self.head.of_low, self.head.of_high

    def build(self, input_shape):
        if len(input_shape) not in (3, 4):
            raise ValueError(f"LRASPP: expected images (height, width, channels), received shape {input_shape[1:]}")
        _, height, width, *channels = input_shape
        shape = (None, height, width, channels[0] if channels else 1)
        check_channels(self, shape[-1])
        self.stem.conv.strides = (self.stride(input_shape),) * 2
        low = None
        for number, part in enumerate((self.stem, *self.blocks)):
            part.build(shape)
            shape = part.compute_output_shape(shape)
            low = shape if number == self.fine else low
        self.head.build([low, shape])
        self.built = True

    def call(self, x, training=None):
        if len(x.shape) == 3:
            x = ops.expand_dims(x, -1)
        size, low = x.shape[1:3], None
        x = x if self.standardize is None else self.standardize(x)
        for number, part in enumerate((self.stem, *self.blocks)):
            x = part(x, training=training)
            low = x if number == self.fine else low
        return ops.image.resize(self.head(low, x, training=training), size, interpolation="bilinear")

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "backbone": self.backbone,
            "size": self.size,
            "alpha": self.alpha,
            "filters": self.filters,
            "output_stride": self.output_stride,
            "mean": self.mean,
            "std": self.std,
            "first_stride": self.first_stride,
        }


def dilate(blocks: list[InvertedResidual], output_stride: int) -> int:
    """Keep the resolution of blocks after a stride, by dilated convolutions; return the place of the fine features.

    Args:
        blocks: Blocks that follow a convolution with stride 2, not built yet. They are changed.
        output_stride: Pixels of the picture for each feature of the last block along an axis.

    Returns:
        Number of the last block whose features have the stride `LOW`, counted from 1.
    """
    stride, dilation, fine = 2, 1, 0
    for number, block in enumerate(blocks, 1):
        conv = block.depthwise.conv
        before = dilation
        if conv.strides[0] == 2 and stride == output_stride:
            conv.strides, dilation = (1, 1), 2 * dilation
        conv.dilation_rate = (before, before)
        stride *= conv.strides[0]
        fine = number if stride == LOW else fine
    return fine


def _parts(network: VisionModel) -> list[layers.Layer]:
    return [network.stem, *network.blocks]
