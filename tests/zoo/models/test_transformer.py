import os
import subprocess
import sys
from math import erf

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from zoo.models import MultiHeadCrossAttention, Transformer, TransformerClassifier, TransformerLM
from zoo.models.parts.attention import sinusoidal_positions
from zoo.models.parts.blocks import Block

BATCH, SOURCE, TARGET, WIDTH, HEADS = 3, 5, 6, 8, 2
SIZES = {"num_layers": 2, "model_dim": WIDTH, "num_heads": HEADS, "ff_dim": 12}
SOURCE_WORDS, TARGET_WORDS = 11, 13
LENGTH = 9  # room in the caches, more than any target needs

norms = pytest.mark.parametrize("norm", ["pre", "post"])
# Each option with both values, but not every combination.
options = pytest.mark.parametrize(("norm", "position"), [("pre", "sinusoidal"), ("post", "learned")])
slow_options = pytest.mark.parametrize(
    ("norm", "position"), [pytest.param("pre", "sinusoidal", marks=pytest.mark.slow), ("post", "learned")]
)


def ids(vocabulary, time, padding=0, seed=0):
    """Return random ids (batch, time); the second row ends with padding."""
    x = np.random.default_rng(seed).integers(1, vocabulary, (BATCH, time)).astype("int32")
    x[1, time - padding :] = 0
    return x


def features(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def randomized(layer):
    """Set every variable to random values. Initial biases (zeros) and scales (ones) would hide that they are unused."""
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.2, variable.shape).astype("float32"))
    return layer


def seq2seq(target=TARGET, **arguments):
    model = Transformer(SOURCE_WORDS, TARGET_WORDS, **SIZES, **arguments)
    model.build([(None, SOURCE), (None, target)])
    return randomized(model)


def language_model(**arguments):
    model = TransformerLM(TARGET_WORDS, **SIZES, **arguments)
    model.build((None, LENGTH))
    return randomized(model)


# Reference implementation of Vaswani et al. (2017) in plain numpy and float64, with the weights of a layer.


def np_dense(layer, x):
    kernel, *bias = layer.get_weights()
    return x @ kernel.astype("float64") + (bias[0] if bias else 0)


def np_norm(layer, x):
    gamma, beta = layer.get_weights()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.epsilon) * gamma + beta


def np_activation(name, x):
    return np.maximum(x, 0) if name == "relu" else x * (1 + np.vectorize(erf)(x / 2**0.5)) / 2


