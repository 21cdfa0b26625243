"""DP-SGD against per-example gradients, its measured sensitivity and noise, epsilon against closed forms."""

import dataclasses
import json
import math
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from compression import compress
from compression.recipes import language
from tests.conftest import ROOT, blobs, run_module, stop_after
from zoo import calibrate, stock
from zoo import train as train_command
from zoo.config import privacy
from zoo.config.privacy import DP
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import Split
from zoo.data.batches.private import PrivateBatches, generator
from zoo.ensemble import __main__ as ensemble
from zoo.models import CNN, SimpleNet
from zoo.objectives.losses import CrossEntropy
from zoo.objectives.private import Private, unfit
from zoo.online import __main__ as online
from zoo.runs.folder import RunFolder
from zoo.system import files
from zoo.training import accounting
from zoo.training.capabilities.private import PrivateTraining
from zoo.training.loop import train

# The model


def convolutional(seed=0):
    keras.utils.set_random_seed(seed)
    model = CNN(3, filters=(4, 3), pools=1, units=5)
    model.build((None, 9, 10, 1))
    return model


def examples(count, seed=0):
    rng = np.random.default_rng(seed)
    return 3 * rng.random((count, 9, 10, 1), np.float32), rng.integers(0, 3, count).astype("int32")


def around(model, **changes):
    options = {"clip": 1.0, "noise": 0.0, "batch": 4, "at_once": 1} | changes
    return Private(model, CrossEntropy(0.1).call, **options)


def by_hand(model, x, y):
    """Return per-example gradients, (examples, parameters), each by a tape of TensorFlow."""
    import tensorflow as tf

    rows = []
    for i in range(len(x)):
        with tf.GradientTape() as tape:
            loss = keras.losses.categorical_crossentropy(
                np.eye(3)[y[i : i + 1]], model(x[i : i + 1], training=True), from_logits=True, label_smoothing=0.1
            )
        found = tape.gradient(loss, model.trainable_variables)
        rows.append(np.concatenate([g.numpy().ravel() for g in found]))
    return np.array(rows)


@pytest.mark.parametrize("at_once", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_gradients_are_clipped_for_each_example_before_they_are_summed(at_once):
    model = convolutional()
    x, y = examples(8)
    gradients = by_hand(model, x, y)
    norms = np.linalg.norm(gradients, axis=1)
    clip = float(np.median(norms))  # half of the gradients are clipped
    present = (np.arange(8) < 6).astype("float32")
    total, clipped = around(model, clip=clip, at_once=at_once).clipped_sum(x, y, present)
    expected = (gradients * np.minimum(1, clip / norms)[:, None])[:6].sum(0)
    np.testing.assert_allclose(np.concatenate([np.ravel(part) for part in total]), expected, atol=1e-5)
    assert 0 < float(clipped) == (norms[:6] > clip).sum() < 6


def step(private, model, x, y, present, drawn):
    """Return the change of the weights by one step of plain SGD with rate 1; the weights are restored."""
    before = model.get_weights()
    if not private.compiled:
        private.compile(optimizer=keras.optimizers.SGD(1.0), loss=CrossEntropy(0.1))
    private.train_on_batch((x, y, present, drawn), y, present)
    after = model.get_weights()
    model.set_weights(before)
    return np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])


def test_one_example_changes_a_step_by_the_clipping_norm_at_most():
    model = convolutional()
    x, y = examples(6)
    x[3] *= 1000  # its gradient is much larger than the others
    private = around(model, clip=0.3, batch=6)
    everything, nothing = np.ones(6, "float32"), np.zeros(model.count_params(), "float32")
    whole = step(private, model, x, y, everything, nothing)
    for left_out in (0, 3):
        kept = np.r_[np.delete(np.arange(6), left_out), 0]
        others = step(private, model, x[kept], y[kept], (np.arange(6) < 5).astype("float32"), nothing)
        gap = np.linalg.norm(whole - others)
        assert gap == pytest.approx(0.3 / 6, rel=1e-3), "both gradients are longer than the limit"


def test_noise_has_the_standard_deviation_of_the_paper():
    model = convolutional()
    x, y = examples(4)
    private = around(model, clip=0.5, noise=1.2, batch=8)
    count, present = model.count_params(), np.ones(4, "float32")
    still = step(private, model, x, y, present, np.zeros(count, "float32"))
    found = np.array(
        [
            step(private, model, x, y, present, generator(b"key", "noise", i).standard_normal(count, np.float32))
            - still
            for i in range(60)
        ]
    )
    expected = 1.2 * 0.5 / 8
    assert found.size > 10_000
    assert found.std() == pytest.approx(expected, rel=0.03) and abs(found.mean()) < 0.03 * expected
    assert stats.kstest(found.ravel() / expected, "norm").pvalue > 1e-3


