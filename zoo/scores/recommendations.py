"""Scores of recommended items: the rank of the one item that was held out, among those that the user has not had.

With one held-out item a user, recall at k is the share of users whose item is among the first k, and NDCG at k is
1 / log2(1 + rank) if the rank is at most k, else 0 (Järvelin & Kekäläinen, 2002).
"""

from collections.abc import Callable

import numpy as np

# Lengths of the lists of recommended items.
LENGTHS = (5, 10, 20)
# Users whose scores of all items are in memory at a time.
AT_ONCE = 256


class Seen:
    """Items that users have had, which are not recommended to them again.

    Args:
        users: Ids of users, (events,).
        items: Ids of items, (events,).
        count: Number of users.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, count: int):
        order = np.argsort(users, kind="stable")
        self._items = items[order]
        self._begins = np.searchsorted(users[order], np.arange(count + 1))

    def of(self, user: int) -> np.ndarray:
        """Return the ids of the items that a user has had."""
        return self._items[self._begins[user] : self._begins[user + 1]]

    def places(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a row for each item that users have had: the index of the user in the argument, and the item."""
        counts = self._begins[users + 1] - self._begins[users]
        rows = np.repeat(np.arange(len(users)), counts)
        return rows, np.concatenate([self.of(user) for user in users] or [self._items[:0]])


def ranks(scores: np.ndarray, users: np.ndarray, items: np.ndarray, seen: Seen) -> np.ndarray:
    """Return the rank of each user's held-out item, (users,) float; tied items share the mean of their ranks.

    Args:
        scores: Scores of all items, (users, items).
        users: Ids of the users, (users,).
        items: Held-out item of each, (users,).
        seen: Items that are left out.
    """
    each = np.arange(len(users))
    own = scores[each, items][:, None]
    others = scores.astype(np.float64)
    others[seen.places(users)] = -np.inf
    others[each, items] = -np.inf
    return 1 + (others > own).sum(1) + (others == own).sum(1) / 2


def ranks_by(score: Callable[[np.ndarray], np.ndarray], users: np.ndarray, items: np.ndarray, seen: Seen) -> np.ndarray:
    """Return the ranks of held-out items, some users at a time.

    Args:
        score: Function from ids of users (users,) to scores (users, items).
        users: Ids of the users.
        items: Held-out item of each.
        seen: Items that are left out.
    """
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(users), AT_ONCE)]
    return np.concatenate([ranks(score(users[part]), users[part], items[part], seen) for part in parts])


def ranked(found: np.ndarray) -> dict[str, float]:
    """Return recall and NDCG at each length of a list, and the mean reciprocal rank.

    Args:
        found: Ranks (users,).
    """
    gains = 1 / np.log2(1 + found)
    recalls = {f"recall_at_{k}": float((found <= k).mean()) for k in LENGTHS}
    gained = {f"ndcg_at_{k}": float(np.where(found <= k, gains, 0.0).mean()) for k in LENGTHS}
    return recalls | gained | {"reciprocal_rank": float((1 / found).mean())}


def popularity(items: np.ndarray, count: int) -> np.ndarray:
    """Return the number of training events of each item, (items,): what is recommended to everybody.

    Args:
        items: Ids of the items of the training events.
        count: Number of items.
    """
    return np.bincount(items, minlength=count).astype(np.float64)
