"""Report of a knowledge graph: scores of each relation, hardest questions, entities in a plane."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.figures import below
from zoo.data import Dataset, DataSpec
from zoo.reports import page as report
from zoo.reports.page import text as escaped
from zoo.scores.ranks import HITS, ranked
from zoo.system.files import write_text

HARDEST = 24
# Maximum number of names in a plane that remain readable.
DRAWN = 120
CURVES = (("Mean reciprocal rank, unfiltered", "mrr"), ("Loss", "loss"))


def asked(spec: DataSpec, entity: int, relation: int) -> tuple[str, str, str]:
    """Return a question as head, relation and tail, one of the ends a question mark."""
    known, number = spec.class_names[entity], len(spec.relations)
    if relation < number:
        return known, spec.relations[relation], "?"
    return "?", spec.relations[relation - number], known


def write_ranks(path: Path, data: Dataset, shown: dict[str, Any]) -> None:
    """Write a row for each question: head, relation, tail, answer, filtered rank of the answer, and best entity."""
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(["head", "relation", "tail", "answer", "rank", "first"])
    for words, answer, rank, first in _rows(data, shown, np.arange(len(shown["ranks"]))):
        writer.writerow([*words, answer, f"{rank:g}", first])
    write_text(path, text.getvalue())


def _rows(data: Dataset, shown: dict[str, Any], chosen: np.ndarray) -> Iterator[tuple]:
    spec, split = data.spec, data.split(shown["split"])
    for i in chosen:
        names = spec.class_names[split.y[i]], spec.class_names[shown["first"][i]]
        yield asked(spec, *split.x[i]), names[0], float(shown["ranks"][i]), names[1]


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a knowledge graph.

    Args:
        data: Data with the names of entities and relations.
        found: Scores of the test split.
        shown: Results that `LinkPrediction.measure` returned.
    """
    spec, within = data.spec, shown["intervals"]
    tiles = [
        (f"{found['mrr']:.4f}", f"filtered MRR ({found['examples']:,} test questions){below('mrr', within)}"),
        *((f"{found[f'hits_at_{n}']:.2%}", f"hits at {n}{below(f'hits_at_{n}', within)}") for n in HITS),
        (f"{found.get('mrr_tails', 0):.4f}", "MRR of tails"),
        (f"{found.get('mrr_heads', 0):.4f}", "MRR of heads"),
    ]
    sections = [_relations(data, shown), _hardest(data, shown)]
    if found["of_unseen_entities"] or found["left_out_triples"]:
        sections.insert(
            0,
            f"<section><h2>Unseen entities and relations</h2>{found['of_unseen_entities']:,} test questions are about"
            f" entities that no training triple has. Without them the MRR is {found.get('mrr_seen', 0):.4f}."
            f" {found['left_out_triples']:,} test triples have a relation that no training triple has, and are left"
            " out.</section>",
        )
    if len(shown.get("entities", ())) in range(3, DRAWN + 1):
        sections.append(_plane(spec, shown["entities"]))
    subject = f"{spec.num_classes:,} entities, {len(spec.relations):,} relations, both directions"
    return report.Page(subject, tiles, sections, CURVES)


def _relations(data: Dataset, shown: dict[str, Any]) -> str:
    number, split = len(data.spec.relations), data.split(shown["split"])
    rows = []
    for relation, name in enumerate(data.spec.relations):
        tails, heads = (shown["ranks"][split.x[:, 1] == i] for i in (relation, relation + number))
        if not len(tails):
            continue
        both = ranked(np.concatenate([tails, heads]))
        cells = [both["mrr"], (1 / tails).mean(), (1 / heads).mean(), both["hits_at_1"], both["hits_at_10"]]
        shown_cells = "".join(f"<td class=n>{cell:.4f}</td>" for cell in cells)
        rows.append((len(tails), f"<tr><td>{escaped(name)}</td>{shown_cells}<td class=n>{len(tails):,}</td></tr>"))
    body = "".join(row for _, row in sorted(rows, key=lambda row: -row[0]))
    return (
        "<section><h2>Scores of each relation, test split</h2><table><tr><th>relation<th class=n>MRR<th class=n>tails"
        f"<th class=n>heads<th class=n>hits at 1<th class=n>hits at 10<th class=n>triples</tr>{body}</table>"
        "</section>"
    )


def _hardest(data: Dataset, shown: dict[str, Any]) -> str:
    order = np.argsort(-shown["ranks"], kind="stable")[:HARDEST]
    rows = "".join(
        f"<tr><td>{escaped(' '.join(words))}</td><td>{escaped(answer)}</td><td class=n>{rank:,g}</td>"
        f"<td>{escaped(first)}</td></tr>"
        for words, answer, rank, first in _rows(data, shown, order)
    )
    return (
        "<section><h2>Hardest questions, test split</h2><table><tr><th>question<th>answer<th class=n>rank"
        f"<th>best entity</tr>{rows}</table></section>"
    )


def _plane(spec: DataSpec, entities: np.ndarray) -> str:
    from sklearn.decomposition import PCA

    places = PCA(2, svd_solver="full").fit_transform(entities)
    drawn = report.figure(8, 6)
    axes = drawn.subplots()
    axes.scatter(*places.T, s=12, color="#2463c5")
    for name, place in zip(spec.class_names, places, strict=True):
        axes.annotate(name, place, textcoords="offset points", xytext=(4, 3), fontsize=8)
    axes.set_axis_off()
    picture = report.svg(drawn, "entities by name")
    return f"<section><h2>Entities in their first two principal components</h2>{picture}</section>"
