"""Explanations as PNG files: maps over images, bars of features, coloured texts, grids of attention heads."""

import contextlib
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.reports.page import figure
from zoo.system.files import replacing

INK, SOFT, LINE = "#1c2530", "#64707d", "#e3e7ec"
FOR, AGAINST = "#2463c5", "#b3261e"
DPI = 130
TITLE = 96  # maximum number of characters in a line of a title

# Number of strongest features or tokens drawn as bars.
BARS = 12
# Maximum number of tokens drawn of a text, and of tokens named at a side of an attention map.
TOKENS_DRAWN, TOKENS_NAMED = 600, 60
# Lightness of an image under its map, and opacity of a map at its strongest.
PALE, OVER = 0.45, 0.9
# Number of attention maps in a row.
COLUMNS = 9
# Title of the image that shows the attention each row receives.
IMAGE = "rows attended to"
# Symbols for white space.
SHAPES = {" ": "␣", "\n": "↵", "\t": "→", "\r": "↵"}


class Panel(NamedTuple):
    """A map of one example.

    Attributes:
        title: Title.
        values: Values of the map, (rows, columns), with the size of the image or smaller.
        signed: Whether negative values count against the class. Otherwise all values are at least 0.
        seen: Rows and columns of the image that the map covers, from the top left. None if it covers all.
    """

    title: str
    values: np.ndarray
    signed: bool = False
    seen: tuple[int, int] | None = None


def draw_image(path: Path, title: str, image: np.ndarray, panels: Sequence[Panel]) -> None:
    """Draw an image, and each map over it.

    Args:
        path: PNG file.
        title: Title of the figure.
        image: Image, (height, width, channels), pixels in [0, 1].
        panels: Maps, which are stretched to the part of the image that they cover.
    """
    height, width, _ = image.shape
    grey = image.mean(-1)
    side = 2.8
    tall = min(max(side * height / width, 1.2), 2 * side)
    drawn = figure(side + (side + 0.6) * len(panels), tall + 0.9)
    first, *others = np.ravel(drawn.subplots(1, 1 + len(panels)))
    first.imshow(image if image.shape[-1] == 3 else grey, cmap="gray", vmin=0, vmax=1)
    first.set_title("input", fontsize=10, color=SOFT)
    for axes, panel in zip(others, panels, strict=True):
        axes.imshow(PALE + (1 - PALE) * grey, cmap="gray", vmin=0, vmax=1)
        values, top = _stretched(panel, grey.shape), float(np.abs(panel.values).max()) or 1.0
        share = np.clip(np.abs(values) / top, 0, 1)  # the image shows where values are small
        shades = axes.imshow(values, alpha=OVER * share**0.6, **_colours(panel))
        axes.set_title(panel.title, fontsize=10, color=SOFT)
        _bar(drawn, shades, axes)
    for axes in (first, *others):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(LINE)
    _save(drawn, title, path)


def draw_steps(path: Path, title: str, x: np.ndarray, panels: Sequence[Panel]) -> None:
    """Draw a sequence of features, and each map beside it.

    Args:
        path: PNG file.
        title: Title of the figure.
        x: Sequence, (time, features).
        panels: Maps of the same shape.
    """
    drawn = figure(min(3 + 2.6 * len(panels), 14), 4.2)
    for axes, panel in zip(
        np.ravel(drawn.subplots(1, 1 + len(panels), sharey=True)), [Panel("input", x, True), *panels], strict=True
    ):
        _bar(drawn, axes.imshow(panel.values, aspect="auto", interpolation="nearest", **_colours(panel)), axes)
        axes.set_title(panel.title, fontsize=10, color=SOFT)
        axes.set_xlabel("feature", fontsize=9, color=SOFT)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(length=0, labelsize=8, colors=INK)
        axes.spines[:].set_color(LINE)
    drawn.axes[0].set_ylabel("step", fontsize=9, color=SOFT)
    _save(drawn, title, path)


