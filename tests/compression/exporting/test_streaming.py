"""Streaming files of models of sound: call after call, the answers of the model on the recording as a whole."""

import dataclasses

import keras
import numpy as np
import pytest

from compression import export
from compression.exporting import streaming, tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers import interface as interfaces
from compression.recipes import language
from compression.runtime import streamed
from tests.zoo.models.test_sound import clips
from zoo.console.errors import UsageError
from zoo.models.ds_cnn import DSCNN
from zoo.models.streaming_wakeword import StreamingWakeword
from zoo.models.tc_resnet import TCResNet

RATE, CLIP = 8000, 4000
CAUSAL = {"num_classes": 4, "rate": RATE, "causal": True, "level": "none"}
MODELS = {
    "ds_cnn": (DSCNN, {"filters": 8, "num_blocks": 2}),
    "ds_cnn, pcen": (DSCNN, {"filters": 8, "num_blocks": 1, "features": "pcen", "hop_ms": 10.0}),
    "tc_resnet": (TCResNet, {"alpha": 0.25, "features": "logmel", "frame_ms": 25.0}),
    "tc_resnet, frames side by side": (TCResNet, {"alpha": 0.25, "num_blocks": 6, "frame_ms": 20.0, "hop_ms": 20.0}),
    "streaming_wakeword": (StreamingWakeword, {"kernels": (3, 5), "filters": (8, 6), "features": "logmel"}),
}
SLOW = ("ds_cnn", "ds_cnn, pcen", "tc_resnet, frames side by side", "streaming_wakeword")


def made(name, **options):
    make, arguments = MODELS[name]
    keras.utils.set_random_seed(1)
    model = make(**CAUSAL | arguments | options)
    model.build((None, CLIP))
    for variable in model.variables:  # biases and statistics that are not those of a new network
        if len(variable.shape) == 1:
            drawn = np.random.default_rng(len(variable.path)).uniform(0.5, 1.5, variable.shape)
            variable.assign(drawn if "variance" in variable.path or "gamma" in variable.path else drawn - 1)
    return model


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in MODELS])
def test_answers_are_those_of_the_model_on_clips_and_on_the_whole(name, tmp_path):
    model = made(name)
    interface = streaming.interface_of(model, CLIP)
    path = tmp_path / "streaming.tflite"
    tflite.export(model, path, language.parse("float32"), interface)
    assert interfaces.from_json(interface.to_json()) == interface
    front = model.front
    silence = np.zeros(front.frame - front.hop, np.float32)
    x = clips(1, 40_000)[0]
    pieces = streaming.chunks(x, interface.samples)
    found, latency = streamed.run(path, interface, pieces)
    whole = streaming.offline(model, np.concatenate([silence, pieces.reshape(-1)]), interface.averaged)
    np.testing.assert_allclose(found, whole[: len(found)], atol=1e-5)
    assert latency["runs"] == len(pieces)
    # The plain model on one clip, from silence: what the stream answers when the clip has passed.
    clip = np.concatenate([silence, x])[:CLIP]
    expected = keras.ops.softmax(model(clip[None], training=False))[0]
    np.testing.assert_allclose(found[interface.averaged - 1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "recipe", "within"),
    [
        ("ds_cnn", "int8", 0.05),
        pytest.param("ds_cnn, pcen", "int8", 0.05, marks=pytest.mark.slow),
        pytest.param("tc_resnet", "int8", 0.05, marks=pytest.mark.slow),
        pytest.param("tc_resnet", "dynamic", 0.05, marks=pytest.mark.slow),
        pytest.param("tc_resnet", "float16", 0.005, marks=pytest.mark.slow),
    ],
)
def test_streams_of_integers_stay_near_those_in_float(name, recipe, within, tmp_path):
    """States are rounded in every call: a difference that added up would be larger later."""
    model = made(name)
    interface = streaming.interface_of(model, CLIP)
    pieces = streaming.chunks(clips(1, 160_000)[0], interface.samples)
    examples = streaming.calls(model, interface, streaming.chunks(clips(1, 40_000, seed=1)[0], interface.samples))
    assert list(examples) == ["samples", *interface.state_names]
    parsed = dataclasses.replace(language.parse(recipe), io="float32")
    tflite.export(model, tmp_path / "s.tflite", parsed, interface, calibration=examples)
    found, _ = streamed.run(tmp_path / "s.tflite", interface, pieces)
    whole = np.concatenate([np.zeros(model.front.frame - model.front.hop, np.float32), pieces.reshape(-1)])
    difference = np.abs(found - streaming.offline(model, whole, interface.averaged)[: len(found)]).max(1)
    assert difference.max() < within
    early, late = np.array_split(difference, 2)
    assert late.mean() < 2 * early.mean() + 1e-3
    content = flatbuffer.read(tmp_path / "s.tflite")
    ends = {row["type"] for side in flatbuffer.signature(content).values() for row in side}
    assert ends == {"float32"}
    if recipe == "int8":
        assert {"LOG", "SQRT"} & flatbuffer.float_operators(content).keys()
        assert "CONV_2D" not in flatbuffer.float_operators(content)


def test_no_answer_of_a_causal_model_depends_on_later_sound():
    model = made("ds_cnn")
    averaged = streaming.interface_of(model, CLIP).averaged
    x = clips(1, 16_000)[0]
    later = np.concatenate([x[:8000], np.zeros(8000, np.float32)])
    one, other = (streaming.offline(model, each, averaged) for each in (x, later))
    same = np.abs(one - other).max(1) < 1e-6
    assert same[: 8000 // 320 - 1].all()
    assert not same[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"causal": False}, "sees later sound"),
        ({"level": "peak"}, "divides a clip by its largest sample"),
        ({"frame_ms": 10.0}, "frames as long as their distance"),
    ],
)
def test_models_that_cannot_be_streamed_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        streaming.check(made("ds_cnn", **options), "digits")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onnx", "--recipe", "int8"], "--recipe int8: expected together with --to streaming"),
        (
            ["--to", "streaming", "--recipe", "qat + int8"],
            "expected a precision, since a streaming file has the weights",
        ),
        (["--to", "streaming", "--recipe", "int9"], "did you mean 'int8'"),
    ],
)
def test_recipes_of_other_formats_and_words_that_train_are_refused(words, message, tmp_path, capsys):
    assert export.main([str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
