"""The inputs of a model on tables: what each one is, found from the training rows, and the numbers of other rows.

An input is a record that a run and its files keep: `name` of the column and `form`.

- number: `edges`, quantiles of the training rows, and `missing`, whether some of them have none.
- date: days since 2000-01-01; edges and missing as of a number, and `time`, whether dates have a time. `written`
  is how a file of texts has them, if not as in ISO 8601.
- word: 1 where a text has the word `value`, otherwise 0.
- category: place of a text in `values` from 1, 0 for any other text and for none.

Numbers and dates come first, then words, then categories.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data import marks
from zoo.data.casts import tells_apart
from zoo.data.reading import Tally
from zoo.data.tabular.kinds import Form
from zoo.data.tabular.table import Table

Input = Mapping[str, Any]
# What stands for a missing number; `zoo.models.parts.table_features` has the same.
MISSING = np.float32(-1e30)
EPOCH = np.datetime64("2000-01-01", "us")
_DAY = np.timedelta64(1, "D")
# Largest number of intervals between quantiles that a run keeps, for a number.
INTERVALS = 64
# Texts that occur this often on average are categories, and a value that training rows have less often than LEAST is
# one of the others.
REPEATED, LEAST, MOST_VALUES = 5, 2, 1000
# Words of other texts: so many at most, each in this share of the training rows or more.
MOST_WORDS, SHARE = 64, 0.01
# What is between the values of a row whose hash is taken.
BETWEEN = "\x1f"
_WORD = re.compile(r"\w+")
ORDER = {"number": 0, "date": 0, "word": 1, "category": 2}


def inputs_of(table: Table, names: Sequence[str], tally: Tally, whole: Table | None = None) -> tuple[Input, ...]:
    """Return what the inputs of a model are, from training rows.

    Args:
        table: Training rows.
        names: Columns to learn from.
        tally: Takes what was found, and the columns that are left out.
        whole: Table that the rows were drawn from, in its order; the rows themselves by default.
    """
    found: list[Input] = []
    out: list[str] = []
    for name in names:
        made = _MAKERS[table.kind(name)](table, name, tally)
        found += made
        out += [] if made else [name]
    if out:
        tally.notes.append(
            f"columns {few(out)} have one value as float32, or other words in each row, and are left out"
        )
    _tell_counting(whole or table, [each["name"] for each in found if each["form"] == "number"], tally)
    forms = Counter(each["form"] for each in found if each["form"] != "word")
    words = Counter(each["name"] for each in found if each["form"] == "word")
    parts = [f"{count} {_PLURAL[form] if count > 1 else form}" for form, count in forms.items()]
    parts += [f"{count} words of {name}" for name, count in words.items()]
    tally.columns += f"; inputs: {', '.join(parts)}"
    return tuple(sorted(found, key=lambda each: ORDER[each["form"]]))


def forms_of(inputs: Sequence[Input]) -> dict[str, Form]:
    """Return how the values of the columns of inputs are written, for `zoo.data.tabular.table.read`."""
    usual: dict[str, Form] = {"number": "numbers", "date": "dates", "word": "texts", "category": "texts"}
    return {each["name"]: each.get("written", usual[each["form"]]) for each in inputs}


_PLURAL = {"number": "numbers", "date": "dates", "category": "categories"}


def _of_numbers(table: Table, name: str, tally: Tally) -> list[Input]:
    values = _numbers(table, name, "number")
    _tell_rounded(values, name, tally)
    edges = _edges(values)
    missing = bool(np.isnan(values).any())
    return [{"name": name, "form": "number", "edges": edges, "missing": missing}] if len(edges) > 1 else []


def _tell_counting(table: Table, names: Sequence[str], tally: Tally) -> None:
    """Note which columns of numbers count the rows of a table, up or down."""
    for name in names:
        given = table.numbers(name)
        steps = np.diff(given[~np.isnan(given)])
        if len(steps) > 1 and abs(steps[0]) == 1 and (steps == steps[0]).all():
            tally.notes.append(
                f"column {name!r} counts the rows; leave it out with --columns '!{name}' if it is no feature"
            )


def _of_times(table: Table, name: str, tally: Tally) -> list[Input]:
    times = table.times(name)
    days, given = _days(times), times[~np.isnat(times)]
    _tell_rounded(days, name, tally)
    edges = _edges(days)
    time = bool((given != given.astype("datetime64[D]")).any())
    missing = bool(np.isnat(times).any())
    record = {"name": name, "form": "date", "edges": edges, "missing": missing, "time": time}
    if (written := table.form(name)) != "dates":
        record["written"] = written
    return [record] if len(edges) > 1 else []


def _of_texts(table: Table, name: str, tally: Tally) -> list[Input]:
    given = len(table) - int(table.missing(name).sum())
    counts = _counted(table, name, given // REPEATED)
    if counts is not None:
        kept = [text for text, count in counts.most_common(MOST_VALUES) if count >= LEAST]
        if rest := len(counts) - len(kept):
            tally.notes.append(f"{rest:,} rare values of column {name!r} count as one")
        varied = len(kept) > 1 or (len(kept) == 1 and given < len(table))
        return [{"name": name, "form": "category", "values": sorted(kept)}] if varied else []
    rows = _rows_of_words(table, name)
    least = max(LEAST, SHARE * len(table))
    often = [word for word, count in rows.most_common(MOST_WORDS) if least <= count < len(table)]
    return [{"name": name, "form": "word", "value": word} for word in sorted(often)]


def _counted(table: Table, name: str, most: int) -> Counter[str] | None:
    """Return how often each text occurs, None if there are more than `most` texts."""
    counts: Counter[str] = Counter()
    for piece in table.pieces([name]):
        counts.update(filter(None, piece.texts(name)))
        if len(counts) > most:
            return None
    return counts


def _rows_of_words(table: Table, name: str) -> Counter[str]:
    """Return the number of rows with each word that a share of them has, and with others if the table is in memory."""
    frequent: set[str] = set()  # a word that a share of all rows has, has that share of the rows of some piece
    for piece in table.pieces([name]):
        rows = _words_of(piece, name)
        if len(piece) == len(table):
            return rows
        frequent |= {word for word, count in rows.items() if count >= SHARE * len(piece)}
    total: Counter[str] = Counter()
    for piece in table.pieces([name]):
        total.update({word: count for word, count in _words_of(piece, name).items() if word in frequent})
    return total


def _words_of(table: Table, name: str) -> Counter[str]:
    # Sorted, because the order of a set differs between processes, and words that are equally frequent are in it.
    return Counter(word for text in table.texts(name) if text for word in sorted(words(text)))


_MAKERS = {"numbers": _of_numbers, "times": _of_times, "texts": _of_texts}


def words(text: str) -> set[str]:
    """Return the words of a text in lower case, without punctuation."""
    return set(_WORD.findall(text.lower()))


def _edges(values: np.ndarray) -> list[float]:
    """Return the quantiles between which a number is encoded, each once, as numbers of float32."""
    given = values[~np.isnan(values)]
    if not len(given):
        return []
    found = np.unique(np.quantile(given, np.linspace(0, 1, INTERVALS + 1)).astype(np.float32))
    return [float(edge) for edge in found]


def _tell_rounded(values: np.ndarray, name: str, tally: Tally) -> None:
    """Note that float32, which a model takes, does not tell the values of a column apart."""
    if not tells_apart(values[~np.isnan(values)]):
        tally.notes.append(
            f"column {name!r} has values that differ by too little for float32; subtract what they share"
        )


def _days(times: np.ndarray) -> np.ndarray:
    return (times - EPOCH) / _DAY


def encoded(table: Table, inputs: Sequence[Input]) -> np.ndarray:
    """Return rows as a model takes them, (rows, inputs) float32.

    Args:
        table: Rows with all columns of the inputs.
        inputs: What the inputs are.
    """
    found = np.zeros((len(table), len(inputs)), np.float32)
    texts: dict[str, list[set[str]]] = {}
    for place, each in enumerate(inputs):
        name, form = each["name"], each["form"]
        if form == "word":
            if name not in texts:
                texts[name] = [words(text) for text in table.texts(name)]
            found[:, place] = [each["value"] in row for row in texts[name]]
        elif form == "category":
            ids = {value: number for number, value in enumerate(each["values"], 1)}
            found[:, place] = [ids.get(text, 0) for text in table.texts(name)]
        else:
            values = _numbers(table, name, form)
            middle = MISSING if each["missing"] else each["edges"][len(each["edges"]) // 2]
            found[:, place] = np.where(np.isnan(values), middle, values)
    return found


def tell_strange(table: Table, inputs: Sequence[Input], tally: Tally) -> None:
    """Note what is missing or unknown in rows where training rows had nothing such.

    Args:
        table: Rows with all columns of the inputs.
        inputs: What the inputs are.
        tally: Takes it.
    """
    for each in inputs:
        name = each["name"]
        if each["form"] == "category":
            counts: Counter[str] = Counter()
            known = set(each["values"])
            for piece in table.pieces([name]):
                counts.update(text for text in piece.texts(name) if text and text not in known)
            if counts:
                strange = few(sorted(counts))
                tally.changed[f"values of {name!r} that training rows seldom or never had ({strange})"] += (
                    counts.total()
                )
        elif each["form"] != "word" and not each["missing"]:
            absent = sum(int(np.isnan(_numbers(piece, name, each["form"])).sum()) for piece in table.pieces([name]))
            if absent:
                tally.changed[f"missing values of {name!r}, which training rows never had, taken for the median"] += (
                    absent
                )


def _numbers(table: Table, name: str, form: str) -> np.ndarray:
    """Return the values of a number or a date as float64, NaN where one is missing.

    Raises:
        UsageError: A number that float32, which a model takes, does not hold.
    """
    if form == "date":
        return _days(table.times(name))
    values = table.numbers(name)
    if len(far := np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)):
        raise UsageError(
            f"{table.path}, line {table.lines[far[0]]}: expected numbers within float32 in column {name!r}, received"
            f" {values[far[0]]:g}"
        )
    return values


def for_model(inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Return what `zoo.models.tabular.Tabular` takes as its columns."""
    kept = ("form", "edges", "missing", "time")
    return [
        {name: each[name] for name in kept if name in each}
        | ({"size": len(each["values"]) + 1} if each["form"] == "category" else {})
        for each in inputs
    ]


def marks_of(table: Table, names: Sequence[str]) -> np.ndarray:
    """Return a hash of the values that each row has in some columns, (rows, 16) uint8."""
    columns = [table.texts(name) for name in names]
    return marks.of_texts([BETWEEN.join(row) for row in zip(*columns, strict=True)])
