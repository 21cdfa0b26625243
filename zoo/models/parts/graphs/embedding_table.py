"""An embedding layer that can also return its whole table, at the precision in which the table is stored."""

from keras import layers, ops


class EmbeddingTable(layers.Embedding):
    """Embeddings of single ids, and on request of all ids.

    A model with a lower compute precision that reads `embeddings` directly would read rounded numbers.

    Call arguments:
        ids: Integers of any shape.
        every: Whether to return the whole table as well, as a second value.
    """

    def call(self, ids, every=False):
        rows = super().call(ids)
        return (rows, ops.cast(self.embeddings, self.compute_dtype)) if every else rows
