"""The tokenizer of a KerasHub preset as the vocabulary of a run, stored in one file."""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub  # also registers the tokenizer classes with Keras
import numpy as np

from zoo.config.task_facts import Tokens
from zoo.console.errors import UsageError
from zoo.data.text import padded
from zoo.hub import presets
from zoo.system import temporary
from zoo.system.files import write_text


class PresetVocabulary:
    """A `keras_hub.tokenizers.Tokenizer` with the interface of `zoo.data.text.Vocabulary`.

    An input text gets the special tokens that its model expects: an end token for T5, a start and an end token for
    others such as BERT. A target text begins with the padding token, as in T5's decoder.

    Args:
        tokenizer: Tokenizer of a preset.

    Raises:
        UsageError: If the tokenizer does not pad with id 0 or has no end token.
    """

    tokens: Tokens = "subword"

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        special = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "start", "end")}
        if special["pad"] != 0 or special["end"] is None:
            raise UsageError(
                f"--set preset: expected a tokenizer that pads with id 0 and has an end token, received"
                f" {type(tokenizer).__name__} with {special}"
            )
        self.begin_id, self.end_id = special["pad"], special["end"]
        unknown = getattr(tokenizer, "oov_token", None)  # byte-level tokenizers have none
        self.unknown_id = None if unknown is None else tokenizer.token_to_id(unknown)
        self._start = [] if special["start"] in (None, self.end_id) else [special["start"]]

    @classmethod
    def from_preset(cls, preset: str) -> "PresetVocabulary":
        """Load the tokenizer of a preset.

        Args:
            preset: Folder or name of a KerasHub preset.

        Raises:
            UsageError: If there is no such preset, or if its tokenizer does not pad with id 0 or has no end token.
        """
        return cls(presets.tokenizer(preset))

    @classmethod
    def load(cls, path: Path) -> "PresetVocabulary":
        """Load a file written by `save`.

        Args:
            path: Path of the file.

        Raises:
            UsageError: If the file is damaged.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))["keras_hub"]
            _check_class(stored["tokenizer"])  # any other class, such as a model, could take any memory
            tokenizer = keras.saving.deserialize_keras_object(stored["tokenizer"])
            with temporary.folder() as folder:
                for name, content in stored["assets"].items():
                    (folder / Path(name).name).write_bytes(base64.b64decode(content))
                tokenizer.load_assets(folder)
        except Exception as error:  # KerasHub raises many types
            raise UsageError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None
        return cls(tokenizer)

    def save(self, path: Path) -> None:
        write_text(path, self._text)

    @functools.cached_property
    def _text(self) -> str:
        with temporary.folder() as folder:
            self._tokenizer.save_assets(folder)
            files = {p.name: base64.b64encode(p.read_bytes()).decode() for p in sorted(folder.iterdir())}
        stored = {"tokenizer": keras.saving.serialize_keras_object(self._tokenizer), "assets": files}
        return json.dumps({"keras_hub": stored}, indent=2)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def __len__(self) -> int:
        return self._tokenizer.vocabulary_size()

    def inner_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        return [[int(i) for i in row] for row in self._tokenizer.tokenize(list(texts))] if len(texts) else []

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text with the special tokens that the model expects."""
        return [[*self._start, *row, self.end_id] for row in self.inner_rows(texts)]

    def padded(self, rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """Return rows as (rows, length) int32, padded with 0. A row that is cut keeps its end token.

        Args:
            rows: Token ids of each text, from `rows`.
            length: Number of tokens to keep.
        """
        return padded([row if len(row) <= length else [*row[: length - 1], row[-1]] for row in rows], length)

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Return token ids, cut or padded with 0 to a common length, (texts, length) int32.

        Args:
            texts: Texts to encode.
            length: Number of tokens to keep of each text.
        """
        return self.padded(self.rows(texts), length)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of one row of ids up to its end token, without special tokens and padding."""
        kept = []
        for i in map(int, ids):
            if i == self.end_id:
                break
            if i not in (self.begin_id, *self._start):
                kept.append(i)
        return self._tokenizer.detokenize(kept) if kept else ""


def _check_class(config: dict[str, Any]) -> None:
    """Raise ValueError unless a configuration is that of a KerasHub tokenizer."""
    found = keras.saving.get_registered_object(config["registered_name"])
    if not (isinstance(found, type) and issubclass(found, keras_hub.tokenizers.Tokenizer)):
        raise ValueError(f"expected a tokenizer of KerasHub, received {config['registered_name']!r}")
