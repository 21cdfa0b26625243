"""`python -m zoo.explain`: show which parts of an input a trained run attends to and decides by."""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strategies import backend
from zoo.config import task_facts
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError, nearest
from zoo.runs import inputs
from zoo.runs.folder import RunFolder

Method = Literal["attention", "saliency", "gradient_x_input", "grad_cam", "integrated_gradients"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `python -m zoo.explain`."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    inputs: tuple[str, ...] = option(
        "image, .npz file with an array x, table with a text column, text, or test:17 for an example of the run's own"
        " data (numbered as in the report; train and validation work too)",
        positional=True,
        metavar="INPUT",
    )
    method: tuple[Method, ...] | None = option(
        "method: attention, saliency, gradient_x_input, grad_cam or integrated_gradients; several are separated by"
        " commas (default: the methods that suit the model)",
        metavar="METHOD,...",
    )
    target: str | None = option("name or index of the class whose score is explained (default: the predicted class)")
    layer: str | None = option("name of the convolution for Grad-CAM (default: the last)")
    limit: int = option("maximum number of examples to explain", 24)
    output: Path | None = option("folder to write to (default: RUN/explanations)")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")
    text_column: str | None = option("column of the text in a table (default: the run's, or text)")


# Default methods for each kind of data, if the model has attention layers or convolutions for them.
_USUAL = {
    "tokens": ("integrated_gradients", "attention"),
    "pairs": ("attention",),
    "image": ("grad_cam", "saliency", "gradient_x_input", "attention"),
    "sequence": ("saliency", "gradient_x_input", "attention"),
    "vector": ("saliency", "gradient_x_input"),
    "sound": ("saliency", "gradient_x_input"),
}


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Explain the inputs, write pictures and numbers into a folder, and return a summary of each example."""
    options = Options(**given)
    folder = RunFolder(options.run)
    stored = folder.read_config()
    folder.check_model_file()
    target = _check(options, stored["data"])
    inputs.check_files([text for text in options.inputs if not inputs.OWN.fullmatch(text)], stored["data"])
    config = stored["config"]
    if options.data_dir:
        config = dataclasses.replace(config, data_dir=options.data_dir)
    backend.start()
    from zoo.explain import explanation
    from zoo.explain import report as explanation_report

    trained = explanation.opened(folder)
    column = options.text_column or (config.source or "source" if trained.spec.kind == "pairs" else config.text_column)
    examples = list(explanation.read(trained, options.inputs, config, column or "text"))
    if len(examples) > options.limit:
        cli.say(f"{len(examples):,} examples: the first {options.limit} are explained; --limit raises that")
    model = folder.load_model()
    methods = _methods(options, stored["data"]["kind"], explanation.possible(model, trained.spec), config.model)
    place = options.output or folder.path / "explanations"
    place.mkdir(parents=True, exist_ok=True)
    found, names = [], []
    for made in explanation.explained(
        trained, model, examples[: options.limit], methods, target=target, layer=options.layer
    ):
        names.append(explanation_report.slug(made.example.name, names))
        found.append(explanation_report.written(made, trained, place, names[-1]))
    return {"inputs": found, "path": str(place)}


def _check(options: Options, data: Mapping[str, Any]) -> int | None:
    """Return the index of the class that is explained, None for the predicted class.

    Raises:
        UsageError: Options that no model for these data can follow.
    """
    if options.limit < 1:
        raise UsageError(f"--limit: expected at least 1, received {options.limit}")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: expected a folder, received a file")
    task, methods = data.get("task", task_facts.CLASSES), options.method
    facts = task_facts.of(task)
    if not facts.explained:
        raise UsageError(f"{options.run}: expected a run that gives classes or texts, this one is for {task}")
    if data["kind"] not in _USUAL:
        raise UsageError(
            f"{options.run}: expected a run on texts, pictures, sounds, sequences or vectors, this one takes rows of a"
            " table, for which there is no method"
        )
    if not facts.classifies:
        if other := [method for method in methods or () if method != "attention"]:
            raise UsageError(f"--method {other[0]}: expected attention for a run that gives {facts.gives}")
        if options.target is not None:
            raise UsageError(
                f"--target {options.target}: expected a run that gives classes, this one gives {facts.gives}"
            )
    if options.target is not None and methods == ("attention",):
        raise UsageError(f"--target {options.target}: expected a method that explains one class, attention does not")
    if options.layer is not None and ("grad_cam" not in methods if methods else data["kind"] != "image"):
        raise UsageError(f"--layer {options.layer}: expected with --method grad_cam, received without it")
    return None if options.target is None else _class(options.target, data["class_names"])


def _class(name: str, class_names: Sequence[str]) -> int:
    if name in class_names:
        return class_names.index(name)
    if name.isdecimal() and int(name) < len(class_names):
        return int(name)
    listed = ", ".join(class_names) if len(class_names) <= 20 else f"the run's {len(class_names)} classes"
    raise UsageError(f"--target {name}: expected one of {listed}{nearest(name, class_names)}")


def _methods(options: Options, kind: str, possible: Sequence[str], model: str) -> tuple[str, ...]:
    """Return the methods to draw.

    Raises:
        UsageError: A method that the model cannot be explained by.
    """
    for method in options.method or ():
        if method not in possible:
            needs = {"attention": "attention layers", "grad_cam": "a convolution over an image"}[method]
            works = f"; {', '.join(possible)} work" if possible else ""
            raise UsageError(f"--method {method}: expected a model with {needs}, {model} has none{works}")
    chosen = options.method or tuple(method for method in _USUAL[kind] if method in possible)
    if not chosen:
        raise UsageError(f"{options.run}: expected a model with attention layers, {model} has none")
    if options.layer is not None and "grad_cam" not in chosen:
        raise UsageError(f"--layer {options.layer}: expected a model with a convolution, {model} has none")
    return tuple(dict.fromkeys(chosen))


def show(result: Mapping[str, Any]) -> None:
    """Print a sentence for each example, and the folder with the pictures."""
    for row in result["inputs"]:
        print(row["sentence"])
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.explain",
    description="Show which parts of an input a trained run attends to and decides by.",
)


if __name__ == "__main__":
    sys.exit(main())
