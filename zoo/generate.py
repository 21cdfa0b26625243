"""`python -m zoo.generate`: translate texts, go on with them, or draw images, with a trained run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies import backend
from zoo.config.options import option
from zoo.config.train_config import flag
from zoo.console import cli
from zoo.console.errors import UsageError, unknown
from zoo.runs.folder import RunFolder

IMAGES = 64
LENGTH = 256  # tokens that a text is gone on with, unless --length says otherwise


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to generate from, with which run, and how."""

    run: Path = option("the run folder", positional=True, stock_as="copy")
    inputs: tuple[str, ...] = option(
        "texts to translate, or to go on with; none of a run that draws images",
        (),
        positional=True,
        optional=True,
        metavar="TEXT",
    )
    beams: int | None = option("translations that a search goes on with at a time (default: 4)")
    length_penalty: float | None = option("of the search: 0 prefers short translations (default: 0.6)")
    temperature: float | None = option(
        "draw tokens, from probabilities sharpened (below 1) or flattened (above) (default of a language model: 0.8)"
    )
    top_k: int | None = option("draw among this many most probable tokens, 0: all")
    top_p: float | None = option("draw among the most probable tokens that have this share together")
    greedy: bool = option("of a language model: take the most probable token each time", False)
    seed: int = option("of the draws", 0)
    count: int | None = option(f"texts for each input, where tokens are drawn (default: 1); images (default: {IMAGES})")
    length: int | None = option(f"most tokens (default: of a language model {LENGTH}, else the run's longest target)")
    label: str | None = option("of a run that draws images by class: the class of all of them (default: each in turn)")
    output: Path | None = option(
        "of a run that draws images: the picture to write, an .npz of the images beside it (default:"
        " RUN/samples/seed-N.png)"
    )


SEARCH, DRAW = ("beams", "length_penalty"), ("temperature", "top_k", "top_p")

# Tasks whose runs are used by zoo.predict, and what these do.
_MAKE_NOTHING = {
    "classification": "gives classes",
    "contrastive": "chooses among captions",
    "link_prediction": "gives entities",
}


def run(given: Mapping[str, Any]) -> list[dict[str, str]] | dict[str, Any]:
    """Return for each input, and each of its count, the text that was made; of images, what was written where."""
    options = Options(**given)
    folder = RunFolder(options.run)
    task = folder.task
    if task in _MAKE_NOTHING:
        raise UsageError(
            f"{folder.path}: expected a run that gives texts or draws images, this one {_MAKE_NOTHING[task]};"
            " use zoo.predict"
        )
    if task == "generation":
        return _drawn(folder, options, given)
    if not options.inputs:
        raise UsageError("TEXT: expected one text or more, received none")
    if images := [name for name in ("label", "output") if name in given]:
        raise UsageError(f"{flag(images[0])}: expected a run that draws images, this one gives texts")
    how = _how(options, task)
    folder.read_metrics()
    backend.start()
    from zoo.runs.vocabularies import read_spec, read_target_vocabulary

    spec, vocabulary = read_spec(folder)
    model = folder.load_model()
    if task == "language_model":
        return _continued(model, spec, vocabulary, options, how)
    from zoo.runs.inference import read_inputs
    from zoo.tasks.translation import translate

    names, x = read_inputs(options.inputs, spec, vocabulary, "source")
    target = read_target_vocabulary(folder, spec)
    length = options.length or spec.target_shape[0] - 1
    ids = translate(model, x.repeat(options.count or 1, axis=0), length, how, (target.begin_id, target.end_id))
    repeated = [name for name in names for _ in range(options.count or 1)]
    return [{"input": name, "output": target.decode(row)} for name, row in zip(repeated, ids, strict=True)]