def np_attention(query, key, value, visible):
    """Return (batch, queries, heads * d_k) from (batch, time, heads * d_k), with a mask (batch, queries, keys)."""
    outputs = []
    for q, k, v in zip(*(np.split(x, HEADS, axis=-1) for x in (query, key, value)), strict=True):
        scores = np.where(visible, q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        outputs.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(outputs, -1)


def np_self_attention(layer, x, visible):
    return np_dense(
        layer.output_projection, np_attention(*np.split(np_dense(layer.query_key_value, x), 3, -1), visible)
    )


def np_cross_attention(layer, x, memory, visible):
    key, value = np.split(np_dense(layer.key_value, memory), 2, -1)
    return np_dense(layer.output_projection, np_attention(np_dense(layer.query, x), key, value, visible))


def np_part(norm, layer, x, part):
    return x + part(np_norm(layer, x)) if norm == "pre" else np_norm(layer, x + part(x))


def np_block(block, x, visible, activation, memory=None, memory_visible=None):
    x = np_part(block.norm, block.attention_norm, x, lambda y: np_self_attention(block.attention, y, visible))
    if memory is not None:
        x = np_part(
            block.norm,
            block.cross_norm,
            x,
            lambda y: np_cross_attention(block.cross_attention, y, memory, memory_visible),
        )
    return np_part(
        block.norm,
        block.feed_norm,
        x,
        lambda y: np_dense(block.contract, np_activation(activation, np_dense(block.expand, y))),
    )


def np_stack(stack, embedding, x, visible, activation, *memory):
    table = embedding.embeddings.numpy().astype("float64")
    time, width = x.shape[1], table.shape[1]
    learned = stack.positions.kind == "learned"
    rows = stack.positions.table.numpy()[:time] if learned else sinusoidal_positions(time, width)
    x = table[x] * width**0.5 + rows
    for block in stack.blocks:
        x = np_block(block, x, visible, activation, *memory)
    return np_norm(stack.last_norm, x) if stack.blocks[0].norm == "pre" else x


def np_logits(model, embedding, x):
    return x @ embedding.embeddings.numpy().T if model.tied else np_dense(model.head, x)


def causal(time):
    return np.tri(time, dtype=bool)[None]


def np_transformer(model, source, target):
    real = (source != 0)[:, None]
    memory = np_stack(model.encoder, model.source_embedding, source, real, model.activation)
    x = np_stack(model.decoder, model.target_embedding, target, causal(target.shape[1]), model.activation, memory, real)
    return np_logits(model, model.target_embedding, x)


@pytest.mark.parametrize("key_dim", [None, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_cross_attention_equals_numpy(masked, key_dim):
    layer = MultiHeadCrossAttention(HEADS, key_dim)
    layer.build((None, TARGET, WIDTH))
    randomized(layer)
    x, memory = features(BATCH, TARGET, WIDTH), features(BATCH, SOURCE, WIDTH, seed=1)
    mask = np.arange(SOURCE)[None] < np.array([[5], [3], [1]])
    y = layer(x, layer.project(memory), mask=mask if masked else None)
    visible = mask[:, None] if masked else np.ones((1, 1, 1), bool)
    np.testing.assert_allclose(y, np_cross_attention(layer, x, memory, visible), atol=1e-5)


@norms
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_encoder_block_equals_numpy(norm, activation, is_causal):
    block = Block(HEADS, None, 12, 0.1, is_causal, activation, norm)
    block.build((None, TARGET, WIDTH))
    randomized(block)
    x, mask = features(BATCH, TARGET, WIDTH), np.arange(TARGET)[None] < np.array([[6], [4], [1]])
    visible = mask[:, None] & (causal(TARGET) if is_causal else True)
    np.testing.assert_allclose(block(x, mask=mask), np_block(block, x, visible, activation), atol=1e-5)


@options
@pytest.mark.parametrize("tied", [True, False])
def test_encoder_and_decoder_equal_numpy(norm, position, tied):
    model = seq2seq(norm=norm, position=position, tied=tied)
    source, target = ids(SOURCE_WORDS, SOURCE, 2), ids(TARGET_WORDS, TARGET, 1)
    np.testing.assert_allclose(model((source, target)), np_transformer(model, source, target), atol=2e-5)


@options
def test_language_model_equals_numpy(norm, position):
    model, x = language_model(norm=norm, position=position), ids(TARGET_WORDS, TARGET)
    expected = np_logits(model, model.embedding, np_stack(model.decoder, model.embedding, x, causal(TARGET), "gelu"))
    np.testing.assert_allclose(model(x), expected, atol=2e-5)


@norms
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_classifier_equals_numpy(norm, pooling):
    model = TransformerClassifier(3, **SIZES, norm=norm, pooling=pooling, vocabulary_size=SOURCE_WORDS)
    model.build((None, SOURCE))
    x, real = ids(SOURCE_WORDS, SOURCE, 2), (ids(SOURCE_WORDS, SOURCE, 2) != 0)
    y = np_stack(randomized(model).encoder, model.embedding, x, real[:, None], "relu")
    pooled = y[:, 0] if pooling == "first" else (y * real[..., None]).sum(1) / real.sum(1, keepdims=True)
    np.testing.assert_allclose(model(x), np_dense(model.head, pooled), atol=1e-5)


@norms
def test_more_padding_changes_nothing(norm):
    model, source, target = seq2seq(norm=norm), ids(SOURCE_WORDS, SOURCE, 2), ids(TARGET_WORDS, TARGET, 2)
    expected = np.asarray(model((source, target)))
    longer = [np.pad(x, ((0, 0), (0, 4))) for x in (source, target)]
    np.testing.assert_allclose(np.asarray(model(longer))[:, :TARGET], expected, atol=1e-5)
    shorter = np.asarray(model((source[1:2, :-2], target[1:2, :-2])))
    np.testing.assert_allclose(shorter, expected[1:2, :-2], atol=1e-5)


def test_later_tokens_change_nothing_earlier():
    lm, model, source, target = language_model(), seq2seq(), ids(SOURCE_WORDS, SOURCE), ids(TARGET_WORDS, TARGET)
    changed = target.copy()
    changed[:, 4:] = changed[:, 4:] % (TARGET_WORDS - 1) + 1
    for logits in (lm, lambda x: model((source, x))):
        before, after = np.asarray(logits(target)), np.asarray(logits(changed))
        np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-6)
        assert np.abs(after[:, 4:] - before[:, 4:]).min() > 0


def gradients(model, inputs, wanted):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model(inputs)))
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [v.value for v in wanted])]


