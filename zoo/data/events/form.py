"""What a recommending model depends on: its users, its items, and what ratings mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EventsForm:
    """Form of events; a part of `DataSpec`.

    Args:
        users: Names of the users, in the order of their ids.
        items: Names of the items, likewise.
        user_column: Column with the user.
        item_column: Column with the item.
        rating_column: Column with the rating; None where every event counts alike.
        time_column: Column with the time; None where events are in order.
        liked: Lowest rating that counts as liking an item; None without ratings.
        mean: Mean rating of the training events; 0 without ratings.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user_column: str
    item_column: str
    rating_column: str | None = None
    time_column: str | None = None
    liked: float | None = None
    mean: float = 0.0

    @property
    def rated(self) -> bool:
        """Whether events have ratings."""
        return self.rating_column is not None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EventsForm":
        """Return the form that `dataclasses.asdict` made values of."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
