"""An anchor-free single-stage detector after FCOS (Tian et al., 2019) and NanoDet (Lyu, 2020).

Differs from both: boxes and scores are two outputs, so that a quantized file has a scale for each; the distances to the
sides of a box are predicted as bounded logarithms; a place has no centerness, its score is the quality of its box
(Li et al., 2020); and the heads are depthwise separable, one for each level, without group normalisation.
"""

import keras
from keras import layers, ops

from zoo.models.parts.convolutions import ConvNorm, DepthwiseSeparable
from zoo.models.parts.detectors.boxes import BoxModel
from zoo.models.parts.detectors.encoder import Encoder
from zoo.models.parts.detectors.heads import BoxHead
from zoo.models.parts.layers import check_positive
from zoo.objectives.priors import Priors


@keras.saving.register_keras_serializable("zoo")
class Detector(BoxModel):
    """An encoder, a feature pyramid (Lin et al., 2017) and a head for each level.

    Args:
        num_classes: Number of classes.
        backbone: Network whose convolutions are the encoder, "efficientnet_lite" or "mobilenet_v2".
        alpha: Width multiplier of the encoder.
        strides: Strides of the levels; objects of about 2 to 8 strides are found best.
        blocks: Number of blocks of the encoder; 0 for all up to the largest stride.
        width: Number of channels of the pyramid and the heads.
        depth: Number of depthwise separable convolutions in each head.
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
        backbone: str = "efficientnet_lite",
        alpha: float = 1.0,
        strides: tuple[int, ...] = (8, 16),
        blocks: int = 0,
        width: int = 64,
        depth: int = 2,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("Detector", num_classes=num_classes, width=width, strides=tuple(strides))
        self.num_classes, self.backbone, self.alpha = num_classes, backbone, alpha
        self.strides, self.first_blocks, self.width, self.depth = tuple(strides), blocks, width, depth
        self.mean, self.std = tuple(mean), tuple(std)
        policy, levels, widths = self.dtype_policy, len(self.strides), tuple(widths)
        own = levels * (1 + depth) + (levels - 1)
        usual = (width,) * own
        if widths and len(widths) <= own:
            raise ValueError(f"Detector: widths: expected more than {own} numbers, received {len(widths)}")
        mine = widths[len(widths) - own :] or usual
        self.encoder = Encoder(
            backbone, alpha, self.strides, blocks, mean, std, widths[: len(widths) - own] if widths else (),
            dtype=policy, name="encoder",
        )  # fmt: skip
        self.usual_widths = (*self.encoder.usual_widths, *usual)
        left = iter(mine)
        shared = {"activation": "relu6", "dtype": policy}
        self.lateral = [ConvNorm(next(left), name=f"lateral_{s}", **shared) for s in self.strides]
        self.add = [layers.Add(dtype=policy, name=f"add_{s}") for s in self.strides[:-1]]
        self.smooth = [DepthwiseSeparable(next(left), 1, name=f"smooth_{s}", **shared) for s in self.strides[:-1]]
        self.heads = [
            BoxHead(num_classes, 1, [next(left) for _ in range(depth)], dtype=policy, name=f"head_{s}")
            for s in self.strides
        ]
        self.finish()

    def build(self, input_shape):
        self.encoder.build(input_shape)
        for part, shape in zip(self.lateral, self.encoder.shapes, strict=True):
            part.build(shape)
        shapes = [part.compute_output_shape(s) for part, s in zip(self.lateral, self.encoder.shapes, strict=True)]
        for level in reversed(range(len(self.smooth))):
            self.smooth[level].build(shapes[level])
            shapes[level] = self.smooth[level].compute_output_shape(shapes[level])
        self.build_heads(shapes)

    def call(self, x, training=None):
        features = self.encoder(x, training=training)
        maps = [part(y, training=training) for part, y in zip(self.lateral, features, strict=True)]
        for level in reversed(range(len(self.smooth))):  # from the coarsest, each takes in the level above it
            above = ops.image.resize(maps[level + 1], maps[level].shape[1:3], interpolation="nearest")
            maps[level] = self.smooth[level](self.add[level]([maps[level], above]), training=training)
        return self.found(maps, training)

    @classmethod
    def priors(cls, input_shape, strides: tuple[int, ...] = (8, 16), **others) -> Priors:
        """Return what raw boxes are relative to, for inputs of a shape and arguments of the model."""
        return Priors.of(input_shape, strides, [[(stride, stride)] for stride in strides], "distances")

    def get_config(self):
        parts = [self.encoder, *self.lateral, *self.smooth, *self.heads]
        return super().get_config() | {
            "num_classes": self.num_classes,
            "backbone": self.backbone,
            "alpha": self.alpha,
            "strides": self.strides,
            "blocks": self.first_blocks,
            "width": self.width,
            "depth": self.depth,
            "mean": self.mean,
            "std": self.std,
            "widths": self.narrowed(parts),
        }
