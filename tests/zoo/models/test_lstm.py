import keras
import numpy as np
import pytest

from zoo.models import LSTM


def test_lstm_is_the_published_recurrence():
    """One layer equals the equations of Hochreiter & Schmidhuber (1997) with forget gates, in numpy."""
    model = LSTM(num_classes=3, units=(5,))
    x = np.random.default_rng(0).standard_normal((2, 7, 4)).astype("float32")
    model.build(x.shape)
    kernel, recurrent, bias = (w.astype("float64") for w in model.recurrent[0].get_weights())

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    h = c = np.zeros((2, 5))
    for t in range(7):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    head, head_bias = model.head.get_weights()
    np.testing.assert_allclose(model(x), h @ head + head_bias, atol=1e-5)


def test_return_sequences_gives_one_label_a_step():
    model = LSTM(num_classes=3, units=(5, 6), return_sequences=True)
    x = np.random.default_rng(0).standard_normal((2, 7, 4)).astype("float32")
    y = np.asarray(model(x))
    assert y.shape == (2, 7, 3)
    x[:, 5:] = 0  # later time steps must not change earlier labels
    np.testing.assert_allclose(np.asarray(model(x))[:, :5], y[:, :5], atol=1e-6)


@pytest.mark.parametrize(("cell", "layer"), [("lstm", keras.layers.LSTM), ("gru", keras.layers.GRU),
                                             ("simple", keras.layers.SimpleRNN)])  # fmt: skip
def test_cell_chooses_the_layer(cell, layer):
    assert all(type(r) is layer for r in LSTM(cell=cell).recurrent)


def test_unrolled_equals_the_loop():
    x = np.random.default_rng(0).standard_normal((2, 7, 4)).astype("float32")
    loop, unrolled = LSTM(units=(5,)), LSTM(units=(5,), unroll=True)
    for model in (loop, unrolled):
        model.build(x.shape)
    unrolled.set_weights(loop.get_weights())
    np.testing.assert_allclose(unrolled(x), loop(x), atol=1e-6)


def test_unknown_cell_is_refused():
    with pytest.raises(ValueError, match="cell: expected one of lstm, gru, simple, received 'lsmt'"):
        LSTM(cell="lsmt")


def test_the_mean_of_all_steps_leaves_padding_out():
    x = np.array([[5, 6, 7, 0, 0], [8, 9, 5, 6, 7]])
    arguments = {"num_classes": 3, "units": (4,), "vocabulary_size": 10, "embedding_dim": 4}
    mean, steps = LSTM(pooling="mean", **arguments), LSTM(return_sequences=True, **arguments)
    for model in (mean, steps):
        model.build((None, 5))
    steps.set_weights(mean.get_weights())
    each = np.asarray(steps(x))  # the classes are linear in the steps, so the mean of logits is the logit of the mean
    expected = [each[0, :3].mean(0), each[1].mean(0)]
    np.testing.assert_allclose(mean(x), expected, atol=1e-6)
    with pytest.raises(ValueError, match="pooling: expected 'last' or 'mean', received 'max'"):
        LSTM(pooling="max")


def test_word_dropout_drops_whole_words_in_training_alone():
    model = LSTM(num_classes=2, units=(3,), vocabulary_size=10, embedding_dim=50, word_dropout=0.5)
    x = np.full((1, 200), 3)
    model.build(x.shape)
    dropped = np.asarray(model.drop_words(model.embedding(x), training=True))[0]
    gone = (dropped == 0).all(-1)
    assert 60 < gone.sum() < 140 and (dropped[~gone] != 0).all()
    np.testing.assert_array_equal(model(x), model(x))
