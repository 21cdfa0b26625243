"""Text to token ids and back: vocabularies of words, characters or subwords, each one JSON file."""

import collections
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config import Tokens
from zoo.errors import UsageError

# Ids 0 to 3; vocabularies of pairs alone have the last two.
PADDING, UNKNOWN, BEGIN, END = "[PAD]", "[UNK]", "[BEGIN]", "[END]"
UNKNOWN_ID, BEGIN_ID, END_ID = 1, 2, 3

# Id 1 of characters, and how a text shows a character that is not in the vocabulary.
UNKNOWN_CHARACTER = "\N{REPLACEMENT CHARACTER}"

# Subwords begin as bytes, so that no text has an unknown one.
BYTES = 256


class Vocabulary:
    """Tokens and their ids: 0 is padding, 1 any unknown token, then in pairs 2 the begin and 3 the end of a target.

    - word: split at white space and around punctuation, the most frequent first; lower-cased unless told otherwise.
    - character: code points as they are, the most frequent first.
    - subword: byte-pair encoding of bytes (Sennrich et al., 2016; Radford et al., 2019). Nothing is unknown.
    """

    begin_id, end_id = BEGIN_ID, END_ID  # of a target
    unknown_id: int | None = UNKNOWN_ID

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        # A text that spells a special token holds these letters, not the token. Not part of the saved file.
        tokenizer.encode_special_tokens = True

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        size: int,
        tokens: Tokens = "word",
        *,
        pairs: bool = False,
        lowercase: bool = True,
    ) -> "Vocabulary":
        """Learn a vocabulary from texts.

        Args:
            texts: of the training split alone.
            size: most ids, the special ones included.
            tokens: word, character or subword.
            pairs: have ids for the begin and the end of a text.
            lowercase: of words; characters and subwords are always as written.

        Raises:
            UsageError: a size that leaves no room for a token.
        """
        special = [PADDING, UNKNOWN_CHARACTER if tokens == "character" else UNKNOWN, *((BEGIN, END) if pairs else ())]
        least = len(special) + (BYTES if tokens == "subword" else 1)
        if size < least:
            raise UsageError(f"--vocabulary-size {size}: expected at least {least} with --tokens {tokens}")
        if tokens == "word":
            return cls(_words(texts, special, size, lowercase))
        return cls(_characters(texts, special, size) if tokens == "character" else _subwords(texts, special, size))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            UsageError: the file is damaged.
        """
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises no other class
            raise UsageError(f"{path} is damaged: {error}") from None

    def save(self, path: Path) -> None:
        self._tokenizer.save(str(path))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(self._tokenizer.to_str(pretty=True).encode()).hexdigest()

    @property
    def tokens(self) -> Tokens:
        """What texts are cut into."""
        decoder = type(self._tokenizer.decoder).__name__
        return {"Fuse": "character", "ByteLevel": "subword"}.get(decoder, "word")

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def inner_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text alone; a model of ours reads no more than that."""
        return self.rows(texts)

    def padded(self, rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """Return rows of ids, cut or padded with 0 to one length, (rows, length) int32."""
        return padded(rows, length)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, as many as it has, without begin and end."""
        if self.tokens == "character":  # the same ids as the tokenizer's, thirty times as fast
            ids = self._tokenizer.get_vocab()
            return [[ids.get(character, UNKNOWN_ID) for character in text] for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
        """Return token ids, cut or padded with 0 to a common length.

        Args:
            texts: any number of them.
            length: tokens to keep; default, the length that 95 % of these texts fit in.

        Returns:
            (texts, length) int32.
        """
        rows = self.rows(texts)
        return padded(rows, usual_length(rows) if length is None else length)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of one row of ids up to its end, without padding.

        Characters and subwords give the text as it was; words give it with the usual spaces around punctuation.
        """
        special = self._special()
        kept = []
        for i in map(int, ids):
            if special.get(i) == END:
                break
            if special.get(i) not in (PADDING, BEGIN):
                kept.append(i)
        if self.tokens == "word":
            return spaced(self._tokenizer.id_to_token(i) for i in kept)
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Return each id as a text of its own: a special token by its name, a subword with the space before it."""
        special, one = self._special(), self._tokenizer.id_to_token
        if self.tokens == "subword":  # whose tokens are spelt in bytes
            return [special.get(i) or self._tokenizer.decode([i], skip_special_tokens=False) for i in map(int, ids)]
        return [one(i) for i in map(int, ids)]

    def _special(self) -> dict[int, str]:
        """Return the special tokens by id."""
        return {i: added.content for i, added in self._tokenizer.get_added_tokens_decoder().items()}


def padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Return rows of ids, cut or padded with 0 to one length, (rows, length) int32."""
    ids = np.zeros((len(rows), length), np.int32)
    for row, values in zip(ids, rows, strict=True):
        values = values[:length]
        row[: len(values)] = values
    return ids


def usual_length(rows: Sequence[Sequence[int]]) -> int:
    """Return the length that 95 % of the rows fit in."""
    return max(1, int(np.ceil(np.percentile([len(row) for row in rows], 95))))


def longer(rows: Sequence[Sequence[int]], length: int) -> int:
    """Return how many rows are longer than `length`."""
    return sum(len(row) > length for row in rows)


def spaced(words: Iterable[str]) -> str:
    """Return words and punctuation marks as a text with the usual spaces."""
    text = " ".join(words)
    text = re.sub(r" ([.,;:!?%)\]}…]+)(?= |$)", r"\1", text)
    text = re.sub(r"(?<!\S)([(\[{¿¡]) ", r"\1", text)
    text = re.sub(r"(?<=\w) (['’/-]) (?=\w)", r"\1", text)
    return re.sub(r'" (.*?) "', r'"\1"', text)


def _words(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    composed = normalizers.NFC()
    tokenizer.normalizer = normalizers.Sequence([composed, normalizers.Lowercase()]) if lowercase else composed
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _characters(texts: Iterable[str], special: list[str], size: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts = collections.Counter(itertools.chain.from_iterable(texts))
    counts.pop(UNKNOWN_CHARACTER, None)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))
    ids = {token: i for i, token in enumerate([*special, *frequent][:size])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN_CHARACTER))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _subwords(texts: Iterable[str], special: list[str], size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
