"""Data for recommendation: tables of users and items, with ratings or as events, split by leave-last-out.

The last event of each user is held out for the test, the one before for validation (Rendle et al., 2009), by the time
column if there is one. With ratings these are the last items that the user liked.
"""

import dataclasses

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.events.form import EventsForm
from zoo.data.reading import Tally
from zoo.data.series.times import TIMES, plain
from zoo.data.tabular import table as tables
from zoo.data.tabular.table import Table
from zoo.data.taken import Taken

# Names of columns that are recognised, in lower case and without marks between words.
USERS, ITEMS = ("user", "userid", "customer", "customerid"), ("item", "itemid", "movieid", "product", "productid")
# Fewest events of a user who is held out: one each for training, validation and test.
FEWEST = 3


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read events.

    Args:
        config: Names the table and its columns.
        taken: Form that the events take over, that of a run.

    Returns:
        Data set whose splits have x, ids of users (events, 1) int32, and y, ids of items (events,) int32, with ratings
        (events, 2) float32, id and rating.

    Raises:
        UsageError: A table without the columns, or without a user who has three items.
    """
    tally = taken.tally
    like = taken.like.events if taken.like else None
    if config.settings.get("loss") == "squared" and not (like.rated if like else config.rating_column):
        raise UsageError("--set loss=squared: expected --rating-column with the ratings to learn, received none")
    table = tables.read(config.data, skip_bad=config.skip_bad, tally=tally)
    tally.unit = "events"
    form = like or _form(config, table, tally)
    ids, ratings, order = _events(config, table, form, like is not None, tally)
    users, items = ids.T
    if form.rated and form.liked is None:
        form = dataclasses.replace(form, liked=float(ratings.mean()))
        tally.notes.append(f"a rating of {form.liked:.3g} or more, the mean, counts as liking an item (--liked)")
    liked = np.ones(len(users), bool) if ratings is None else ratings >= form.liked
    place = _places(users, order, liked)
    held = {"test": 1, "validation": 2}
    counts = np.bincount(users[liked], minlength=len(form.users))
    enough = counts[users] >= FEWEST
    if not enough.any():
        raise UsageError(
            f"{config.data}: expected users with {FEWEST} items or more, of which two are held out, received at most"
            f" {int(counts.max(initial=0))} of one"
        )
    chosen = {name: enough & liked & (place == number) for name, number in held.items()}
    later = enough & ~liked & _after(users, order, chosen["validation"])
    if later.any():
        tally.left_out["that follow an item that is held out"] += int(later.sum())
    chosen["train"] = ~(chosen["test"] | chosen["validation"] | later)
    if form.rated and config.settings.get("loss", "squared") != "squared":
        disliked = chosen["train"] & ~liked
        tally.left_out["that were not liked"] += int(disliked.sum())
        chosen["train"] &= liked
    if few_events := int((counts < FEWEST).sum()):
        tally.notes.append(
            f"{few_events:,} of {len(form.users):,} users have fewer than {FEWEST} items, all for training"
        )
    tally.made.update(test="the last of each user", validation="the one before")
    splits = {}
    for name in ("train", "validation", "test"):
        rows = np.flatnonzero(chosen[name])
        y = items[rows].astype(np.int32)
        if form.rated:
            y = np.stack([y, ratings[rows]], axis=1).astype(np.float32)
        splits[name] = Split(users[rows, None].astype(np.int32), y)
    if like is None and form.rated:
        form = _with_mean(form, splits["train"])
    absent = ~np.isin(items[chosen["test"]], items[chosen["train"]])
    if absent.any():
        tally.notes.append(f"{int(absent.sum()):,} test items are in no training event: no model can know them")
    spec = DataSpec(config.data_name, "events", (1,), (), task="recommendation", events=form)
    return Dataset(spec, **splits)


def _form(config: TrainConfig, table: Table, tally: Tally) -> EventsForm:
    """Return the form of a table; its columns are named, or recognised and told."""
    user = _column(config.user_column, "user", USERS, table, tally)
    item = _column(config.item_column, "item", ITEMS, table, tally)
    rating, time = config.rating_column, config.time_column
    for option, name in (("--rating-column", rating), ("--time-column", time)):
        if name is not None:
            tables.header.refuse_absent(config.data, table.names, [name], option)
    if time is None:
        found = [n for n in table.names if n not in (user, item, rating)]
        found = [n for n in found if table.kind(n) == "times" or plain(n) in TIMES and table.kind(n) == "numbers"]
        time = found[0] if len(found) == 1 else None
        tally.notes.append(
            f"events are in the order of column {time!r}"
            if time
            else "events are in the order of the rows, as there is no column with their time (--time-column)"
        )
    if rest := [name for name in table.names if name not in (user, item, rating, time)]:
        tally.notes.append(f"columns that are not used: {few(rest)}")
    names = {column: tuple(sorted(set(table.texts(column)) - {""}, key=_in_order)) for column in (user, item)}
    if len(names[item]) < 2:
        raise UsageError(f"{config.data}: expected two items or more in column {item!r}, received {len(names[item])}")
    return EventsForm(names[user], names[item], user, item, rating, time, config.liked)


def _in_order(name: str) -> tuple[int, float, str]:
    """Return a key that puts numbers in their order before other names."""
    return (0, float(name), name) if name.isdecimal() else (1, 0.0, name)


def _column(given: str | None, what: str, known: tuple[str, ...], table: Table, tally: Tally) -> str:
    """Return the column of users or of items: the option, or the only column with a usual name."""
    if given is not None:
        tables.header.refuse_absent(table.path, table.names, [given], f"--{what}-column")
        return given
    found = [name for name in table.names if plain(name) in known]
    if len(found) != 1:
        raise UsageError(
            f"--{what}-column: expected the column of {table.path.name} with the {what}s, one of"
            f" {few(list(table.names))}"
        )
    tally.notes.append(f"{what}s are in column {found[0]!r}")
    return found[0]


def _events(
    config: TrainConfig, table: Table, form: EventsForm, taken: bool, tally: Tally
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return ids of user and item (events, 2), ratings, and the order of the events, without repeated pairs."""
    used = [form.user_column, form.item_column, *(n for n in (form.rating_column, form.time_column) if n)]
    tables.header.refuse_absent(table.path, table.names, used)
    columns = []
    keep = np.ones(len(table), bool)
    for column, names in ((form.user_column, form.users), (form.item_column, form.items)):
        place = {name: i for i, name in enumerate(names)}
        ids = np.array([place.get(text, -1) for text in table.texts(column)], np.int64)
        columns.append(ids)
        keep &= ids >= 0
    _refuse_empty(config, table, [form.user_column, form.item_column], ~keep, taken, tally)
    ratings = None
    if form.rating_column:
        ratings = table.numbers(form.rating_column)
        absent = np.isnan(ratings)
        _refuse_empty(config, table, [form.rating_column], absent, False, tally)
        keep &= ~absent
    when = np.arange(len(table))
    if form.time_column:
        moments = _when(table, form.time_column)
        when = np.empty(len(table), np.int64)
        when[np.lexsort((np.arange(len(table)), moments))] = np.arange(len(table))
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(when[rows], kind="stable")]
    pairs = np.stack([column[rows] for column in columns], axis=1)
    keys = pairs[:, 0] * len(form.items) + pairs[:, 1]
    # The first event of a pair counts: later ones say nothing new. Of ratings, the last is valid.
    _, first = np.unique(keys if ratings is None else keys[::-1], return_index=True)
    first = np.sort(first if ratings is None else len(keys) - 1 - first)
    if repeated := len(rows) - len(first):
        which = "the last rating counts" if form.rated else "the first counts"
        tally.left_out[f"of a user and an item that are there again ({which})"] += repeated
    rows, pairs = rows[first], pairs[first]
    return pairs, None if ratings is None else ratings[rows], np.arange(len(rows))


