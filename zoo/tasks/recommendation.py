"""Recommendation: the items that a user is likely to want next, from events or ratings of users and items."""

from typing import Any

import keras
import numpy as np

from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import pipeline as batches
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.data.events.form import EventsForm
from zoo.objectives.ratings import ItemLoss, PairwiseLoss, RatingLoss
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, logits_of, probabilities
from zoo.runs.vocabularies import read_spec
from zoo.scores import intervals
from zoo.scores.recommendations import LENGTHS, Seen, popularity, ranked, ranks_by
from zoo.tasks.base import Task
from zoo.tasks.pages import recommendations as page_of
from zoo.tasks.parts import vectors
from zoo.tasks.parts.ranker import Ranker

# Number of items of `zoo.predict`.
SHOWN = 10
# Losses by the name of the model's argument, and those that compare with sampled items.
LOSSES = {"softmax": ItemLoss, "sampled": ItemLoss, "bpr": PairwiseLoss, "squared": RatingLoss}
SAMPLED = ("sampled", "bpr")


class Recommendation(Task):
    """Recommend items to users."""

    name = "recommendation"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        form = spec.events
        found = {**config.settings, "num_users": len(form.users), "num_items": len(form.items)}
        if form.rated:
            found = {"loss": "squared", "normalized": False} | found
        return found | ({"mean": form.mean} if found.get("loss") == "squared" else {})

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {"loss": LOSSES[self._loss(config, spec)]()}

    def _loss(self, config: TrainConfig, spec: DataSpec) -> str:
        return config.settings.get("loss", "squared" if spec.events.rated else "softmax")

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        """Return batches of events, beside all items or random ones."""
        train, loss = data.train, self._loss(config, data.spec)
        pairs = np.concatenate([train.x, items_of(train)[:, None]], axis=1).astype(np.int32)
        steps = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        if loss not in SAMPLED:
            return batches.training_batches(Split(pairs, train.y), **steps)
        count, items = config.settings.get("negatives", NEGATIVES), len(data.spec.events.items)

        def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[Any, ...]:
            others = rng.integers(0, items, (len(chosen), count), np.int32)
            return (pairs[chosen], others), np.zeros(len(chosen), np.int32)

        return for_engine(StepBatches(make, len(train), **steps))

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride)

    def callbacks(self, config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
        """Return the callback that ranks the validation items at the end of each epoch."""
        return [Ranker(data.validation, items_of(data.validation), seen_before(data, "validation"))]

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return row["val_ndcg_at_10"], -row["val_loss"]

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, and the results that the report shows.

        Each user's held-out item is ranked among the items that the user has not had before. Results are `ranks`, those
        of `popular` items, `intervals`, `first`, the first items of some users, and `vectors` of users and items.
        """
        examples, form = data.split(split), data.spec.events
        users, items, seen = examples.x[:, 0], items_of(examples), seen_before(data, split)
        found = ranks_by(lambda ids: scores_of(model, ids), users, items, seen)
        counts = popularity(items_of(data.train), len(form.items))
        popular = ranks_by(lambda ids: np.tile(counts, (len(ids), 1)), users, items, seen)
        shown = {"ranks": found, "popular": popular, "split": split, "counts": counts, "seen": seen}
        shown |= {"intervals": intervals_of(found), "vectors": vectors.of(model)}
        beside = {f"popularity_{name}": value for name, value in ranked(popular).items()}
        return ranked(found) | beside | {"examples": len(found)}, shown

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write vectors.npz: the vectors of users and items, their names, and the events that users have had."""
        vectors.write(run.vectors_file, data, shown["vectors"])

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return page_of.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return f"{in_words(test, within)}, {test['examples']:,} users; {beside(test)}"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        form, top = read_spec(run)[0].events, options.top or SHOWN
        ids = np.array([form.users.index(text) for text in options.inputs], np.int32)
        seen, model, answers = vectors.read_seen(run.vectors_file, len(form.users)), run.load_model(), []
        for text, user in zip(options.inputs, ids, strict=True):
            scores = scores_of(model, np.array([user]))[0].astype(np.float64)
            scores[seen.of(int(user))] = -np.inf
            answers.append({"input": text, **_first(scores, form, top)})
        return answers

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        names = tuple(map(str, range(size or 100)))
        return DataSpec("example", "events", (1,), (), task=self.name, events=EventsForm(names, names, "user", "item"))

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        pairs, loss = keras.KerasTensor((batch_size, 2), "int32"), self._loss(config, spec)
        if loss in SAMPLED:
            others = keras.KerasTensor((batch_size, config.settings.get("negatives", NEGATIVES)), "int32")
            return (pairs, others), keras.KerasTensor((batch_size,), "int32")
        shape, dtype = ((batch_size, 2), "float32") if spec.events.rated else ((batch_size,), "int32")
        return pairs, keras.KerasTensor(shape, dtype)


# Number of sampled items of an example, the default of the model.
NEGATIVES = 64


def items_of(split: Split) -> np.ndarray:
    """Return the ids of the items of events, (events,) int64."""
    return (split.y[:, 0] if split.y.ndim == 2 else split.y).astype(np.int64)


def seen_before(data: Dataset, split: str) -> Seen:
    """Return the items that users have had before the events of a split."""
    names = {"train": (), "validation": ("train",), "test": ("train", "validation")}[split]
    parts = [getattr(data, name) for name in names]
    users = np.concatenate([np.zeros(0, np.int64), *(part.x[:, 0] for part in parts)])
    items = np.concatenate([np.zeros(0, np.int64), *map(items_of, parts)])
    return Seen(users, items, len(data.spec.events.users))


def scores_of(model: keras.Model, users: np.ndarray) -> np.ndarray:
    """Return the scores of all items for users, (users, items) float32."""
    return logits_of(model, Split(users[:, None].astype(np.int32), np.zeros((len(users), 0))))


def _first(scores: np.ndarray, form: EventsForm, top: int) -> dict[str, Any]:
    """Return the items with the highest scores, for `zoo.predict`."""
    chance = probabilities(scores)
    order = np.argsort(-scores, kind="stable")[: min(top, int(np.isfinite(scores).sum()))]
    rows = [
        {"label": form.items[i], "probability": float(chance[i]), "score": float(scores[i])} for i in order.tolist()
    ]
    return rows[0] if top == 1 else rows[0] | {"top": rows}


def intervals_of(found: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the scores of ranks, over users."""
    gains = 1 / np.log2(1 + found)
    terms = np.stack([np.where(found <= k, gains, 0.0) for k in LENGTHS] + [1 / found], axis=1)
    names = [*(f"ndcg_at_{k}" for k in LENGTHS), "reciprocal_rank"]
    means = intervals.of_sums(terms, lambda sums: {name: sums[:, i] / len(found) for i, name in enumerate(names)})
    return means | intervals.of_shares(ranked(found), {f"recall_at_{k}": len(found) for k in LENGTHS})


def in_words(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores of a split in a clause."""
    return f"recall@10 {written(test, 'recall_at_10', within)}, NDCG@10 {written(test, 'ndcg_at_10', within)}"


def beside(test: dict[str, Any]) -> str:
    """Return how the model compares with recommending popular items to everybody."""
    said = f"popularity: recall@10 {test['popularity_recall_at_10']:.2%}, NDCG@10 {test['popularity_ndcg_at_10']:.4f}"
    return said if test["ndcg_at_10"] > test["popularity_ndcg_at_10"] else f"{said}, which the model does not beat"


TASK = Recommendation()
