"""Long texts: the default length is bounded and told, and texts of about one length share a batch."""

import json

import numpy as np
import pytest

from zoo import train
from zoo.config.train_config import TrainConfig
from zoo.data import load
from zoo.data.batches import buckets, pipeline
from zoo.data.dataset import Split
from zoo.data.text import LONGEST, Vocabulary, encoded, usual_length
from zoo.models.lstm import LSTM
from zoo.models.transformer import TransformerClassifier
from zoo.tasks.classification import LONG


def reviews(count, low, high, seed=0):
    """Return texts of `low` to `high` words; one word of five tells the class."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = rng.choice(["the", "film", "was", "that", ("bad", "good")[i % 2]], rng.integers(low, high))
        rows.append((" ".join(words), ("neg", "pos")[i % 2]))
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in reviews(200, 100, 1000)))
    return path


def test_the_default_length_is_bounded_and_told(table):
    data = load(TrainConfig(model="transformer", data=table).resolved())
    assert data.spec.input_shape == (LONGEST,)
    lengths = np.array([len(data.vocabulary.rows([text])[0]) for text in data.texts["train"]])
    lost = np.maximum(lengths - LONGEST, 0).sum() / lengths.sum()
    ((what, count),) = data.reading.changed.items()
    assert count == (lengths > LONGEST).sum() > 40
    assert what.startswith(f"training texts cut to {LONGEST} tokens") and f"{lost:.1%} of all tokens lost" in what
    longer = load(TrainConfig(model="transformer", data=table, sequence_length=1000).resolved())
    assert longer.reading.changed == {} and longer.spec.input_shape == (1000,)


def test_encoding_in_parts_is_encoding_at_once(monkeypatch):
    texts = [text for text, _ in reviews(50, 3, 40)]
    vocabulary = Vocabulary.train(texts, 100)
    whole = encoded(vocabulary, texts, 20)
    monkeypatch.setattr("zoo.data.text.PART", 7)
    ids, lengths = encoded(vocabulary, texts, 20)
    assert np.array_equal(ids, whole[0]) and lengths.tolist() == [len(text.split()) for text in texts]
    assert usual_length(vocabulary, texts) == np.ceil(np.percentile(lengths, 95))


@pytest.fixture(scope="module")
def texts():
    """Return 90 texts of ids whose lengths differ, padded to 200, and their lengths."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 200, 90)
    x = np.where(np.arange(200) < lengths[:, None], rng.integers(2, 50, (90, 200)), 0).astype(np.int32)
    return Split(x, np.arange(90, dtype=np.int32) % 2), lengths


def test_texts_of_one_length_share_a_batch_and_every_run_has_the_same_batches(texts):
    split, lengths = texts
    options = {"batch_size": 8, "seed": 3, "lengths": buckets.lengths(split.x)}
    assert options["lengths"].tolist() == lengths.tolist()
    found = [(x.numpy(), y.numpy()) for x, y in pipeline.training_batches(split, start=0, stop=22, **options)]
    widths = {bucket.source_length for bucket in buckets.choose(lengths, lengths)}
    assert len(widths) > 1 and {x.shape[1] for x, _ in found} <= widths
    assert sum(x.size for x, _ in found) < 0.8 * 22 * 8 * 200  # cells, with padding
    known = {row.tobytes(): i for i, row in enumerate(split.x)}
    for epoch in (found[:11], found[11:]):
        rows = [known[np.pad(row, (0, 200 - len(row))).tobytes()] for x, _ in epoch for row in x]
        assert len(set(rows)) == 88  # each once; the rest of two is left out
        assert [int(y) for _, labels in epoch for y in labels] == split.y[rows].tolist()
    later = [(x.numpy(), y.numpy()) for x, y in pipeline.training_batches(split, start=13, stop=22, **options)]
    for (x, y), (again, labels) in zip(found[13:], later, strict=True):
        assert np.array_equal(x, again) and np.array_equal(y, labels)
    gathered = pipeline.gathered(split, **options)
    for step, indices in enumerate(gathered.indices(0, 22)):
        x, y = gathered.take(indices)
        assert np.array_equal(x, found[step][0]) and np.array_equal(y, found[step][1])


@pytest.mark.parametrize("make", [
    lambda: TransformerClassifier(num_classes=2, num_layers=1, model_dim=8, num_heads=2, ff_dim=8, vocabulary_size=50),
    lambda: LSTM(num_classes=2, units=(4,), embedding_dim=4, vocabulary_size=50),
])  # fmt: skip
def test_models_of_the_zoo_do_not_see_the_padding_that_is_cut(make, texts):
    split, lengths = texts
    short = np.flatnonzero(lengths < 60)[:4]
    model = make()
    model.build((None, 200))
    whole, cut = (np.asarray(model(split.x[short][:, :width])) for width in (200, 60))
    assert np.abs(whole - cut).max() < 1e-5


def test_a_simple_method_stands_beside_the_network(table, tmp_path):
    assert LONG <= LONGEST
    words = ["--model", "lstm", "--data", str(table), "--epochs", "1", "--sequence-length", "130", "--batch-size", "16"]
    words += ["--set", "units=4", "--set", "embedding_dim=4", "--output", str(tmp_path / "run")]
    assert train.main(words) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["baseline"]["name"] == "tf-idf with logistic regression" and metrics["baseline"]["accuracy"] > 0.9
    report = (tmp_path / "run" / "report.html").read_text()
    assert f"accuracy {metrics['baseline']['accuracy']:.2%} on the same test split" in report
    assert metrics["data"]["examples"] == {"train": 144, "validation": 16, "test": 40}
    assert metrics["data"]["classes"] == {"neg": 100, "pos": 100} and metrics["data"]["used"] == 200
