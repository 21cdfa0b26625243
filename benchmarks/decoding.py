"""Speed-up by the key-value cache: tokens per second of greedy decoding to length 64, with and without the cache.

Both variants loop over the same model without an end token. With the cache, a step computes one position, and XLA
compiles the loop as for `zoo.generate`. Without it, the decoder recomputes all earlier positions, whose growing number
XLA cannot compile. The encoder, if any, runs once in both. The variants alternate, and the fastest round after the
first counts. Both must choose the same tokens. The models are those of `sequences`, untrained, because the amount of
computation does not depend on the weights.
"""

import sys
import time
from typing import Any

import numpy as np

LENGTH, SOURCE = 64, 16
SUBWORDS, CHARACTERS = 4_000, 67  # vocabulary sizes of the default recipes' datasets
BATCHES = (1, 16, 64)
ROUNDS = 4  # the first is not counted
TARGET = 5.0


def measure(data_dir: object) -> dict[str, Any]:
    """Return the tokens per second of each model, batch size and variant.

    Args:
        data_dir: Unused, because the models are untrained.
    """
    from strategies import backend

    backend.start()
    rows = []
    for name, ways in (("transformer_seq2seq", _translating()), ("transformer_lm", _continuing())):
        for batch in BATCHES:
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(ROUNDS):
                texts = {}
                for way, decode in ways.items():
                    began = time.perf_counter()
                    texts[way] = np.asarray(decode(batch))
                    seconds[way].append(time.perf_counter() - began)
            rows.append(
                {
                    "model": name,
                    "batch": batch,
                    "tokens_per_second": {way: batch * LENGTH / min(found[1:]) for way, found in seconds.items()},
                    "same_tokens": float((texts["cached"] == texts["whole"]).mean()),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows, "length": LENGTH, "target": TARGET}


def _translating() -> dict[str, Any]:
    import tensorflow as tf

    from zoo import models
    from zoo.config.defaults import seq2seq_multi30k
    from zoo.tasks.parts.decoding import sample

    model = models.Transformer(SUBWORDS, SUBWORDS, **seq2seq_multi30k()["settings"])
    model.build([(None, SOURCE), (None, LENGTH)])

    def source(batch: int) -> Any:
        return tf.random.stateless_uniform((batch, SOURCE), (0, 1), 1, SUBWORDS, tf.int32)

    @tf.function(jit_compile=True)
    def cached(batch: int) -> Any:
        context, mask = model.encode(source(batch))

        def step(last: Any, position: Any, cache: Any) -> Any:
            return model.decode_step(last, position, cache, context, mask)

        first = tf.ones((batch,), tf.int32)
        cache = model.empty_cache(batch, LENGTH)
        return sample(step, first, cache, start=0, length=LENGTH, end=-1, sampling=None)

    @tf.function
    def whole(batch: int) -> Any:
        context, mask = model.encode(source(batch))

        def logits(ids: Any) -> Any:
            x = model.decoder(model.target_embedding(ids), context=context, context_mask=mask, training=False)
            return model.target_embedding(x[:, -1], reverse=True)

        return _again(logits, batch)

    return {"cached": cached, "whole": whole}


def _continuing() -> dict[str, Any]:
    import tensorflow as tf

    from zoo import models
    from zoo.tasks.parts.decoding import sample

    model = models.TransformerLM(CHARACTERS, num_layers=4, model_dim=192, ff_dim=768)
    model.build((None, LENGTH))

    @tf.function(jit_compile=True)
    def cached(batch: int) -> Any:
        first, cache = tf.ones((batch,), tf.int32), model.empty_cache(batch, LENGTH)
        return sample(model.decode_step, first, cache, start=0, length=LENGTH, end=-1, sampling=None)

    @tf.function
    def whole(batch: int) -> Any:
        def logits(ids: Any) -> Any:
            return model.embedding(model.decoder(model.embedding(ids), training=False)[:, -1], reverse=True)

        return _again(logits, batch)

    return {"cached": cached, "whole": whole}


def _again(logits: Any, batch: int) -> Any:
    """Return LENGTH greedily chosen tokens, (batch, time), with all earlier positions recomputed at each step."""
    import tensorflow as tf

    def one(ids: Any) -> list[Any]:
        chosen = tf.argmax(logits(ids), axis=-1, output_type=tf.int32)
        return [tf.concat([ids, chosen[:, None]], axis=1)]

    (texts,) = tf.while_loop(
        lambda ids: tf.shape(ids)[1] <= LENGTH,
        one,
        [tf.ones((batch, 1), tf.int32)],
        shape_invariants=[tf.TensorShape([batch, None])],
    )
    return texts[:, 1:]


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"| decoding {result['length']} tokens | batch | with cache, tokens/s | without, tokens/s | speed-up |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        cached, whole = (row["tokens_per_second"][way] for way in ("cached", "whole"))
        lines.append(f"| `{row['model']}` | {row['batch']} | {cached:,.0f} | {whole:,.0f} | {cached / whole:.1f} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    same = min(row["same_tokens"] for row in result["rows"])
    return "\n".join([*table(result), "", f"The target is {result['target']:g} times. Same tokens: {same:.2%}."])
