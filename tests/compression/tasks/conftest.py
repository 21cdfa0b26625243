"""A small trained run of every task, trained once for this folder: the fixture `<task>_run` is its run folder."""

import itertools
import random

import numpy as np
import pytest

from tests.conftest import blobs
from tests.zoo.data.annotations import pictures
from zoo.config.train_config import TrainConfig
from zoo.tasks import generation
from zoo.training.loop import train

SAMPLES = 120  # drawn images that a generator is measured by
PAIR_SETTINGS = {"filters": (4, 8), "pools": 1, "units": 16, "word_dim": 16, "embedding_dim": 8}
TEXT_SETTINGS = {"num_layers": 1, "model_dim": 64, "num_heads": 2, "ff_dim": 64, "dropout": 0.0}
WORDS = [
    {"roter": "red", "blauer": "blue", "alter": "old", "junger": "young", "kleiner": "small", "wilder": "wild"},
    {"Hund": "dog", "Mann": "man", "Ball": "ball", "Vogel": "bird", "Hut": "hat", "Fisch": "fish"},
    {"rennt": "runs", "schläft": "sleeps", "fliegt": "flies", "fällt": "falls", "liegt": "lies"},
]


@pytest.fixture(scope="package", autouse=True)
def _fewer_samples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "SAMPLES", SAMPLES)
        yield


@pytest.fixture(scope="package")
def classification_run(image_run):
    return image_run


