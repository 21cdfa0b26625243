"""Callback of recommendation that ranks held-out items at the end of each epoch."""

import keras
import numpy as np

from zoo.data import Split
from zoo.runs import checkpoints, workers
from zoo.runs.inference import as_floats
from zoo.scores.recommendations import Seen, ranked, ranks_by

# Users whose items are ranked, the same ones each time.
VALIDATED = 2000


class Ranker(keras.callbacks.Callback):
    """Add recall and NDCG of validation items to the logs of an epoch.

    Args:
        split: Validation events, one of each user.
        items: Ids of their items.
        seen: Items that users have had before.
    """

    def __init__(self, split: Split, items: np.ndarray, seen: Seen):
        super().__init__()
        chosen = np.linspace(0, len(split) - 1, min(VALIDATED, len(split))).round().astype(int)
        self.users, self.items, self.seen = split.x[chosen, 0], items[chosen], seen

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        checkpoints.synchronise(self.model)

        def scores(users: np.ndarray) -> np.ndarray:
            return as_floats(self.model(users[:, None].astype(np.int32), training=False))

        found = ranked(ranks_by(scores, self.users, self.items, self.seen))
        kept = {f"val_{name}": found[name] for name in ("recall_at_10", "ndcg_at_10")}
        values = workers.of_chief(self.model, np.array(list(kept.values()), np.float64))
        logs |= dict(zip(kept, values.tolist(), strict=True))