def draw_features(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw the strongest features of each map as bars. The values of a map have one row."""
    drawn = figure(3.6 * len(panels), 1.4 + 0.26 * min(BARS, panels[0].values.size))
    for axes, panel in zip(np.ravel(drawn.subplots(1, len(panels))), panels, strict=True):
        names = [f"feature {i}" for i in range(panel.values.size)]
        _bars(axes, names, panel.values[0])
        axes.set_title(panel.title, fontsize=10, color=SOFT)
    _save(drawn, title, path)


def draw_tokens(
    path: Path, title: str, tokens: Sequence[str], values: np.ndarray, *, words: bool, label: str, note: str
) -> None:
    """Draw a text with each token coloured by its attribution, and bars of the strongest.

    Args:
        path: PNG file.
        title: Title of the figure.
        tokens: Tokens of the text. The space before a subword is part of it.
        values: Attributions of the tokens, (tokens,), positive if they count for the class.
        words: Whether tokens are separated by spaces.
        label: Label of the values.
        note: Text at the bottom.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyBboxPatch

    size, width, high, edge = 12, 9.0, 0.36, 0.35  # points; inches
    shown = tokens[:TOKENS_DRAWN]
    drawn = _plain(width, 1)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    font = FontProperties(size=size)

    def wide(text: str) -> float:
        return renderer.get_text_width_height_descent(text, font, False)[0] / drawn.dpi

    with _quiet():
        boxes = [(shapes(token, inside=True), words or token.startswith(" ")) for token in shown]
        places, lines = _wrapped([(wide(text), gap) for text, gap in boxes], width - 2 * edge)
    bars = min(BARS, len(tokens))
    if len(tokens) > len(shown):
        note = f"the first {len(shown):,} of {len(tokens):,} tokens; the JSON file has all of them. {note}"
    head, foot = 0.75, 1.15 + 0.26 * bars
    height = head + lines * high + foot
    drawn.set_size_inches(width, height)
    page = drawn.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    top = float(np.abs(values).max()) or 1.0
    for (text, _), (x, line, long), value in zip(boxes, places, values, strict=False):
        share = abs(value) / top
        y = head + line * high
        page.add_patch(
            FancyBboxPatch(
                (edge + x + 0.02, y + 0.05),
                long + 0.06,
                high - 0.1,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=FOR if value > 0 else AGAINST,
                alpha=0.9 * share,
                linewidth=0,
            )
        )
        page.text(
            edge + x + 0.05,
            y + high / 2,
            text,
            fontsize=size,
            va="center_baseline",
            color="white" if share > 0.55 else INK,
            parse_math=False,
        )
    page.text(edge, height - 0.2, note, fontsize=8, color=SOFT, va="center", parse_math=False)
    axes = drawn.add_axes((0.24, 0.8 / height, 0.7, 0.26 * bars / height))
    _bars(axes, [shapes(token, inside=True) for token in tokens], values)
    axes.set_xlabel(label, fontsize=9, color=SOFT)
    _save(drawn, title, path)


class Grid(NamedTuple):
    """Attention maps of one part of a model.

    Attributes:
        layers: Weights by name of the layer, (heads, queries, keys).
        queries: Names of the rows.
        keys: Names of the columns.
        query_axis: Label of the rows.
        key_axis: Label of the columns.
        image: Image whose rows are the steps, (height, width, channels). It is shown with the attention each receives.
    """

    layers: Mapping[str, np.ndarray]
    queries: Sequence[str]
    keys: Sequence[str]
    query_axis: str
    key_axis: str
    image: np.ndarray | None = None

    @property
    def named(self) -> bool:
        """Whether every step has a name."""
        return all((*self.queries, *self.keys))


def draw_attention(path: Path, title: str, grid: Grid) -> None:
    """Draw the mean over heads and each head, layer by layer, with a colour scale that separates small weights."""
    from matplotlib.colors import PowerNorm

    maps = [
        (name, title, values)
        for name, heads in grid.layers.items()
        for title, values in _heads(heads, grid.image is not None)
    ]
    columns = min(COLUMNS, len(maps) // len(grid.layers))
    rows = [maps[i : i + columns] for i in range(0, len(maps), columns)]
    queries, keys = maps[0][2].shape if maps[0][2].ndim == 2 else maps[1][2].shape
    inches = 0.17 if grid.named else 0.08  # for a name, or for a step without one
    wide, tall = (min(max(inches * n, 1.9), 4.2) for n in (keys, queries))
    drawn = figure(columns * wide + 1.2, len(rows) * (tall + 0.3) + 1.2)
    all_axes = drawn.subplots(len(rows), columns, squeeze=False)
    norm = PowerNorm(0.6, vmin=0, vmax=max(float(heads.max()) for heads in grid.layers.values()))
    for y, row in enumerate(rows):
        for x, (name, what, values) in enumerate(row):
            axes = all_axes[y, x]
            if what == IMAGE:
                _attended(axes, grid.image, values)
            else:
                shades = axes.imshow(values, cmap="Blues", norm=norm, aspect="auto", interpolation="nearest")
            axes.set_title(what, fontsize=9, color=SOFT)
            _named(axes.yaxis, grid.queries if x == 0 and what != IMAGE else (), tall)
            _named(axes.xaxis, grid.keys if y == len(rows) - 1 and what != IMAGE else (), wide)
            axes.tick_params(length=0, colors=INK)
            axes.spines[:].set_color(LINE)
            if x == 0:
                axes.set_ylabel(f"{name}\n{grid.query_axis}", fontsize=9, color=SOFT)
        for axes in all_axes[y, len(row) :]:
            axes.axis("off")
    drawn.supxlabel(grid.key_axis, fontsize=9, color=SOFT)
    bar = drawn.colorbar(shades, ax=all_axes, fraction=0.02, pad=0.01, aspect=30)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    bar.set_label("attention weight", fontsize=8, color=SOFT)
    _save(drawn, title, path)


def shapes(token: str, inside: bool = False) -> str:
    """Return a token with symbols for white space. `inside` a text, the space before the token is left out."""
    if inside and len(token) > 1:
        token = token.removeprefix(" ")
    return "".join(SHAPES.get(character, character) for character in token)


def _heads(heads: np.ndarray, image: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the maps of one layer with their titles: attention received by each step, mean over heads, each head."""
    if image:
        yield IMAGE, heads.mean((0, 1))
    if len(heads) > 1:
        yield f"mean of {len(heads)} heads", heads.mean(0)
    for i, values in enumerate(heads, 1):
        yield f"head {i}", values


def _attended(axes: Any, image: np.ndarray, received: np.ndarray) -> None:
    """Draw an image with each row coloured by the attention it receives."""
    height, width, _ = image.shape
    axes.imshow(1 - 0.5 * image.mean(-1), cmap="gray", vmin=0, vmax=1, aspect="auto", extent=(0, width, height, 0))
    rows = np.broadcast_to(received[:, None], (height, 2))
    axes.imshow(rows, cmap="Oranges", vmin=0, alpha=0.55, aspect="auto", extent=(0, width, height, 0))


def _named(axis: Any, names: Sequence[str], inches: float) -> None:
    """Write names along an axis, or numbers if there are too many."""
    if not names:
        axis.set_ticks([])
        return
    if len(names) > TOKENS_NAMED:
        axis.set_tick_params(labelsize=7)
        axis.get_major_locator().set_params(integer=True)
        return
    size = min(9.0, max(4.5, 0.8 * 72 * inches / len(names)))
    axis.set_ticks(range(len(names)), [textwrap.shorten(n, 24, placeholder="…") if n.strip() else n for n in names])
    upright = axis.axis_name == "y" or max(map(len, names)) < 3
    for label in axis.get_ticklabels():
        label.set(fontsize=size, parse_math=False, rotation=0 if upright else 90)


def _wrapped(boxes: Sequence[tuple[float, bool]], width: float) -> tuple[list[tuple[float, int, float]], int]:
    """Return the places of boxes in the lines of a text, and the number of lines.

    Args:
        boxes: Width of each box in inches, and whether a gap precedes it.
        width: Width of a line in inches.

    Returns:
        Offset, line and width of each box, in inches, and the number of lines.
    """
    places, x, line = [], 0.0, 0
    for wide, gap in boxes:
        x += 0.1 if gap and x else 0.0
        if x and x + wide + 0.1 > width:
            x, line = 0.0, line + 1
        places.append((x, line, wide))
        x += wide + 0.03
    return places, line + 1


def _bars(axes: Any, names: Sequence[str], values: np.ndarray) -> None:
    """Draw the strongest values as bars, strongest first."""
    strongest = np.argsort(-np.abs(values), kind="stable")[:BARS]
    places = range(len(strongest))
    axes.barh(places, values[strongest], color=[FOR if values[i] > 0 else AGAINST for i in strongest], height=0.7)
    axes.set_yticks(places, [textwrap.shorten(names[i], 22, placeholder="…") or names[i] for i in strongest])
    for label in axes.get_yticklabels():
        label.set(fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.24)
    for place, i in zip(places, strongest, strict=True):
        side = "left" if values[i] > 0 else "right"
        axes.annotate(
            f"{values[i]:+.2g}",
            (values[i], place),
            (3 if side == "left" else -3, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8,
            color=SOFT,
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.tick_params(length=0, colors=INK)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _colours(panel: Panel) -> dict[str, Any]:
    top = float(np.abs(panel.values).max()) or 1.0
    return {"cmap": "RdBu" if panel.signed else "YlOrRd", "vmin": -top if panel.signed else 0, "vmax": top}


def _stretched(panel: Panel, size: tuple[int, int]) -> np.ndarray:
    """Return a map stretched to the size of its image by bicubic interpolation, 0 where it does not cover it."""
    from PIL import Image

    rows, columns = panel.seen or size
    values = panel.values
    if values.shape != (rows, columns):
        small = Image.fromarray(values.astype("float32"))
        values = np.asarray(small.resize((columns, rows), Image.Resampling.BICUBIC))
    return np.pad(values, ((0, size[0] - rows), (0, size[1] - columns)))


def _bar(drawn: Any, shades: Any, axes: Any) -> None:
    bar = drawn.colorbar(shades, ax=axes, fraction=0.046, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)


def _plain(width: float, height: float) -> Any:
    """Return a figure without automatic layout."""
    drawn = figure(width, height)
    drawn.set_layout_engine("none")
    return drawn


def _save(drawn: Any, title: str, path: Path) -> None:
    heading = drawn.suptitle(title, fontsize=12, color=INK, x=0.02, ha="left", linespacing=1.4)
    heading.set_parse_math(False)
    with _quiet(), replacing(path) as temporary:
        drawn.savefig(temporary, dpi=DPI, facecolor="white")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warning about each character that the font does not have, which is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def heading(name: str, says: str) -> str:
    """Return a title of two lines: the input and the model's answer, cut if they are long."""
    return f"{textwrap.shorten(name, TITLE, placeholder=' …')}\n{textwrap.shorten(says, TITLE, placeholder=' …')}"


def rows_of(count: int) -> list[str]:
    """Return labels of the steps of a sequence without tokens, empty for some if there are many."""
    every = max(1, math.ceil(count / 14))
    return [str(i) if i % every == 0 else "" for i in range(count)]
