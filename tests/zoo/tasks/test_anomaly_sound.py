"""Anomalies of sound: a hum with and without a squeal; errors against tf.signal and numpy, files against LiteRT."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile
from sklearn.metrics import roc_auc_score

from compression import api, export
from compression.runtime import litert
from zoo import evaluate, predict
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Split, load
from zoo.data.images import scaled
from zoo.models.autoencoder import Autoencoder
from zoo.models.conv_autoencoder import ConvAutoencoder
from zoo.runs.folder import RunFolder
from zoo.scores import roc
from zoo.tasks import anomaly
from zoo.training.loop import train

RATE = 8000
SMALL = {"mels": 32, "highest_hz": 4000.0}
SETTINGS = {
    "autoencoder": {"units": (64, 32), "code": 4, **SMALL},
    "autoencoder_conv": {"filters": (8, 16), "code": 4, **SMALL},
}
NETWORKS = {"autoencoder": Autoencoder, "autoencoder_conv": ConvAutoencoder}


def hum(rng, seconds=0.5, squeal=0.0):
    """Harmonics of a motor over noise, with a high tone of some amplitude."""
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(95, 105)
    x = sum(0.2 / k * np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) for k in range(1, 6))
    x = x + 0.02 * rng.normal(size=len(t)) + squeal * np.sin(2 * np.pi * rng.uniform(2400, 2600) * t)
    return np.rint(0.6 * x * 32767).astype(np.int16)


def folder(path, squeal, seed=0, normal=100, anomalous=30):
    rng = np.random.default_rng(seed)
    for name, count, loud in (("normal", normal, 0.0), ("anomalous", anomalous, squeal)):
        (path / name).mkdir(parents=True)
        for i in range(count):
            wavfile.write(path / name / f"{name}_{i}.wav", RATE, hum(rng, squeal=loud))
    return path


def config(data, model="autoencoder", **options):
    return TrainConfig(
        model=model, task="anomaly", data=data, settings=SETTINGS[model], epochs=12, batch_size=16, learning_rate=5e-3,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("hums")
    folder(path / "squeal", 0.1)
    folder(path / "none", 0.0, seed=1)
    return path


@pytest.fixture(scope="module")
def run(place):
    return train(config(place / "squeal", output=place / "run"), verbose=False)


def frames(x, mean, std):
    """Standardised log-mel bands by tf.signal in float64, (frames, mels)."""
    spectra = tf.abs(tf.signal.stft(tf.constant(x, tf.float64), 512, 256, 512, tf.signal.hann_window))
    weights = tf.signal.linear_to_mel_weight_matrix(32, 257, RATE, 20.0, 4000.0, dtype=tf.float64)
    return (np.log(tf.matmul(spectra, weights) + 1e-6) - mean) / std


def test_the_errors_are_those_of_five_frames_of_log_mel_bands(run, place):
    data = load(config(place / "squeal").resolved())
    model, x = run.model, scaled(data.test.x[:3])
    assert len(data.spec.mean) == len(data.spec.std) == 32
    for clip, found in zip(x, np.asarray(model(x)), strict=True):
        z = frames(clip, data.spec.mean, data.spec.std)
        windows = np.stack([z[i : i + 5].reshape(-1) for i in range(len(z) - 4)])
        outputs = windows.astype(np.float32)
        for hidden, norm in zip(model.hidden, model.norms, strict=True):
            outputs = keras.ops.relu(norm(hidden(outputs), training=False))
        expected = np.square(windows - np.asarray(model.head(outputs))).mean(1)
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    scores = anomaly.errors(model, data.test.take(np.arange(3)))
    np.testing.assert_allclose(scores, np.asarray(model(x), np.float64).mean(1), rtol=1e-5)


def test_frames_are_standardised_by_the_training_clips(place):
    data = load(config(place / "squeal").resolved())
    found = np.concatenate([frames(clip, 0, 1) for clip in scaled(data.train.x)])
    np.testing.assert_allclose(data.spec.mean, found.mean(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(data.spec.std, found.std(0), rtol=1e-3)


@pytest.mark.parametrize("model", ["autoencoder", pytest.param("autoencoder_conv", marks=pytest.mark.slow)])
def test_a_squeal_is_found_and_nothing_where_there_is_none(model, run, place):
    found = (
        run if model == "autoencoder" else train(config(place / "squeal", model, output=place / model), verbose=False)
    )
    data = load(config(place / "squeal", model).resolved())
    errors, odd = anomaly.errors(found.model, data.test), anomaly.anomalies(data.spec, data.test)
    assert roc_auc_score(odd, errors) > 0.99
    assert found.metrics["test"]["auc"] == pytest.approx(roc_auc_score(odd, errors), abs=1e-9)
    same = load(config(place / "none", model).resolved())
    errors, odd = anomaly.errors(found.model, same.test), anomaly.anomalies(same.spec, same.test)
    assert 0.2 < roc_auc_score(odd, errors) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_a_file_takes_samples_and_gives_the_error_of_each_window(recipe, run, place):
    made = api.compress(run.run.path, recipe=recipe, output=place / recipe)
    receipt, data = made.receipt, load(config(place / "squeal").resolved())
    assert receipt["about"]["input"]["values"] == "samples from -1 to 1, one channel, 8000 in a second"
    assert receipt["about"]["score"] == "mean of the output"
    ends = [row["type"] for side in ("inputs", "outputs") for row in receipt["signature"][side]]
    assert ends == ["float32", "float32"]
    if recipe == "int8":
        assert {"SQUARED_DIFFERENCE", "MEAN"} <= receipt["float_operators"].keys()
        assert receipt["operators"]["FULLY_CONNECTED"] - receipt["float_operators"]["FULLY_CONNECTED"] == 6
    outputs = litert.run(made.path, scaled(data.test.x))
    errors, odd = outputs.astype(np.float64).mean(1), anomaly.anomalies(data.spec, data.test)
    scores = receipt["test"]["litert"]
    assert scores["auc"] == pytest.approx(roc_auc_score(odd, errors), abs=1e-9)
    assert scores["auc"] > 0.99
    judged = litert.run(made.path, scaled(data.validation.x)).astype(np.float64).mean(1)
    assert scores["threshold"] == pytest.approx(roc.threshold(judged, 0.01), rel=1e-6)
    assert receipt["parity"]["score_difference"] < (1e-4 if recipe == "float32" else 0.1)
    assert api.verify(made.path, run.run.path)


def test_recordings_are_judged_clip_by_clip_to_their_end(run, place, capsys):
    rng = np.random.default_rng(9)
    whole = np.concatenate([hum(rng), hum(rng, squeal=0.1), hum(rng, 0.75)])
    wavfile.write(place / "long.wav", RATE, whole)
    wavfile.write(place / "one.wav", RATE, hum(rng, squeal=0.1))
    words = [str(run.run.path), str(place / "long.wav"), str(place / "one.wav")]
    assert predict.main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["start"] for row in rows[:-1]] == [0.0, 0.5, 1.0, 1.25]
    assert [row["label"] for row in rows] == ["normal", "anomalous", "normal", "normal", "anomalous"]
    clip = Split(whole[None, RATE // 2 : RATE], np.zeros(1, np.int32))
    assert rows[1]["score"] == pytest.approx(anomaly.errors(run.model, clip)[0], rel=1e-5)
    assert predict.main([*words, "--hop", "0.25", "--json"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 6 + 1
    assert f"{words[2]}: --hop not used, as it is no longer than two clips" in told.err
    assert f"{words[1]}: --hop" not in told.err
    assert predict.main([*words, "--threshold", "0.5"]) == 2
    assert "its threshold is that of --false-alarm-rate" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluation_report_and_saved_model(run, place, capsys):
    assert evaluate.main([str(run.run.path), "--data", str(place / "squeal"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == run.metrics["test"]["threshold"]
    page = (run.run.path / "report.html").read_text()
    assert "frames, and the error at each time" in page and "Receiver operating characteristic" in page
    x = scaled(load(config(place / "squeal").resolved()).test.x[:4])
    again = RunFolder(run.run.path).load_model()
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(run.model(x)))
    assert again.get_config()["mels"] == 32 and again.get_config()["frames"] == 5


def test_settings_that_do_not_fit_the_clips_are_refused_before_training(place):
    with pytest.raises(UsageError, match="expected clips of at least 16000 samples"):
        load(dataclasses.replace(config(place / "squeal"), settings={"frame_ms": 2000.0}).resolved())
    with pytest.raises(ValueError, match="Autoencoder: frames: expected at most 14"):
        Autoencoder(frames=99, rate=RATE, **SMALL).build((None, RATE // 2))
    with pytest.raises(ValueError, match="features: expected none for data that are no samples"):
        Autoencoder(features="mfcc")


@pytest.mark.parametrize("to", ["streaming", "features"])
def test_files_of_classifiers_of_sound_are_refused(to, run, tmp_path, capsys):
    assert export.main([str(run.run.path), "--to", to, "--output", str(tmp_path)]) == 2
    assert f"--to {to}: expected a run of ds_cnn, tc_resnet or streaming_wakeword on sound" in capsys.readouterr().err


def test_weights_of_another_front_end_are_refused(place):
    asked = dataclasses.replace(config(place / "squeal"), pretrained="autoencoder_toycar.keras").resolved()
    with pytest.raises(UsageError, match="--pretrained .*: expected frames in an .npz file"):
        anomaly.TASK.arguments(asked, load(config(place / "squeal").resolved()).spec)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_samples_have_the_errors_of_every_time(name):
    model = NETWORKS[name](rate=RATE, **SETTINGS[name])
    model.build((None, RATE))
    windows = 30 - 4 if name == "autoencoder" else 30
    assert model(np.zeros((2, RATE), np.float32)).shape == (2, windows)
    assert type(model).from_config(model.get_config()).get_config() == model.get_config()
