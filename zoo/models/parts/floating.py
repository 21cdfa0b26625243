"""Layers that stay in float32 in every file, because their numbers have ranges of their own."""

from keras import layers


class InFloat(layers.Layer):
    """A layer that files compute in float32, whatever their precision.

    One scale and zero point for all columns of a table would leave those of small numbers with a few steps. A file in
    integers therefore takes float32 where the first layer is such a layer, and rounds what that layer gives.
    """
