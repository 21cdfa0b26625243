"""What is left of an explanation: its pictures, its numbers as JSON, and what it comes to in a sentence."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import DataSpec
from zoo.explain import pictures
from zoo.explain.explanation import Explanation, Trained
from zoo.explain.pictures import Grid, Panel
from zoo.system.files import write_text

TITLES = {
    "grad_cam": "Grad-CAM",
    "saliency": "saliency: |gradient|",
    "gradient_x_input": "gradient × input",
    "integrated_gradients": "integrated gradients",
}
SIGNED = ("gradient_x_input", "integrated_gradients")
# What the rows and columns of a part's attention maps are.
AXES = {
    "attention": ("token", "attends to"),
    "encoder": ("source token", "attends to source token"),
    "decoder": ("token written", "attends to token written before"),
    "cross_attention": ("token written", "attends to source token"),
}
# Tokens that a sentence names on each side.
NAMED = 3


def slug(name: str, taken: Collection[str]) -> str:
    """Return a short name for files, from what was given as an input, that is not taken."""
    file = _file(name)
    shown = file.stem + name.removeprefix(str(file)) if file else name
    plain = re.sub(r"\W+", "-", shown).strip("-").lower()[:40] or "input"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain}-{number}"
    return found


def written(made: Explanation, trained: Trained, folder: Path, name: str) -> dict[str, Any]:
    """Draw an explanation, write its numbers, and return a summary of it.

    Args:
        made: the explanation.
        trained: the run.
        folder: where to write.
        name: that the files begin with.
    """
    drawn = [str(path) for path in _draw(made, trained, folder, name)]
    summary = {"input": made.example.name, "label": made.label, "probability": made.probability}
    summary |= {"truth": made.example.truth} if made.example.truth else {}
    summary |= {"target": made.target} if made.target else {}
    summary |= {"layer": made.layer} if made.layer else {}
    summary |= {"seen": made.seen} if made.seen else {}
    summary |= {"integrated_gradients": _checked(made)} if made.integrated else {}
    summary |= {"sentence": sentence(made, trained.spec), "pictures": drawn}
    numbers = {"tokens": made.tokens} if made.tokens else {}
    numbers |= {"written": made.written} if made.written else {}
    numbers |= {"maps": {method: _rounded(values) for method, values in made.maps.items()}}
    numbers |= {
        "attention": {
            part: {layer: _rounded(heads) for layer, heads in layers.items()} for part, layers in made.attention.items()
        }
    }
    path = folder / f"{name}.json"
    write_text(path, json.dumps(summary | numbers, ensure_ascii=False) + "\n")
    return summary | {"numbers": str(path)}


def sentence(made: Explanation, spec: DataSpec) -> str:
    """Return what the model made of an input, and what that came from most."""
    name = made.example.name if _file(made.example.name) else repr(_short(made.example.name))
    truth = made.example.truth
    known = "" if not truth else ", which is right" if truth == made.label else f", in the data {_short(truth)!r}"
    if spec.task == "translation":
        least = f"its least certain token at {made.probability:.1%}"
        return f"{name} becomes {_short(made.label)!r}, {least}{known}."
    if spec.task == "language_model":
        return f"{name} goes on with {made.label!r} at {made.probability:.1%}."
    text = f"{name} is {_short(made.label)} at {made.probability:.1%}{known}"
    if made.target != made.label:
        text += f"; explained is {_short(made.target)}"
    if made.tokens and "integrated_gradients" in made.maps:
        text += _strongest(made)
    return f"{text}.{_completeness(made)}"


def _file(name: str) -> Path | None:
    """Return the file that an example is of, "films.csv[3]" of films.csv, or None for a text."""
    path = Path(name.rpartition("[")[0] or name)
    try:
        return path if path.is_file() else None
    except OSError:  # a text that is too long for a file's name
        return None


def _strongest(made: Explanation) -> str:
    values = made.maps["integrated_gradients"]
    order = np.argsort(-np.abs(values), kind="stable")
    parts = []
    for what, sign in (("for it speak", 1), ("against it", -1)):
        if found := [i for i in order if sign * values[i] > 0][:NAMED]:
            parts.append(f"{what} " + ", ".join(f"{made.tokens[i].strip()!r} {values[i]:+.2f}" for i in found))
    return "; " + ", ".join(parts) if parts else ""


def _completeness(made: Explanation) -> str:
    if (found := made.integrated) is None:
        return ""
    change = found.score - found.baseline_score
    what = f"{change + found.error:.4f} of F(x) - F(baseline) = {change:.4f} with {found.steps} steps"
    if found.complete:
        return f" Attributions add up to {what}."
    return f" Attributions do not add up: to {what}, and more are not taken."


def _checked(made: Explanation) -> dict[str, Any]:
    found = made.integrated
    return {
        "score": found.score,
        "baseline_score": found.baseline_score,
        "sum": found.score - found.baseline_score + found.error,
        "error": found.error,
        "steps": found.steps,
        "complete": found.complete,
    }


def _draw(made: Explanation, trained: Trained, folder: Path, name: str) -> list[Path]:
    spec, x = trained.spec, made.example.x[0]
    image = x if spec.kind == "image" else None
    given = made.example.name
    file = _file(given)
    says = pictures.heading(file.name + given.removeprefix(str(file)) if file else given, _says(made, spec))
    panels = [
        Panel(
            _title(made, method),
            values if values.ndim > 1 else values[None],
            method in SIGNED,
            made.seen if method == "grad_cam" else None,
        )
        for method, values in made.maps.items()
    ]
    drawn: list[Path] = []

    def at(kind: str) -> Path:
        drawn.append(folder / f"{name}-{kind}.png")
        return drawn[-1]

    if made.tokens:
        words = trained.vocabulary is None or trained.vocabulary.tokens == "word"
        for method, values in made.maps.items():
            label = f"{TITLES[method]} of the logit of {made.target!r}"
            label += ": blue for it, red against it" if method in SIGNED else ""
            note = _completeness(made).strip() if method == "integrated_gradients" else ""
            pictures.draw_tokens(at(method), says, made.tokens, values, words=words, label=label, note=note)
    elif panels and image is not None:
        pictures.draw_image(at("maps"), says, image, panels)
    elif panels and spec.kind == "sequence":
        pictures.draw_steps(at("maps"), says, x, panels)
    elif panels:
        pictures.draw_features(at("maps"), says, panels)
    for part, layers in made.attention.items():
        queries, keys = next(iter(layers.values())).shape[1:]
        steps = pictures.rows_of(queries)
        rows = made.written if part in ("decoder", "cross_attention") else made.tokens or steps
        columns = ["[BEGIN]", *made.written[:-1]] if part == "decoder" else made.tokens or steps
        query_axis, key_axis = AXES[part]
        if not made.tokens:
            query_axis = "row of the image" if image is not None else "step"
        grid = Grid(layers, _shaped(rows), _shaped(columns), query_axis, key_axis, image)
        pictures.draw_attention(at(part), says, grid)
    return drawn


def _title(made: Explanation, method: str) -> str:
    return f"{TITLES[method]} at {made.layer}" if method == "grad_cam" else TITLES[method]


def _says(made: Explanation, spec: DataSpec) -> str:
    """Return what the model says, for the second line of a title."""
    truth = f", in the data: {made.example.truth}" if made.example.truth else ""
    if spec.task == "translation":
        return f"becomes: {made.label}{truth}"
    if spec.task == "language_model":
        return f"next: {made.label!r}, {made.probability:.1%}"
    explained = f", explained: {made.target}" if made.target != made.label else ""
    return f"{made.label}, {made.probability:.1%}{truth}{explained}"


def _shaped(tokens: list[str]) -> list[str]:
    return [pictures.shapes(token, inside=True) for token in tokens]


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _rounded(values: np.ndarray) -> list[Any]:
    """Return nested lists of numbers of six digits."""
    return [float(f"{v:.6g}") for v in values] if values.ndim == 1 else [_rounded(part) for part in values]
