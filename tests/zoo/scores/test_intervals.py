"""Confidence intervals against closed forms and another library's bootstrap, and their coverage of the true value."""

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from zoo import tasks
from zoo.console import figures
from zoo.runs.inference import probabilities
from zoo.scores import classes, intervals
from zoo.tasks import contrastive, generation, language_model, link_prediction, translation


def means(sums, count):
    return {"mean": sums[:, 0] / count}


def test_the_interval_of_a_share_is_the_normal_one_of_many_examples_and_never_outside_0_and_1():
    low, high = intervals.of_share(9_100, 10_000)
    half = 1.959964 * np.sqrt(0.91 * 0.09 / 10_000)
    assert (low, high) == pytest.approx((0.91 - half, 0.91 + half), abs=1.5e-4)  # counts are integers
    assert intervals.of_share(1, 20)[0] == 0.0


def test_where_all_are_right_the_exact_interval_stands_in():
    # With no failure among n examples, the end 1 - 0.025 ** (1 / n) solves p ** n = 0.025.
    assert intervals.of_share(360, 360) == pytest.approx([0.025 ** (1 / 360), 1.0])
    assert intervals.of_share(0, 12) == pytest.approx([0.0, 1 - 0.025 ** (1 / 12)])


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
    rng = np.random.default_rng(0)
    for total in (1, 2, 3, 7, 20, 360, 1_797, 10_000, 60_000):
        for count in {0, 1, total - 1, total, *rng.integers(0, total + 1, 40).tolist()}:
            if 0 < count < total:
                theirs = stats.binom.ppf([0.025, 0.975], total, count / total) / total
            else:
                theirs = list(stats.binomtest(count, total).proportion_ci(0.95, method="exact"))
            assert intervals.of_share(count, total) == pytest.approx(list(theirs), rel=1e-9), (count, total)


@pytest.mark.parametrize("kind", ["array", "sparse"])
def test_a_mean_is_resampled_as_scipy_does(kind):
    values = np.random.default_rng(0).exponential(size=400)
    terms = values[:, None] if kind == "array" else sparse.csr_array(values[:, None])
    found = intervals.of_sums(terms, lambda sums: means(sums, 400))["mean"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found == pytest.approx(list(theirs.confidence_interval), abs=0.06 * width)


def test_resamples_are_the_same_each_time_whatever_is_in_memory_at_once(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 2))
    first = intervals.resampled(values, 40)
    np.testing.assert_array_equal(intervals.resampled(values, 40), first)
    monkeypatch.setattr(intervals, "DRAWN", 50 * 7)
    np.testing.assert_allclose(intervals.resampled(values, 40), first, rtol=1e-12)


def test_what_never_differs_has_no_interval():
    assert intervals.of_sums(np.ones((30, 1)), lambda sums: means(sums, 30)) == {}


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = {"share": 0, "mean": 0}
    for _ in range(300):
        low, high = intervals.of_share(int(rng.binomial(200, 0.8)), 200)
        held["share"] += low <= 0.8 <= high
        values = rng.exponential(size=(200, 1))
        low, high = intervals.of_sums(values, lambda sums: means(sums, 200), resamples=300)["mean"]
        held["mean"] += low <= 1 <= high
    for name, count in held.items():  # 95 % of 300 is 285, with a standard deviation of 3.8
        assert 270 <= count <= 297, name


def test_classification_is_scored_as_sklearn_does():
    rng = np.random.default_rng(5)
    logits, y = rng.normal(size=(200, 4)).astype(np.float32), rng.integers(0, 3, 200).astype(np.int32)
    logits[:, 2] -= 9  # class 2 is never predicted, and class 3 never occurs
    found, labels = classes.scores(logits, y), np.arange(4)
    theirs = precision_recall_fscore_support(y, logits.argmax(-1), labels=labels, average="macro", zero_division=0)
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(theirs[:3]), rel=1e-12)
    np.testing.assert_array_equal(
        classes.confusion_matrix(logits, y), confusion_matrix(y, logits.argmax(-1), labels=labels)
    )


def test_classification_is_resampled_as_sklearn_scores_it():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)).astype("float32")
    logits[np.arange(300), y] += 1.5
    scores = classes.scores(logits, y)
    found = classes.intervals_of(scores, logits, y)
    assert set(found) == {"accuracy", "precision", "recall", "f1", "loss"}
    again = rng.integers(0, 300, (2000, 300))
    answers = logits.argmax(-1)
    expected = np.quantile([f1_score(y[i], answers[i], average="macro") for i in again[:600]], [0.025, 0.975])
    assert found["f1"] == pytest.approx(expected, abs=0.01)
    right = (answers == y)[again].mean(1)
    assert found["accuracy"] == pytest.approx(np.quantile(right, [0.025, 0.975]), abs=0.007)
    losses = -np.log(probabilities(logits)[np.arange(300), y])
    assert found["loss"] == pytest.approx(np.quantile(losses[again].mean(1), [0.025, 0.975]), abs=0.01)
    for name, (low, high) in found.items():
        assert low < scores[name] < high, name


