"""SSDLite (Liu et al., 2016, arXiv:1512.02325; Sandler et al., 2018): boxes relative to priors of several shapes.

Differs from the papers: boxes and scores are two outputs, so that a quantized file has a scale for each; offsets are
bounded; scores have no class for the background, and learn the quality of their box; and places learn the objects that
suit them best instead of those that overlap their prior by half, so that no examples need to be mined.
"""

import math

import keras

from zoo.models.parts.convolutions import DepthwiseSeparable
from zoo.models.parts.detectors.boxes import BoxModel
from zoo.models.parts.detectors.encoder import DEEPEST, Encoder
from zoo.models.parts.detectors.heads import BoxHead
from zoo.models.parts.layers import check_positive
from zoo.objectives.priors import MIDDLE, Priors

# Ratios of width to height of the priors of a cell, besides a square between two scales (Liu et al., 2016).
RATIOS = (1.0, 2.0, 0.5)


@keras.saving.register_keras_serializable("zoo")
class SSD(BoxModel):
    """An encoder, further depthwise separable convolutions of stride 2, and a head for each of their feature maps.

    Args:
        num_classes: Number of classes.
        backbone: Network whose convolutions are the encoder, "efficientnet_lite" or "mobilenet_v2".
        alpha: Width multiplier of the encoder.
        strides: Strides of the feature maps; those above 32 are made by further convolutions.
        smallest: Side of the smallest prior as a share of the input's shorter side.
        largest: Side of the largest prior, likewise.
        width: Number of channels of the further convolutions and the heads.
        mean: What is subtracted from the pixels; empty for that of the encoder's published weights.
        std: What the difference is divided by, likewise.
        widths: Channels of every convolution but the outputs, in the order of their use; empty: those above. Channel
            pruning makes them smaller.

    Input shape: (batch, height, width, channels), pixels in [0, 1].
    Output: A dictionary of `boxes` (batch, places, 4), raw outputs that `priors` decodes, and `scores` (batch, places,
        num_classes), logits.

    Raises:
        ValueError: Sizes that are not positive, or that the encoder has not.
    """

    WIDTHS = {"alpha": 0.05, "width": 8}

    def __init__(
        self,
        num_classes: int = 3,
        backbone: str = "mobilenet_v2",
        alpha: float = 1.0,
        strides: tuple[int, ...] = (8, 16, 32, 64),
        smallest: float = 0.08,
        largest: float = 0.8,
        width: int = 96,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("SSD", num_classes=num_classes, width=width, strides=tuple(strides))
        if not 0 < smallest < largest <= 1:
            raise ValueError(f"SSD: expected 0 < smallest < largest <= 1, received {smallest} and {largest}")
        self.num_classes, self.backbone, self.alpha, self.width = num_classes, backbone, alpha, width
        self.strides, self.smallest, self.largest = tuple(strides), smallest, largest
        self.mean, self.std = tuple(mean), tuple(std)
        policy, widths = self.dtype_policy, tuple(widths)
        inside = [stride for stride in self.strides if stride <= DEEPEST]
        further = self.strides[len(inside) :]
        own = len(further) + len(self.strides)
        if widths and len(widths) <= own:
            raise ValueError(f"SSD: widths: expected more than {own} numbers, received {len(widths)}")
        usual = (width,) * own
        left = iter(widths[len(widths) - own :] or usual)
        shared = {"mean": mean, "std": std, "widths": widths[: len(widths) - own] if widths else ()}
        self.encoder = Encoder(backbone, alpha, inside, **shared, dtype=policy, name="encoder")
        self.usual_widths = (*self.encoder.usual_widths, *usual)
        self.further = [DepthwiseSeparable(next(left), 2, "relu6", dtype=policy, name=f"conv_{s}") for s in further]
        self.heads = [
            BoxHead(num_classes, len(RATIOS) + 1, [next(left)], start=MIDDLE, dtype=policy, name=f"head_{s}")
            for s in self.strides
        ]
        self.finish()

    def build(self, input_shape):
        self.encoder.build(input_shape)
        shapes = list(self.encoder.shapes)
        for part in self.further:
            part.build(shapes[-1])
            shapes.append(part.compute_output_shape(shapes[-1]))
        self.build_heads(shapes)

    def call(self, x, training=None):
        maps = list(self.encoder(x, training=training))
        for part in self.further:
            maps.append(part(maps[-1], training=training))
        return self.found(maps, training)

    @classmethod
    def priors(
        cls,
        input_shape,
        strides: tuple[int, ...] = (8, 16, 32, 64),
        smallest: float = 0.08,
        largest: float = 0.8,
        **others,
    ) -> Priors:
        """Return what raw boxes are relative to, for inputs of a shape and arguments of the model."""
        side, count = min(input_shape[:2]), len(strides)
        scales = [side * (smallest + (largest - smallest) * i / max(1, count - 1)) for i in range(count + 1)]
        sizes = []
        for scale, above in zip(scales, scales[1:], strict=False):
            shapes = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in RATIOS]
            sizes.append([*shapes, (math.sqrt(scale * above),) * 2])
        return Priors.of(input_shape, strides, sizes, "offsets")

    def get_config(self):
        parts = [self.encoder, *self.further, *self.heads]
        return super().get_config() | {
            "num_classes": self.num_classes,
            "backbone": self.backbone,
            "alpha": self.alpha,
            "strides": self.strides,
            "smallest": self.smallest,
            "largest": self.largest,
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "widths": self.narrowed(parts),
        }
