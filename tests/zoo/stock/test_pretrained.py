"""Training initialised from a run: which weights are copied, which stay unchanged, and what is refused."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import blobs, stop_after
from zoo import models, train
from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import DataSpec
from zoo.introspection import freezing
from zoo.introspection.freezing import freeze
from zoo.introspection.layers import layers_of
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder, check_beginning
from zoo.train import configure
from zoo.training.data import load_data
from zoo.training.loop import train as fit
from zoo.training.transfer import SourceRun, named, take

SPEC = DataSpec("blobs", "image", (12, 12, 1), ("a", "b", "c"))
HEAD = {"head/kernel", "head/bias"}
STEPS = 4


def cnn(classes=3, **settings):
    model = models.CNN(classes, **{"filters": (4, 4), "pools": 1, "units": 8, "batch_norm": True} | settings)
    model.build((None, 12, 12, 1))
    return model


def source(model, spec=SPEC, vocabulary=""):
    return SourceRun("runs/a", "", spec, vocabulary, values(model))


def values(model):
    return {name: keras.ops.convert_to_numpy(variable).copy() for name, variable in named(model).items()}


def test_a_model_that_takes_all_gives_what_the_run_gave():
    theirs, mine = cnn(), cnn()
    x = np.random.default_rng(0).random((5, 12, 12, 1)).astype("float32")
    for weight in theirs.weights:  # including moving averages
        weight.assign(np.random.default_rng(weight.shape.num_elements()).random(weight.shape))
    assert np.abs(mine(x) - theirs(x)).max() > 0.1
    assert take(mine, source(theirs), SPEC) == []
    np.testing.assert_array_equal(mine(x), theirs(x))


def test_what_has_another_shape_or_no_counterpart_stays_as_it_was():
    theirs, mine = cnn(), cnn(5, filters=(4, 4, 4))
    before = values(mine)
    new = take(mine, source(theirs), SPEC)
    assert set(new) == HEAD | {n for n in before if n.startswith(("conv_3", "norm_3"))} | {"hidden/kernel"}
    for name, value in values(mine).items():
        np.testing.assert_array_equal(value, before[name] if name in new else values(theirs)[name])


@pytest.mark.parametrize(("patterns", "frozen", "layers"), [
    (["conv_1"], {"conv_1/kernel"}, {"conv_1"}),
    (["norm_*", "hidden/bias"], {f"norm_{i}/{n}" for i in (1, 2) for n in ("gamma", "beta", "moving_mean",
     "moving_variance")} | {"hidden/bias"}, {"norm_1", "norm_2"}),
    (["norm_1/gamma"], {"norm_1/gamma"}, set()),
])  # fmt: skip
def test_patterns_name_layers_and_variables(patterns, frozen, layers):
    model = cnn()
    trained = {name for name, v in named(model).items() if v.trainable}
    assert set(freeze(model, patterns)) == frozen
    ours = {id(v) for v in model.trainable_variables}
    assert {name for name, v in named(model).items() if id(v) in ours} == trained - frozen
    held = {layer.name for layer in layers_of(model) if not layer.trainable}
    assert held == layers


def test_a_stack_is_frozen_whole_and_deep_inside():
    model = models.TransformerClassifier(3, model_dim=8, num_heads=2, ff_dim=8, vocabulary_size=9)
    model.build((None, 5))
    frozen = freeze(model, ["encoder/block_1"])
    assert frozen and all(name.startswith("encoder/block_1/") for name in frozen)
    assert not model.encoder.blocks[0].attention.query_key_value.trainable and model.encoder.blocks[1].trainable


@pytest.mark.parametrize(("patterns", "message"), [
    (["conf_1"], "--freeze conf_1: no layer or variable of this name; the model has conv_1, .* did you mean 'conv_1'"),
    (["*"], r"--freeze \*: expected patterns that leave weights to train, these match all weights"),
    (["head"], "--freeze head: expected pretrained weights, but head/kernel, head/bias would stay random"),
])  # fmt: skip
def test_patterns_that_make_no_sense_are_refused(patterns, message):
    with pytest.raises(UsageError, match=message):
        freeze(cnn(), patterns, new=sorted(HEAD, reverse=True) if patterns == ["head"] else ())


def test_a_run_that_shares_no_kernel_is_refused():
    mine = models.LSTM(3, units=(4,))
    mine.build((None, 12, 12, 1))
    assert "head/bias" in named(mine).keys() & named(cnn()).keys()  # of one shape; it is not enough
    with pytest.raises(
        UsageError, match=r"--init-from runs/a: expected a run with kernels of the same path .* its kernels are"
    ):
        take(mine, source(cnn()), SPEC)


@pytest.mark.parametrize(("there", "here", "message"), [
    ((12, 12, 1), (16, 16, 1), r"hidden/kernel is \(36, 8\) there and \(100, 8\) here; --image-size 12 would fit"),
    ((12, 12, 1), (12, 12, 3), r"conv_1/kernel is \(3, 3, 1, 4\) there and \(3, 3, 3, 4\) here$"),
])  # fmt: skip
def test_images_of_another_size_are_refused_where_weights_depend_on_it(there, here, message):
    model = models.CNN(3, filters=(4, 4), pools=1, units=8, batch_norm=True)
    model.build((None, *here))
    with pytest.raises(UsageError, match=message):
        take(model, source(cnn()), DataSpec("blobs", "image", here, SPEC.class_names))


def test_and_allowed_where_none_does():
    def attention(rows):
        model = models.SelfAttentionClassifier(3, model_dim=8, num_heads=2, ff_dim=8, position="sinusoidal")
        model.build((None, rows, 12, 1))
        return model

    assert take(attention(16), source(attention(12)), DataSpec("blobs", "image", (16, 12, 1), ("a", "b", "c"))) == []


@pytest.mark.parametrize(("there", "here", "message"), [
    ("a", "", "expected texts, for its vocabulary, received words with token ids without a vocabulary"),
    ("", "b", "expected token ids, as it has no vocabulary, received words with a vocabulary of its own"),
    ("a", "b", "expected texts, for its vocabulary, received words with a vocabulary of its own"),
])  # fmt: skip
def test_rows_of_an_embedding_are_not_given_to_other_tokens(there, here, message):
    spec = DataSpec("words", "tokens", (5,), ("a", "b"), vocabulary_size=9, vocabulary_sha256=here)
    model = models.LSTM(2, units=(4,), vocabulary_size=9, embedding_dim=4)
    model.build((None, 5))
    with pytest.raises(UsageError, match=message):
        take(model, source(model, spec, there), spec)


COMMON = {
    "model": "cnn", "settings": {"filters": (4, 4), "pools": 1, "units": 8, "dropout": 0.0, "batch_norm": True},
    "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.1, "keep": "last", "precision": "float64",
}  # fmt: skip
FROZEN = ("conv_1", "norm_1", "hidden/kernel")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with run `a`, trained on three classes, and run `b`, initialised from it, on five."""
    folder = tmp_path_factory.mktemp("runs")
    for classes in (3, 5):
        x, y = blobs(100, (12, 12), classes)
        np.savez(folder / f"{classes}.npz", x=(x * 255).astype("uint8"), y=y)
    fit(TrainConfig(**COMMON | {"epochs": 1}, data=folder / "3.npz", output=folder / "a"), verbose=False)
    fit(fine_tuning(folder, "b"), verbose=False)
    return folder


