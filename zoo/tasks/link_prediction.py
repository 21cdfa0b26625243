"""Link prediction: which entity completes a triple of a knowledge graph, in both directions."""

import math
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import pipeline as batches
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.objectives.losses import CrossEntropy
from zoo.objectives.metrics import reciprocal_rank
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, logits_of
from zoo.scores import intervals
from zoo.tasks.base import callbacks, gathered, measured_with, remarks

__all__ = ["callbacks", "gathered", "measured_with", "remarks"]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.predict", "HEAD RELATION ?")
# The recipe that is proposed in place of int8, which a file of triples cannot have.
SHRUNK_BY = "dynamic"
HITS = (1, 3, 10)
# Epochs are compared by the unfiltered ranks of at most so many questions, the same ones each time: the filtered ranks
# of a whole split may take as long as an epoch.
VALIDATED = 2000
# Numbers of the scores of one step that take more memory than a matrix multiplication, at most: 4 GB of them.
MOST_NUMBERS = 2**30
# Of a batch at least so many groups share no candidates, so that up to as many replicas have whole ones.
GROUPS, LARGEST_GROUP = 16, 64


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a model of triples."""
    return {**config.settings, "num_entities": spec.num_classes, "num_relations": len(spec.relations)}


def build_shape(spec: DataSpec) -> tuple[int | None, ...]:
    """Return what such a model is built for."""
    return (None, *spec.input_shape)


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss and the metrics of `fit`."""
    ranked = keras.metrics.MeanMetricWrapper(reciprocal_rank, name="mrr")
    return {"loss": CrossEntropy(config.label_smoothing), "weighted_metrics": [ranked]}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`.

    Raises:
        UsageError: scores of all entities that would take too much memory.
    """
    train, negatives = data.train, config.settings.get("negatives", 0)
    triples = np.concatenate([train.x, train.y[:, None]], axis=1)
    steps = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
    if not negatives:
        _check_memory(config, data.spec, batch_size)
        return batches.training_batches(Split(triples, train.y), **steps)
    share = negatives // group_size(negatives, batch_size)

    def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[Any, ...]:
        candidates = rng.integers(0, data.spec.num_classes, (len(chosen), share), np.int32)
        return (triples[chosen], candidates), np.zeros(len(chosen), np.int32)

    return for_engine(StepBatches(make, len(train), **steps))


def group_size(negatives: int, batch_size: int) -> int:
    """Return how many examples share their candidates, a power of two."""
    return math.gcd(negatives, batch_size // math.gcd(batch_size, GROUPS), LARGEST_GROUP)


def _check_memory(config: TrainConfig, spec: DataSpec, batch_size: int) -> None:
    from zoo.config import registry

    model = registry.model_class(config.model)(**arguments(config, spec))
    if (numbers := model.cost * batch_size) > MOST_NUMBERS:
        raise UsageError(
            f"--set scorer={model.scorer}: its scores of all {spec.num_classes:,} entities would take"
            f" {numbers * 4 / 1e9:,.0f} GB a step; expected --set negatives=N, such as 256, or a smaller --batch-size"
        )


def validation_batches(data: Dataset, stride: int) -> Any:
    """Return `VALIDATED` validation questions at most, evenly spread, each once."""
    chosen = spread(data.validation, VALIDATED)
    return batches.evaluation_batches(chosen, batch_size=BATCH, stride=stride)


def spread(split: Split, count: int) -> Split:
    """Return at most so many examples of a split, evenly spread."""
    return split.take(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int))


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: the validation questions' mean reciprocal rank, then the loss."""
    return row["val_mrr"], -row["val_loss"]


def measure(model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a split, and what else there is to show.

    That is `ranks`, of the answer of each question, `first`, the entity of each whose score is the highest once other
    known answers are left out, `entities`, their table, and `intervals`.
    """
    examples, known = data.split(split), Known(data)
    ranks, first, loss = [], [], 0.0
    for start in range(0, len(examples), BATCH):
        part = examples.take(np.arange(start, min(start + BATCH, len(examples))))
        logits = logits_of(model, part)
        found = filtered(logits, part, known)
        ranks.append(found[0])
        first.append(found[1])
        loss += cross_entropy(logits, part.y)
    shown = {"ranks": np.concatenate(ranks), "first": np.concatenate(first), "split": split}
    shown["intervals"] = intervals_of(shown["ranks"])
    if table := [v for v in model.variables if v.path.endswith("entities/embeddings")]:
        shown["entities"] = keras.ops.convert_to_numpy(table[0])
    return scores(shown["ranks"], examples, data, split) | {"loss": loss / len(examples)}, shown


class Known:
    """The answers that all splits of a set have to each question.

    Args:
        data: whose answers.
    """

    def __init__(self, data: Dataset):
        splits = (data.train, data.validation, data.test)
        self.relations = 2 * len(data.spec.relations)
        keys = self._keys(np.concatenate([split.x for split in splits]))
        order = np.argsort(keys, kind="stable")
        self._sorted, self._answers = keys[order], np.concatenate([split.y for split in splits])[order]

    def _keys(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0].astype(np.int64) * self.relations + x[:, 1]

    def places(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (question, entity) of every answer to some questions, two arrays of indices.

        Args:
            x: (questions, 2).
        """
        keys = self._keys(x)
        begin, end = (np.searchsorted(self._sorted, keys, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(x)), end - begin)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
        return rows, self._answers[np.repeat(begin, end - begin) + offsets]


def filtered(logits: np.ndarray, asked: Split, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each question's answer, (questions,) float, and the entity that comes first, (questions,).

    Other known answers are left out (Bordes et al., 2013). Of entities that tie the rank is their mean (Sun et al.,
    2020), so that a model which scores all alike gets what chance would.

    Args:
        logits: (questions, entities).
        asked: the questions and their answers.
        known: answers to leave out.
    """
    each = np.arange(len(asked))
    own = logits[each, asked.y][:, None]
    others = logits.copy()
    others[known.places(asked.x)] = -np.inf
    others[each, asked.y] = -np.inf
    above, tied = (others > own).sum(1), (others == own).sum(1)
    first = np.where(own[:, 0] >= others.max(1), asked.y, others.argmax(1))
    return 1 + above + tied / 2, first


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of -log softmax(logits)[y]."""
    top = logits.max(1)
    total = np.log(np.exp(logits - top[:, None]).sum(1, dtype=np.float64))
    return float((top - logits[np.arange(len(y)), y] + total).sum())


def ranked(ranks: np.ndarray) -> dict[str, float]:
    """Return the mean reciprocal rank and the shares of ranks of at most 1, 3 and 10."""
    return {"mrr": float((1 / ranks).mean())} | {f"hits_at_{n}": float((ranks <= n).mean()) for n in HITS}


def intervals_of(ranks: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of what `ranked` returns, over questions."""
    mrr = intervals.of_sums((1 / ranks)[:, None], lambda sums: {"mrr": sums[:, 0] / len(ranks)})
    return mrr | intervals.of_shares(ranked(ranks), {f"hits_at_{n}": len(ranks) for n in HITS})


def scores(ranks: np.ndarray, examples: Split, data: Dataset, split: str) -> dict[str, Any]:
    """Return the numbers of a split: over all, of tails, of heads, and of entities that training has."""
    tails = examples.x[:, 1] < len(data.spec.relations)
    trained = np.zeros(data.spec.num_classes, bool)
    trained[data.train.x[:, 0]] = True  # every entity of a triple is asked about once
    seen = trained[examples.x[:, 0]] & trained[examples.y]
    found = ranked(ranks)
    for name, chosen in (("tails", tails), ("heads", ~tails), ("seen", seen)):
        if chosen.any():
            found |= {f"{metric}_{name}": value for metric, value in ranked(ranks[chosen]).items()}
    return found | {
        "mean_rank": float(ranks.mean()),
        "examples": len(ranks),
        "of_unseen_entities": int((~seen).sum()),
        "left_out_triples": data.left_out.get(split, 0),
    }


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write ranks.tsv into a run's folder: each test question, its answer, the answer's rank and what came first."""
    from zoo.tasks.pages import links as link_page

    link_page.write_ranks(run.ranks_file, data, shown)


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    from zoo.tasks.pages import links as link_page

    return link_page.page(data, found, shown)


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    return (
        f"filtered MRR {written(test, 'mrr', within)}, hits at 1 {written(test, 'hits_at_1', within)},"
        f" at 10 {written(test, 'hits_at_10', within)}, {test['examples']:,} questions"
    )
