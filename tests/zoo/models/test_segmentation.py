"""The models of masks: published numbers of parameters, pictures of any size, narrower layers, dilation."""

import keras
import numpy as np
import pytest

from zoo.config.train_config import TrainConfig
from zoo.introspection.variables import named
from zoo.models import LRASPP, MobileNetV2, UNet
from zoo.pretrained import sources

# U-Net of the paper with padding, for grey pictures and two classes: kernels and biases.
PUBLISHED = 31_030_658
BIASES = 2 * (64 + 128 + 256 + 512) + 2 * 1024 + 2 * (64 + 128 + 256 + 512)


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_unet_has_the_weights_of_the_paper():
    model = UNet(2, filters=64)
    model.build((None, 64, 64, 1))
    assert trainable(model) == PUBLISHED + BIASES  # a scale and a shift in place of each bias


@pytest.mark.parametrize("up", ["transpose", "resize"])
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_unet_answers_for_every_pixel(up, size):
    model = UNet(3, filters=2, depth=2, up=up, dropout=0.5)
    x = np.random.default_rng(0).random((2, *size, 3), np.float32)
    assert model(x).shape == (2, *size, 3)
    assert UNet(3, filters=2, depth=1)(x[..., 0]).shape == (2, *size, 3)  # without an axis of channels


def test_unet_refuses_pictures_that_cannot_be_halved():
    with pytest.raises(ValueError, match="depth 4 needs images of at least 16x16 pixels, received 15x40; --set depth"):
        UNet(2).build((None, 15, 40, 3))
    with pytest.raises(ValueError, match="up: expected 'transpose' or 'resize', received 'nearest'"):
        UNet(2, up="nearest")


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "mobilenet_v3", "efficientnet_lite"])
def test_lraspp_reads_the_blocks_of_its_backbone(backbone):
    model = LRASPP(3, backbone, alpha=0.25, filters=8)
    x = np.random.default_rng(0).random((1, 71, 90, 3), np.float32)
    assert model(x).shape == (1, 71, 90, 3)
    strides = [block.depthwise.conv.strides[0] for block in model.blocks]
    assert 2 * np.prod(strides) == 16 and 2 * np.prod(strides[: model.fine]) == 8
    assert max(block.depthwise.conv.dilation_rate[0] for block in model.blocks) == 2
    coarse = LRASPP(3, backbone, alpha=0.25, filters=8, output_stride=32)
    assert 2 * np.prod([block.depthwise.conv.strides[0] for block in coarse.blocks]) == 32
    assert {block.depthwise.conv.dilation_rate for block in coarse.blocks} == {(1, 1)}


@pytest.mark.slow
def test_the_blocks_of_lraspp_are_those_of_the_classifier():
    """Without dilation they compute what the classifier does before its last convolution."""
    masks = LRASPP(3, "mobilenet_v2", alpha=0.35, filters=8, output_stride=32)
    classifier = MobileNetV2(5, alpha=0.35)
    x = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    masks(x), classifier(x)
    theirs = classifier.blocks[: len(masks.blocks)]
    for mine, other in zip((masks.stem, *masks.blocks), (classifier.stem, *theirs), strict=True):
        mine.set_weights(other.get_weights())
    seen = []
    for model, blocks in ((masks, masks.blocks), (classifier, theirs)):
        y = model.stem(model.standardize(x))
        for block in blocks:
            y = block(y)
        seen.append(np.asarray(y))
    np.testing.assert_allclose(*seen, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        UNet(3, filters=2, depth=1, up="resize", dropout=0.1, widths=(1, 2, 3, 4, 2, 3, 2)),
        LRASPP(3, "mobilenet_v3", size="small", alpha=0.25, filters=8, output_stride=32, first_stride=1, std=(0.3,)),
    ],
    ids=lambda model: model.name,
)
def test_a_saved_model_computes_the_same(model, tmp_path):
    x = np.random.default_rng(0).random((1, 33, 40, 3), np.float32)
    before = np.asarray(model(x))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(np.asarray(again(x)), before)


def test_narrower_layers_are_recorded():
    model = LRASPP(3, alpha=0.25, filters=8)
    model.build((None, 64, 64, 3))
    assert model.get_config()["widths"] == ()
    widths = (*model.usual_widths[:-2], 5, 5)
    narrow = LRASPP(3, alpha=0.25, filters=8, widths=widths)
    narrow.build((None, 64, 64, 3))
    assert narrow.head.of_high.kernel.shape[2] == 5 and narrow.get_config()["widths"] == widths
    with pytest.raises(ValueError, match="widths: expected 7 numbers, received 2"):
        UNet(2, depth=1, widths=(1, 2))


@pytest.mark.slow
def test_trained_features_of_a_classifier_are_taken(tmp_path):
    theirs = keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(64, 64, 3), classes=7)
    theirs.save(tmp_path / "theirs.keras")
    config = TrainConfig(
        model="lraspp", pretrained=str(tmp_path / "theirs.keras"), settings={"backbone": "mobilenet_v2", "alpha": 0.35}
    )
    model = LRASPP(3, "mobilenet_v2", alpha=0.35, filters=8)
    model.build((None, 64, 64, 3))
    found = sources.weights(config, model, (64, 64, 3))
    kernels = {v.path.rpartition("/")[0]: v for v in theirs.weights if v.name == "kernel"}
    first = next(iter(kernels.values()))
    np.testing.assert_array_equal(found.arrays["stem/conv/kernel"], np.asarray(first))
    assert not any(name.startswith(("head", "last")) for name in found.arrays) and "are used here" in found.said
    assert len(found.arrays) == len([name for name in named(model) if not name.startswith("head")])