def copied(tied, untied):
    """Copy the weights of a tied model to an untied one."""
    *weights, kernel = untied.trainable_variables
    for variable, value in zip(weights, tied.get_weights(), strict=True):
        variable.assign(value)
    kernel.assign(tied.get_weights()[0].T)  # the embeddings come first
    return untied


def test_a_tied_table_gets_the_gradients_of_both_uses():
    lm, x = language_model(dropout=0.0), ids(TARGET_WORDS, TARGET)
    other = copied(lm, language_model(dropout=0.0, tied=False))
    np.testing.assert_allclose(other(x), lm(x), atol=1e-5)
    (both,) = gradients(lm, x, [lm.embedding.embeddings])
    embedding, head = gradients(other, x, [other.embedding.embeddings, other.head.kernel])
    np.testing.assert_allclose(both, embedding + head.T, atol=1e-4)
    assert min(np.abs(embedding).max(), np.abs(head).max()) > 0.1


def test_one_table_embeds_source_and_target_and_scores():
    model = Transformer(TARGET_WORDS, TARGET_WORDS, **SIZES, shared_vocabulary=True)
    source, target = ids(TARGET_WORDS, SOURCE), ids(TARGET_WORDS, TARGET)
    model((source, target))
    assert [v.path for v in model.variables if "embedding" in v.path] == [model.target_embedding.embeddings.path]
    assert len({id(v) for v in model.trainable_variables}) == len(model.trainable_variables)
    np.testing.assert_allclose(model((source, target)), np_transformer(model, source, target), atol=2e-5)


