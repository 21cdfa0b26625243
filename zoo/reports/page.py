"""report.html: the results of a run on one self-contained page, whose main part comes from the task."""

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.config.train_config import TrainConfig, flag
from zoo.data import Dataset
from zoo.runs.folder import RunFolder
from zoo.system.files import write_text
from zoo.system.machine import VERSION, versions

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #5b6673; --line: #e3e7ec; --paper: #fff; --page: #f5f6f8;
  --accent: #2463c5; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #a3aeba; --line: #2c3640; --paper: #171e26;
  --page: #0f151b; --accent: #6ea4f7; --wrong: #f2938c; } svg { filter: invert(.9) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; }
.sub { color: var(--soft); margin: 4px 0 24px; }
section, .tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin-top: 18px; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 22px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: 13px; line-height: 1.35; }
.tile.main b { color: var(--accent); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 18px;
  margin-top: 18px; }
.two.curves { grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
.two > * { margin-top: 0; min-width: 0; }
.long { max-height: 520px; overflow-y: auto; } .long th { position: sticky; top: 0; background: var(--paper); }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; min-width: 4em; }
td.n, th.n { text-align: right; overflow-wrap: normal; min-width: 0; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 12px; }
figure { margin: 0; }
figure img { width: 100%; image-rendering: pixelated; border-radius: 6px; border: 1px solid var(--line); }
figcaption { font-size: 13px; line-height: 1.35; margin-top: 4px; overflow-wrap: anywhere; }
figcaption i { font-style: normal; color: var(--wrong); font-weight: 600; }
small { color: var(--soft); }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--page); padding: 10px 12px; border-radius: 6px; overflow-x: auto; margin: 0 0 14px; }
@media (max-width: 480px) { main { padding: 18px 10px 48px; } section { padding: 14px 12px; }
  td, th { font-size: 13px; } }
