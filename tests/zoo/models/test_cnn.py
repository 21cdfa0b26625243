import keras
import numpy as np
import pytest

from zoo.models import CNN


@pytest.mark.parametrize(("arguments", "smallest"), [({}, 18), ({"filters": (32, 64, 128), "pools": 3}, 22),
                                                     ({"padding": "same"}, 4), ({"pools": 0}, 7),
                                                     ({"pools": 0, "strides": 3, "kernel_size": 5}, 29),
                                                     ({"padding": "same", "strides": 2}, 7)])  # fmt: skip
def test_smallest_image_is_what_the_stack_can_take(arguments, smallest):
    model = CNN(**arguments)
    assert model.smallest_image() == smallest
    model.build((None, smallest, smallest, 1))
    assert model(np.zeros((1, smallest, smallest, 1), "float32")).shape == (1, 10)
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest} pixels, received {smallest - 1}x28"):
        CNN(**arguments).build((None, smallest - 1, 28, 1))


def test_activation_after_the_pool_equals_the_published_order():
    model = CNN(filters=(4,), pools=1)
    x = np.random.default_rng(0).random((3, 18, 18, 1), dtype="float32")
    model.build(x.shape)
    convolved = keras.ops.relu(model.convolutions[0](x))
    published = model.head(model.hidden(model.flatten(model.pool(convolved))))
    np.testing.assert_allclose(model(x), published, atol=1e-6)


@pytest.mark.parametrize(("arguments", "shape", "used"), [
    ({"units": 5}, (28, 28), (26, 26)),
    ({"filters": (4, 4, 4), "pools": 3, "units": 0}, (28, 35), (22, 30)),
    ({"filters": (4,), "pools": 0, "strides": 3}, (17, 18), (15, 18)),
    ({"filters": (4, 4), "pools": 1, "kernel_size": 2, "strides": 2}, (10, 13), (8, 12)),
    ({"filters": (4,), "pools": 1}, (18, 18), None),
    ({"padding": "same"}, (13, 13), None),
    ({"filters": (4, 4), "batch_norm": True}, (28, 28), None),
])  # fmt: skip
def test_rows_that_reach_no_logit_are_left_out_and_change_nothing(arguments, shape, used):
    keras.utils.set_random_seed(0)
    model = CNN(activation="linear", **arguments)
    x = np.random.default_rng(0).random((3, *shape, 1), dtype="float32")
    model.build(x.shape)
    assert model.used == used
    given, model.used = model(x), None
    np.testing.assert_allclose(given, model(x), rtol=1e-5, atol=1e-6)
    if used:  # the last row and column that are kept do reach the logits
        for last in np.s_[:, used[0] - 1], np.s_[:, :, used[1] - 1]:
            changed = x.copy()
            changed[last] *= 10
            assert not np.allclose(model(changed), given, atol=1e-3)


def test_strides_leave_out_rows_and_columns_of_the_first_convolution_alone():
    model, every = (CNN(filters=(4, 6), pools=0, strides=strides) for strides in (2, 1))
    x = np.random.default_rng(0).random((3, 17, 18, 1), dtype="float32")
    model.build(x.shape)
    every.convolutions[0].build(x.shape)
    every.convolutions[0].set_weights(model.convolutions[0].get_weights())
    first = keras.ops.relu(every.convolutions[0](x)[:, ::2, ::2])
    second = keras.ops.relu(model.convolutions[1](first))
    np.testing.assert_allclose(model(x), model.head(model.hidden(model.flatten(second))), atol=1e-6)
    assert CNN.from_config(model.get_config()).convolutions[0].strides == (2, 2)


def test_images_without_a_channel_axis_are_grey():
    model = CNN(filters=(4,), pools=1)
    x = np.random.default_rng(0).random((3, 18, 18), dtype="float32")
    np.testing.assert_array_equal(model(x), model(x[..., None]))


def test_more_pools_than_convolutions_are_refused():
    with pytest.raises(ValueError, match="pools: expected 0 to 2 .* received 3"):
        CNN(filters=(4, 4), pools=3)


def test_unknown_argument_is_refused():
    with pytest.raises(ValueError, match="filtrs"):
        CNN(filtrs=3)
