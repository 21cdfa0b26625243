"""Text to token ids: a word vocabulary, saved as one JSON file that the tokenizers library reads."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # ids 0 and 1


class Vocabulary:
    """Words and their ids: 0 is padding, 1 any unknown word, then the most frequent words first.

    Texts are lower-cased, and split at white space and around punctuation.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "Vocabulary":
        """Count the words of these texts and keep the `size` most frequent, the two special ids included."""
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=[PADDING, UNKNOWN], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(path)))

    def save(self, path: Path) -> None:
        self._tokenizer.save(str(path))

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
        """Return token ids, cut or padded with 0 to a common length.

        Args:
            texts: any number of them.
            length: tokens to keep; default, the length that 95 % of these texts fit in.

        Returns:
            (texts, length) int32.
        """
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        if length is None:
            length = max(1, int(np.ceil(np.percentile([len(row) for row in rows], 95))))
        ids = np.zeros((len(rows), length), np.int32)
        for row, values in zip(ids, rows, strict=True):
            values = values[:length]
            row[: len(values)] = values
        return ids

    def decode(self, ids: np.ndarray) -> str:
        """Return the words of one row of ids, without the padding."""
        return " ".join(self._tokenizer.id_to_token(int(i)) for i in ids if i)
