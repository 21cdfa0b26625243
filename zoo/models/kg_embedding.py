"""KGEmbedding: a vector for each entity and each relation of a knowledge graph, and a score for each triple.

A query (head, relation) is scored against all entities at once. Head prediction is tail prediction with the inverse
relation, which has an embedding of its own (Lacroix et al., 2018).
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.graphs import scorers
from zoo.models.parts.graphs.embedding_table import EmbeddingTable
from zoo.models.parts.layers import check_positive, logits_dtype

# Largest `cost` of a query for which a whole batch is scored at once: 1 GiB of float32 for a batch of 512.
AT_ONCE = 2**19
# Score of an excluded candidate; its softmax probability is 0.
NEVER = -1e9


@keras.saving.register_keras_serializable("zoo")
class KGEmbedding(ZooModel):
    """Embeddings of entities and relations, with one of five scoring functions.

    - "mlp": Dense relu on the concatenation of head, relation and tail, then Dense 1.
    - "transe": distance between the tail and head + relation (Bordes et al., 2013).
    - "distmult": sum of the elementwise product of head, relation and tail (Yang et al., 2015).
    - "complex": the same with complex numbers and the conjugate of the tail (Trouillon et al., 2016).
    - "rotate": distance between the tail and the head rotated by the relation, in complex numbers (Sun et al., 2019).

    Args:
        num_entities: Number of entities.
        num_relations: Number of relations, without their inverses.
        scorer: Scoring function, one of the five above.
        dim: Width of an entity embedding. "complex" and "rotate" read it as `dim / 2` complex numbers.
        norm: Norm of the distances of "transe" and "rotate". 2 scores all entities with one matrix multiplication; 1,
            the papers' choice, takes much longer.
        units: Width of the hidden layer of "mlp".
        negatives: Number of uniformly sampled entities that the answer is compared with in training; 0 for all
            entities.
        penalty: Regulariser of the embeddings of a batch's triples, "n3" (Lacroix et al., 2018) or "l2".
        strength: Weight of the penalty in the loss.

    Input shape: (batch, 2) int, ids of the entity and the relation; the id of an inverse relation is larger by
        `num_relations`. In training (batch, 3), where the last column is the answer. With negatives, a tuple of that
        and candidate ids (batch, share): `negatives / share` consecutive examples form a group, and every example is
        compared with the candidates of its whole group.
    Output shape: (batch, num_entities), logits; with negatives (batch, 1 + negatives), the answer's logit first.

    Raises:
        ValueError: If a size is not positive, if `dim` is odd for complex numbers, or if a name is unknown.
    """

    WIDTHS = {"dim": 2, "units": 1}

    def __init__(
        self,
        num_entities: int,
        num_relations: int,
        scorer: Literal["mlp", "transe", "distmult", "complex", "rotate"] = "complex",
        dim: int = 128,
        norm: Literal[1, 2] = 2,
        units: int = 128,
        negatives: int = 0,
        penalty: Literal["n3", "l2"] = "n3",
        strength: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("kg_embedding", num_entities=num_entities, num_relations=num_relations, dim=dim, units=units)
        known = ("mlp", *scorers.DISTANCES, *scorers.PRODUCTS)
        if scorer not in known:
            raise ValueError(f"kg_embedding: scorer: expected one of {', '.join(known)}, received {scorer!r}")
        if scorer in ("complex", "rotate") and dim % 2:
            raise ValueError(f"kg_embedding: dim: expected an even number for scorer {scorer}, received {dim}")
        if norm not in (1, 2):
            raise ValueError(f"kg_embedding: norm: expected 1 or 2, received {norm}")
        if penalty not in ("n3", "l2"):
            raise ValueError(f"kg_embedding: penalty: expected 'n3' or 'l2', received {penalty!r}")
        if negatives < 0 or strength < 0:
            name, value = ("negatives", negatives) if negatives < 0 else ("strength", strength)
            raise ValueError(f"kg_embedding: {name}: expected 0 or more, received {value}")
        self.num_entities = num_entities
        self.num_relations = num_relations
        self.scorer = scorer
        self.dim = dim
        self.norm = norm
        self.units = units
        self.negatives = negatives
        self.penalty = penalty
        self.strength = strength
        # Embeddings are looked up in full precision. With a bfloat16 policy, only the product with all entities, which
        # takes most of the time, is bfloat16, and only in training: rounded scores would leave many entities tied.
        exact = logits_dtype(self.dtype_policy)
        start = keras.initializers.RandomNormal(stddev=1e-3) if scorer in scorers.PRODUCTS else "uniform"
        turn = keras.initializers.RandomUniform(-3.14159, 3.14159) if scorer == "rotate" else start
        columns = dim // 2 if scorer == "rotate" else dim
        self.entities = EmbeddingTable(num_entities, dim, start, dtype=exact, name="entities")
        self.relations = layers.Embedding(2 * num_relations, columns, turn, dtype=exact, name="relations")
        self.asked = self.answered = self.head = None
        if scorer == "mlp":  # the first layer is split in two, so that each entity passes through it once
            self.asked = layers.Dense(units, dtype=exact, name="asked")
            self.answered = layers.Dense(units, use_bias=False, dtype=exact, name="answered")
            self.head = layers.Dense(1, dtype=exact, name="head")

    def build(self, input_shape):
        for layer in (self.entities, self.relations):
            layer.build(None)
        if self.head is not None:
            self.asked.build((None, 2 * self.dim))
            self.answered.build((None, self.dim))
            self.head.build((None, self.units))
        self.built = True

    @property
    def cost(self):
        """Size of the intermediate tensor for the scores of one query; 0 if a matrix product gives them."""
        if self.scorer == "mlp":
            return self.num_entities * self.units
        one_by_one = self.scorer in scorers.DISTANCES and self.norm == 1
        return self.num_entities * self.dim if one_by_one else 0

    def call(self, x, training=None):
        triples, candidates = x if isinstance(x, tuple | list) else (x, None)
        heads, answers = self.entities(triples[:, 0], every=True)
        relations = self.relations(triples[:, 1])
        given = heads, relations
        asked = self.asked(ops.concatenate(given, -1)) if self.asked else scorers.question(self.scorer, *given)
        if training and self.strength and triples.shape[1] == 3:
            self.add_loss(self.strength * self._penalty(heads, relations, self.entities(triples[:, 2])))
        if candidates is not None:
            return self._of_candidates(asked, triples[:, 2], candidates)
        if self.answered:
            answers = self.answered(answers)
        if training and self.scorer in scorers.PRODUCTS:
            asked, answers = (ops.cast(each, self.compute_dtype) for each in (asked, answers))
        if asked.shape[0] == 1 or self.cost <= AT_ONCE or training:
            return ops.cast(self._scores(asked, answers), self.entities.dtype)
        return ops.map(lambda one: self._scores(ops.expand_dims(one, 0), answers)[0], asked)

    def _scores(self, asked, answers):
        """Return scores (..., questions, answers) from (..., questions, width) and (..., answers, width)."""
        if self.head is None:
            return scorers.scores(self.scorer, self.norm, asked, answers)
        hidden = ops.relu(ops.expand_dims(asked, -2) + ops.expand_dims(answers, -3))
        return ops.squeeze(self.head(hidden), -1)

    def _of_candidates(self, asked, answers, candidates):
        """Return the score of each answer, followed by those of its group's candidates except the answer."""
        size = self.negatives // candidates.shape[1]  # examples in a group
        shared = ops.reshape(candidates, (-1, 1, self.negatives))  # (groups, 1, negatives)
        rows, own = self.entities(shared[:, 0]), ops.expand_dims(self.entities(answers), 1)
        if self.answered:
            rows, own = self.answered(rows), self.answered(own)
        right = self._scores(ops.expand_dims(asked, 1), own)[:, 0]  # (batch, 1)
        wrong = self._scores(ops.reshape(asked, (-1, size, asked.shape[1])), rows)
        wrong = ops.where(shared == ops.reshape(answers, (-1, size, 1)), NEVER, wrong)
        return ops.concatenate([right, ops.reshape(wrong, (-1, self.negatives))], axis=1)

    def _penalty(self, heads, relations, answers):
        """Return the penalty, averaged over the triples."""
        # The relations of rotate are phases, which are not penalised.
        parts = [heads, answers] if self.scorer == "rotate" else [heads, relations, answers]
        power = 1.5 if self.penalty == "n3" else 1.0
        return sum(ops.mean(ops.sum(ops.power(scorers.squares(self.scorer, part), power), axis=-1)) for part in parts)

    def get_config(self):
        return super().get_config() | {
            "num_entities": self.num_entities,
            "num_relations": self.num_relations,
            "scorer": self.scorer,
            "dim": self.dim,
            "norm": self.norm,
            "units": self.units,
            "negatives": self.negatives,
            "penalty": self.penalty,
            "strength": self.strength,
        }
