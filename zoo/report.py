"""report.html: what a run learned, on one self-contained page; and the confusion matrix as a table."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo import __version__
from zoo.config import TrainConfig, flag
from zoo.data import Dataset
from zoo.data.images import PIXEL_MAX
from zoo.files import write_text
from zoo.machine import versions
from zoo.runs import RunFolder
from zoo.tasks import classification

MISTAKES = 24
# A matrix with more classes than this is drawn without numbers and names, which could not be read.
NAMED_CLASSES = 20

_STYLE = """
:root { --ink: #1c2530; --soft: #64707d; --line: #e3e7ec; --paper: #fff; --page: #f5f6f8; --accent: #2463c5; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0; }
h2 { font-size: 17px; margin: 0 0 12px; }
.sub { color: var(--soft); margin: 4px 0 24px; }
section, .tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin-top: 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 22px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: 13px; line-height: 1.35; }
.tile.main b { color: var(--accent); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 18px; margin-top: 18px; }
.two section { margin-top: 0; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 12px; }
figure { margin: 0; }
figure img { width: 100%; image-rendering: pixelated; border-radius: 6px; border: 1px solid var(--line); }
figcaption { font-size: 13px; line-height: 1.35; margin-top: 4px; }
figcaption i { font-style: normal; color: #b3261e; font-weight: 600; }
small { color: var(--soft); }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--page); padding: 10px 12px; border-radius: 6px; overflow-x: auto; margin: 0 0 14px; }
"""


def write_confusion(path: Path, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Write the matrix as csv: a row for each true class, a column for each predicted one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *class_names])
    writer.writerows([name, *row.tolist()] for name, row in zip(class_names, confusion, strict=True))
    write_text(path, text.getvalue())


def write(
    run: RunFolder,
    config: TrainConfig,
    data: Dataset,
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
    logits: np.ndarray,
    confusion: np.ndarray,
) -> None:
    """Write report.html.

    Args:
        run: its folder.
        config: resolved.
        data: for the pictures of mistakes.
        metrics: the content of metrics.json.
        history: one row an epoch.
        logits: of the test split.
        confusion: of the test split.
    """
    spec, test = data.spec, metrics["test"]
    title = f"{config.model} on {spec.name}"
    trained = f"{len(data.train):,} training, {len(data.validation):,} validation, {len(data.test):,} test examples"
    # Smoothed targets have a loss of their own that no model goes below, and the tile's test loss is without them.
    smoothed = f" <small>with labels smoothed by {config.label_smoothing}</small>" if config.label_smoothing else ""
    body = [
        f"<h1>{_text(title)}</h1><p class=sub>{spec.num_classes} classes · {trained} · "
        f"{metrics['parameters']:,} parameters · strategy {_text(config.strategy)} · seed {config.seed}</p>",
        _tiles(metrics),
        f"<div class=two><section><h2>Accuracy</h2>{_curve(history, 'accuracy', metrics['epoch'])}</section>"
        f"<section><h2>Loss{smoothed}</h2>{_curve(history, 'loss', metrics['epoch'])}</section></div>",
        f"<div class=two><section><h2>Confusion matrix, test split</h2>{_matrix(confusion, spec.class_names)}</section>"
        f"<section><h2>Each class, test split</h2>{_class_table(confusion, spec.class_names)}</section></div>",
        _mistakes(data, logits, test["accuracy"]),
        _configuration(run, config),
    ]
    write_text(
        run.report_file,
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{_text(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n",
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _tiles(metrics: dict[str, Any]) -> str:
    test, speed = metrics["test"], metrics["examples_per_second"]
    wrong = round((1 - test["accuracy"]) * test["examples"])
    tiles = [
        ("main", f"{test['accuracy']:.2%}", f"test accuracy ({wrong:,} of {test['examples']:,} wrong)"),
        ("", f"{test['f1']:.2%}", "macro F1"),
        ("", f"{test['precision']:.2%}", "macro precision"),
        ("", f"{test['recall']:.2%}", "macro recall"),
        *([("", f"{test['top_5_accuracy']:.2%}", "top-5 accuracy")] if "top_5_accuracy" in test else []),
        ("", f"{test['loss']:.4f}", "test loss"),
        ("", f"{metrics['seconds']:.1f} s", f"training, {metrics['epochs']} epochs"),
        *([("", f"{speed:,}", "examples a second")] if speed else []),
    ]
    return (
        "<div class=tiles>"
        + "".join(f"<div class='tile {kind}'><b>{value}</b><span>{label}</span></div>" for kind, value, label in tiles)
        + "</div>"
    )


def _figure(width: float, height: float):
    # The object interface, not pyplot: no display, no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    # Fixed salt and no date, so the same run gives the same page.
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _curve(history: list[dict[str, Any]], name: str, kept_epoch: int) -> str:
    epochs = [row["epoch"] + 1 for row in history]
    figure = _figure(5.2, 3.1)
    axes = figure.subplots()
    for key, label, colour in ((name, "training", "#9aa5b1"), (f"val_{name}", "validation", "#2463c5")):
        if key in history[0]:
            axes.plot(epochs, [row[key] for row in history], marker="o", markersize=3.5, color=colour, label=label)
    if len(epochs) > 1:
        axes.axvline(kept_epoch, color="#1c2530", linewidth=0.8, linestyle=":", label=f"kept: epoch {kept_epoch}")
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if name == "loss":
        axes.set_ylim(bottom=0)
    axes.grid(color="#e3e7ec", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return _svg(figure)


def _matrix(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    count = len(class_names)
    named = count <= NAMED_CLASSES
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    # The square root shows the rare mistakes that a linear scale would leave white.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    if named:
        long = max(map(len, class_names)) > 3
        axes.set_xticks(
            range(count),
            class_names,
            rotation=45 if long else 0,
            ha="right" if long else "center",
            fontsize=9,
        )
        axes.set_yticks(range(count), class_names, fontsize=9)
        for (i, j), n in np.ndenumerate(confusion):
            if n:
                axes.text(
                    j,
                    i,
                    f"{n:,}",
                    ha="center",
                    va="center",
                    fontsize=8 if count <= 12 else 6,
                    color="white" if share[i, j] > 0.4 else "#1c2530",
                )
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return _svg(figure)


def _class_table(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{_text(row['class'])}</td><td class=n>{row['precision']:.2%}</td><td class=n>{row['recall']:.2%}</td>"
        f"<td class=n>{row['f1']:.2%}</td><td class=n>{row['examples']:,}</td></tr>"
        for row in classification.per_class(confusion, class_names)
    )
    return (
        "<table><tr><th>class<th class=n>precision<th class=n>recall<th class=n>F1<th class=n>examples</tr>"
        f"{rows}</table>"
    )


def _mistakes(data: Dataset, logits: np.ndarray, accuracy: float) -> str:
    spec = data.spec
    if spec.per_step:
        return ""
    found = classification.worst_mistakes(logits, data.test.y, MISTAKES)
    if not found:
        return "<section><h2>Mistakes</h2>None: every test example is classified right.</section>"
    wrong = round((1 - accuracy) * len(data.test))
    heading = f"<section><h2>The surest mistakes <small>of {wrong:,}, test split</small></h2>"
    names = spec.class_names
    if spec.kind == "image":
        figures = "".join(
            f"<figure><img alt='' src='{_png(data.test.x[m['index']])}'><figcaption>{_text(names[m['true']])}, read as "
            f"<i>{_text(names[m['predicted']])}</i><br><small>{m['probability']:.1%} sure, test {m['index']}</small>"
            "</figcaption></figure>"
            for m in found
        )
        return f"{heading}<div class=mistakes>{figures}</div></section>"
    show_text = data.vocabulary is not None
    rows = "".join(
        f"<tr><td class=n>{m['index']}</td><td>{_text(names[m['true']])}</td><td>{_text(names[m['predicted']])}</td>"
        f"<td class=n>{m['probability']:.1%}</td>"
        + (f"<td class=text>{_text(data.vocabulary.decode(data.test.x[m['index']]))}</td>" if show_text else "")
        + "</tr>"
        for m in found
    )
    text = "<th>as the model reads it" if show_text else ""
    return (
        f"{heading}<table><tr><th class=n>test<th>true<th>predicted<th class=n>sure{text}</tr>{rows}</table></section>"
    )


def _png(image: np.ndarray) -> str:
    from PIL import Image

    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * PIXEL_MAX).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _configuration(run: RunFolder, config: TrainConfig) -> str:
    stored = run.read_config()
    command = " ".join(stored["command"]) or "zoo.training.train(config)"
    values = "".join(
        f"<tr><td><code>{flag(name)}</code></td><td>{_text(value)}</td></tr>"
        for name, value in config.to_json().items()
        if value is not None
    )
    found = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in versions().items())
    return (
        f"<section><h2>How to repeat it</h2><pre>{_text(command)}</pre><div class=two style='margin-top:0'>"
        f"<div><table><tr><th>option<th>value</tr>{values}</table></div>"
        f"<div><table><tr><th>version<th></tr>{found}<tr><td>zoo</td><td>{__version__}</td></tr></table></div></div></section>"
    )
