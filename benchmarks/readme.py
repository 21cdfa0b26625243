"""`python -m benchmarks.readme`: write the newest results, and the stock, into pages, between their marks."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

from benchmarks import (
    ceiling,
    cost,
    cross_modal,
    decoding,
    distillation,
    ensembles,
    evaluation,
    exports,
    gan,
    input_pipeline,
    kg_embedding,
    lenets,
    matrix,
    online,
    overhead,
    robustness,
    runtimes,
    scaling,
    search,
    sequences,
    throughput,
    time_to_accuracy,
    training_cost,
    transfer,
    transformer_step,
    tutorial,
)
from zoo import stock
from zoo.reports import stock_table as table

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
# Of an entry of the stock, what is said of its data.
DATA = ("dataset", "what", "source", "licence")
PICTURE = "benchmarks/results/lenets.png"


def newest(name: str) -> tuple[Path, dict]:
    """Return the newest report of a benchmark and its numbers."""
    path = max(RESULTS.glob(f"*-{name}.json"))
    return path.with_suffix(".md"), json.loads(path.read_text(encoding="utf-8"))


def tables() -> str:
    """Return the README's tables as Markdown."""
    accuracy_report, accuracy = newest("accuracy")
    strategies_report, strategies = newest("strategies")
    startup_report, startup = newest("startup")
    matrix_report, cells = newest("matrix")
    lines = [
        *matrix.table(cells["cells"]),
        "",
        f"([report]({_link(matrix_report)}), `make matrix`; on another processor another precision is the fastest)",
        "",
        *_tables(runtimes),
        *_tables(tutorial, lenets, distillation, training_cost),
        f"![Error and bytes of LeNet-5 made small, beside networks trained from scratch]({PICTURE})",
        "",
        *_tables(search, sequences, decoding, transformer_step, cross_modal, gan, kg_embedding),
        *_tables(transfer, online, ensembles, robustness),
        *_tables(time_to_accuracy, throughput),
        "| model | data | test accuracy, mean of 3 seeds | epochs |",
        "| --- | --- | --- | --- |",
    ]
    for row in accuracy["rows"]:
        lines.append(
            f"| `{row['model']}` | {row['dataset']} ({row['test_examples']:,} test examples) | {row['mean']:.2%}"
            f" (standard deviation {row['spread']:.2%}) | {row['epochs']} |"
        )
    ways = list(strategies["equality"][0]["largest_difference"])
    lines += [
        "",
        "| largest difference of any weight from `none`, same seed, one epoch | " + " | ".join(ways) + " |",
        "| --- |" + " --- |" * len(ways),
    ]
    for row in strategies["equality"]:
        found = row["largest_difference"]
        cells = [f"{found[way]:.1e}" if way in found else "not run" for way in ways]
        lines.append(f"| `{row['model']}` on {row['dataset']}, {row['precision']} | {' | '.join(cells)} |")
    lines += ["", *_tables(overhead)]
    slowest = max(row["median_seconds"] for row in startup["rows"])
    facts = [
        f"the same weights on several replicas: [report]({_link(strategies_report)})",
        f"`--help` and the answer to a mistake take at most {slowest:.2f} s ([report]({_link(startup_report)}));"
        f" accuracy: [report]({_link(accuracy_report)})",
    ]
    return "\n".join([*lines, *(f"- {fact}" for fact in facts)]) + "\n"


def _tables(*modules: ModuleType, up: str = "") -> list[str]:
    """Return the table of each benchmark's newest report, and a link to it, from a page so many folders down."""
    lines = []
    for module in modules:
        report, result = newest(_name(module))
        lines += [*module.table(result), "", f"([report]({up}{_link(report)}))", ""]
        if module in DRAWN:
            lines += [f"![{DRAWN[module]}]({up}{_link(picture(module))})", ""]
    return lines


# What is looked at rather than read, and what a picture of it shows.
DRAWN = {
    throughput: "Training examples a second of other scripts, as shares of zoo.train's",
    cost: "Time and memory of a training step against what grows, with fitted powers",
}


def picture(module: ModuleType) -> Path:
    """Return where the picture of a benchmark's newest report is."""
    return ROOT / "benchmarks" / "results" / f"{_name(module)}.png"


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _link(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def performance_tables() -> str:
    """Return the tables of docs/PERFORMANCE.md as Markdown."""
    return "\n".join(_tables(ceiling, throughput, input_pipeline, cost, evaluation, exports, runtimes, up="../"))


def scaling_table() -> str:
    """Return the tables of docs/SCALING.md as Markdown."""
    report, result = newest("scaling")
    return "\n".join([*scaling.table(result), "", f"([report](../{_link(report)}))"]) + "\n"


def stock_table() -> str:
    """Return the table of the runs that come with the package as Markdown."""
    return _markdown([table.cells(name) for name in stock.index()], code=("run", "recipe", "command"))


def data_table() -> str:
    """Return what the runs of the stock were trained on, and under which licence that is, as Markdown."""
    rows = {entry["dataset"]: {title: entry[title] for title in DATA} for entry in stock.index().values()}
    return _markdown(list(rows.values()), code=("dataset",))


def _markdown(rows: list[dict[str, str]], code: tuple[str, ...]) -> str:
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    for row in rows:
        lines.append(" | ".join(f"`{cell}`" if title in code else cell for title, cell in row.items()))
    return "".join(f"| {line} |\n" for line in lines)


# By page, what stands between which marks.
PAGES = {
    "README.md": {"measured": tables, "stock": stock_table},
    "docs/SCALING.md": {"measured": scaling_table},
    "docs/PERFORMANCE.md": {"measured": performance_tables},
    "docs/ZOO.md": {"stock": stock_table, "data": data_table},
}


def updated(page: str) -> str:
    """Return the text of a page with the newest tables in it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for mark, written in PAGES[page].items():
        marked = re.compile(rf"(<!-- {mark}: [^\n]* -->\n).*(<!-- /{mark} -->)", re.DOTALL)
        text = marked.sub(lambda marks, written=written: marks[1] + written() + marks[2], text)
    return text


if __name__ == "__main__":
    for module in DRAWN:
        module.draw(newest(_name(module))[1], picture(module))
    for page in PAGES:
        (ROOT / page).write_text(updated(page), encoding="utf-8")
    sys.exit(0)
