"""LSTM: stacked recurrent layers over image rows, features or tokens (Hochreiter & Schmidhuber, 1997).

`cell` selects LSTM, GRU (Cho et al., 2014) or a simple recurrent layer (Elman, 1990).
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.layers import as_rows, check_positive, logits_dtype, mean_of_steps, rows_shape
from zoo.models.parts.standardization import StandardizingModel

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


@keras.saving.register_keras_serializable("zoo")
class LSTM(StandardizingModel):
    """Recurrent layers and Dense classes, on the last time step or on every time step.

    Args:
        num_classes: Number of classes.
        units: Width of each recurrent layer; the number of entries is the number of layers.
        cell: Recurrent cell, "lstm", "gru" or "simple".
        return_sequences: Whether to classify every time step instead of the sequence.
        vocabulary_size: Number of token ids; 0 if the inputs are features. Id 0 is padding.
        embedding_dim: Width of the token embedding.
        dropout: Dropout rate after each recurrent layer, in [0, 1).
        unroll: Whether to unroll the loop over time steps, which needs a fixed length.
        pooling: What the classes are read from, the "last" time step or the "mean" of all, which long texts need.
        word_dropout: Rate of words whose embedding is zero in training (Iyyer et al., 2015), in [0, 1).
        mean: What is subtracted from features: one number, or one for each.
        std: What the difference is divided by, likewise.

    Input shape: (batch, time, features); (batch, height, width, channels), read row by row; or, with a vocabulary,
        token ids (batch, time), padded at the end with 0.
    Output shape: (batch, num_classes), or (batch, time, num_classes) with `return_sequences`; logits.

    Raises:
        ValueError: If the cell is unknown or a size is not positive.
    """

    WIDTHS = {"units": 1, "embedding_dim": 1}

    def __init__(
        self,
        num_classes: int = 10,
        units: tuple[int, ...] = (128, 128),
        cell: Literal["lstm", "gru", "simple"] = "lstm",
        return_sequences: bool = False,
        vocabulary_size: int = 0,
        embedding_dim: int = 128,
        dropout: float = 0.0,
        unroll: bool = False,
        pooling: Literal["last", "mean"] = "last",
        word_dropout: float = 0.0,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        check_positive("lstm", num_classes=num_classes, units=tuple(units), embedding_dim=embedding_dim)
        if cell not in CELLS:
            raise ValueError(f"lstm: cell: expected one of {', '.join(CELLS)}, received {cell!r}")
        if pooling not in ("last", "mean"):
            raise ValueError(f"lstm: pooling: expected 'last' or 'mean', received {pooling!r}")
        whole = return_sequences or pooling == "mean"
        self.num_classes = num_classes
        self.units = tuple(units)
        self.cell = cell
        self.return_sequences = return_sequences
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.unroll = unroll
        self.pooling = pooling
        self.word_dropout = word_dropout
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.embedding = None
        if vocabulary_size:
            self.embedding = layers.Embedding(vocabulary_size, embedding_dim, dtype=policy, name="embedding")
        last = len(self.units) - 1
        self.recurrent = [
            CELLS[cell](n, return_sequences=whole or i < last, unroll=unroll, dtype=policy, name=f"recurrent_{i + 1}")
            for i, n in enumerate(self.units)
        ]
        self.drop = [layers.Dropout(dropout, dtype=policy, name=f"drop_{i + 1}") for i in range(len(self.units))]
        each_word = (None, None, 1)
        self.drop_words = layers.Dropout(word_dropout, each_word, dtype=policy, name="drop_words")
        # An identity layer that quantization-aware training observes; see zoo.models.parts.attention.
        self.pooled = layers.Activation("linear", dtype=policy, name="pooled")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if self.embedding is not None:
            self.embedding.build(shape)
            shape = (*shape, self.embedding_dim)
        if len(shape) != 3:
            raise ValueError(
                "lstm: expected (time, features), or (time,) token ids with a vocabulary_size;"
                f" received shape {tuple(input_shape[1:])}"
            )
        if self.embedding is None:
            self.check_features(shape[-1])
        for layer, width in zip(self.recurrent, self.units, strict=True):
            layer.build(shape)
            shape = (*shape[:2], width)
        self.head.build((None, self.units[-1]))
        self.built = True

    def call(self, x, training=None):
        mask = None
        if self.embedding is None:
            x = self.standardized(as_rows(x))
        else:
            mask = ops.not_equal(x, 0)  # a masked step repeats the previous state
            x = self.drop_words(self.embedding(x), training=training)
        for recurrent, drop in zip(self.recurrent, self.drop, strict=True):
            x = drop(recurrent(x, mask=mask, training=training), training=training)
        if self.pooling == "mean" and not self.return_sequences:
            x = self.pooled(mean_of_steps(x, mask))
        return self.head(x)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "units": tuple(layer.units for layer in self.recurrent),  # as built: channel pruning makes them smaller
            "cell": self.cell,
            "return_sequences": self.return_sequences,
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
            "unroll": self.unroll,
            "pooling": self.pooling,
            "word_dropout": self.word_dropout,
        }
