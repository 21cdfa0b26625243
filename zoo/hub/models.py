"""Pretrained KerasHub models as models of the zoo, called with token ids only.

A saved model holds the architecture and the weights, so loading it needs KerasHub but no preset.
"""

from typing import Any

import keras
from keras import ops

from zoo.hub import presets
from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import logits_dtype


class _HubModel(ZooModel):
    """Base class of models that wrap a KerasHub task."""

    def _hold(self, task):
        task.compiled = False  # KerasHub compiles a new task, and a saved model would record it
        self.task = task

    def get_config(self):
        return super().get_config() | {
            "preset": self.preset,
            "task": keras.saving.serialize_keras_object(self.task),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"task": keras.saving.deserialize_keras_object(config["task"])})

    def build(self, input_shape):
        longest = getattr(self.task.backbone, "max_sequence_length", None)
        for _, time in [input_shape] if isinstance(input_shape[0], int | None) else input_shape:
            if longest and time and time > longest:
                raise ValueError(
                    f"--sequence-length: expected at most {longest} tokens, the maximum of"
                    f" {self.preset or 'the preset'}, received {time}"
                )
        self.built = True


@keras.saving.register_keras_serializable("zoo")
class HubClassifier(_HubModel):
    """A text encoder of KerasHub with a classification head: BERT, DistilBERT, ALBERT or DeBERTa.

    Args:
        num_classes: Number of classes.
        preset: Folder written by `save_to_preset`, or the name of a KerasHub preset such as bert_tiny_en_uncased.
        dropout: Dropout rate before the head, in [0, 1).

    Input shape: (batch, time), token ids of the preset's tokenizer, padded with 0.
    Output shape: (batch, num_classes), logits.

    Raises:
        UsageError: If there is no such preset, or if it has no classifier.
        ValueError: When the model is built, if the inputs have more tokens than the preset has positions.
    """

    def __init__(self, num_classes: int = 10, preset: str = "", dropout: float = 0.1, **kwargs):
        task = kwargs.pop("task", None)
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.preset = preset
        self.dropout = dropout
        self._hold(task or presets.classifier(preset, num_classes, dropout))

    def call(self, ids, training=None):
        ids = ops.cast(ids, "int32")
        known = {
            "token_ids": ids,
            "padding_mask": ops.cast(ops.not_equal(ids, 0), "int32"),
            "segment_ids": ops.zeros_like(ids),
        }
        taken = self.task.input  # DistilBERT has no segment_ids
        inputs = {name: known[name] for name in taken} if isinstance(taken, dict) else ids
        return ops.cast(self.task(inputs, training=training), logits_dtype(self.dtype_policy))

    def get_config(self):
        return super().get_config() | {"num_classes": self.num_classes, "dropout": self.dropout}


@keras.saving.register_keras_serializable("zoo")
class HubSeq2Seq(_HubModel):
    """T5 (Raffel et al., 2020) of KerasHub, a text-to-text model.

    `encode` and `decode_step` have the interface of `zoo.models.Transformer`. A cache is a pair of tensors, keys and
    values, each (num_layers, batch, length, heads, head width).

    Args:
        preset: Folder written by `save_to_preset`, or the name of a KerasHub preset such as t5_small_multi.

    Input shape: source (batch, source time) and target (batch, time), token ids of the preset's tokenizer; the target
        begins with 0. Padding of the source is masked. Padding of the target must come last, where the causal mask
        hides it from every token before it.
    Output shape: (batch, time, vocabulary), logits of the next token.

    Raises:
        UsageError: If there is no such preset, or if it is not a T5 preset.
    """

    def __init__(self, preset: str = "", **kwargs):
        task = kwargs.pop("task", None)
        super().__init__(**kwargs)
        self.preset = preset
        self._hold(task or presets.translator(preset))

    def call(self, inputs, training=None):
        source, target = inputs
        logits = self.task(
            {
                "encoder_token_ids": source,
                "encoder_padding_mask": self._visible(source),
                "decoder_token_ids": target,
                "decoder_padding_mask": ops.ones_like(target),
            },
            training=training,
        )
        return ops.cast(logits, logits_dtype(self.dtype_policy))

    def encode(self, source):
        """Return the context that the decoder attends to, and its mask (batch, source time), false at padding.

        Args:
            source: Token ids (batch, source time), padded with 0.
        """
        mask = self._visible(source)
        memory = self.task.call_encoder(source, mask)
        empty = self._as_theirs(self.empty_cache(ops.shape(source)[0], 2))  # Keras warns of a softmax over length 1
        cross = self._as_theirs(self.empty_cache(*ops.shape(source)))
        first = ops.zeros_like(source[:, :1])
        _, _, _, cross = self._decoded(memory, mask, first, empty, 0, cross, 0)
        return (memory[None], *self._as_ours(cross)), ops.not_equal(source, 0)

    def empty_cache(self, batch, length):
        """Return an empty cache for up to `length` target tokens."""
        backbone = self.task.backbone
        width = backbone.key_value_dim or backbone.hidden_dim // backbone.num_heads
        shape = (backbone.num_layers, batch, length, backbone.num_heads, width)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def decode_step(self, ids, position, cache, context, source_mask):
        """Return the logits of `call` at one position, (batch, vocabulary), and the updated cache.

        Args:
            ids: Target token ids at the position, (batch,).
            position: Position, counted from 0, the same for the whole batch.
            cache: Cache of all earlier tokens.
            context: Context returned by `encode`.
            source_mask: Mask returned by `encode`.
        """
        memory, *cross = context
        mask = ops.cast(source_mask, "int32")
        cache, cross = self._as_theirs(cache), self._as_theirs(cross)
        logits, _, cache, _ = self._decoded(memory[0], mask, ids[:, None], cache, position, cross, None)
        return ops.cast(logits[:, 0], logits_dtype(self.dtype_policy)), self._as_ours(cache)

    def _decoded(self, memory, mask, ids, cache, place, cross, cross_place) -> Any:
        return self.task.call_decoder_with_cache(
            encoder_hidden_states=memory,
            encoder_padding_mask=mask,
            decoder_token_ids=ids,
            self_attention_cache=cache,
            self_attention_cache_update_index=place,
            cross_attention_cache=cross,
            cross_attention_cache_update_index=cross_place,
        )

    def _visible(self, ids):
        return ops.cast(ops.not_equal(ids, 0), "int32")

    def _as_theirs(self, pair):
        """Return keys and values (layers, batch, ...) as one cache of KerasHub, (batch, layers, 2, ...)."""
        return ops.stack([ops.swapaxes(part, 0, 1) for part in pair], axis=2)

    def _as_ours(self, cache):
        """Return a cache of KerasHub as keys and values; the inverse of `_as_theirs`."""
        return ops.swapaxes(cache[:, :, 0], 0, 1), ops.swapaxes(cache[:, :, 1], 0, 1)
