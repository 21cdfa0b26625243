"""What a data set takes over from a run, and what is known of it before it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoo.config.train_config import TrainConfig
from zoo.data.dataset import DataSpec
from zoo.data.reading import Tally
from zoo.data.text import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Form and vocabularies that a data set takes over.

    Args:
        like: Form of a trained run, to which images, texts and labels are brought.
        vocabulary: Vocabulary of that run, or of the run that a training begins with. If None, one is made of the
            training texts.
        target_vocabulary: Vocabulary of the targets of that run, if it was trained on pairs.
        num_classes: Number of classes, if there are more than the labels show.
        lengths: Longest text and longest target in tokens, unless `like` or the configuration says otherwise.
        splits: Splits that the examples of a run had, in order, by the key of each; see `zoo.data.splits.kept`.
        tally: Takes what the source counts while it reads.
    """

    like: DataSpec | None = None
    vocabulary: Vocabulary | None = None
    target_vocabulary: Vocabulary | None = None
    num_classes: int | None = None
    lengths: tuple[int, int] | None = None
    splits: Mapping[bytes, Sequence[str]] | None = None
    tally: Tally = field(default_factory=Tally)

    def length(self, config: TrainConfig) -> int | None:
        """Return the number of tokens that texts are cut to, None if neither the user nor a run says it."""
        if config.sequence_length is None and self.lengths:
            return self.lengths[0]
        return config.sequence_length