@pytest.fixture(scope="package")
def contrastive_run(tmp_path_factory):
    """A run on 150 images of three classes."""
    folder = tmp_path_factory.mktemp("pairs")
    _save_blobs(folder, 150, (10, 10))
    config = TrainConfig(
        model="cross_modal", data=folder / "blobs.npz", settings=PAIR_SETTINGS, epochs=6, batch_size=16,
        learning_rate=1e-2, seed=1, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def generation_run(tmp_path_factory):
    """A run that draws images by class, beside the classifier in whose features they are compared."""
    folder = tmp_path_factory.mktemp("drawn")
    _save_blobs(folder, 240, (8, 12), seed=1)
    common = {"data": folder / "blobs.npz", "batch_size": 16, "learning_rate": 1e-2}
    config = TrainConfig(model="simplenet", settings={"units": (8,)}, epochs=4, output=folder / "classifier", **common)
    train(config, verbose=False)
    settings = {"filters": (6, 4), "latent_size": 5, "conditional": True, "average_decay": 0.5}
    config = TrainConfig(
        model="gan", settings=settings, epochs=3, beta_1=0.5, warmup=0.0, clip_norm=0.0,
        classifier=folder / "classifier", output=folder / "run", **common,
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def link_prediction_run(tmp_path_factory):
    """A run on the families."""
    settings = {"dim": 32, "strength": 0.1}
    folder = tmp_path_factory.mktemp("links") / "run"
    config = TrainConfig(model="kg_embedding", dataset="family", settings=settings, epochs=12, output=folder)
    train(config, verbose=False)
    return folder


@pytest.fixture(scope="package")
def translation_run(tmp_path_factory):
    """A run that translates three German words one by one."""
    folder = tmp_path_factory.mktemp("texts")
    pairs = [f"{' '.join(words)}\t{' '.join(map(english, words))}\n" for words in itertools.product(*WORDS)]
    random.Random(0).shuffle(pairs)
    (folder / "pairs.tsv").write_text("".join(["source\ttarget\n", *pairs * 3]), encoding="utf-8")
    config = TrainConfig(
        model="transformer_seq2seq", data=folder / "pairs.tsv", task="translation", tokens="word",
        settings=TEXT_SETTINGS, epochs=8, batch_size=16, learning_rate=3e-3, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def language_model_run(tmp_path_factory):
    """A run that continues sentences of three German words."""
    folder = tmp_path_factory.mktemp("sentences")
    sentences = [f"{' '.join(words)}. " for words in itertools.product(*WORDS)]
    random.Random(0).shuffle(sentences)
    (folder / "text.txt").write_text("".join(sentences * 2), encoding="utf-8")
    config = TrainConfig(
        model="transformer_lm", data=folder / "text.txt", tokens="word", sequence_length=8, settings=TEXT_SETTINGS,
        epochs=4, batch_size=16, learning_rate=3e-3, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def forecasting_run(tmp_path_factory):
    """A run that forecasts two waves in different units."""
    folder = tmp_path_factory.mktemp("series")
    times = np.arange("2024-01-01", "2024-02-01", dtype="datetime64[h]").astype("datetime64[m]")
    waves = zip(times, np.sin(np.arange(len(times)) / 4), 1000 + 50 * np.cos(np.arange(len(times)) / 3), strict=True)
    rows = [f"{time},{a:.4f},{b:.2f}\n" for time, a, b in waves]
    (folder / "series.csv").write_text("".join(["time,small,large\n", *rows]))
    config = TrainConfig(
        model="dlinear", data=folder / "series.csv", horizon=4, lookback=16, settings={"window": 5}, epochs=4,
        batch_size=16, learning_rate=1e-2, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def recommendation_run(tmp_path_factory):
    """A run on 30 users of two tastes, who take items of one half each."""
    folder, rng = tmp_path_factory.mktemp("events"), np.random.default_rng(0)
    taken = [f"u{user},i{item + 20 * (user % 2)}\n" for user in range(30) for item in rng.permutation(20)[:10]]
    (folder / "events.csv").write_text("".join(["user,item\n", *taken]))
    config = TrainConfig(
        model="two_tower", data=folder / "events.csv", settings={"dim": 8, "units": (8,)}, epochs=4, batch_size=16,
        learning_rate=1e-2, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


def _rows(folder):
    """Write a table of numbers of very different sizes, a category, a target and two labels."""
    rng = np.random.default_rng(0)
    small, large, place = rng.normal(0.01, 0.002, 300), rng.normal(2e4, 5e3, 300), rng.choice(list("abc"), 300)
    price = 1 + 200 * (small - 0.01) + (large - 2e4) / 2.5e4 + 0.3 * (place == "a")
    rows = zip(small, large, place, price, small > 0.01, place == "a", strict=True)
    lines = [f"{s:.5f},{b:.1f},{p},{y:.4f},{int(one)},{int(other)}" for s, b, p, y, one, other in rows]
    (folder / "rows.csv").write_text("\n".join(["small,large,place,price,is_more,is_a", *lines]))
    return {"model": "tabular", "data": folder / "rows.csv", "batch_size": 16, "learning_rate": 5e-3,
            "columns": ("small", "large", "place"), "settings": {"units": (32,)}}  # fmt: skip


@pytest.fixture(scope="package")
def regression_run(tmp_path_factory):
    """A run that gives a price, and two of its quantiles."""
    folder = tmp_path_factory.mktemp("numbers")
    config = TrainConfig(
        target_column=("price",), quantiles=(0.1, 0.9), epochs=8, output=folder / "run", **_rows(folder)
    )
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def ordinal_run(tmp_path_factory):
    """A run that gives one of three ordered classes."""
    folder = tmp_path_factory.mktemp("ordered")
    config = TrainConfig(
        task="ordinal", target_column=("place",), class_order=("b", "a", "c"), epochs=8, output=folder / "run",
        **_rows(folder) | {"columns": ("small", "large", "is_a")},
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def multilabel_run(tmp_path_factory):
    """A run that gives two labels."""
    folder = tmp_path_factory.mktemp("labels")
    config = TrainConfig(label_columns=("is_*",), epochs=8, output=folder / "run", **_rows(folder))
    train(config, verbose=False)
    return folder / "run"


def english(word):
    return next(words[word] for words in WORDS if word in words)


def _save_blobs(folder, count, shape, seed=0):
    x, y = blobs(count, shape, seed=seed)
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "high"])


@pytest.fixture(scope="package")
def anomaly_run(tmp_path_factory):
    """A run on images of three classes, of which the first is normal."""
    folder = tmp_path_factory.mktemp("anomalies")
    _save_blobs(folder, 240, (8, 8))
    config = TrainConfig(
        model="autoencoder", task="anomaly", data=folder / "blobs.npz", settings={"units": (16,), "code": 3}, epochs=6,
        normal_class=("low",), batch_size=16, learning_rate=1e-2, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def segmentation_run(tmp_path_factory):
    """A run on pictures of shapes with their masks."""
    folder = tmp_path_factory.mktemp("masks")
    config = TrainConfig(
        model="unet", dataset="shapes", image_size=12, settings={"filters": 4, "depth": 2}, epochs=2, batch_size=16,
        learning_rate=1e-2, output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"


@pytest.fixture(scope="package")
def detection_run(tmp_path_factory):
    """A run on pictures of discs and squares with their boxes."""
    folder = tmp_path_factory.mktemp("boxes")
    pictures.voc(folder / "annotated", {"train": 32, "val": 8, "test": 8})
    config = TrainConfig(
        model="detector", data=folder / "annotated", image_size=32, fit="stretch", epochs=4, batch_size=8,
        settings={"backbone": "mobilenet_v2", "alpha": 0.1, "width": 8, "depth": 1, "blocks": 7}, learning_rate=1e-2,
        output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    return folder / "run"
