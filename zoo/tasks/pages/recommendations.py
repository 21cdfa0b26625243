"""Report of recommendation: scores beside popularity, rare and popular items, and lists of some users."""

from typing import Any

import numpy as np

from zoo.console.figures import below, form_of
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.reports.page import text as escaped
from zoo.scores.recommendations import LENGTHS, ranked

CURVES = (("NDCG@10 of validation items", "ndcg_at_10"), ("Loss", "loss"))
# Users whose lists are shown, and items of each.
USERS, ITEMS = 8, 6
# Groups of items by the number of their training events.
GROUPS = (("rarest third", 0, 1 / 3), ("middle third", 1 / 3, 2 / 3), ("most popular third", 2 / 3, 1))


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of recommendation.

    Args:
        data: Data with the names of users and items.
        found: Scores of the test split.
        shown: Results that `Recommendation.measure` returned.
    """
    form, within = data.spec.events, shown["intervals"]
    tiles = [
        (
            format(found[name], form_of(name)[1]),
            f"{form_of(name)[0]} ({found['examples']:,} users){below(name, within)}"
            f"<br>popularity: {found[f'popularity_{name}']:{form_of(name)[1]}}",
        )
        for name in ("ndcg_at_10", "recall_at_10", "recall_at_20")
    ]
    what = "ratings" if form.rated else "events"
    subject = f"{len(form.users):,} users, {len(form.items):,} items, {len(data.train):,} training {what}"
    sections = [_verdict(found), _beside(found, shown), _groups(data, shown), _lists(data, shown)]
    return report.Page(subject, tiles, sections, CURVES)


def _verdict(found: dict[str, Any]) -> str:
    better = found["ndcg_at_10"] > found["popularity_ndcg_at_10"]
    said = (
        "The model ranks held-out items higher than popularity does."
        if better
        else "The model does not beat popularity: recommending the most frequent items to everybody is as good."
    )
    return (
        f"<section><h2>Beside popularity</h2><p>{said} The last item of each user is held out for the test, and ranked"
        " among all items that the user has not had before.</p></section>"
    )


def _beside(found: dict[str, Any], shown: dict[str, Any]) -> str:
    names = [*(f"recall_at_{k}" for k in LENGTHS), *(f"ndcg_at_{k}" for k in LENGTHS), "reciprocal_rank"]
    rows = "".join(
        f"<tr><td>{form_of(name)[0]}</td><td class=n>{found[name]:{form_of(name)[1]}}</td>"
        f"<td class=n>{found[f'popularity_{name}']:{form_of(name)[1]}}</td></tr>"
        for name in names
    )
    return (
        f"<section><h2>Scores, {shown['split']} split</h2><table><tr><th>score<th class=n>model<th class=n>popularity"
        f"</tr>{rows}</table></section>"
    )


def _groups(data: Dataset, shown: dict[str, Any]) -> str:
    """Return the recall of items by how often training has them."""
    split = data.split(shown["split"])
    items = (split.y[:, 0] if split.y.ndim == 2 else split.y).astype(int)
    order = np.empty(len(shown["counts"]))
    order[np.argsort(shown["counts"], kind="stable")] = (np.arange(len(shown["counts"])) + 0.5) / len(shown["counts"])
    place, rows = order[items], ""
    for name, low, high in GROUPS:
        chosen = (place >= low) & (place < high)
        if chosen.any():
            mine, theirs = (ranked(shown[key][chosen])["recall_at_10"] for key in ("ranks", "popular"))
            rows += (
                f"<tr><td>{name} of the items</td><td class=n>{int(chosen.sum()):,}</td><td class=n>{mine:.2%}</td>"
                f"<td class=n>{theirs:.2%}</td></tr>"
            )
    return (
        "<section><h2>Recall@10 of rare and popular items</h2><table><tr><th>items<th class=n>held out"
        f"<th class=n>model<th class=n>popularity</tr>{rows}</table></section>"
    )


def _lists(data: Dataset, shown: dict[str, Any]) -> str:
    """Return the last items of some users, the held-out one, and what the model recommends."""
    form, split = data.spec.events, data.split(shown["split"])
    table, rows = shown["vectors"], ""
    items = (split.y[:, 0] if split.y.ndim == 2 else split.y).astype(int)
    for index in np.linspace(0, len(split) - 1, min(USERS, len(split))).round().astype(int):
        user = int(split.x[index, 0])
        had = shown["seen"].of(user)
        scores = table["items"] @ table["users"][user]
        scores[had] = -np.inf
        first = np.argsort(-scores, kind="stable")[:ITEMS]
        cells = [", ".join(form.items[i] for i in chosen) for chosen in (had[-ITEMS:], [items[index]], first)]
        rows += (
            f"<tr><td>{escaped(form.users[user])}</td>"
            + "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
            + f"<td class=n>{shown['ranks'][index]:,g}</td></tr>"
        )
    return (
        "<section><h2>Lists of some users, test split</h2><table><tr><th>user<th>last items before<th>held out"
        f"<th>recommended<th class=n>rank</tr>{rows}</table></section>"
    )