def test_models_without_per_example_gradients_are_refused():
    assert unfit(convolutional()) is None
    for options, reason in (({"batch_norm": True}, "batch normalisation norm_1"), ({"dropout": 0.5}, "random numbers")):
        model = CNN(3, filters=(4,), pools=1, units=5, **options)
        model.build((None, 9, 10, 1))
        assert reason in unfit(model)
    dense = keras.layers.Dense(3, activity_regularizer="l2")
    assert "not clipped" in unfit(keras.Sequential([keras.Input((6,)), dense]))


# The batches


def batches(split, total, start=0, stop=None, **changes):
    options = {"key": b"key", "batch_size": 20, "total": total, "parameters": 3, "multiple": 4, "augment": None}
    return PrivateBatches(split, start=start, stop=stop or total, **options | changes)


def test_examples_are_sampled_independently():
    """Compare frequencies of examples, of pairs of examples and of batch sizes with those of Poisson sampling."""
    count, total, rate = 50, 1000, 20 / 50
    found = batches(Split(np.arange(count).astype("float32")[:, None], np.arange(count).astype("int32")), total)
    there = np.zeros((total, count))
    for i in range(total):
        (x, y, present, drawn), labels, weight = found[i]
        chosen = x[present == 1, 0].astype(int)
        assert len(x) == found.places and found.places % 4 == 0 and len(set(chosen)) == len(chosen)
        assert np.array_equal(labels, y) and weight.sum() == pytest.approx(found.places) and drawn.shape == (3,)
        there[i, chosen] = 1
    error = 5 * math.sqrt(rate * (1 - rate) / total)
    np.testing.assert_allclose(there.mean(0), rate, atol=error)
    assert there.sum(1).std() == pytest.approx(math.sqrt(count * rate * (1 - rate)), rel=0.05)
    together = there.T @ there / total
    np.testing.assert_allclose(together[np.triu_indices(count, 1)], rate**2, atol=1.2 * error)