@media print { body { background: #fff; } section, figure { break-inside: avoid; } .long { max-height: none; } }
"""

# Markers of a line, or bars, that tell their values on hovering.
MOST_TOLD = 300


@dataclass(frozen=True)
class Page:
    """The task's part of the page.

    Args:
        subject: Short description of the data, such as "10 classes".
        tiles: (value, label) of each score, the most important one first.
        sections: HTML sections after the curves.
        curves: (title, name in the history) of each diagram of training and validation curves.
    """

    subject: str
    tiles: list[tuple[str, str]]
    sections: list[str]
    curves: tuple[tuple[str, str], ...] = (("Accuracy", "accuracy"), ("Loss", "loss"))


def write(
    run: RunFolder,
    config: TrainConfig,
    data: Dataset,
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
    page: Page,
    title: str = "",
) -> None:
    """Write report.html.

    Args:
        run: Run folder.
        config: Resolved configuration.
        data: Data set, for the number of examples.
        metrics: Content of metrics.json.
        history: One row per epoch; empty if the page has no curves.
        page: Task's part of the page.
        title: Title of the page. Default: the model and the data.
    """
    title = title or f"{run.model_name} on {data.spec.name}"
    trained = f"{len(data.train):,} training, {len(data.validation):,} validation, {len(data.test):,} test examples"
    # Smoothed targets have a lower bound above 0, while the test loss in the tile is computed without smoothing.
    smoothed = f" <small>with labels smoothed by {config.label_smoothing}</small>" if config.label_smoothing else ""
    attacked = f" <small>training: attacked by {text(config.adversarial)}</small>" if config.adversarial else ""
    curves = (
        f"<section><h2>{title}{smoothed * (name == 'loss')}{attacked}</h2>"
        f"{_curve(history, title, name, metrics['epoch'])}</section>"
        for title, name in page.curves
    )
    body = [
        f"<h1>{text(title)}</h1><p class=sub>{text(page.subject)} · {trained} · "
        f"{metrics['parameters']:,} parameters · strategy {text(config.strategy)} · seed {config.seed}</p>",
        _tiles(page.tiles, metrics),
        f"<div class='two curves'>{''.join(curves)}</div>",
        *page.sections,
        _configuration(run, config),
    ]
    write_text(
        run.report_file,
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{text(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n",
    )


def link(run: RunFolder, page: str, title: str) -> None:
    """Add a link to another page of a run below the title of its report, once; a run without a report gets none.

    Args:
        run: Run folder.
        page: Path of the page, relative to the run folder.
        title: Text of the link.
    """
    if not run.report_file.is_file():
        return
    content, mark = run.report_file.read_text(encoding="utf-8"), "<div class=tiles>"
    added = f"<p class=sub><a href={page}>{text(title)}</a></p>"
    if mark in content and added not in content:
        write_text(run.report_file, content.replace(mark, added + mark, 1))


def text(value: object) -> str:
    """Return a value as escaped HTML text."""
    return html.escape(str(value))


def _tiles(scores: list[tuple[str, str]], metrics: dict[str, Any]) -> str:
    speed = metrics["examples_per_second"]
    tiles = [
        *scores,
        *([(f"{metrics['seconds']:.1f} s", f"training, {_epochs(metrics['epochs'])}")] if metrics["epochs"] else []),
        *([(f"{speed:,}", "examples per second")] if speed else []),
    ]
    first = " main"
    parts = []
    for value, label in tiles:
        parts.append(f"<div class='tile{first}'><b>{value}</b><span>{label}</span></div>")
        first = ""
    return f"<div class=tiles>{''.join(parts)}</div>"


def figure(width: float, height: float, layout: str | None = "constrained") -> Any:
    """Return a matplotlib figure.

    Args:
        width: Width in inches.
        height: Height in inches.
        layout: Layout engine; None is faster, and leaves the margins to the caller.
    """
    # The object interface instead of pyplot needs no display and no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def svg(drawn: Any, about: str) -> str:
    """Return a matplotlib figure as an SVG element, whose markers, bars and named cells tell their values.

    Args:
        drawn: Figure. A patch with a label that does not begin with "_" tells the label.
        about: What the figure shows, for those who cannot see it.
    """
    # A fixed salt and no date, so that the same run gives the same page.
    import matplotlib

    told = _told(drawn)
    style = {"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.family": "sans-serif"}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The browser draws the text, with a font that has the characters.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        buffer = io.StringIO()
        drawn.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    found = buffer.getvalue()
    found = found[found.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{text(about)}" ', 1)
    for name, texts in told.items():
        found = _with_titles(found, name, texts)
    return found


def _told(drawn: Any) -> dict[str, list[str]]:
    """Return what each element of a figure tells, by the name that it gets in the SVG."""
    from matplotlib.ticker import FixedLocator

    found: dict[str, list[str]] = {}
    for axes in drawn.axes:
        across = axes.get_xlabel() or "x"
        for line in axes.lines:
            if line.get_marker() not in ("None", "", " ", None) and len(line.get_xdata()) <= MOST_TOLD:
                line.set_gid(f"told-{len(found)}")
                pairs = zip(line.get_xdata(), line.get_ydata(), strict=True)
                found[line.get_gid()] = [f"{line.get_label()}, {across} {x:g}: {y:.4g}" for x, y in pairs]
        named = isinstance(axes.xaxis.get_major_locator(), FixedLocator)
        names = [each.get_text() for each in axes.get_xticklabels()] if named else []
        ticks = {round(place): name for place, name in zip(axes.get_xticks() if named else (), names, strict=True)}
        for bars in axes.containers:
            for bar in bars.patches if len(bars.patches) <= MOST_TOLD else ():
                middle = bar.get_x() + bar.get_width() / 2
                name = "" if str(bars.get_label()).startswith("_") else f"{bars.get_label()}, "
                at = ticks.get(round(middle)) or f"{across} {middle:.4g}"
                bar.set_label(f"{name}{at}: {bar.get_height():.4g}")
        for patch in (patch for patch in axes.patches if not str(patch.get_label()).startswith("_")):
            patch.set_gid(f"told-{len(found)}")
            found[patch.get_gid()] = [str(patch.get_label())]
    return found


def _with_titles(content: str, name: str, texts: Sequence[str]) -> str:
    """Return an SVG in which the markers of a line, or a patch, have titles, which browsers show on hovering."""
    start = content.index(f'<g id="{name}">')
    stop = content.find('<g id="', start + 1)
    part, left = content[start : None if stop < 0 else stop], iter(texts)
    titles = [f"<title>{text(each)}</title>" for each in texts]
    if (count := part.count("<use ")) == len(texts) and count:
        part = re.sub(r"<use ([^>]*)/>", lambda use: f"<use {use[1]}><title>{text(next(left))}</title></use>", part)
    else:  # a patch; markers outside the axes are not drawn
        part = part.replace(">", f">{titles[0]}", 1) if len(titles) == 1 else part
    return content[:start] + part + ("" if stop < 0 else content[stop:])


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count:,} epochs"


def _curve(history: list[dict[str, Any]], title: str, name: str, kept_epoch: int) -> str:
    epochs = [row["epoch"] + 1 for row in history]
    drawn = figure(5.2, 3.1, layout=None)
    axes = drawn.subplots(gridspec_kw={"left": 0.14, "right": 0.98, "bottom": 0.16, "top": 0.97})
    for key, label, colour in ((name, "training", "#6b7785"), (f"val_{name}", "validation", "#2463c5")):
        if key in history[0]:
            axes.plot(epochs, [row[key] for row in history], marker="o", markersize=3.5, color=colour, label=label)
    if len(epochs) > 1:
        axes.axvline(kept_epoch, color="#1c2530", linewidth=1.2, linestyle=":", label=f"kept: epoch {kept_epoch}")
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if name == "loss":
        axes.set_ylim(bottom=0)
    axes.grid(color="#e3e7ec", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return svg(drawn, f"{title}: training and validation by epoch")


def _as_typed(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return an option as it is typed, with its value; arguments of the model are options of their own."""
    if name == "settings":
        return [(f"--set {key}", _joined(setting)) for key, setting in value.items()]
    return [(flag(name), _joined(value))]


def _joined(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def _configuration(run: RunFolder, config: TrainConfig) -> str:
    stored = run.read_config()
    not_used = ("model", "settings") if stored.get("own_model") else ()
    command = " ".join(stored["command"]) or "zoo.training.loop.train(config)"
    values = "".join(
        f"<tr><td><code>{typed}</code></td><td>{text(value)}</td></tr>"
        for name, value in config.to_json().items()
        if value is not None and value != {} and name not in not_used
        for typed, value in _as_typed(name, value)
    )
    found = "".join(f"<tr><td>{text(name)}</td><td>{text(value)}</td></tr>" for name, value in versions().items())
    return (
        f"<section><h2>How to repeat it</h2><pre>{text(command)}</pre><div class=two style='margin-top:0'>"
        f"<div><table><tr><th>option<th>value</tr>{values}</table></div>"
        f"<div><table><tr><th>version<th></tr>{found}<tr><td>zoo</td><td>{VERSION}</td></tr></table></div></div></section>"
    )