def _drawn(folder: RunFolder, options: Options, given: Mapping[str, Any]) -> dict[str, Any]:
    """Draw images, and write them as one picture and as an .npz.

    Raises:
        UsageError: options of texts, a class that is not drawn, or a file that cannot be written.
    """
    for name in ("beams", "length_penalty", "temperature", "top_k", "top_p", "greedy", "length"):
        if name in given:
            raise UsageError(f"{flag(name)}: expected a run that gives texts, this one draws images")
    if options.inputs:
        raise UsageError(f"TEXT: expected none, as this run draws images; received {options.inputs[0]!r}")
    count = IMAGES if options.count is None else options.count
    if count < 1:
        raise UsageError(f"--count {count}: expected 1 or more")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed {options.seed}: expected a value from 0 to 4294967295")
    stored = folder.read_config()
    label = None
    if options.label is not None:
        names = stored["data"]["class_names"]
        if not stored["config"].settings.get("conditional"):
            raise UsageError(f"--label {options.label}: expected a run with --set conditional=true, this one has none")
        if options.label not in names:
            raise unknown("class", options.label, names)
        label = names.index(options.label)
    path = options.output or folder.samples / f"seed-{options.seed}.png"
    if path.suffix.lower() != ".png":
        raise UsageError(f"--output {path}: expected a name that ends in .png")
    folder.read_metrics()
    backend.start()
    import numpy as np

    from zoo.reports import mosaic
    from zoo.system.files import replacing
    from zoo.tasks import generation

    model = folder.load_model()
    labels = generation.grid_labels(model, count) if label is None else np.full(count, label)
    images = generation.draw(model, generation.codes(model, count, options.seed, labels))
    wide = generation.columns(model, count) if label is None else int(np.ceil(np.sqrt(count)))
    mosaic.save(mosaic.mosaic(images, wide), path)
    arrays = {"x": images} | ({} if labels is None else {"y": labels.astype(np.int32)})
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, **arrays)
    return {"count": count, "seed": options.seed, "images": str(path.with_suffix(".npz")), "path": str(path)}


def _how(options: Options, task: str) -> Any:
    """Return the search, or how tokens are drawn, None for greedy.

    Raises:
        UsageError: options of both, or values out of range.
    """
    from zoo.config.sampling import Beam, Sampling

    count = 1 if options.count is None else options.count
    if count < 1:
        raise UsageError(f"--count {count}: expected 1 or more")
    if options.length is not None and options.length < 1:
        raise UsageError(f"--length {options.length}: expected 1 or more")
    search = {name: value for name in SEARCH if (value := getattr(options, name)) is not None}
    draw = {name: value for name in DRAW if (value := getattr(options, name)) is not None}
    if task == "language_model" and search:
        raise UsageError(f"{flag(next(iter(search)))}: expected a run that translates, this one goes on with a text")
    if (search or options.greedy) and draw:
        other = next(iter(search), "greedy")
        raise UsageError(f"{flag(other)} and {flag(next(iter(draw)))}: expected a search or draws, received both")
    if task == "language_model":
        return None if options.greedy else Sampling(**{"temperature": 0.8} | draw, seed=options.seed)
    if draw:
        return Sampling(**draw, seed=options.seed)
    if count > 1:
        raise UsageError(f"--count {count}: expected 1 with a search, which finds one best; or --temperature")
    return Beam(beams=1) if options.greedy else Beam(**search)


def _continued(model: Any, spec: Any, vocabulary: Any, options: Options, how: Any) -> list[dict[str, str]]:
    from zoo.data.sources.language import ids_of
    from zoo.runs.inference import tell_unknown
    from zoo.tasks.language_model import continued

    made = []
    for text in options.inputs:
        prompt = ids_of(vocabulary, text)
        if not len(prompt):
            raise UsageError("TEXT: expected a text to go on with, received an empty one")
        tell_unknown(f"TEXT {text[:40]}", [prompt], vocabulary)
        (window,) = spec.input_shape
        texts = continued(
            model, prompt, count=options.count or 1, length=options.length or LENGTH, window=window, sampling=how
        )
        made += [{"input": text, "output": vocabulary.decode([*prompt, *row])} for row in texts]
    return made


def show(result: Sequence[Mapping[str, str]] | Mapping[str, Any]) -> None:
    """Print what was made, a text after the other; of images, where they are."""
    if isinstance(result, Mapping):
        print(f"{result['count']} images, also as arrays in {result['images']}")
        print(result["path"])
        return
    for row in result:
        print(row["output"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.generate runs/gan-mnist --count 64 --output samples",
        "python -m zoo.generate runs/transformer_lm-texts 'Once upon a time' --temperature 0.8 --top-k 40",
    ),
    prog="python -m zoo.generate",
    description="Translate texts, go on with them, or draw images, with a trained run.",
)


if __name__ == "__main__":
    sys.exit(main())
