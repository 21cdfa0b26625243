"""What every detector has: heads whose outputs are joined, and channels that pruning makes fewer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.detectors.encoder import widths_of


class BoxModel(ZooModel):
    """A detector whose outputs are the boxes and the scores of all its heads, one after the other.

    A subclass sets `encoder`, `heads` (each a `BoxHead`) and `usual_widths` in its constructor, and calls `finish` at
    its end.
    """

    def finish(self) -> None:
        """Make what joins the outputs of the heads."""
        self.join_boxes = layers.Concatenate(axis=1, dtype=self.dtype_policy, name="boxes")
        self.join_scores = layers.Concatenate(axis=1, dtype=self.dtype_policy, name="scores")

    def build_heads(self, shapes: Sequence[tuple]) -> None:
        """Build the heads, the last parts of the model, for the shapes of their feature maps."""
        for head, shape in zip(self.heads, shapes, strict=True):
            head.build(shape)
        self.built = True

    def found(self, maps: Sequence[Any], training: bool | None) -> dict[str, Any]:
        """Return the boxes and the scores of feature maps."""
        boxes, scores = zip(
            *(head(y, training=training) for head, y in zip(self.heads, maps, strict=True)), strict=True
        )
        if len(boxes) == 1:
            return {"boxes": boxes[0], "scores": scores[0]}
        return {"boxes": self.join_boxes(list(boxes)), "scores": self.join_scores(list(scores))}

    def classifier(self, **options: Any) -> keras.Model:
        """Return the classifier whose convolutions are the encoder, with weights of its own."""
        return self.encoder.classifier(**options)

    def for_loss(self, outputs: dict[str, Any]) -> Any:
        """Return the outputs as one tensor, (batch, places, 4 + classes)."""
        return ops.concatenate([outputs["boxes"], outputs["scores"]], axis=-1)

    def narrowed(self, parts: Sequence[layers.Layer]) -> tuple[int, ...]:
        """Return the channels of all convolutions but the outputs, empty if they are the usual ones.

        Args:
            parts: Parts of the model in the order of their use.
        """
        outputs = [layer for head in self.heads for layer in (head.boxes, head.scores)]
        present = widths_of(parts, without=outputs)
        return () if present == self.usual_widths else present
