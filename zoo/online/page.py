"""Report section on online learning: accuracy along the stream, drifts and rollbacks."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.reports import page as report


def draw(rows: Sequence[Mapping[str, str]], numbers: Mapping[str, Any]) -> Any:
    """Return a matplotlib figure of accuracy against the number of examples.

    Args:
        rows: Rows of prequential.csv.
        numbers: Values under `prequential` in metrics.json.
    """
    figure = report.figure(9, 3.8)
    axes = figure.subplots()
    lines = (
        ("windowed", f"predictions, last {numbers['window']:,}", "-", "#2463c5"),
        ("accuracy", "predictions, all so far", "-", "#6b7785"),
        ("held_out", "held-out examples", ".", "#1c2530"),
    )
    for name, label, style, colour in lines:
        there = [row for row in rows if row[name]]
        places = [int(row["examples"]) for row in there]
        if there:
            seen = {"marker": "o"} if style == "-" and len(there) == 1 else {}  # a line of one point is not seen
            values = [100 * float(row[name]) for row in there]
            axes.plot(places, values, style, **seen, color=colour, label=label)
    for what, colour, style in (("drifts", "#b3261e", "--"), ("rollbacks", "#c77700", ":")):
        for i, event in enumerate(numbers[what]):
            axes.axvline(event["example"], color=colour, linestyle=style, linewidth=1.2, label=None if i else what[:-1])
    axes.set_xlabel("examples of the stream")
    axes.set_ylabel("accuracy, %")
    axes.grid(color="#e3e7ec", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure


def sections(numbers: Mapping[str, Any], drawn: Any) -> list[str]:
    """Return the section of the report: the figure, and a table row for each drift and rollback.

    Args:
        numbers: Values under `prequential` in metrics.json.
        drawn: Figure returned by `draw`.
    """
    drifts = (
        (
            drift["example"],
            f"drift: accuracy {drift['accuracy_after']:.1%} over the last {drift['window']:,} predictions,"
            f" {drift['accuracy_before']:.1%} before",
        )
        for drift in numbers["drifts"]
    )
    backs = (
        (back["example"], f"rollback to the weights of example {back['to']:,}: {back['why']}")
        for back in numbers["rollbacks"]
    )
    events = "".join(
        f"<tr><td class=n>{example:,}</td><td>{report.text(what)}</td></tr>"
        for example, what in sorted([*drifts, *backs])
    )
    table = f"<table><tr><th class=n>example<th>event</tr>{events}</table>" if events else ""
    return [
        f"<section><h2>Prequential accuracy: {numbers['accuracy']:.2%} of {numbers['examples']:,} examples</h2>"
        f"{report.svg(drawn, 'accuracy by example')}{table}</section>"
    ]
