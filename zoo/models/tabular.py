"""Tabular: a multi-layer perceptron on the columns of a table (Gorishniy et al., 2022, arXiv:2203.05556).

Numbers have piecewise-linear features between quantiles of the training rows (the paper's Q), categories an embedding
each, and both go into Dense layers: the paper's MLP-Q. With such features the paper's MLP is about as good as gradient
boosting on its eleven sets. It differs in that numbers beyond the training rows count as the outermost quantile, dates
have cycles, and a missing number a feature of its own. Scaling and vocabularies are a layer of the model, so that the
model takes raw numbers.
"""

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive, logits_dtype
from zoo.models.parts.table_features import TableFeatures


@keras.saving.register_keras_serializable("zoo")
class Tabular(ZooModel):
    """Features of the columns, hidden Dense layers with ReLU, and Dense outputs.

    Args:
        num_classes: Number of classes, labels or numbers.
        columns: What each input is, see `zoo.models.parts.table_features.TableFeatures`; taken from the data.
        units: Width of each hidden layer; the number of entries is the number of layers.
        bins: Largest number of intervals of a number.
        embedding_dim: Width of the embedding of each category.
        dropout: Dropout rate after each hidden layer, in [0, 1).

    Input shape: (batch, inputs), see `TableFeatures`.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: If a size is not positive, or there are no columns.
    """

    WIDTHS = {"units": 1}

    def __init__(
        self,
        num_classes: int = 10,
        columns: tuple[dict, ...] = (),
        units: tuple[int, ...] = (256, 256, 256),
        bins: int = 32,
        embedding_dim: int = 8,
        dropout: float = 0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"units": tuple(units), "bins": bins, "embedding_dim": embedding_dim}
        check_positive("tabular", num_classes=num_classes, **sizes)
        if not columns:
            raise ValueError("tabular: columns: expected those of a table, received none")
        self.num_classes = num_classes
        self.columns = [dict(column) for column in columns]
        self.units = tuple(units)
        self.bins = bins
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.features = TableFeatures(columns, bins, name="features")
        self.embedding = None
        if self.features.rows:
            self.embedding = layers.Embedding(
                self.features.rows,
                embedding_dim,
                dtype=policy,
                name="embedding",
            )
        self.join = layers.Concatenate(dtype=policy, name="join")
        self.hidden = [layers.Dense(n, "relu", dtype=policy, name=f"hidden_{i}") for i, n in enumerate(self.units, 1)]
        self.drop = [layers.Dropout(dropout, dtype=policy, name=f"drop_{i + 1}") for i in range(len(self.units))]
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        self.features.build(input_shape)
        width = self.features.width
        if self.embedding is not None:
            self.embedding.build((None, self.features.categories))
            width += self.features.categories * self.embedding_dim
        for layer in [*self.hidden, self.head]:
            layer.build((None, width))
            width = layer.units
        self.built = True

    def call(self, x, training=None):
        x, ids = self.features(x)
        if self.embedding is not None:
            embedded = self.embedding(ids)
            embedded = ops.reshape(embedded, (-1, self.features.categories * self.embedding_dim))
            x = embedded if x is None else self.join([x, embedded])
        for hidden, drop in zip(self.hidden, self.drop, strict=True):
            x = drop(hidden(x), training=training)
        return self.head(x)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "columns": self.columns,
            "units": tuple(layer.units for layer in self.hidden),  # as built: channel pruning makes them smaller
            "bins": self.bins,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
        }
