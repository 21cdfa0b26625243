"""Networks that hear: a front end makes pictures of sound from samples, and convolutions see the pictures."""

from typing import Any

from zoo.models.parts.sound import front_end
from zoo.models.parts.vision import VisionModel


class ListeningModel(VisionModel):
    """A `VisionModel` of pictures of sound, which are the data or are made from samples by a front end in the model.

    Args:
        sound: Arguments of the front end by name, see `zoo.models.parts.sound.front_end`.
        causal: Whether no result depends on a later frame, as streaming files need.

    The other arguments are those of `VisionModel`. Samples have the shape (batch, samples).
    """

    def __init__(self, *arguments: Any, sound: dict[str, Any], causal: bool, **kwargs: Any):
        super().__init__(*arguments, **kwargs)
        self.sound = sound
        self.causal = causal
        self.front = front_end(self.family, **sound)

    def build(self, input_shape):
        if self.front is not None:
            self.front.build(input_shape)
        super().build(self.picture_shape(input_shape))

    def picture_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the pictures of sound that the convolutions see."""
        return input_shape if self.front is None else self.front.compute_output_shape(input_shape)

    def picture(self, x: Any) -> Any:
        """Return the pictures of sound that the convolutions see."""
        return x if self.front is None else self.front(x)

    def call(self, x, training=None):
        return super().call(self.picture(x), training=training)

    def get_config(self):
        return super().get_config() | {"causal": self.causal, **self.sound}
