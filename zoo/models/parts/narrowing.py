"""Networks whose layers can be narrowed one by one, as channel pruning does."""

from typing import Any

from keras import layers

from zoo.introspection.layers import in_order
from zoo.models.parts.base import ZooModel

# Layers that have a number of channels, or of units, of their own.
WIDE = (layers.Conv2D, layers.Conv2DTranspose, layers.Dense)


class NarrowedModel(ZooModel):
    """A model that records the number of channels of each of its layers.

    A subclass takes the number of channels of every layer from `width`, and calls `check_widths` when all are made.

    Args:
        widths: Channels of every convolution and units of every Dense layer, without the output layers, in the order of
            their use; empty: the usual ones. Channel pruning makes them smaller.

    Raises:
        ValueError: Widths of another network.
    """

    def __init__(self, widths: tuple[int, ...] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.usual_widths = ()

    def width(self, usual: int) -> int:
        """Return the channels of the next layer: the usual ones, or those in `widths`."""
        self.usual_widths = (*self.usual_widths, usual)
        place = len(self.usual_widths) - 1
        return self.widths[place] if place < len(self.widths) else usual

    def check_widths(self) -> None:
        """Raise ValueError for widths of another network."""
        expected = len(self.usual_widths)
        if self.widths and len(self.widths) != expected:
            raise ValueError(f"{type(self).__name__}: widths: expected {expected} numbers, received {len(self.widths)}")

    def outputs_of_width(self) -> tuple[layers.Layer, ...]:
        """Return the output layers, whose width the data decide."""
        return (self.head,)

    def get_config(self):
        last = self.outputs_of_width()
        wide = [layer for layer in in_order(self) if isinstance(layer, WIDE) and not any(layer is x for x in last)]
        present = tuple(getattr(layer, "filters", None) or layer.units for layer in wide)
        return super().get_config() | {"widths": () if present == self.usual_widths else present}
