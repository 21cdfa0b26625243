"""Files of an explanation: pictures, numbers as JSON, and a sentence that sums it up."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from zoo.explain import pictures
from zoo.explain.explanation import ExplainedRun, Explanation
from zoo.explain.pictures import Grid, Panel
from zoo.system.files import write_text
from zoo.tasks.base import short

TITLES = {
    "grad_cam": "Grad-CAM",
    "saliency": "saliency: |gradient|",
    "gradient_x_input": "gradient × input",
    "integrated_gradients": "integrated gradients",
}
SIGNED = ("gradient_x_input", "integrated_gradients")
# Labels of the rows and columns of attention maps, by part of the model.
AXES = {
    "attention": ("token", "attends to"),
    "encoder": ("source token", "attends to source token"),
    "decoder": ("output token", "attends to earlier output token"),
    "cross_attention": ("output token", "attends to source token"),
}
# Number of tokens for and against a class that a sentence names.
NAMED = 3


def slug(name: str, taken: Collection[str]) -> str:
    """Return a short file name for an input.

    Args:
        name: Input as the user wrote it.
        taken: File names that are in use.
    """
    file = _file(name)
    shown = file.stem + name.removeprefix(str(file)) if file else name
    plain = re.sub(r"\W+", "-", shown).strip("-").lower()[:40] or "input"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain}-{number}"
    return found


def written(made: Explanation, trained: ExplainedRun, folder: Path, name: str) -> dict[str, Any]:
    """Draw an explanation, write its numbers, and return a summary.

    Args:
        made: Explanation.
        trained: Run.
        folder: Folder to write to.
        name: Beginning of the file names.
    """
    reading = made.reading
    drawn = [str(path) for path in _draw(made, trained, folder, name)]
    summary = {"input": made.example.name, "label": reading.label, "probability": reading.probability}
    summary |= {"truth": made.example.truth} if made.example.truth else {}
    summary |= {"target": made.target} if made.target else {}
    summary |= {"layer": made.layer} if made.layer else {}
    summary |= {"seen": made.seen} if made.seen else {}
    summary |= {"integrated_gradients": _checked(made)} if made.integrated else {}
    summary |= {"sentence": sentence(made, trained), "pictures": drawn}
    numbers = {"tokens": reading.tokens} if reading.tokens else {}
    numbers |= {"written": reading.written} if reading.written else {}
    numbers |= {"maps": {method: _rounded(values) for method, values in made.maps.items()}}
    numbers |= {
        "attention": {
            part: {layer: _rounded(heads) for layer, heads in layers.items()} for part, layers in made.attention.items()
        }
    }
    path = folder / f"{name}.json"
    write_text(path, json.dumps(summary | numbers, ensure_ascii=False) + "\n")
    return summary | {"numbers": str(path)}


def sentence(made: Explanation, trained: ExplainedRun) -> str:
    """Return the model's answer to an input and what contributed most to it, as a sentence."""
    name = made.example.name if _file(made.example.name) else repr(short(made.example.name))
    truth = made.example.truth
    known = ", correct" if truth == made.reading.label else f", {trained.task.truth_is} {short(truth)}"
    text = f"{name}: {made.reading.statement}{known if truth else ''}{_other_target(made)}"
    if made.reading.tokens and "integrated_gradients" in made.maps:
        text += _strongest(made)
    return f"{text}.{_completeness(made)}"


def _other_target(made: Explanation) -> str:
    return f"; explained class: {short(made.target)}" if made.target not in ("", made.reading.label) else ""


def _file(name: str) -> Path | None:
    """Return the file that an example comes from, such as films.csv for "films.csv[3]", or None for a text."""
    path = Path(name.rpartition("[")[0] or name)
    try:
        return path if path.is_file() else None
    except OSError:  # a text that is too long for a file name
        return None


def _strongest(made: Explanation) -> str:
    values = made.maps["integrated_gradients"]
    order = np.argsort(-np.abs(values), kind="stable")
    parts = []
    for what, sign in (("for it", 1), ("against it", -1)):
        if found := [i for i in order if sign * values[i] > 0][:NAMED]:
            parts.append(f"{what} " + ", ".join(f"{made.reading.tokens[i].strip()!r} {values[i]:+.2f}" for i in found))
    return "; " + ", ".join(parts) if parts else ""


def _completeness(made: Explanation) -> str:
    if (found := made.integrated) is None:
        return ""
    change = found.score - found.baseline_score
    what = f"{change + found.error:.4f} of F(x) - F(baseline) = {change:.4f} with {found.steps} steps"
    if found.complete:
        return f" Attributions add up to {what}."
    return f" Attributions do not add up: {what}, the maximum."


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


def _draw(made: Explanation, trained: ExplainedRun, folder: Path, name: str) -> list[Path]:
    spec, reading, x = trained.spec, made.reading, made.example.x[0]
    image = x if spec.kind == "image" else None
    given = made.example.name
    file = _file(given)
    says = pictures.heading(file.name + given.removeprefix(str(file)) if file else given, _says(made, trained))
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

    if reading.tokens:
        vocabulary = trained.texts.vocabulary
        words = vocabulary is None or vocabulary.tokens == "word"
        for method, values in made.maps.items():
            label = f"{TITLES[method]} of the logit of {made.target!r}"
            label += ": blue for it, red against it" if method in SIGNED else ""
            note = _completeness(made).strip() if method == "integrated_gradients" else ""
            pictures.draw_tokens(at(method), says, reading.tokens, values, words=words, label=label, note=note)
    elif panels and image is not None:
        pictures.draw_image(at("maps"), says, image, panels)
    elif panels and spec.kind == "sequence":
        pictures.draw_steps(at("maps"), says, x, panels)
    elif panels:
        pictures.draw_features(at("maps"), says, panels)
    for part, layers in made.attention.items():
        queries, keys = next(iter(layers.values())).shape[1:]
        steps = pictures.rows_of(queries)
        rows = reading.written if part in ("decoder", "cross_attention") else reading.tokens or steps
        columns = ["[BEGIN]", *reading.written[:-1]] if part == "decoder" else reading.tokens or steps
        query_axis, key_axis = AXES[part]
        if not reading.tokens:
            query_axis = "row of the image" if image is not None else "step"
        grid = Grid(layers, _shaped(rows), _shaped(columns), query_axis, key_axis, image)
        pictures.draw_attention(at(part), says, grid)
    return drawn


def _title(made: Explanation, method: str) -> str:
    return f"{TITLES[method]} at {made.layer}" if method == "grad_cam" else TITLES[method]


def _says(made: Explanation, trained: ExplainedRun) -> str:
    """Return the model's answer, for the second line of a title."""
    truth = f", {trained.task.truth_is} {made.example.truth}" if made.example.truth else ""
    return f"{made.reading.statement}{truth}{_other_target(made)}"


def _shaped(tokens: list[str]) -> list[str]:
    return [pictures.shapes(token, inside=True) for token in tokens]


def _rounded(values: np.ndarray) -> list[Any]:
    """Return nested lists of numbers with six digits."""
    return [float(f"{v:.6g}") for v in values] if values.ndim == 1 else [_rounded(part) for part in values]
