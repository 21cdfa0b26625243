"""TwoTower: a vector for each user and each item, whose product is how much the user likes the item.

With hidden layers it is the two-tower retrieval model (Yi et al., 2019): an embedding and a network for each side, and
vectors of length 1. Without them it is matrix factorisation (Koren, Bell and Volinsky, 2009), the registry's
`matrix_factorization`.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.graphs.embedding_table import EmbeddingTable
from zoo.models.parts.layers import check_positive, logits_dtype

# Score of a candidate that is the answer itself; its softmax probability is 0.
NEVER = -1e9


@keras.saving.register_keras_serializable("zoo")
class TwoTower(ZooModel):
    """Embeddings of users and items, an optional network for each side, and their inner product.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        dim: Width of the vectors.
        units: Width of each hidden layer of both towers; none for matrix factorisation.
        normalized: Whether vectors have length 1 and their product is divided by `temperature`.
        temperature: Divisor of the products of vectors of length 1.
        biases: Whether each item has a bias, and with ratings each user.
        loss: What a user's item is compared with in training: all items ("softmax"), sampled items in a softmax
            ("sampled") or one by one ("bpr", Rendle et al., 2009), or with its rating ("squared").
        negatives: Number of sampled items for each example, with "sampled" and "bpr".
        strength: Weight of the squared length of a batch's vectors in the loss.
        mean: Mean rating, which scores begin from; 0 without ratings.

    Input shape: (batch, 1) int, ids of users. In training (batch, 2), the user and the item, with "sampled" and "bpr" a
        tuple of that and the ids of other items (batch, negatives).
    Output shape: (batch, num_items), scores; with other items (batch, 1 + negatives), the item's own first.

    Raises:
        ValueError: If a size is not positive or a name is unknown.
    """

    WIDTHS = {"dim": 1, "units": 1}

    def __init__(
        self,
        num_users: int,
        num_items: int,
        dim: int = 32,
        units: tuple[int, ...] = (64,),
        normalized: bool = True,
        temperature: float = 0.1,
        biases: bool = True,
        loss: Literal["softmax", "sampled", "bpr", "squared"] = "softmax",
        negatives: int = 64,
        strength: float = 0.0,
        mean: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("two_tower", num_users=num_users, num_items=num_items, dim=dim, negatives=negatives)
        if units:
            check_positive("two_tower", units=tuple(units))
        if loss not in ("softmax", "sampled", "bpr", "squared"):
            raise ValueError(f"two_tower: loss: expected softmax, sampled, bpr or squared, received {loss!r}")
        if temperature <= 0 or strength < 0:
            raise ValueError(
                f"two_tower: expected a temperature above 0 and a strength of 0 or more, received {temperature} and"
                f" {strength}"
            )
        self.num_users = num_users
        self.num_items = num_items
        self.dim = dim
        self.units = tuple(units)
        self.normalized = normalized
        self.temperature = temperature
        self.biases = biases
        self.loss_kind = loss
        self.negatives = negatives
        self.strength = strength
        self.mean = mean
        # Scores are sums over all components, and items are told apart by small differences: full precision.
        exact = logits_dtype(self.dtype_policy)
        start = keras.initializers.RandomNormal(stddev=dim**-0.5 if units or normalized else 0.1)
        self.users = EmbeddingTable(num_users, dim, start, dtype=exact, name="users")
        self.items = EmbeddingTable(num_items, dim, start, dtype=exact, name="items")
        self.item_bias = EmbeddingTable(num_items, 1, "zeros", dtype=exact, name="item_bias") if biases else None
        rated = biases and loss == "squared"
        self.user_bias = EmbeddingTable(num_users, 1, "zeros", dtype=exact, name="user_bias") if rated else None
        widths = (*self.units, dim) if self.units else ()
        self.user_tower, self.item_tower = (
            [
                layers.Dense(n, "relu" if i <= len(self.units) else None, dtype=exact, name=f"{side}_{i}")
                for i, n in enumerate(widths, 1)
            ]
            for side in ("user", "item")
        )

    def build(self, input_shape):
        for table in (self.users, self.items, self.item_bias, self.user_bias):
            if table is not None:
                table.build(None)
        for tower in (self.user_tower, self.item_tower):
            width = self.dim
            for layer in tower:
                layer.build((None, width))
                width = layer.units
        self.built = True

    def user_vectors(self, ids):
        """Return the vectors of users, (..., dim), divided by the temperature if they have length 1."""
        return self._through(self.user_tower, self.users(ids)) / (self.temperature if self.normalized else 1.0)

    def item_vectors(self, ids=None):
        """Return the vectors of items, (..., dim); of all items by default."""
        rows = self.items(ids) if ids is not None else self.items(ops.arange(self.num_items))
        return self._through(self.item_tower, rows)

    def _through(self, tower, x):
        for layer in tower:
            x = layer(x)
        if not self.normalized:
            return x
        return x * ops.rsqrt(ops.maximum(ops.sum(x * x, axis=-1, keepdims=True), 1e-12))

    def call(self, x, training=None):
        pairs, others = x if isinstance(x, tuple | list) else (x, None)
        ids = pairs[:, 0]
        users = self.user_vectors(ids)  # (batch, dim)
        if others is not None:
            own, drawn = pairs[:, 1:], others
            scores = self._of(users, ids, ops.concatenate([own, drawn], axis=1))
            again = ops.concatenate([ops.zeros_like(own), ops.cast(drawn == own, own.dtype)], axis=1)
            scores = ops.where(again > 0, ops.cast(NEVER, scores.dtype), scores)
        else:
            _, rows = self.items(ops.zeros_like(ids), every=True)
            scores = ops.matmul(users, ops.transpose(self._through(self.item_tower, rows)))
            if self.item_bias is not None:
                scores = scores + ops.transpose(self.item_bias(ops.zeros_like(ids), every=True)[1])
            scores = self._rated(scores, ids)
        if training and self.strength and pairs.shape[1] == 2:
            items = self.item_vectors(pairs[:, 1])
            self.add_loss(self.strength * ops.mean(ops.sum(users * users, -1) + ops.sum(items * items, -1)))
        return scores

    def _of(self, users, ids, items):
        """Return the scores (batch, items) of some items of each user."""
        scores = ops.einsum("bd,bnd->bn", users, self.item_vectors(items))
        if self.item_bias is not None:
            scores = scores + self.item_bias(items)[..., 0]
        return self._rated(scores, ids)

    def _rated(self, scores, ids):
        """Return scores with what all items of a user have in common: the mean rating and the user's bias."""
        scores = scores + self.user_bias(ids) if self.user_bias is not None else scores
        return scores + self.mean if self.mean else scores

    def get_config(self):
        return super().get_config() | {
            "num_users": self.num_users,
            "num_items": self.num_items,
            "dim": self.dim,
            "units": self.units,
            "normalized": self.normalized,
            "temperature": self.temperature,
            "biases": self.biases,
            "loss": self.loss_kind,
            "negatives": self.negatives,
            "strength": self.strength,
            "mean": self.mean,
        }
