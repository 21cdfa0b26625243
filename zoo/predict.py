"""`python -m zoo.predict`: classify inputs with a trained run, choose among texts, or complete triples."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies import backend
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to classify, and with which run."""

    run: Path = option("the run folder", positional=True, stock_as="run")
    inputs: tuple[str, ...] = option(
        "images, .npz files with x, tables with a text column, or texts; of a knowledge graph questions:"
        " 'HEAD RELATION ?' or '? RELATION TAIL'",
        positional=True,
        metavar="INPUT",
    )
    top: int | None = option("how many classes, or answers, to show for each input (default: 1, of texts all)")
    labels: tuple[str, ...] | None = option(
        "of a run on images and captions: texts to choose among (default: its classes)", metavar="TEXT,TEXT"
    )
    text_column: str | None = option("column of the text in a table (default: the run's, or text)")


def run(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each example its name and its most probable classes."""
    options = Options(**given)
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top: expected at least 1, received {options.top}")
    folder = RunFolder(options.run)
    if folder.task == "contrastive":
        return _by_texts(folder, options)
    if folder.task == "link_prediction":
        return _answers(folder, options)
    if folder.task != "classification":
        what = "images" if folder.task == "generation" else "texts"
        raise UsageError(f"{folder.path}: expected a run that gives classes, this one gives {what}; use zoo.generate")
    if options.labels is not None:
        raise UsageError("--labels: expected a run on images and captions, this one gives classes of its own")
    column = options.text_column or folder.read_config()["config"].text_column or "text"
    folder.read_metrics()
    backend.start()
    from zoo.data import Split
    from zoo.runs.inference import logits_of, probabilities, read_inputs
    from zoo.runs.vocabularies import read_spec

    spec, vocabulary = read_spec(folder)
    names, x = read_inputs(options.inputs, spec, vocabulary, column)
    model = folder.load_model()
    shares = probabilities(logits_of(model, Split(x, x[:, :0])))
    return [
        {"input": name, **_ranked(p, spec.class_names, options.top or 1)} for name, p in zip(names, shares, strict=True)
    ]


def _by_texts(folder: RunFolder, options: Options) -> list[dict[str, Any]]:
    from zoo.tasks import zero_shot

    zero_shot.check(folder, options.labels)
    folder.read_metrics()
    backend.start()
    names, labels, probabilities = zero_shot.probabilities(folder, options.inputs, options.labels)
    top = options.top or len(labels)
    return [{"input": name, **_ranked(p, labels, top)} for name, p in zip(names, probabilities, strict=True)]


def _answers(folder: RunFolder, options: Options) -> list[dict[str, Any]]:
    from zoo.runs.vocabularies import read_spec
    from zoo.tasks import questions

    folder.read_metrics()
    spec, _ = read_spec(folder)
    asked = [questions.parse(text, spec) for text in options.inputs]
    backend.start()
    top = options.top or 1
    found = questions.answers(folder.load_model(), asked, spec, top)
    rows = [[{"label": label, "probability": p} for label, p in best] for best in found]
    return [
        {"input": text, **best[0], **({"top": best} if top > 1 else {})}
        for text, best in zip(options.inputs, rows, strict=True)
    ]


def _ranked(p: Any, class_names: Sequence[str], top: int) -> dict[str, Any]:
    if p.ndim == 2:  # one label a step
        return {"label": " ".join(class_names[i] for i in p.argmax(-1)), "probability": float(p.max(-1).min())}
    order = p.argsort()[::-1][:top]
    best = {"label": class_names[order[0]], "probability": float(p[order[0]])}
    if top == 1:
        return best
    return best | {"top": [{"label": class_names[i], "probability": float(p[i])} for i in order]}


def show(result: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each input and class: a table on a terminal, tab-separated in a pipe."""
    rows = [
        (row["input"], entry["label"], f"{entry['probability']:.4f}")
        for row in result
        for entry in row.get("top", [row])
    ]
    cli.table(("input", "label", "probability"), rows)


main = functools.partial(
    cli.command, Options, run, show, prog="python -m zoo.predict", description="Classify inputs with a trained run."
)


if __name__ == "__main__":
    sys.exit(main())
