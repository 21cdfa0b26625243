"""The networks for pictures: published numbers of parameters, weights of keras.applications, sizes of pictures."""

import keras
import numpy as np
import pytest

from zoo.config import registry
from zoo.models import (
    DSCNN,
    EfficientNetLite,
    MobileNet,
    MobileNetV2,
    MobileNetV3,
    Proxyless,
    ResNet,
    StreamingWakeword,
)
from zoo.models.parts.convolutions import divisible
from zoo.pretrained import structure

IMAGENET = (224, 224, 3)
applications = keras.applications
# Model, its arguments, shape of the pictures, parameters, and whether those of batch normalisations' averages count.
COUNTS = {
    "MobileNet": (MobileNet, {}, IMAGENET, 4_253_864, True),  # keras.applications
    "MobileNetV2": (MobileNetV2, {}, IMAGENET, 3_538_984, True),  # keras.applications
    "MobileNetV3 small": (MobileNetV3, {}, IMAGENET, 2_554_968, True),  # keras.applications
    "MobileNetV3 large": (MobileNetV3, {"size": "large"}, IMAGENET, 5_507_432, True),  # keras.applications
    "ResNet-8": (ResNet, {"num_classes": 10, "depth": 8, "use_bias": True}, (32, 32, 3), 78_666, True),  # MLPerf Tiny
    "ResNet-20": (ResNet, {"num_classes": 10, "use_bias": True}, (32, 32, 3), 274_442, True),  # example of Keras
    "ResNet-18": (ResNet, {"depth": 18}, IMAGENET, 11_689_512, False),  # torchvision
    "ResNet-34": (ResNet, {"depth": 34}, IMAGENET, 21_797_672, False),  # torchvision
    "ResNet-50": (ResNet, {"depth": 50}, IMAGENET, 25_557_032, False),  # torchvision
    "ResNet-50 of Keras": (ResNet, {"depth": 50, "use_bias": True}, IMAGENET, 25_636_712, True),
    "EfficientNet-Lite0": (EfficientNetLite, {}, IMAGENET, 4_652_008, False),  # timm
    "EfficientNet-Lite1": (EfficientNetLite, {"size": 1}, IMAGENET, 5_416_680, False),  # timm
    "EfficientNet-Lite2": (EfficientNetLite, {"size": 2}, IMAGENET, 6_092_072, False),  # timm
    "ProxylessNAS-Mobile": (Proxyless, {}, IMAGENET, 4_080_512, False),  # pytorchcv
    "visual wake words": (
        MobileNet, {"num_classes": 2, "alpha": 0.25, "use_bias": True, "activation": "relu"}, (96, 96, 3), 221_794, True
    ),  # MLPerf Tiny
    "keyword spotting": (DSCNN, {"num_classes": 12, "use_bias": True}, (49, 10, 1), 24_908, True),  # MLPerf Tiny
    "streaming wake word": (StreamingWakeword, {"num_classes": 3}, (30, 40, 1), 47_707, True),  # MLPerf Tiny
}  # fmt: skip
FEW = ("MobileNet", "ResNet-8", "keyword spotting", "streaming wake word")


def some(names, few):
    return pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in few)) for n in names])


