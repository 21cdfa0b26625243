"""`python -m benchmarks.readme`: Write the newest results and the pretrained runs into the pages, between marks."""

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import matrix
from zoo import stock
from zoo.reports import stock_table as table

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
# Every page that has a mark such as <!-- matrix: python -m benchmarks.readme -->.
PAGES = (
    "README.md",
    "docs/guides/large_data.md",
    "docs/results/compression.md",
    "docs/results/devices.md",
    "docs/results/networks.md",
    "docs/results/numbers.md",
    "docs/results/performance.md",
    "docs/results/pretrained.md",
    "docs/results/scaling.md",
    "docs/results/sound.md",
    "docs/results/tasks.md",
    "docs/results/training.md",
    "docs/results/vision.md",
)
# Benchmarks whose results are drawn as well: the caption of the picture.
DRAWN = {
    "throughput": "Training examples a second of other scripts, as shares of zoo.train's",
    "cost": "Time and memory of a training step against what grows, with fitted powers",
}
# Columns of the pretrained runs in the README, and of the data they were trained on.
SUMMARY = {"run": "name", "test": "test split, Keras", "of the file": "the file", "file": "size", "recipe": "recipe"}
DATA = ("dataset", "what", "source", "licence")
# Pretrained runs that the README has no room for.
LEFT_OUT = (
    *("cnn-digits", "simplenet-mnist", "transformer-digits", "gan_dense-digits", "cross_modal-digits"),
    *("self_attention-mnist", "resnet8-cifar10-100kb"),
)
# The model whose files stand for a precision in the README.
EXAMPLE = "cnn"


def newest(name: str) -> tuple[Path, dict[str, Any]]:
    """Return the newest report of a benchmark and its numbers."""
    path = max(RESULTS.glob(f"*-{name}.json"))
    return path.with_suffix(".md"), json.loads(path.read_text(encoding="utf-8"))


def picture(name: str) -> Path:
    """Return the path of the picture of a benchmark's newest report."""
    return RESULTS / f"{name}.png"


def updated(page: str) -> str:
    """Return the text of a page with the newest tables in it."""
    up = "../" * page.count("/")
    marked = re.compile(r"(<!-- (\w+): python -m benchmarks\.readme -->\n).*?(<!-- /\2 -->)", re.DOTALL)
    text = (ROOT / page).read_text(encoding="utf-8")
    return marked.sub(lambda marks: marks[1] + written(marks[2], up) + marks[3], text)


def written(mark: str, up: str) -> str:
    """Return what stands between the marks of a name, as Markdown.

    Args:
        mark: Name of a benchmark, or of one of the tables below.
        up: Path from the page's folder to the root of the repository, such as `../../`.
    """
    if mark in _STOCK:
        return _STOCK[mark]()
    report, result = newest(_REPORTS.get(mark, mark))
    lines = _TABLES[mark](result) if mark in _TABLES else importlib.import_module(f"benchmarks.{mark}").table(result)
    lines = [*lines, "", f"Source: [report]({up}{_link(report)})."]
    if mark in DRAWN:
        lines += ["", f"![{DRAWN[mark]}]({up}{_link(picture(mark))})"]
    return "\n".join(lines) + "\n"


def _matrix(result: dict[str, Any]) -> list[str]:
    return matrix.table(result["cells"])


def _precisions(result: dict[str, Any]) -> list[str]:
    """Return a row for each precision: the file of one model, how many models it works for, and what is refused."""
    titles = ("precision", "`cnn` on MNIST, bytes", "points against Keras", "ms an image", "works for", "refused for")
    rows = [f"| {' | '.join(titles)} |", "| --- |" + " --- |" * (len(titles) - 1)]
    for precision in matrix.PRECISIONS:
        cells = [cell for cell in result["cells"] if cell["precision"] == precision]
        refused = [", ".join(_variant(cell)) for cell in cells if "refused" in cell]
        shown = next(cell for cell in cells if cell["row"] == EXAMPLE)
        rows.append(
            f"| `{precision}` | {shown['bytes']:,} | {shown['points']:+.2f} | {shown['median_ms']:.3f}"
            f" | {len(cells) - len(refused)} of {len(cells)} | {'; '.join(refused) or 'none'} |"
        )
    return rows


def _variant(cell: dict[str, Any]) -> list[str]:
    return [cell["row"], *([cell["kernel"]] if cell["kernel"] != "auto" else [])]


def _accuracy(result: dict[str, Any]) -> list[str]:
    lines = ["| model | data | test accuracy, mean of 3 seeds | epochs |", "| --- | --- | --- | --- |"]
    for row in result["rows"]:
        lines.append(
            f"| `{row['model']}` | {row['dataset']} ({row['test_examples']:,} test examples) | {row['mean']:.2%}"
            f" (standard deviation {row['spread']:.2%}) | {row['epochs']} |"
        )
    return lines


def _equality(result: dict[str, Any]) -> list[str]:
    ways = list(result["equality"][0]["largest_difference"])
    lines = [
        "| largest difference of any weight from `none`, same seed, one epoch | " + " | ".join(ways) + " |",
        "| --- |" + " --- |" * len(ways),
    ]
    for row in result["equality"]:
        found = row["largest_difference"]
        cells = [f"{found[way]:.1e}" if way in found else "not run" for way in ways]
        lines.append(f"| `{row['model']}` on {row['dataset']}, {row['precision']} | {' | '.join(cells)} |")
    return lines


def _startup(result: dict[str, Any]) -> list[str]:
    slowest = max(row["median_seconds"] for row in result["rows"])
    return [f"`--help` and the answer to a mistake take at most {slowest:.2f} s."]


def _stock() -> str:
    rows = [table.cells(name) for name in stock.index() if name not in LEFT_OUT]
    return _markdown([{title: row[key] for key, title in SUMMARY.items()} for row in rows], code=("name", "recipe"))


def _stock_details() -> str:
    return _markdown([table.cells(name) for name in stock.index()], code=("run", "recipe", "command"))


def _data() -> str:
    rows = {entry["dataset"]: {title: entry[title] for title in DATA} for entry in stock.index().values()}
    return _markdown(list(rows.values()), code=("dataset",))


# Tables that a benchmark's own module does not make, and the reports they are read from where the name is another.
_TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "matrix": _matrix,
    "precisions": _precisions,
    "accuracy": _accuracy,
    "equality": _equality,
    "startup": _startup,
}
_REPORTS = {"precisions": "matrix", "equality": "strategies"}
# Tables of the runs that come with the package.
_STOCK: dict[str, Callable[[], str]] = {"stock": _stock, "stock_details": _stock_details, "data": _data}


def _markdown(rows: list[dict[str, str]], code: tuple[str, ...]) -> str:
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    for row in rows:
        lines.append(" | ".join(f"`{cell}`" if title in code else cell for title, cell in row.items()))
    return "".join(f"| {line} |\n" for line in lines)


def _link(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__.partition(": ")[2]).parse_args()
    for name in DRAWN:
        importlib.import_module(f"benchmarks.{name}").draw(newest(name)[1], picture(name))
    for page in PAGES:
        (ROOT / page).write_text(updated(page), encoding="utf-8")
    sys.exit(0)
