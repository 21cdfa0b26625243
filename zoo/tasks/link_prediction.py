"""Link prediction: complete triples of a knowledge graph, with a missing head or a missing tail."""

import math
from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
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
from zoo.runs.inference import BATCH, logits_of, probabilities
from zoo.runs.vocabularies import read_spec
from zoo.scores import intervals
from zoo.scores.ranks import HITS, ranked
from zoo.tasks import base
from zoo.tasks.base import Task
from zoo.tasks.pages import links as link_page
from zoo.tasks.parts import requests

# Number of validation questions whose unfiltered ranks epochs are compared by, the same ones each time. Filtered ranks
# of a whole split can take as long as an epoch.
VALIDATED = 2000
# Maximum number of intermediate values of one step that take more memory than a matrix multiplication: 4 GB.
MOST_NUMBERS = 2**30
# At least so many groups of a batch share no candidates, so that up to as many replicas have whole groups.
GROUPS, LARGEST_GROUP = 16, 64


class LinkPrediction(Task):
    """Complete triples of a knowledge graph."""

    name = "link_prediction"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {**config.settings, "num_entities": spec.num_classes, "num_relations": len(spec.relations)}

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        metric = keras.metrics.MeanMetricWrapper(reciprocal_rank, name="mrr")
        return {"loss": CrossEntropy(config.label_smoothing), "weighted_metrics": [metric]}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        """Return batches of triples, scored against all entities or against random candidates.

        Raises:
            UsageError: Scores of all entities would take too much memory.
        """
        train, negatives = data.train, config.settings.get("negatives", 0)
        triples = np.concatenate([train.x, train.y[:, None]], axis=1)
        steps = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        if not negatives:
            self._check_memory(config, data.spec, batch_size)
            return batches.training_batches(Split(triples, train.y), **steps)
        share = negatives // group_size(negatives, batch_size)

        def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[Any, ...]:
            candidates = rng.integers(0, data.spec.num_classes, (len(chosen), share), np.int32)
            return (triples[chosen], candidates), np.zeros(len(chosen), np.int32)

        return for_engine(StepBatches(make, len(train), **steps))

    def _check_memory(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> None:
        model = registry.model_class(config.model)(**self.arguments(config, spec))
        if (numbers := model.cost * batch_size) > MOST_NUMBERS:
            raise UsageError(
                f"--set scorer={model.scorer}: its scores of all {spec.num_classes:,} entities would take"
                f" {numbers * 4 / 1e9:,.0f} GB a step; expected --set negatives=N, such as 256, or a smaller"
                " --batch-size"
            )

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        """Return up to `VALIDATED` validation questions, evenly spread."""
        chosen = spread(data.validation, VALIDATED)
        return batches.evaluation_batches(chosen, batch_size=BATCH, stride=stride)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_mrr"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, and the results that the report shows.

        Results are `ranks`, the filtered rank of each answer, `first`, the best entity of each question without other
        known answers, `entities`, the table of embeddings, and `intervals`.
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

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write ranks.tsv: each test question with its answer, the rank of the answer and the best entity."""
        link_page.write_ranks(run.ranks_file, data, shown)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return link_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return (
            f"filtered MRR {written(test, 'mrr', within)}, hits at 1 {written(test, 'hits_at_1', within)},"
            f" at 10 {written(test, 'hits_at_10', within)}, {test['examples']:,} questions"
        )

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        spec, _ = read_spec(run)
        asked = [requests.question(text, spec) for text in options.inputs]
        model, x, top, answers = run.load_model(), np.array(asked, np.int32), options.top or 1, []
        for start in range(0, len(x), BATCH):
            part = x[start : start + BATCH]
            p = probabilities(logits_of(model, Split(part, part[:, 0])))
            answers += [base.ranked(row, spec.class_names, top) for row in p]
        return [{"input": text, **answer} for text, answer in zip(options.inputs, answers, strict=True)]

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        entities = tuple(map(str, range(size or base.TOKENS)))
        return DataSpec("example", "triples", (2,), entities, task=self.name, relations=("0",))

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        return base.made_batch(self, config, spec, batch_size)


def group_size(negatives: int, batch_size: int) -> int:
    """Return the number of examples that share their candidates, a power of two."""
    return math.gcd(negatives, batch_size // math.gcd(batch_size, GROUPS), LARGEST_GROUP)


def spread(split: Split, count: int) -> Split:
    """Return at most `count` examples of a split, evenly spread."""
    return split.take(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int))


class Known:
    """Answers to each question in all splits of a data set.

    Args:
        data: Data set.
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
        """Return the indices of questions and of entities, two arrays with an element for each known answer.

        Args:
            x: Questions, (questions, 2).
        """
        keys = self._keys(x)
        begin, end = (np.searchsorted(self._sorted, keys, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(x)), end - begin)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
        return rows, self._answers[np.repeat(begin, end - begin) + offsets]


def filtered(logits: np.ndarray, asked: Split, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each answer, (questions,) float, and the best entity of each question, (questions,).

    Other known answers are left out (Bordes et al., 2013). Entities with the same score have their mean rank (Sun et
    al., 2020), so a constant model scores as well as chance.

    Args:
        logits: Logits, (questions, entities).
        asked: Questions and their answers.
        known: Known answers, to leave out.
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
    """Return the sum of the cross-entropies of labels y."""
    top = logits.max(1)
    total = np.log(np.exp(logits - top[:, None]).sum(1, dtype=np.float64))
    return float((top - logits[np.arange(len(y)), y] + total).sum())


def intervals_of(ranks: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the scores of ranks, over questions."""
    mrr = intervals.of_sums((1 / ranks)[:, None], lambda sums: {"mrr": sums[:, 0] / len(ranks)})
    return mrr | intervals.of_shares(ranked(ranks), {f"hits_at_{n}": len(ranks) for n in HITS})


def scores(ranks: np.ndarray, examples: Split, data: Dataset, split: str) -> dict[str, Any]:
    """Return the scores of a split: over all questions, over tails, heads, and entities that occur in training."""
    tails = examples.x[:, 1] < len(data.spec.relations)
    trained = np.zeros(data.spec.num_classes, bool)
    trained[data.train.x[:, 0]] = True  # there is a question about each entity of a triple
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


TASK = LinkPrediction()
