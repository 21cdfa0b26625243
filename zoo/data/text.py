"""Vocabularies of words, characters or subwords: text to token ids and back, stored as one JSON file."""

import collections
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.config.task_facts import Tokens
from zoo.console.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Special tokens with ids 0 to 3. Only vocabularies of pairs have the last two.
PADDING, UNKNOWN, BEGIN, END = "[PAD]", "[UNK]", "[BEGIN]", "[END]"
UNKNOWN_ID, BEGIN_ID, END_ID = 1, 2, 3

# Token of id 1 in a character vocabulary, which decodes to this character.
UNKNOWN_CHARACTER = "\N{REPLACEMENT CHARACTER}"

# Largest default length: the cost of attention grows with the square of the length, and that of a step with it.
LONGEST = 512
# Number of texts from which the default length is taken, and that are encoded at a time.
LOOKED_AT, PART = 5000, 1000

# Number of initial subwords, one for each byte, so that no text has unknown tokens.
BYTES = 256


class Vocabulary:
    """A set of tokens and their ids. Id 0 is padding, id 1 the unknown token; for pairs, 2 and 3 are begin and end.

    - word: split at white space and around punctuation, most frequent words first, lower-cased by default.
    - character: Unicode code points, most frequent first.
    - subword: byte-level byte-pair encoding (Sennrich et al., 2016; Radford et al., 2019), without unknown tokens.

    Args:
        tokenizer: Tokenizer of the library tokenizers.
    """

    begin_id, end_id = BEGIN_ID, END_ID
    unknown_id: int | None = UNKNOWN_ID

    def __init__(self, tokenizer: "Tokenizer"):
        self._tokenizer = tokenizer
        # Encode the letters of a special token in a text as letters. This setting is not part of the saved file.
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
            texts: Texts of the training split.
            size: Largest number of ids, including special tokens.
            tokens: Kind of tokens, "word", "character" or "subword".
            pairs: Whether to add special tokens for the begin and the end of a target.
            lowercase: Whether to lower-case words. Characters and subwords are never changed.

        Raises:
            UsageError: If the size leaves no room for a token.
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
        """Load a file written by `save`.

        Args:
            path: Path of the file.

        Raises:
            UsageError: If the file is damaged.
        """
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)))
        except BaseException as error:  # the library raises no more specific class, and a panic is no Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise UsageError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None

    def save(self, path: Path) -> None:
        self._tokenizer.save(str(path))

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(self._tokenizer.to_str(pretty=True).encode()).hexdigest()

    @property
    def tokens(self) -> Tokens:
        """Kind of tokens."""
        decoder = type(self._tokenizer.decoder).__name__
        return {"Fuse": "character", "ByteLevel": "subword"}.get(decoder, "word")

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def inner_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens; the same as `rows` for this class."""
        return self.rows(texts)

    def padded(self, rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """Return rows of ids, cut or padded with 0 to one length, (rows, length) int32.

        Args:
            rows: Token ids of each text.
            length: Number of ids to keep.
        """
        return padded(rows, length)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return all token ids of each text, without begin and end."""
        if self.tokens == "character":  # the same ids as from the tokenizer, thirty times faster
            ids = self._tokenizer.get_vocab()
            return [[ids.get(character, UNKNOWN_ID) for character in text] for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
        """Return token ids, cut or padded with 0 to a common length.

        Args:
            texts: Texts to encode.
            length: Number of tokens to keep; None for `usual_length`.

        Returns:
            Token ids (texts, length) int32.
        """
        return encoded(self, texts, usual_length(self, texts) if length is None else length)[0]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of one row of ids up to its end token, without padding.

        Characters and subwords restore the original text; words are joined with the usual spaces around punctuation.
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
        """Return the text of each id: the name of a special token, a subword with its leading space."""
        special, one = self._special(), self._tokenizer.id_to_token
        if self.tokens == "subword":  # byte-level tokens must be decoded
            return [special.get(i) or self._tokenizer.decode([i], skip_special_tokens=False) for i in map(int, ids)]
        return [one(i) for i in map(int, ids)]

    def _special(self) -> dict[int, str]:
        """Return the special tokens by id."""
        return {i: added.content for i, added in self._tokenizer.get_added_tokens_decoder().items()}


def check_text(where: str, text: str) -> str:
    """Return a text.

    Args:
        where: File and line of the text, for the message.
        text: Text to check.

    Raises:
        UsageError: The text has half of a surrogate pair, which no encoding of Unicode can write.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{where}: expected Unicode text, received half of a surrogate pair ({ascii(text[error.start])}) at"
            f" character {error.start}"
        ) from None
    return text


def padded(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Return rows of ids, cut or padded with 0 to one length, (rows, length) int32.

    Args:
        rows: Token ids of each text.
        length: Number of ids to keep.
    """
    ids = np.zeros((len(rows), length), np.int32)
    for row, values in zip(ids, rows, strict=True):
        values = values[:length]
        row[: len(values)] = values
    return ids


def usual_length(vocabulary: Vocabulary, texts: Sequence[str]) -> int:
    """Return the length that 95 % of the texts do not exceed, at most `LONGEST`; of many texts, some are looked at."""
    rows = vocabulary.rows(list(texts[:: -(-len(texts) // LOOKED_AT) or 1]))
    return min(LONGEST, max(1, int(np.ceil(np.percentile([len(row) for row in rows] or [1], 95)))))


def encoded(vocabulary: Vocabulary, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of texts, (texts, length) int32, cut or padded with 0, and their own lengths, (texts,).

    Args:
        vocabulary: Vocabulary of the texts.
        texts: Texts to encode. They are encoded in parts, because ids in lists take 36 bytes each.
        length: Number of ids to keep of each text.
    """
    ids, lengths = np.zeros((len(texts), length), np.int32), np.zeros(len(texts), np.int64)
    for start in range(0, len(texts), PART):
        rows = vocabulary.rows(list(texts[start : start + PART]))
        ids[start : start + PART] = vocabulary.padded(rows, length)
        lengths[start : start + PART] = [len(row) for row in rows]
    return ids, lengths


def longer(rows: Sequence[Sequence[int]], length: int) -> int:
    """Return the number of rows that are longer than `length`."""
    return sum(len(row) > length for row in rows)


def spaced(words: Iterable[str]) -> str:
    """Join words and punctuation marks with the usual spaces."""
    text = " ".join(words)
    text = re.sub(r" ([.,;:!?%)\]}…]+)(?= |$)", r"\1", text)
    text = re.sub(r"(?<!\S)([(\[{¿¡]) ", r"\1", text)
    text = re.sub(r"(?<=\w) (['’/-]) (?=\w)", r"\1", text)
    return re.sub(r'" (.*?) "', r'"\1"', text)


def _words(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> "Tokenizer":
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    composed = normalizers.NFC()
    tokenizer.normalizer = normalizers.Sequence([composed, normalizers.Lowercase()]) if lowercase else composed
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _characters(texts: Iterable[str], special: list[str], size: int) -> "Tokenizer":
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


def _subwords(texts: Iterable[str], special: list[str], size: int) -> "Tokenizer":
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
