"""Features of the columns of a table: from raw numbers, dates, words and categories to numbers from 0 to 1."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.models.parts.floating import InFloat

# What stands for a missing number or date. A large finite number, because a comparison with NaN is no operator of
# common files.
MISSING = -1e30
# Periods of a date in days: a year, a week and, for dates with a time, a day.
PERIODS = (365.2425, 7.0, 1.0)
FORMS = ("number", "date", "word", "category")
# Largest number of ids of a category that has a feature for each instead of an embedding: few operators, and none that
# microcontrollers lack.
MOST_ONE_HOT = 16


@keras.saving.register_keras_serializable("zoo")
class TableFeatures(InFloat):
    """Piecewise-linear features of numbers, cycles of dates, words as they are; and the ids of categories.

    A number is encoded by the intervals between its edges (Gorishniy et al., 2022): an interval below it gives 1, one
    above it 0, and its own the share that lies below it. Numbers beyond the edges count as the edges. A date also gives
    sine and cosine of its place in the year, in the week and, if it has a time, in the day. A column with missing
    values has one more feature, which is 1 where one is missing. A category of few values has a feature for each of
    them, all 0 for any other value.

    Args:
        columns: What each input is, in order, with numbers and dates first and categories last: a mapping with `form`,
            number, date, word or category; for numbers and dates `edges`, increasing, and `missing`; for dates `time`,
            whether they have one; for categories `size`, the number of ids. Id 0 is any other category.
        bins: Largest number of intervals of a number. Edges are left out evenly.

    Input shape: (batch, inputs), numbers as they are, dates in days since 2000-01-01, MISSING for a missing one, 1 for
        a word of the text, and ids of categories.
    Output shape: (batch, features), from 0 to 1, None without features; and int32 rows of an embedding of all larger
        categories, (batch, categories), None without them.

    Raises:
        ValueError: Columns in another order, or of an unknown form.
    """

    def __init__(self, columns: Sequence[Mapping[str, Any]], bins: int = 32, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.columns = [dict(column) for column in columns]
        self.bins = bins
        forms = [column["form"] for column in self.columns]
        if strange := set(forms) - set(FORMS):
            raise ValueError(f"TableFeatures: form: expected one of {', '.join(FORMS)}, received {min(strange)!r}")
        places = [2 if form == "category" else 1 if form == "word" else 0 for form in forms]
        if places != sorted(places):
            raise ValueError(f"TableFeatures: columns: expected numbers and dates, words, categories, received {forms}")
        self.numbers = [i for i, form in enumerate(forms) if form in ("number", "date")]
        self.words = forms.count("word")
        sizes = {i: self.columns[i]["size"] for i, form in enumerate(forms) if form == "category"}
        small = {i: size for i, size in sizes.items() if size <= MOST_ONE_HOT}
        large = {i: size for i, size in sizes.items() if size > MOST_ONE_HOT}
        self._small = np.array([i for i, size in small.items() for _ in range(1, size)], np.int32)
        self._values = np.array([value for size in small.values() for value in range(1, size)], np.float32)
        self._large, self.categories = np.array(list(large), np.int32), len(large)
        edges = [_thinned(self.columns[i]["edges"], bins) for i in self.numbers]
        low = [np.asarray(each[:-1], np.float32) for each in edges]
        factors = [1 / np.diff(np.asarray(each, np.float32)) for each in edges]
        # Each interval has a place: the index of its column, its lower edge, and the inverse of its width.
        self._column = np.repeat(self.numbers, [len(each) for each in low]).astype(np.int32)
        self._low, self._factors = (np.concatenate(each or [np.zeros(0)]).astype(np.float32) for each in (low, factors))
        self._absent = np.array([i for i in self.numbers if self.columns[i]["missing"]], np.int32)
        cycles = [
            (i, period)
            for i in self.numbers
            if forms[i] == "date"
            for period in PERIODS[: 3 if self.columns[i]["time"] else 2]
        ]
        self._cycled = np.array([i for i, _ in cycles], np.int32)
        self._periods = np.array([period for _, period in cycles], np.float32)
        self._offsets = np.cumsum([0, *list(large.values())[:-1]])[: len(large)].astype(np.float32)
        self.rows = sum(large.values())

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self._low) + len(self._absent) + 2 * len(self._cycled) + self.words + len(self._small)

    def build(self, input_shape):
        if input_shape[-1] != len(self.columns):
            raise ValueError(f"TableFeatures: expected {len(self.columns)} inputs, received {input_shape[-1]}")
        self.built = True

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.width), (input_shape[0], self.categories)

    def call(self, x):
        x = ops.cast(x, "float32")
        parts = []
        if len(self._low):
            parts.append((ops.take(x, self._column, axis=1) - self._low) * self._factors)
        if len(self._absent):
            parts.append(ops.take(x, self._absent, axis=1) * (1 / MISSING))
        if self.words:
            parts.append(x[:, len(self.numbers) : len(self.numbers) + self.words])
        if len(self._small):
            parts.append(1 - ops.abs(ops.take(x, self._small, axis=1) - self._values))
        found = [ops.minimum(ops.relu(part), 1.0) for part in parts]
        if len(self._cycled):
            turns = ops.take(x, self._cycled, axis=1) / self._periods
            angle = (turns - ops.floor(turns)) * (2 * math.pi)
            found += [0.5 + 0.5 * ops.sin(angle), 0.5 + 0.5 * ops.cos(angle)]
        features = ops.concatenate(found, axis=1) if len(found) > 1 else next(iter(found), None)
        if not self.categories:
            return features, None
        return features, ops.cast(ops.take(x, self._large, axis=1) + self._offsets, "int32")

    def get_config(self):
        return super().get_config() | {"columns": self.columns, "bins": self.bins}


def _thinned(edges: Sequence[float], bins: int) -> list[float]:
    """Return at most `bins` + 1 edges, evenly chosen, with the first and the last."""
    if len(edges) <= bins + 1:
        return list(edges)
    return [edges[place] for place in np.linspace(0, len(edges) - 1, bins + 1).round().astype(int)]