def fine_tuning(folder, name, **changes):
    values = {"data": folder / "5.npz", "init_from": folder / "a", "freeze": FROZEN, "output": folder / name}
    return TrainConfig(**COMMON | values | changes)


def weights_of(run):
    return values(RunFolder(run).load_model())


def test_frozen_weights_keep_their_bits_and_others_are_trained(folder):
    model = RunFolder(folder / "b").load_model()
    a, b = weights_of(folder / "a"), values(model)
    frozen = {name for name in b if name.startswith(("conv_1/", "norm_1/"))} | {"hidden/kernel"}
    assert len(frozen) == 6  # including moving averages
    for name, value in b.items():
        assert (a[name].shape == value.shape and np.array_equal(a[name], value)) == (name in frozen), name
    # Frozen variables stay frozen in the saved model.
    assert {n for n, v in named(model).items() if not v.trainable} == frozen | {
        "norm_2/moving_mean", "norm_2/moving_variance"
    }  # fmt: skip
    stored = json.loads((folder / "b" / "config.json").read_text())
    assert stored["begun_with"] == {
        "run": str(folder / "a"),
        "model_sha256": RunFolder(folder / "a").read_metrics()["model_sha256"],
        "taken": 12,
        "new": ["head/kernel", "head/bias"],
        "reshaped": ["head/kernel", "head/bias"],
        "left": [],
    }


@pytest.mark.slow
def test_a_run_goes_on_without_the_one_it_began_with(folder, tmp_path):
    shutil.copytree(folder / "a", tmp_path / "a")
    run = tmp_path / "broken"
    with contextlib.suppress(Interrupted):
        fit(fine_tuning(folder, run, init_from=tmp_path / "a"), callbacks=[stop_after(STEPS + 2)], verbose=False)
    shutil.rmtree(tmp_path / "a")
    first, last = map(checkpoints.load, checkpoints.listed(run / "checkpoints"))
    assert (first.step, last.step) == (0, STEPS)
    for name, value in weights_of(folder / "a").items():  # the checkpoint before the first step
        assert any(np.array_equal(value, found) for found in first.arrays.values()) == (name not in HEAD), name
    fit(configure({"resume": True, "output": run}), verbose=False)
    for name, value in weights_of(run).items():
        np.testing.assert_allclose(value, weights_of(folder / "b")[name], rtol=0, atol=1e-12, err_msg=name)
    assert RunFolder(run).read_metrics()["test"] == pytest.approx(RunFolder(folder / "b").read_metrics()["test"])
    theirs = RunFolder(folder / "b").read_config()["begun_with"]
    assert RunFolder(run).read_config()["begun_with"] == theirs | {"run": str(tmp_path / "a")}