def test_a_step_depends_on_the_key_and_not_on_where_training_resumes():
    split = Split(*blobs(60, (4, 4)))
    whole, rest = batches(split, 10), batches(split, 10, start=6)
    for ours, theirs in zip(keras.tree.flatten(whole[7]), keras.tree.flatten(rest[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = batches(split, 10, key=b"other")
    assert not np.array_equal(whole[7][0][3], other[7][0][3]) and not np.array_equal(whole.counts, other.counts)


# The accountant


def delta_of_gaussian(epsilon, noise):
    """Return the exact delta of one Gaussian mechanism of sensitivity 1 (Balle & Wang, 2018)."""
    a, b = 1 / (2 * noise), epsilon * noise
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


@pytest.mark.parametrize(("noise", "steps"), [(5.0, 1), (20.0, 25)])
def test_epsilon_of_whole_batches_is_that_of_the_gaussian_mechanism(noise, steps):
    exact = optimize.brentq(lambda e: delta_of_gaussian(e, noise / math.sqrt(steps)) - 1e-5, 0.01, 20)
    found = accounting.spent(noise, 1.0, steps, 1e-5)
    assert exact <= found <= 1.02 * exact


@pytest.mark.slow
def test_epsilon_is_below_the_moments_of_the_paper_and_near_the_central_limit():
    """Noise 4, rate 0.01, 10,000 steps, delta 1e-5: the moments of Abadi et al. (2016, section 3.2) give 1.26."""
    noise, rate, steps, delta = 4.0, 0.01, 10_000, 1e-5

    def moment(order):
        def integrand(z):
            ratio = (1 - rate) + rate * math.exp((2 * z - 1) / (2 * noise**2))
            return stats.norm.pdf(z, scale=noise) * ratio ** (order + 1)

        return math.log(integrate.quad(integrand, -80, 120, limit=400)[0])

    moments = min((steps * moment(order) - math.log(delta)) / order for order in range(1, 33))
    assert moments == pytest.approx(1.26, abs=0.005)
    # Bu et al. (2020): the composition is nearly one Gaussian mechanism.
    spread = rate * math.sqrt(steps * (math.exp(1 / noise**2) - 1))
    limit = optimize.brentq(lambda e: delta_of_gaussian(e, 1 / spread) - delta, 0.01, 20)
    found = accounting.spent(noise, rate, steps, delta)
    assert limit * 0.99 < found < min(1.05 * limit, moments)


def test_the_noise_for_an_epsilon_is_the_smallest_that_suffices():
    noise = accounting.noise_of(DP(epsilon=2.0), 0.05, 100)
    assert accounting.spent(noise, 0.05, 100, 1e-5) <= 2.0 < accounting.spent(noise - 0.005, 0.05, 100, 1e-5)
    assert accounting.noise_of(DP(noise=0.7), 0.05, 100) == 0.7


# Words


@pytest.mark.parametrize(("text", "message"), [
    ("pd(3)", "unknown kind of privacy 'pd': expected one of dp"),
    ("dp", "--private dp: expected one of epsilon and noise, received neither"),
    ("dp(epsilon=3, noise=1)", "--private dp: expected one of epsilon and noise, received both"),
    ("dp(-1)", "--private dp: epsilon: expected a number above 0, received -1"),
    ("dp(3, clip=0)", "--private dp: clip: expected a number above 0, received 0"),
    ("dp(3, delta=1)", "--private dp: delta: expected a number between 0 and 1, received 1"),
    ("dp(3, sigma=1)", "--private dp: no argument 'sigma'"),
])  # fmt: skip
def test_impossible_parameters_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig(private=text)


def test_default_dropout_is_off_in_private_training():
    plain = TrainConfig(model="cnn", dataset="mnist").resolved()
    private = TrainConfig(model="cnn", dataset="mnist", private="dp(3)").resolved()
    assert plain.settings["dropout"] > 0 == private.settings["dropout"] and not private.settings["batch_norm"]
    assert plain.clip_norm > 0 == private.clip_norm
    assert TrainConfig.from_json(json.loads(json.dumps(private.to_json(), default=str))) == private


# Training


def config(path, **changes):
    values = {
        "model": "simplenet", "data": path, "epochs": 2, "batch_size": 16, "learning_rate": 0.05,
        "settings": {"units": (6,)}, "private": "dp(noise=0.8, clip=0.5)",
    }  # fmt: skip
    return TrainConfig(**values | changes)


@pytest.mark.slow
def test_an_interrupted_training_resumes_bit_for_bit_and_counts_all_steps(image_npz, tmp_path):
    whole = train(config(image_npz, output=tmp_path / "whole", deterministic=True), verbose=False)
    broken = config(image_npz, output=tmp_path / "broken", deterministic=True, checkpoint_every=1)
    with pytest.raises(Interrupted):
        train(broken, callbacks=[stop_after(7)], verbose=False)  # an epoch has 5 steps
    again = train(dataclasses.replace(broken, resume=True), verbose=False)
    for ours, theirs in zip(again.model.variables, whole.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history == whole.history
    assert again.metrics["private"] == whole.metrics["private"]
    found = again.metrics["private"]
    assert (found["steps"], found["key"], found["noise"], found["clip"]) == (10, "seed", 0.8, 0.5)
    assert found["epsilon"] == pytest.approx(accounting.spent(0.8, found["sampling_rate"], 10, 1e-5))
    assert found["sampling_rate"] == pytest.approx(16 / 87, abs=0.01) and 0 < found["clipped"] <= 1
    assert type(RunFolder(broken.output).load_model()) is SimpleNet


@pytest.mark.slow
def test_the_key_is_readable_by_its_owner_alone_until_the_run_is_finished(image_npz, tmp_path):
    mine = config(image_npz, output=tmp_path / "run", private="dp(epsilon=4, clip=0.5)", checkpoint_every=1)
    run = RunFolder(mine.output)
    with pytest.raises(Interrupted):
        train(mine, callbacks=[stop_after(3)], verbose=False)
    key = run.key_file.read_bytes()
    assert len(key) == 32 and run.key_file.stat().st_mode & 0o077 == 0
    for other in (b"", key[::-1], None):
        run.key_file.unlink() if other is None else run.key_file.write_bytes(other)
        with pytest.raises(UsageError, match="private.key: expected the key that the checkpoints were made with"):
            train(dataclasses.replace(mine, resume=True), verbose=False)
        run.key_file.write_bytes(key)
    result = train(dataclasses.replace(mine, resume=True), verbose=False)
    with pytest.raises(UsageError, match="--epochs 4: expected the epochs that the noise was chosen for"):
        train(dataclasses.replace(mine, resume=True, epochs=4), verbose=False)
    assert not run.key_file.exists() and key.hex() not in run.config_file.read_text()
    found = result.metrics["private"]
    assert found["key"] == "secret" and 3.9 < found["epsilon"] <= 4
    assert "epsilon 3.9" in run.report_file.read_text() or "epsilon 4.0" in run.report_file.read_text()


def test_what_would_break_the_guarantee_is_refused(image_npz, tmp_path, capsys):
    with pytest.raises(UsageError, match="--private with --model gan: expected a classifier of images or vectors"):
        TrainConfig(model="gan", private="dp(3)")
    with pytest.raises(UsageError, match="delta: expected less than 1 / 8., one over .*, received 0.1"):
        train(config(image_npz, private="dp(3, delta=0.1)", output=tmp_path / "run"), verbose=False)
    own = keras.Sequential([keras.Input((20, 20, 1)), keras.layers.Flatten(), keras.layers.BatchNormalization(),
                            keras.layers.Dense(3)])  # fmt: skip
    with pytest.raises(
        UsageError, match="expected a model that treats each example by itself, received the batch norm"
    ):
        train(config(image_npz, output=tmp_path / "own"), model=own, verbose=False)
    train(config(image_npz, epochs=1, output=tmp_path / "done"), verbose=False)
    for recipe in ("prune(0.5) + int8", "qat + int8", f"distill({tmp_path / 'done'}) + int8"):
        assert compress.main([str(tmp_path / "done"), "--recipe", recipe]) == 2
        assert "expected a precision only, as the run was trained with --private" in capsys.readouterr().err
    from compression import search

    assert search.main([str(tmp_path / "done"), "--max-bytes", "10k"]) == 2
    assert "expected a run without --private" in capsys.readouterr().err
    done, stream = str(tmp_path / "done"), tmp_path / "stream.jsonl"
    stream.write_text("")
    for command, words in ((calibrate, [done]), (ensemble, [done, done]), (online, [done, "--stream", str(stream)])):
        assert command.main(words) == 2
        assert "expected a run without --private" in capsys.readouterr().err
    assert compress.main([str(tmp_path / "done"), "--recipe", "dynamic"]) == 0
    assert "also covers this file" in capsys.readouterr().err
    assert "depend on examples without noise" in privacy.of_file("dp(3)", language.parse("int8").calibrated)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_jax_gives_the_same_weights(image_npz, tmp_path):
    """Train from the same weights, in a process of its own."""
    options = {"model": "cnn", "settings": {"filters": (4, 3), "pools": 1, "units": 5}, "deterministic": True}
    first = train(config(image_npz, epochs=1, output=tmp_path / "first", **options), verbose=False)
    then = config(image_npz, init_from=tmp_path / "first", output=tmp_path / "second", **options)
    second = train(then, verbose=False)
    stored = json.dumps(dataclasses.replace(then, output=tmp_path / "jax").to_json(), default=str)
    run_module("tests.zoo.training.private_jax_child", tmp_path, stored, cwd=ROOT, check=0, timeout=500)
    assert first.run.finished
    found = np.load(tmp_path / "jax.npz")
    for i, value in enumerate(second.model.get_weights()):
        np.testing.assert_allclose(found[f"arr_{i}"], value, atol=1e-4)
    assert float(found["loss"]) == pytest.approx(second.history[0]["loss"], abs=1e-4)
    assert json.loads((tmp_path / "jax.json").read_text()) == pytest.approx(second.metrics["private"])


def test_the_key_is_written_whole_and_removed_after_a_kill_at_the_very_end(tmp_path, monkeypatch):
    capability = PrivateTraining(SimpleNamespace(run=RunFolder(tmp_path)))
    capability.plan = SimpleNamespace(secret=True, key=b"k" * 32)
    seen = []
    monkeypatch.setattr(files, "publish", lambda temporary, path: seen.append((temporary.read_bytes(), path)))
    capability.started()
    assert seen == [(b"k" * 32, RunFolder(tmp_path).key_file)]

    shutil.copytree(stock.checked("simplenet-mnist"), tmp_path / "run")
    (tmp_path / "run" / "private.key").write_bytes(b"k" * 32)
    assert train_command.main(["--resume", "--output", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / "private.key").exists()
