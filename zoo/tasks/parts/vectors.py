"""Vectors of users and items, whose products rank items: written for a search without the model."""

from pathlib import Path

import keras
import numpy as np

from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.scores.recommendations import Seen
from zoo.system.files import replacing


def of(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the vectors of users and items of a model, (users, width) and (items, width) float32.

    The product of a user's and an item's vector is the score of the item, up to what all items of a user have in
    common: the bias of an item is the last component of its vector, where that of users is 1.

    Args:
        model: Model with `user_vectors` and `item_vectors`, such as `zoo.models.TwoTower`.
    """
    ids = np.arange(model.num_users, dtype=np.int32)
    users = keras.ops.convert_to_numpy(model.user_vectors(ids))
    items = keras.ops.convert_to_numpy(model.item_vectors())
    if model.item_bias is not None:
        bias = keras.ops.convert_to_numpy(model.item_bias.embeddings)
        users, items = np.concatenate([users, np.ones_like(users[:, :1])], 1), np.concatenate([items, bias], 1)
    return {"users": users.astype(np.float32), "items": items.astype(np.float32)}


def write(path: Path, data: Dataset, found: dict[str, np.ndarray]) -> None:
    """Write vectors with the names of users and items, and the events of all splits.

    Args:
        path: .npz file with users, items, user_names, item_names, and events (events, 2) of ids.
        data: Data with the events.
        found: Vectors of `of`.
    """
    splits = (data.train, data.validation, data.test)
    events = np.concatenate(
        [np.stack([s.x[:, 0], s.y[:, 0] if s.y.ndim == 2 else s.y], axis=1).astype(np.int32) for s in splits]
    )
    form = data.spec.events
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **found, user_names=np.array(form.users), item_names=np.array(form.items), events=events)


def read_seen(path: Path, users: int) -> Seen:
    """Return the items that users have had, from a file that `write` wrote.

    Raises:
        UsageError: The file is missing or damaged.
    """
    try:
        with np.load(path) as found:
            events = found["events"]
            return Seen(events[:, 0].astype(np.int64), events[:, 1].astype(np.int64), users)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UsageError(
            f"{path}: expected the events of the run, so that nobody is recommended what they have had: {error}"
        ) from None