@pytest.mark.slow
def test_replicas_begin_and_end_alike(folder, tmp_path):
    fit(fine_tuning(folder, tmp_path / "run", strategy="mirrored", virtual_devices=2), verbose=False)
    two = weights_of(tmp_path / "run")
    for name, value in weights_of(folder / "b").items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-9, err_msg=name)


REVIEWS = [(f"{word} film number {i}", label) for i in range(40) for word, label in (("fine", "good"), ("dull", "bad"))]


def table(path, rows):
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return str(path)


@pytest.mark.slow
def test_texts_take_over_the_vocabulary_and_the_length(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = tmp_path / "book.txt"
    book.write_text("a fine film, a dull film and another number of words to read\n" * 40)
    small = ("--set", "num_layers=1", "--set", "model_dim=8", "--set", "num_heads=2", "--set", "ff_dim=8", "--epochs",
             "1", "--batch-size", "8")  # fmt: skip
    words = ("--model", "transformer_lm", "--data", str(book), "--tokens", "word", "--sequence-length", "6")
    assert train.main([*words, *small, "--output", "lm"]) == 0
    data = table(tmp_path / "reviews.tsv", REVIEWS)
    words = ("--model", "transformer", "--data", data, "--init-from", "lm", *small)
    capsys.readouterr()
    assert train.main([*words, "--freeze", "embedding", "--output", "reviews"]) == 0
    err = capsys.readouterr().err
    assert re.search(r"^1 of 17 variables from lm: embedding/emb.*; 16 new: .*; 14 of the run not used: ", err, re.M)
    assert "frozen: 1 of 17 variables, 120 of " in err  # 13 tokens, padding and unknown, 8 numbers each
    run = tmp_path / "reviews"
    assert (run / "vocabulary.json").read_bytes() == (tmp_path / "lm" / "vocabulary.json").read_bytes()
    assert RunFolder(run).read_config()["data"]["input_shape"] == [6]
    np.testing.assert_array_equal(
        weights_of(run)["embedding/embeddings"], weights_of(tmp_path / "lm")["embedding/embeddings"]
    )

    given = {"model": "transformer", "data": Path(data), "init_from": Path("lm")}
    with pytest.raises(UsageError, match="--tokens character: expected word, the tokens of lm, whose vocabulary"):
        load_data(TrainConfig(**given, tokens="character"))
    with pytest.raises(UsageError, match="--init-from lm: expected a translation run for the pairs of addition"):
        load_data(TrainConfig(model="transformer_seq2seq", dataset="addition", init_from=Path("lm")))


def test_a_run_that_cannot_be_begun_with_is_refused(folder, tmp_path, capsys):
    unfinished, altered = tmp_path / "unfinished", tmp_path / "altered"
    for copy in (unfinished, altered):
        shutil.copytree(folder / "a", copy)
    (unfinished / "metrics.json").unlink()
    with (altered / "model.keras").open("ab") as file:
        file.write(b"x")
    for run, message in ((unfinished, "this run has not finished"), (altered, "truncated or altered")):
        assert train.main(["--data", str(folder / "5.npz"), "--init-from", str(run)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("zoo.train: --init-from: ") and message in err


def test_without_kerashub_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--model hub_seq2seq: expected KerasHub, .* pip install '.*zoo\[hub\]'"):
        check_beginning(TrainConfig(model="hub_seq2seq", settings={"preset": "a"}))


def test_a_model_of_ones_own_may_be_frozen_without_a_run(tmp_path):
    model = keras.Sequential([keras.Input((12, 12)), keras.layers.Flatten(), keras.layers.Dense(4, name="hidden"),
                              keras.layers.Dense(3, name="head")])  # fmt: skip
    before = values(model)
    x, y = blobs(60, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=x.astype("float32"), y=y)
    config = TrainConfig(
        data=tmp_path / "blobs.npz", freeze=("hidden",), epochs=1, batch_size=8, output=tmp_path / "run"
    )
    after = values(fit(config, model=model, verbose=False).model)
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith("hidden/"), name
    assert freezing.freeze(model, ["hidden"]) == ["hidden/kernel", "hidden/bias"]