def with_varied_values(model):
    """Give every variable random values: the initial ones of normalisations and biases hide what is exchanged."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "variance" in variable.name or variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return model


@some(COUNTS, FEW)
def test_number_of_parameters_is_the_published_one(name):
    kind, arguments, shape, expected, all_of_them = COUNTS[name]
    model = kind(**{"num_classes": 1000} | arguments)
    model.build((None, *shape))
    variables = model.weights if all_of_them else model.trainable_variables
    assert sum(int(np.prod(v.shape)) for v in variables) == expected


SIDE = 64
THEIRS = {
    "mobilenet": (applications.MobileNet, {"alpha": 0.25}, {"alpha": 0.25}),
    "mobilenet_v2": (applications.MobileNetV2, {"alpha": 0.35}, {"alpha": 0.35}),
    "mobilenet_v3": (applications.MobileNetV3Small, {"include_preprocessing": False}, {}),
    "mobilenet_v3 large": (
        applications.MobileNetV3Large, {"include_preprocessing": False, "alpha": 0.75}, {"size": "large", "alpha": 0.75}
    ),
    "resnet": (applications.ResNet50, {}, {"depth": 50}),
    "resnet with biases": (applications.ResNet50, {}, {"depth": 50, "use_bias": True}),
}  # fmt: skip


@some(THEIRS, ("mobilenet",))
def test_weights_of_keras_applications_give_equal_outputs(name):
    make, theirs, mine = THEIRS[name]
    shape = (SIDE, SIDE, 3)
    published = make(input_shape=shape, weights=None, classes=7, classifier_activation=None, **theirs)
    with_varied_values(published)
    model = registry.model_class(name.split()[0])(num_classes=7, **mine)
    model.build((None, *shape))
    arrays, said = structure.copied(published, model, shape, source="theirs")
    assert len(arrays) == len(model.weights) and "with its classes" in said
    x = np.random.default_rng(1).random((2, *shape), dtype="float32")
    np.testing.assert_allclose(model(x), published(model.standardize(x)), atol=1e-5)


def test_numbers_of_channels_are_rounded_as_published():
    assert [divisible(n) for n in (1, 8, 11, 12, 32 * 0.35, 24 * 0.35, 18.9)] == [8, 8, 16, 16, 16, 8, 24]


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet", 32, 1),
        pytest.param("mobilenet_v2", 96, 2, marks=pytest.mark.slow),
        ("mobilenet_v2", 32, 1),
        ("ds_cnn", 32, 2),
    ],
)
def test_small_pictures_keep_their_size_in_the_first_convolution(name, size, expected):
    model = registry.model_class(name)(**({"alpha": 0.1} if "alpha" in registry.arguments(name) else {}))
    model.build((None, size, size, 3))
    assert model.stem.conv.strides == (expected, expected)


def test_the_network_for_imagenet_does_not_pool_small_pictures():
    small, large = (ResNet(depth=18, alpha=1 / 16, num_classes=3) for _ in range(2))
    small.build((None, 32, 32, 3))
    large.build((None, 64, 64, 3))
    assert (small.blocks[0].used, large.blocks[0].used) == (False, True)
    x = np.random.default_rng(0).random((1, 32, 32, 3), dtype="float32")
    assert small.blocks[0](small.stem(x)).shape == (1, 32, 32, 4)
    assert large.blocks[0](large.stem(np.zeros((1, 64, 64, 3)))).shape == (1, 16, 16, 4)


def test_pixels_are_standardised_by_channel():
    model = MobileNet(alpha=0.1, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    model.build((None, 8, 8, 3))
    np.testing.assert_allclose(model.standardize(np.full((1, 1, 1, 3), 0.5))[0, 0, 0], [0.4, 0.15, 0.05], rtol=1e-5)
    with pytest.raises(ValueError, match="MobileNet: mean: expected one number, or one for each of 1 channels"):
        MobileNet(alpha=0.1, mean=(0.1, 0.2, 0.3)).build((None, 8, 8, 1))
    assert DSCNN(mean=(0.0,), std=(1.0,)).standardize is None


def test_widths_are_those_of_channel_pruning_and_are_checked():
    given = (4, 3, 4, 5, 6, 6, 7, 8, 8)  # what is added must be as wide
    model = ResNet(depth=8, widths=given, num_classes=3)
    model.build((None, 8, 8, 3))
    assert model.get_config()["widths"] == given
    assert ResNet(depth=8).get_config()["widths"] == ()
    assert model(np.zeros((1, 8, 8, 3))).shape == (1, 3)
    with pytest.raises(ValueError, match="ResNet: widths: expected 9 numbers, received 3"):
        ResNet(depth=8, widths=(4, 4, 4))


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("resnet", {"depth": 9}, "depth: expected 8, 14, 20"),
    ("mobilenet_v3", {"size": "medium"}, "size: expected 'small' or 'large', received 'medium'"),
    ("efficientnet_lite", {"size": 5}, "size: expected 0 to 4, received 5"),
    ("mobilenet", {"std": (0.0,)}, "std: expected numbers other than 0"),
])  # fmt: skip
def test_wrong_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        registry.model_class(name)(**arguments)


def test_images_without_a_channel_axis_are_grey():
    model = DSCNN(filters=4, num_blocks=1)
    x = np.random.default_rng(0).random((3, 18, 18), dtype="float32")
    np.testing.assert_array_equal(model(x), model(x[..., None]))