def _when(table: Table, column: str) -> np.ndarray:
    """Return moments that events are ordered by: dates, or numbers such as seconds since 1970."""
    if table.kind(column) == "numbers":
        return np.nan_to_num(table.numbers(column), nan=-np.inf)
    return table.times(column).astype(np.int64)


def _refuse_empty(
    config: TrainConfig, table: Table, columns: list[str], bad: np.ndarray, taken: bool, tally: Tally
) -> None:
    """Count rows that cannot be used, or refuse the first one unless it may be left out."""
    if not bad.any():
        return
    if taken:
        tally.left_out["with a user or an item that the run does not know"] += int(bad.sum())
        return
    if config.skip_bad:
        tally.left_out["with an empty field"] += int(bad.sum())
        return
    line = int(table.lines[np.flatnonzero(bad)[0]])
    raise UsageError(
        f"{table.path}, line {line}: expected a value in {' and '.join(map(repr, columns))}, received nothing;"
        " --skip-bad leaves such lines out"
    )


def _places(users: np.ndarray, order: np.ndarray, liked: np.ndarray) -> np.ndarray:
    """Return the place of each event among those that its user liked, 1 for the last; 0 for the others."""
    found = np.zeros(len(users), np.int64)
    rows = np.flatnonzero(liked)
    rows = rows[np.lexsort((-order[rows], users[rows]))]
    begins = np.flatnonzero(np.diff(users[rows], prepend=-1))
    lengths = np.diff([*begins, len(rows)])
    found[rows] = np.arange(len(rows)) - np.repeat(begins, lengths) + 1
    return found


def _after(users: np.ndarray, order: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return which events come after the held-out event of their user."""
    first = np.full(users.max() + 1, np.iinfo(np.int64).max)
    first[users[held]] = order[held]
    return order > first[users]


def _with_mean(form: EventsForm, train: Split) -> EventsForm:
    """Return a form with the mean rating of the training events."""
    return dataclasses.replace(form, mean=float(train.y[:, 1].mean()))
