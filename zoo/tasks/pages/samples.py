"""Report of samples: beside real images, and the share of each class."""

from typing import Any

from zoo.console.figures import below
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.reports.mosaic import inline, mosaic, remark
from zoo.reports.page import text as escaped

COLUMNS = 8
CURVES = (
    ("Frechet distance of samples", "frechet_distance"),
    ("Diversity (real images: 1)", "diversity"),
    ("Loss of the generator", "generator_loss"),
    ("Total loss", "loss"),
)


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a generator.

    Args:
        data: Data with the number of classes.
        found: Scores of the test split.
        shown: Results that `Generation.measure` returned.
    """
    tiles = [
        (f"{found['frechet_distance']:.3f}", f"Frechet distance in {escaped(found['compared_in'])}"),
        (f"{found['coverage']:.2%}", f"coverage ({found['compared']:,} samples and test images)"),
        (f"{found['density']:.2f}", "density"),
        (f"{found['precision']:.2%}", "precision"),
        (f"{found['recall']:.2%}", "recall"),
    ]
    within = shown["intervals"]
    if "recognised" in found:
        label = (
            f"recognised with a probability of 90 % or more ({found['samples']:,} samples){below('recognised', within)}"
        )
        tiles += [
            (f"{found['recognised']:.2%}", label),
            (f"{found['rarest_class']:.2%}", "share of the rarest class"),
        ]
    if "as_asked" in found:
        tiles.append((f"{found['as_asked']:.2%}", f"of the class asked for{below('as_asked', within)}"))
    pictures = "".join(
        f"<section><h2>{title}{remark(shown[name].shape[-1])}</h2>"
        f"<img alt='{title.lower()}' style='width:100%;image-rendering:pixelated'"
        f" src='{inline(mosaic(shown[name], COLUMNS))}'></section>"
        for title, name in (("Samples", "made"), ("Real images, test split", "real"))
    )
    why = f"<section><h2>Scores without an interval</h2>{escaped(shown['no_intervals'])}.</section>"
    sections = [f"<div class=two>{pictures}</div>", why]
    if "classes" in found:
        histogram = _histogram(found["classes"])
        sections.append(f"<section><h2>Classes of {found['samples']:,} samples</h2>{histogram}</section>")
    return report.Page(f"{data.spec.num_classes:,} classes", tiles, sections, CURVES)


def _histogram(shares: dict[str, float]) -> str:
    drawn = report.figure(9, 2.8)
    axes = drawn.subplots()
    axes.bar(range(len(shares)), [100 * share for share in shares.values()], color="#2463c5")
    if len(shares) <= 40:  # more names would be unreadable
        axes.set_xticks(range(len(shares)), shares, rotation=45 if max(map(len, shares)) > 3 else 0)
    axes.set_ylabel("% of samples")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e7ec", linewidth=0.8, axis="y")
    return report.svg(drawn, "share of the samples by class")
