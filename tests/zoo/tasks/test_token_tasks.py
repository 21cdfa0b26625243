"""Language models and translation, from text files to generated texts, in this process."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from zoo import evaluate, generate, predict, train
from zoo.config.sampling import Beam, Sampling
from zoo.config.train_config import TrainConfig
from zoo.data import DataSpec, Split
from zoo.data.batches.buckets import Batch
from zoo.data.batches.tokens import TokenBatches, evaluation_batches, training_batches
from zoo.models import Transformer, TransformerLM
from zoo.runs.folder import RunFolder
from zoo.tasks import language_model, translation

PAIRS = DataSpec("pairs", "pairs", (6,), (), False, 9, "translation", (8,), 9)
WINDOWS = DataSpec("text", "tokens", (5,), (), True, 9, "language_model", (5,), 9)


@pytest.fixture
def pairs():
    """23 pairs of 1 to 6 source tokens and as many target tokens between begin (2) and end (3)."""
    rng = np.random.default_rng(0)
    x, y = np.zeros((23, 6), "int32"), np.zeros((23, 8), "int32")
    for row, target in zip(x, y, strict=True):
        n = rng.integers(1, 7)
        row[:n] = rng.integers(4, 9, n)
        target[: n + 2] = [2, *row[:n], 3]
    return Split(x, y)


def test_a_batch_of_pairs_feeds_what_came_before_and_asks_for_what_follows(pairs):
    batches = training_batches(pairs, PAIRS, batch_size=4, seed=1, start=0, stop=10)
    seen = []
    for (source, before), after, weight in batches.take(5).as_numpy_iterator():
        np.testing.assert_array_equal(before[:, 1:][after[:, :-1] != 0], after[:, :-1][after[:, :-1] != 0])
        assert (before[:, 0] == 2).all() and ((after == 3).sum(1) == 1).all()
        assert ((weight > 0) == (after != 0)).all() and weight.mean() == pytest.approx(1)
        assert source.any(0).all() and after.any(0).all()  # no column of padding alone
        seen += [tuple(row) for row in source]
    assert len(seen) == 20


def test_a_run_that_resumes_sees_the_same_batches(pairs):
    whole = list(training_batches(pairs, PAIRS, batch_size=4, seed=1, start=0, stop=15).as_numpy_iterator())
    rest = list(training_batches(pairs, PAIRS, batch_size=4, seed=1, start=7, stop=15).as_numpy_iterator())
    for ours, theirs in zip(rest, whole[7:], strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("batch", [4, 23, 64])
def test_evaluation_weighs_every_token_alike(batch, pairs):
    """The mean of a weighted loss over all batches, as `fit` takes it, is the mean over tokens."""
    rng = np.random.default_rng(0)
    losses = rng.random((23, 7))
    expected = losses[pairs.y[:, 1:] != 0].mean()
    total, rows = 0.0, 0
    for _, labels, weight in evaluation_batches(pairs, PAIRS, batch_size=batch, stride=2).as_numpy_iterator():
        here = np.zeros(labels.shape)
        found = losses[rows : rows + len(labels)]
        here[: len(found)] = found
        total += (here * weight).mean() * len(labels)
        rows += len(labels)
    assert total / rows == pytest.approx(expected, rel=1e-6)


def test_token_scores_by_hand():
    x = np.random.default_rng(0).integers(1, 9, (7, 5)).astype("int32")
    y = np.roll(x, -1, axis=1)
    y[-1, 2:] = 0
    model = keras.Sequential([keras.Input((5,), dtype="int32"), keras.layers.Embedding(9, 9)])
    table = np.asarray(model.layers[0].embeddings)
    log_p = table - np.log(np.exp(table).sum(-1, keepdims=True))
    rows, columns = x[y != 0], y[y != 0]
    found = language_model.token_scores(language_model.token_sums(model, Split(x, y), WINDOWS))
    assert found["loss"] == pytest.approx(-log_p[rows, columns].mean(), rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    assert found["accuracy"] == pytest.approx((table[rows].argmax(-1) == columns).mean())
    assert found["tokens"] == 32


@pytest.mark.slow
def test_a_text_longer_than_the_window_goes_on_greedily_as_without_a_cache():
    keras.utils.set_random_seed(1)
    model = TransformerLM(vocabulary_size=9, num_layers=2, model_dim=8, num_heads=2, ff_dim=16)
    model.build((None, 6))
    prompt = np.array([4, 5], "int32")
    found = language_model.continued(model, prompt, count=2, length=9, window=6, sampling=None)
    text = list(prompt)
    known = list(prompt)
    for _ in range(9):
        if len(known) >= 6:
            known = known[-3:]
        known.append(int(np.asarray(model(np.array([known], "int32")))[0, -1].argmax()))
        text.append(known[-1])
    np.testing.assert_array_equal(found, [text[2:]] * 2)


@pytest.mark.slow
def test_windows_of_one_length_draw_other_tokens_by_one_compiled_function(monkeypatch):
    made = []
    compiled = language_model.compiled
    monkeypatch.setattr(language_model, "compiled", lambda function: made.append(1) or compiled(function))
    model = TransformerLM(vocabulary_size=9, num_layers=1, model_dim=8, num_heads=2, ff_dim=16)
    model.build((None, 6))
    flat = Sampling(temperature=1e6, seed=3)  # every token is as probable: what is drawn is the noise alone
    drawn = [
        language_model.continued(model, np.array([4, 5], "int32"), count=20, length=4 + 3 * 3, window=6, sampling=flat)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*drawn)
    second, third, fourth = drawn[0][:, 4:].reshape(20, 3, 3).transpose(1, 0, 2)
    assert all((a != b).mean() > 0.5 for a, b in ((second, third), (third, fourth), (second, fourth)))
    assert len(made) == 2 * 2  # the prompt's length, and half a window


@pytest.mark.slow
def test_beam_search_over_the_cache_scores_as_the_model_does():
    """Of one beam the search is greedy, and so is the plain model."""
    keras.utils.set_random_seed(2)
    model = Transformer(9, 9, num_layers=2, model_dim=8, num_heads=2, ff_dim=16, shared_vocabulary=True)
    model.build([(None, 6), (None, 7)])
    source = np.array([[4, 5, 6, 0, 0, 0], [7, 8, 4, 4, 0, 0]], "int32")
    found = translation.translate(model, source, 7, Beam(beams=1))
    for row, given in zip(found, source, strict=True):
        text = [2]
        while len(text) < 8 and text[-1] != 3:
            logits = model((ops.convert_to_tensor(given[None]), ops.convert_to_tensor([[*text, 0]])))
            text.append(int(np.asarray(logits)[0, len(text) - 1].argmax()))
        np.testing.assert_array_equal(row[: len(text) - 1], text[1:])
        assert not row[len(text) - 1 :].any()


def test_bleu_is_sacrebleus_with_its_signature():
    found = translation.scores(["the cat sat on the mat", "a dog"], ["the cat sat on the mat", "a cat"])
    precisions = 7 / 8, 5 / 6, 4 / 4, 3 / 3  # of 1 to 4 words; as long as the references, so no penalty
    assert found["bleu"] == pytest.approx(100 * np.prod(precisions) ** 0.25)
    assert "tok:13a" in found["bleu_signature"] and found["exact_match"] == 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text of one repeated line, and pairs of a word and the same word."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "book.txt").write_text("abcdefgh\n" * 200)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), 2)) for _ in range(200)]
    (folder / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"{w}\t{w}\n" for w in words))
    return folder


SMALL = ("--set", "num_layers=1", "--set", "model_dim=16", "--set", "num_heads=2", "--set", "ff_dim=32",
         "--set", "dropout=0", "--learning-rate", "1e-2", "--batch-size", "16", "--seed", "1")  # fmt: skip


@pytest.mark.slow
def test_a_language_model_learns_a_line_and_goes_on_with_it(folder, capsys):
    run = folder / "lm"
    words = ("--data", str(folder / "book.txt"), "--sequence-length", "12", "--epochs", "8", *SMALL)
    assert train.main(["--model", "transformer_lm", *words, "--output", str(run)]) == 0
    out = capsys.readouterr().out
    assert "nats a token, perplexity 1." in out and f"zoo.generate {run} TEXT" in out
    assert generate.main([str(run), "cde", "--greedy", "--length", "20"]) == 0
    assert capsys.readouterr().out == "cdefgh\nabcdefgh\nabcdefg\n"
    assert generate.main([str(run), "ab", "--count", "2", "--seed", "3", "--length", "4", "--json"]) == 0
    assert [row["output"][:2] for row in json.loads(capsys.readouterr().out)] == ["ab", "ab"]
    assert evaluate.main([str(run), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["loss"] == pytest.approx(RunFolder(run).read_metrics()["test"]["loss"])
    assert "nats a token" in (run / "report.html").read_text()
    assert predict.main([str(run), "abc"]) == 2
    assert "use zoo.generate" in capsys.readouterr().err


@pytest.mark.slow
def test_translation_learns_to_copy(folder, tmp_path, capsys):
    run = tmp_path / "copy"
    words = ("--data", str(folder / "pairs.tsv"), "--task", "translation", "--tokens", "character", "--epochs", "12")
    assert train.main(["--model", "transformer_seq2seq", *words, *SMALL, "--output", str(run)]) == 0
    scores = RunFolder(run).read_metrics()["test"]
    assert scores["exact_match"] > 0.9
    rows = (run / "translations.tsv").read_text().splitlines()
    assert rows[0] == "source\treference\toutput" and len(rows) == scores["examples"] + 1
    capsys.readouterr()
    assert generate.main([str(run), "abba"[:2], "dc", "--beams", "3"]) == 0
    assert capsys.readouterr().out == "ab\ndc\n"
    assert generate.main([str(run), "a?b€"]) == 0
    assert "INPUT a?b€: 2 of 4 tokens are not in the run's vocabulary" in capsys.readouterr().err


@pytest.mark.slow
def test_replicas_train_alike(folder, tmp_path):
    """Batches of several lengths, with tokens spread unevenly over the replicas."""
    histories = []
    for strategy in ({}, {"strategy": "mirrored", "virtual_devices": 2}):
        from zoo.training.loop import train as fit

        config = TrainConfig(
            model="transformer_seq2seq", data=folder / "pairs.tsv", task="translation", tokens="character", epochs=1,
            batch_size=16, settings={"num_layers": 1, "model_dim": 8, "num_heads": 2, "ff_dim": 8, "dropout": 0.0},
            optimizer="sgd", learning_rate=0.5, output=tmp_path / f"run-{len(strategy)}", **strategy,
        )  # fmt: skip
        histories.append(fit(config, verbose=False))
    one, two = histories
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    for ours, theirs in zip(one.history, two.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert one.history[0]["val_loss"] < one.history[0]["loss"]


@pytest.mark.parametrize(("words", "message"), [
    (("--model", "cnn", "--dataset", "addition"), "and addition is for translation"),
    (("--model", "transformer_lm", "--dataset", "digits"), "learns language_model, and digits is for classification"),
    (("--model", "transformer_seq2seq", "--dataset", "addition", "--set", "shared_vocabulary=true"), "from the data"),
    (("--model", "transformer_seq2seq", "--dataset", "addition", "--class-weights", "balanced"), "data with classes"),
])  # fmt: skip
def test_a_model_for_another_task_is_refused(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main([*words, "--epochs", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_numpy_batches_are_those_of_tensorflow(pairs):
    """What JAX gets, of one batch of them all."""
    every = pairs, [Batch(np.arange(len(pairs)), 6, 8)]
    ours = TokenBatches(pairs, PAIRS, lambda epoch: every, steps=1, start=0, stop=1, whole=True)[0]
    (theirs,) = evaluation_batches(pairs, PAIRS, batch_size=23).as_numpy_iterator()
    keras.tree.map_structure(np.testing.assert_array_equal, ours, theirs)
