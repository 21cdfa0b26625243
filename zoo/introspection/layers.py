"""The layers of any built model, in the order in which Keras tracks them.

Only this module calls the private `_flatten_layers` of Keras: a subclassed model has no public list of nested layers.
"""

import keras


def with_itself(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer or model, followed by every layer inside it, however deep."""
    return list(layer._flatten_layers())


def layers_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return every layer inside a layer or model, however deep, without itself."""
    return list(layer._flatten_layers(include_self=False))


def in_order(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return every layer inside a layer or model in the order in which they were set, each before those inside it."""
    return [each for part in parts_of(layer) for each in (part, *in_order(part))]


def parts_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that a layer or model holds directly."""
    return list(layer._flatten_layers(include_self=False, recursive=False))