@slow_options
def test_decoding_step_by_step_gives_the_logits_of_the_whole_target(norm, position):
    model = seq2seq(LENGTH, norm=norm, position=position)
    source, target = ids(SOURCE_WORDS, SOURCE, 2), ids(TARGET_WORDS, TARGET, 1)
    expected = np.asarray(model((source, target)))
    context, mask = tf.function(model.encode)(source)
    cache, step = model.empty_cache(BATCH, LENGTH), tf.function(model.decode_step)
    assert {x.shape for x in cache} == {(2, BATCH, HEADS, LENGTH, WIDTH // HEADS)}
    for i in range(TARGET):
        at = tf.constant(i) if norm == "pre" else tf.fill([BATCH], i)  # a common position, or one per example
        logits, cache = step(target[:, i], at, cache, context, mask)
        np.testing.assert_allclose(logits, expected[:, i], atol=1e-5)


@slow_options
def test_a_language_model_continues_step_by_step_from_nothing_and_from_a_prompt(norm, position):
    model, x = language_model(norm=norm, position=position, tied=norm == "pre"), ids(TARGET_WORDS, TARGET)
    expected = np.asarray(model(x))
    step, prompt = tf.function(model.decode_step), 3
    logits, filled = model.prefill(x[:, :prompt], LENGTH)
    np.testing.assert_allclose(logits, expected[:, :prompt], atol=1e-5)
    for begin, cache in ((0, model.empty_cache(BATCH, LENGTH)), (prompt, filled)):
        for i in range(begin, TARGET):
            logits, cache = step(x[:, i], tf.constant(i), cache)
            np.testing.assert_allclose(logits, expected[:, i], atol=1e-5)


def test_prompts_of_different_lengths_go_on_each_at_its_own_position():
    model, x, lengths = language_model(), ids(TARGET_WORDS, TARGET), np.array([2, 4, 1])
    prompts = np.where(np.arange(4) < lengths[:, None], x[:, :4], 0).astype("int32")
    expected, rows = np.asarray(model(x)), np.arange(BATCH)
    logits, cache = model.prefill(prompts, LENGTH)
    np.testing.assert_allclose(np.asarray(logits)[rows, lengths - 1], expected[rows, lengths - 1], atol=1e-5)
    for at in (lengths, lengths + 1):
        logits, cache = model.decode_step(x[rows, at], at, cache)
        np.testing.assert_allclose(logits, expected[rows, at], atol=1e-5)


@pytest.mark.parametrize("name", ["lm", "seq2seq", pytest.param("shared", marks=pytest.mark.slow)])
def test_saves_and_loads_with_other_arguments(name, tmp_path):
    arguments = {"num_layers": 1, "model_dim": 6, "num_heads": 3, "ff_dim": 5, "dropout": 0.2, "norm": "post",
                 "position": "learned", "tied": False}  # fmt: skip
    x = ids(TARGET_WORDS, TARGET)
    if name == "lm":
        arguments |= {"vocabulary_size": TARGET_WORDS, "activation": "relu", "key_dim": 5}
        model = TransformerLM(**arguments)
    else:
        shared = name == "shared"
        arguments |= {"activation": "gelu", "shared_vocabulary": shared}
        arguments |= {"source_vocabulary_size": TARGET_WORDS if shared else 20, "target_vocabulary_size": TARGET_WORDS}
        model, x = Transformer(**arguments), (ids(TARGET_WORDS, SOURCE), x)
    y = model(x)
    config = model.get_config()
    assert {k: config[k] for k in arguments} == arguments
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == config
    np.testing.assert_array_equal(loaded(x), y)


def test_bfloat16_computes_and_caches_in_it_and_scores_in_float32():
    model = TransformerLM(TARGET_WORDS, **SIZES, dtype="mixed_bfloat16")
    x = ids(TARGET_WORDS, TARGET)
    expected, cache = model(x), model.empty_cache(BATCH, LENGTH)
    assert expected.dtype == "float32" and cache[0].dtype == "bfloat16"
    logits, cache = model.decode_step(x[:, 0], 0, cache)
    assert logits.dtype == "float32" and cache[0].dtype == "bfloat16"
    np.testing.assert_allclose(logits, expected[:, 0], atol=0.05)


def test_dropped_words_are_as_good_as_padding_and_only_in_training():
    keras.utils.set_random_seed(0)
    model = TransformerClassifier(3, **SIZES, dropout=0.0, word_dropout=0.5, vocabulary_size=SOURCE_WORDS)
    hidden = np.asarray(model(np.array([[3, 7], [3, 0], [0, 7], [0, 0]], "int32")))
    x = np.tile(np.array([[3, 7]], "int32"), (40, 1))
    np.testing.assert_allclose(model(x, training=False), hidden[:1].repeat(40, 0), atol=1e-6)
    same = np.abs(np.asarray(model(x, training=True))[:, None] - hidden).max(-1) < 1e-5  # (40, 4)
    assert same.any(1).all() and same.any(0).all()


def test_dropout_acts_on_embedded_steps_in_training():
    model = language_model(dropout=0.5)
    for block in model.decoder.blocks:  # zeroed sublayers pass the embedded inputs through
        for layer in (block.attention.output_projection, block.contract):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    x = ids(TARGET_WORDS, TARGET)
    np.testing.assert_array_equal(model(x), model(x))
    assert np.abs(np.asarray(model(x, training=True)) - np.asarray(model(x))).max() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerLM(0), "vocabulary_size: expected positive whole numbers, received 0"),
        (lambda: TransformerLM(5, model_dim=7), "model_dim: expected a multiple of num_heads=4, received 7"),
        (lambda: Transformer(5, 5, num_layers=0), "num_layers: expected positive whole numbers, received 0"),
        (lambda: Transformer(5, 6, shared_vocabulary=True), "expected a target_vocabulary_size of 5, .* received 6"),
        (lambda: Transformer(5, 6).build((None, 4)), "expected two inputs, source and target"),
        (lambda: TransformerClassifier(norm="mid"), "norm: expected 'pre' or 'post', received 'mid'"),
        (lambda: TransformerClassifier(activation="elu"), "activation: expected 'relu' or 'gelu', received 'elu'"),
        (lambda: TransformerClassifier(pooling="last"), "pooling: expected 'mean' or 'first', received 'last'"),
        (
            lambda: TransformerClassifier(position="none"),
            "position: expected 'sinusoidal' or 'learned', received 'none'",
        ),
        (lambda: TransformerClassifier(vocabulary_size=5).build((None, 4, 3)), r"received shape \(4, 3\)"),
        (
            lambda: language_model(position="learned")(ids(5, LENGTH + 1)),
            "expected at most 9 learned positions, received 10",
        ),
    ],
)
def test_mistakes_are_answered(make, message):
    with pytest.raises(ValueError, match=message):
        make()


_ON_JAX = """
import sys, jax, numpy as np, keras, zoo.models
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
model, given = keras.saving.load_model("model.keras"), np.load("x.npz")
context, mask = jax.jit(model.encode)(given["source"])
cache, step, made = model.empty_cache(len(given["source"]), 9), jax.jit(model.decode_step), []
for i, ids in enumerate(given["target"].T):
    logits, cache = step(ids, np.int32(i), cache, context, mask)
    made.append(logits)
np.save("y.npy", np.stack(made, 1))
"""


@pytest.mark.slow
def test_decoding_is_compiled_by_jax(tmp_path):
    model, source, target = seq2seq(), ids(SOURCE_WORDS, SOURCE, 2), ids(TARGET_WORDS, TARGET)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", source=source, target=target)
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ON_JAX], cwd=tmp_path, env=env, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model((source, target)), atol=2e-5)
