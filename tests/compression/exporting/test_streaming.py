"""Streaming files of models of sound: call after call, the answers of the model on the recording as a whole."""

import keras
import numpy as np
import pytest

from compression.exporting import streaming, tflite
from compression.flatbuffers import interface as interfaces
from compression.recipes import language
from compression.runtime import streamed
from tests.zoo.models.test_sound import clips
from zoo.console.errors import UsageError
from zoo.models.ds_cnn import DSCNN
from zoo.models.tc_resnet import TCResNet

RATE, CLIP = 8000, 4000
CAUSAL = {"num_classes": 4, "rate": RATE, "causal": True, "level": "none"}
MODELS = {
    "ds_cnn": (DSCNN, {"filters": 8, "num_blocks": 2}),
    "ds_cnn, pcen": (DSCNN, {"filters": 8, "num_blocks": 1, "features": "pcen", "hop_ms": 10.0}),
    "tc_resnet": (TCResNet, {"alpha": 0.25, "features": "logmel", "frame_ms": 25.0}),
    "tc_resnet, frames side by side": (TCResNet, {"alpha": 0.25, "num_blocks": 6, "frame_ms": 20.0, "hop_ms": 20.0}),
}


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


@pytest.mark.parametrize("name", MODELS)
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
