"""The head of a detector: boxes and scores of the cells of a feature map, as two outputs."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from zoo.models.parts.convolutions import DepthwiseSeparable
from zoo.models.parts.layers import logits_dtype
from zoo.objectives.priors import LARGEST, MIDDLE

# Score of every cell before training, so that the many cells without an object do not outweigh the others
# (Lin et al., 2017, section 3.3).
RARE = 0.01


class BoxHead(layers.Layer):
    """Depthwise separable convolutions, then a pointwise convolution for the boxes and one for the scores.

    Args:
        num_classes: Number of classes.
        priors: Number of boxes at each cell.
        filters: Channels of the depthwise separable convolutions.
        start: Raw output for all sides before training, in [0, 6].

    Input shape: (batch, height, width, channels).
    Output: Boxes (batch, height * width * priors, 4) in [0, 6], and logits (batch, height * width * priors, classes).
    """

    def __init__(
        self, num_classes: int, priors: int, filters: Sequence[int], start: float = MIDDLE + math.log(2), **kwargs
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.tower = [
            DepthwiseSeparable(count, 1, "relu6", dtype=policy, name=f"conv_{i}") for i, count in enumerate(filters, 1)
        ]
        middle = keras.initializers.Constant(start)
        rare = keras.initializers.Constant(math.log(RARE / (1 - RARE)))
        self.boxes = layers.Conv2D(4 * priors, 1, bias_initializer=middle, dtype=policy, name="box_conv")
        # A layer of its own, because QAT rounds after it.
        self.bound = layers.ReLU(LARGEST, dtype=policy, name="bound")
        self.scores = layers.Conv2D(
            num_classes * priors, 1, bias_initializer=rare, dtype=logits_dtype(policy), name="score_conv"
        )
        self.box_rows = layers.Reshape((-1, 4), dtype=policy, name="box_rows")
        self.score_rows = layers.Reshape((-1, num_classes), dtype=logits_dtype(policy), name="score_rows")

    def build(self, input_shape):
        shape = input_shape
        for part in self.tower:
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.boxes.build(shape)
        self.scores.build(shape)
        self.built = True

    def call(self, x, training=None):
        for part in self.tower:
            x = part(x, training=training)
        return self.box_rows(self.bound(self.boxes(x))), self.score_rows(self.scores(x))