def test_steps_of_one_example_are_drawn_together():
    """Ten steps per example that are all right or all wrong give the interval of the examples, not of the steps."""
    rng = np.random.default_rng(2)
    y = np.repeat(rng.integers(0, 2, 100)[:, None], 10, axis=1)
    wrong = np.arange(100) < 30
    logits = np.eye(2, dtype="float32")[np.where(wrong[:, None], 1 - y, y)] * 3
    low, high = classes.intervals_of(classes.scores(logits, y), logits, y)["accuracy"]
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.02)


def test_tokens_are_resampled_by_example():
    real = np.array([[True, True, False], [True, False, False]])
    sums = language_model.by_example(real, np.array([1.0, 2.0, 4.0]), np.array([True, False, True]))
    np.testing.assert_array_equal(sums, [[3, 1, 2], [4, 1, 1]])
    many = np.repeat(sums, 50, axis=0)
    found = language_model.token_intervals(many)
    # If k of 100 resampled texts have two tokens, the loss is (3 k + 4 (100 - k)) / (2 k + 100 - k), with k binomial.
    ends = stats.binom.ppf([0.975, 0.025], 100, 0.5)
    assert found["loss"] == pytest.approx([(400 - k) / (100 + k) for k in ends], abs=0.06)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=0.01)


def test_bleu_is_resampled_as_sacrebleu_does():
    from sacrebleu.metrics import BLEU, CHRF

    rng = np.random.default_rng(0)
    words = list("abcdefgh")
    references = [" ".join(rng.choice(words, 9)) for _ in range(120)]
    outputs = [" ".join(w if rng.random() < 0.8 else "z" for w in text.split()) for text in references]
    found = translation.intervals_of(outputs, references)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        theirs = metric.corpus_score(outputs, [references], n_bootstrap=1000)
        assert (found[name][1] - found[name][0]) / 2 == pytest.approx(theirs._ci, rel=0.12)
        assert found[name][0] < theirs.score < found[name][1]
    exact = np.mean([a == b for a, b in zip(outputs, references, strict=True)])
    assert found["exact_match"][0] < exact < found["exact_match"][1]


def test_ranks_are_resampled_by_question():
    ranks = np.random.default_rng(0).integers(1, 20, 500).astype(float)
    found = link_prediction.intervals_of(ranks)
    half = 1.96 * (1 / ranks).std() / np.sqrt(500)
    assert found["mrr"] == pytest.approx([(1 / ranks).mean() - half, (1 / ranks).mean() + half], abs=0.004)
    assert found["hits_at_3"] == intervals.of_share(int((ranks <= 3).sum()), 500)


def test_a_share_of_captions_is_of_so_many_captions():
    scores = {"examples": 400, "captions": 10, "zero_shot_accuracy": 0.9, "loss": 0.1}
    scores |= {f"{way}_recall_at_{k}": 0.5 for way in ("caption_to_image", "image_to_caption") for k in (1, 5, 10)}
    found = contrastive.intervals_of(scores)
    assert found["caption_to_image_recall_at_1"] == intervals.of_share(5, 10)
    assert found["image_to_caption_recall_at_1"] == intervals.of_share(200, 400)
    assert "loss" not in found  # it depends on the pairs in a batch and is not a mean over examples


def test_distances_of_sets_have_no_interval_and_say_so():
    kept = tasks.kept({"intervals": {}, "no_intervals": generation.NO_INTERVALS, "made": None})
    assert set(kept) == {"intervals", "no_intervals"} and "Frechet distance" in kept["no_intervals"]


def test_figures_are_written_with_their_interval():
    scores, within = {"accuracy": 0.991, "loss": 0.03, "f1": 0.5}, {"accuracy": [0.989, 0.993], "loss": (0.02, 0.04)}
    assert figures.written(scores, "accuracy", within) == "99.10% (98.90 to 99.30)"
    assert figures.written(scores, "loss", within) == "0.0300 (0.0200 to 0.0400)"
    assert figures.written(scores, "f1", within) == "50.00%"
    assert figures.tiles(scores, ("f1", "bleu"), within) == [("50.00%", "macro F1")]
    assert figures.below("loss", within) == "<br>95 %: 0.0200 to 0.0400"
