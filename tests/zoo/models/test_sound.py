"""Front ends of sound: the values of tf.signal and SciPy, in Keras and in a .tflite file; models that take samples."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from zoo.models.ds_cnn import DSCNN
from zoo.models.parts.sound import KINDS, SoundFeatures, pcen, running_mean
from zoo.models.tc_resnet import TCResNet

RATE = 8000


def clips(count=6, samples=8000, rate=RATE, seed=0):
    """Vowels: harmonics with formants that glide, over noise as soft as that of a microphone."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    x = np.zeros((count, samples))
    for row in x:
        pitch, formant = rng.uniform(90, 220), rng.uniform(400, 2500)
        for k in range(1, int(3500 / pitch)):
            weight = np.exp(-(((k * pitch - formant) / 300) ** 2)) + 0.02
            row += weight * np.sin(2 * np.pi * k * pitch * (t + 0.02 * t**2) + rng.uniform(0, 6))
        row *= np.sin(np.pi * t / t[-1])
    x /= np.abs(x).max(1, keepdims=True)
    return (0.9 * x + rng.normal(0, 1e-3, x.shape)).astype(np.float32)


def by_tf_signal(x, kind, frame, hop, points, rate, mels, coefficients, highest=4000.0):
    """Features in float64."""
    x = tf.constant(x, tf.float64)
    spectra = tf.abs(tf.signal.stft(x, frame, hop, fft_length=points, window_fn=tf.signal.hann_window))
    weights = tf.signal.linear_to_mel_weight_matrix(mels, points // 2 + 1, rate, 20.0, highest, dtype=tf.float64)
    magnitudes = tf.matmul(spectra, weights)
    if kind == "pcen":
        return by_scipy(magnitudes.numpy())
    logarithms = tf.math.log(magnitudes + 1e-6)
    if kind == "logmel":
        return logarithms.numpy()
    return tf.signal.mfccs_from_log_mel_spectrograms(logarithms)[..., :coefficients].numpy()


def by_scipy(magnitudes):
    """PCEN as Wang et al. (2017) write it, with a recursive filter that begins at rest at the first frame."""
    mean, _ = signal.lfilter([0.025], [1, -0.975], magnitudes, axis=1, zi=0.975 * magnitudes[:, :1])
    return np.sqrt(magnitudes / (mean + 1e-6) ** 0.98 + 2) - np.sqrt(2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rate", "frame_ms", "hop_ms", "samples"), [(8000, 30, 20, 8000), (16_000, 30, 20, 16_000), (8000, 32, 10, 5111)]
)
def test_features_are_those_of_tf_signal(kind, rate, frame_ms, hop_ms, samples):
    x = clips(samples=samples, rate=rate)
    front = SoundFeatures(kind, rate, frame_ms, hop_ms, level="none")
    expected = by_tf_signal(x, kind, front.frame, front.hop, front.points, rate, 40, 10)
    found = front(x)
    assert found.shape == (*expected.shape, 1) == front.compute_output_shape(x.shape)
    allowed = 1e-4
    if kind == "logmel":  # what float32 rounds off the loudest band of a frame counts in the logarithms of soft ones
        magnitudes = np.exp(expected)
        allowed = allowed + 4e-7 * magnitudes.max(-1, keepdims=True) / magnitudes
    assert (np.abs(found[..., 0] - expected) <= allowed).all()


def test_the_fastest_hop_and_a_frame_that_ends_within_one():
    x = clips(2, 900)
    front = SoundFeatures("logmel", RATE, frame_ms=25, hop_ms=25 / 7, mels=13, level="none")
    expected = by_tf_signal(x, "logmel", front.frame, front.hop, front.points, RATE, 13, 0)
    np.testing.assert_allclose(front(x)[..., 0], expected, atol=1e-4)


@pytest.mark.slow
def test_pcen_of_librosa():
    librosa = pytest.importorskip("librosa")
    magnitudes = np.abs(np.random.default_rng(0).normal(1, 1, (2, 77, 5))).astype(np.float32)
    options = {"sr": 1, "hop_length": 1, "b": 0.025, "gain": 0.98, "bias": 2.0, "power": 0.5, "eps": 1e-6, "axis": 1}
    options["zi"] = 0.975 * magnitudes[:, :1]
    found = pcen(magnitudes, running_mean(magnitudes, magnitudes[:, :1]))
    np.testing.assert_allclose(found, librosa.pcen(magnitudes, **options), atol=1e-5)


def test_the_peak_of_a_clip_does_not_matter_unless_its_level_is_kept():
    x = clips(2)
    for level, same in (("peak", True), ("none", False)):
        front = SoundFeatures("mfcc", RATE, level=level)
        assert np.allclose(front(x), front(0.25 * x), atol=1e-3) == same
    assert np.isfinite(SoundFeatures("mfcc", RATE)(np.zeros((1, RATE), "float32"))).all()


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k != "pcen")) for k in KINDS])
def test_a_file_of_common_operators_has_the_same_values(kind, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    inputs = keras.Input((4000,))
    model = keras.Model(inputs, SoundFeatures(kind, RATE, level="none")(inputs))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, [tf.TensorSpec((1, 4000))])
    archive.write_out(str(tmp_path), verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    assert len(content) < 32_000  # a matrix of the transform alone would take 263,168
    file = Interpreter(model_content=content)
    file.allocate_tensors()
    x = clips(1, 4000)
    file.set_tensor(file.get_input_details()[0]["index"], x)
    file.invoke()
    np.testing.assert_allclose(file.get_tensor(file.get_output_details()[0]["index"]), model(x), atol=1e-4)


@pytest.mark.parametrize("make", [DSCNN, pytest.param(TCResNet, marks=pytest.mark.slow)])
def test_a_model_takes_samples_or_pictures_of_sound_and_is_saved_with_its_front_end(make, tmp_path):
    options = {"num_classes": 3, "rate": RATE, "features": "logmel", "mels": 20, "hop_ms": 10.0, "level": "none"}
    options |= {"frame_ms": 25.0, "coefficients": 7, "highest_hz": 3000.0}
    model = make(**options)
    model.build((None, 4000))
    config = model.get_config()
    assert {name: config[name] for name in options} == options
    path = tmp_path / "model.keras"
    model.save(path)
    x = clips(3, 4000)
    np.testing.assert_array_equal(keras.saving.load_model(path)(x), model(x))
    pictures = make(num_classes=3)
    pictures.build((None, *model.front.compute_output_shape((3, 4000))[1:]))
    pictures.set_weights(model.get_weights())
    np.testing.assert_allclose(pictures(model.front(x)), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "mfcc"}, "features: expected none for data that are no samples"),
        ({"rate": 8000, "features": "none"}, "expected one of mfcc, logmel, pcen"),
        ({"rate": 8000, "coefficients": 41}, "at most 40"),
        ({"rate": 8000, "frame_ms": 0.1}, "expected frame_ms"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DSCNN(**options)


def test_clips_shorter_than_a_frame_are_refused():
    with pytest.raises(ValueError, match="at least 240 samples"):
        DSCNN(rate=8000).build((None, 200))
