"""Models of the zoo that are pretrained models of KerasHub, called with token ids alone.

Their files hold the architecture and the weights: loading one needs KerasHub, and no preset.
"""

from typing import Any

import keras
from keras import ops

from zoo.hub import presets
from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import logits_dtype


class _HubModel(ZooModel):
    """What both models are: a task of KerasHub inside."""

    def _hold(self, task):
        task.compiled = False  # as it compiles itself when it is made, and the file would say how
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
                    f"--sequence-length: expected at most the {longest} tokens that {self.preset or 'the preset'} was"
                    f" made for, received {time}"
                )
        self.built = True


@keras.saving.register_keras_serializable("zoo")
class HubClassifier(_HubModel):
    """A text encoder of KerasHub with its classification head: BERT, DistilBERT, ALBERT or DeBERTa.

    Args:
        num_classes: number of classes.
        preset: a folder of `save_to_preset`, or a name that KerasHub knows, such as bert_tiny_en_uncased.
        dropout: share of the head's inputs dropped in training, in [0, 1).

    Input shape: (batch, time) token ids of the preset's tokenizer, padded with 0.
    Output shape: (batch, num_classes), logits.

    Raises:
        UsageError: no such preset, or one without a classifier.
        ValueError: when built, more tokens than the preset has positions.
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
        taken = self.task.input  # DistilBERT has no segments
        inputs = {name: known[name] for name in taken} if isinstance(taken, dict) else ids
        return ops.cast(self.task(inputs, training=training), logits_dtype(self.dtype_policy))

    def get_config(self):
        return super().get_config() | {"num_classes": self.num_classes, "dropout": self.dropout}


@keras.saving.register_keras_serializable("zoo")
class HubSeq2Seq(_HubModel):
    """T5 (Raffel et al., 2020) of KerasHub: from one text to another.

    Args:
        preset: a folder of `save_to_preset`, or a name that KerasHub knows, such as t5_small_multi.

    Call arguments:
        inputs: source (batch, source time) and target (batch, time), token ids of the preset's tokenizer; the target
            begins with 0. Padding of the source is hidden; that of the target comes last, where no step before it
            attends to it.

    Output shape: (batch, time, vocabulary), logits of the token after each.

    A cache is two tensors, keys and values, each (num_layers, batch, length, heads, head width); see
    `zoo.models.Transformer`, whose `encode` and `decode_step` these are.

    Raises:
        UsageError: no such preset, or none of T5.
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
        """Return what the decoder attends to: a context, and its mask (batch, source time), false at padding."""
        mask = self._visible(source)
        memory = self.task.call_encoder(source, mask)
        empty = self._as_theirs(self.empty_cache(ops.shape(source)[0], 2))  # of 1, Keras warns of its softmax
        cross = self._as_theirs(self.empty_cache(*ops.shape(source)))
        first = ops.zeros_like(source[:, :1])
        _, _, _, cross = self._decoded(memory, mask, first, empty, 0, cross, 0)
        return (memory[None], *self._as_ours(cross)), ops.not_equal(source, 0)

    def empty_cache(self, batch, length):
        """Return a cache with room for `length` tokens of the target."""
        backbone = self.task.backbone
        width = backbone.key_value_dim or backbone.hidden_dim // backbone.num_heads
        shape = (backbone.num_layers, batch, length, backbone.num_heads, width)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def decode_step(self, ids, position, cache, context, source_mask):
        """Return the logits that `call` has at one position, (batch, vocabulary), and the cache with its token.

        Args:
            ids: (batch,), the target's token at the position.
            position: from 0, a whole number, the same for the whole batch.
            cache: of all tokens before it.
            context: of `encode`.
            source_mask: of `encode`.
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
        """Return (batch, layers, 2, ...) of keys and values (layers, batch, ...)."""
        return ops.stack([ops.swapaxes(part, 0, 1) for part in pair], axis=2)

    def _as_ours(self, cache):
        return ops.swapaxes(cache[:, :, 0], 0, 1), ops.swapaxes(cache[:, :, 1], 0, 1)
