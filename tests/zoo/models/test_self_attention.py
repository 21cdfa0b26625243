import keras
import numpy as np
import pytest

from zoo.models.parts.attention import MultiHeadSelfAttention, PositionEncoding, sinusoidal_positions

BATCH, TIME, WIDTH, HEADS = 3, 6, 8, 2


def features(seed=0):
    return np.random.default_rng(seed).standard_normal((BATCH, TIME, WIDTH)).astype("float32")


def built(**arguments):
    layer = MultiHeadSelfAttention(HEADS, **arguments)
    layer.build((None, TIME, WIDTH))
    return layer


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("key_dim", [None, 3])
def test_equals_keras_multi_head_attention_with_copied_weights(causal, masked, key_dim):
    ours = built(causal=causal, key_dim=key_dim)
    d = key_dim or WIDTH // HEADS
    theirs = keras.layers.MultiHeadAttention(HEADS, d)
    theirs.build((None, TIME, WIDTH), (None, TIME, WIDTH))
    kernel, bias = ours.query_key_value.get_weights()  # columns: q, k, v, each for all heads
    copied = []
    for kernel_part, bias_part in zip(np.split(kernel, 3, -1), np.split(bias, 3), strict=True):
        copied += [kernel_part.reshape(WIDTH, HEADS, d), bias_part.reshape(HEADS, d)]
    output_kernel, output_bias = ours.output_projection.get_weights()
    theirs.set_weights([*copied, output_kernel.reshape(HEADS, d, WIDTH), output_bias])

    x = features()
    mask = np.arange(TIME)[None] < np.array([[6], [4], [1]]) if masked else None
    expected = theirs(x, x, key_mask=mask, use_causal_mask=causal)
    np.testing.assert_allclose(ours(x, mask=mask), expected, atol=1e-5)


def test_causal_layer_ignores_later_steps():
    layer, x = built(causal=True), features()
    changed = x.copy()
    changed[:, 4:] += 5
    np.testing.assert_allclose(np.asarray(layer(changed))[:, :4], np.asarray(layer(x))[:, :4], atol=1e-6)
    assert np.abs(np.asarray(layer(changed))[:, 4:] - np.asarray(layer(x))[:, 4:]).max() > 0.01


def test_a_fully_masked_row_stays_finite():
    assert np.isfinite(built()(features(), mask=np.zeros((BATCH, TIME), bool))).all()


def test_dropout_acts_in_training_only():
    layer, x = built(dropout=0.5), features()
    np.testing.assert_array_equal(layer(x), layer(x))
    assert np.abs(np.asarray(layer(x, training=True)) - np.asarray(layer(x))).max() > 0.01


def test_permuting_the_steps_permutes_the_output():
    layer, x, order = built(), features(), np.array([3, 1, 5, 0, 2, 4])
    np.testing.assert_allclose(layer(x[:, order]), np.asarray(layer(x))[:, order], atol=1e-5)


def test_sinusoidal_positions_are_the_papers():
    table = sinusoidal_positions(50, 16)
    for t in (0, 7, 49):
        for i in range(8):
            angle = t / 10_000 ** (2 * i / 16)
            assert table[t, 2 * i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[t, 2 * i + 1] == pytest.approx(np.cos(angle), abs=1e-6)


def test_learned_positions_are_trained_and_sinusoidal_are_not():
    counts = {}
    for kind in ("learned", "sinusoidal"):
        layer = PositionEncoding(kind)
        layer.build((None, TIME, WIDTH))
        counts[kind] = layer.count_params()
        assert np.abs(np.asarray(layer(features())) - features()).max() > 0
    assert counts == {"learned": TIME * WIDTH, "sinusoidal": 0}


def test_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of num_heads=2, received 7"):
        MultiHeadSelfAttention(2).build((None, TIME, 7))
