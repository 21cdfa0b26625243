"""`python -m zoo.generate`: translate texts, or go on with them, with a trained run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies import backend
from zoo import cli
from zoo.config import flag, option
from zoo.errors import UsageError
from zoo.runs import RunFolder

LENGTH = 256  # tokens that a text is gone on with, unless --length says otherwise


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to generate from, with which run, and how."""

    run: Path = option("the run folder", positional=True)
    inputs: tuple[str, ...] = option("texts to translate, or to go on with", positional=True, metavar="TEXT")
    beams: int | None = option("translations that a search goes on with at a time (default: 4)")
    length_penalty: float | None = option("of the search: 0 prefers short translations (default: 0.6)")
    temperature: float | None = option(
        "draw tokens, from probabilities sharpened (below 1) or flattened (above) (default of a language model: 0.8)"
    )
    top_k: int | None = option("draw among this many most probable tokens, 0: all")
    top_p: float | None = option("draw among the most probable tokens that have this share together")
    greedy: bool = option("of a language model: take the most probable token each time", False)
    seed: int = option("of the draws", 0)
    count: int = option("texts for each input, where tokens are drawn", 1)
    length: int | None = option(f"most tokens (default: of a language model {LENGTH}, else the run's longest target)")


SEARCH, DRAW = ("beams", "length_penalty"), ("temperature", "top_k", "top_p")


def run(given: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return for each input, and each of its count, the text that was made."""
    options = Options(**given)
    folder = RunFolder(options.run)
    task = folder.task
    if task in ("classification", "link_prediction"):
        gives = "classes" if task == "classification" else "entities"
        raise UsageError(f"{folder.path}: expected a run that gives texts, this one gives {gives}; use zoo.predict")
    how = _how(options, task)
    folder.read_metrics()
    backend.start()
    from zoo.vocabularies import read_spec, read_target_vocabulary

    spec, vocabulary = read_spec(folder)
    model = folder.load_model()
    if task == "language_model":
        return _continued(model, spec, vocabulary, options, how)
    from zoo.inference import read_inputs
    from zoo.tasks.translation import translate

    names, x = read_inputs(options.inputs, spec, vocabulary, "source")
    target = read_target_vocabulary(folder, spec)
    length = options.length or spec.target_shape[0] - 1
    ids = translate(model, x.repeat(options.count, axis=0), length, how, (target.begin_id, target.end_id))
    repeated = [name for name in names for _ in range(options.count)]
    return [{"input": name, "output": target.decode(row)} for name, row in zip(repeated, ids, strict=True)]


def _how(options: Options, task: str) -> Any:
    """Return the search, or how tokens are drawn, None for greedy.

    Raises:
        UsageError: options of both, or values out of range.
    """
    from zoo.sampling import Beam, Sampling

    if options.count < 1:
        raise UsageError(f"--count {options.count}: expected 1 or more")
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
    if options.count > 1:
        raise UsageError(f"--count {options.count}: expected 1 with a search, which finds one best; or --temperature")
    return Beam(beams=1) if options.greedy else Beam(**search)


def _continued(model: Any, spec: Any, vocabulary: Any, options: Options, how: Any) -> list[dict[str, str]]:
    from zoo.data.language import ids_of
    from zoo.data.text import UNKNOWN_ID
    from zoo.tasks.language_model import continued

    made = []
    for text in options.inputs:
        prompt = ids_of(vocabulary, text)
        if not len(prompt):
            raise UsageError("TEXT: expected a text to go on with, received an empty one")
        if unknown := int((prompt == UNKNOWN_ID).sum()):
            cli.say(f"TEXT {text[:40]!r}: {unknown} of {len(prompt)} tokens are not in the run's vocabulary")
        (window,) = spec.input_shape
        texts = continued(
            model, prompt, count=options.count, length=options.length or LENGTH, window=window, sampling=how
        )
        made += [{"input": text, "output": vocabulary.decode([*prompt, *row])} for row in texts]
    return made


def show(result: Sequence[Mapping[str, str]]) -> None:
    """Print what was made, a text after the other."""
    for row in result:
        print(row["output"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.generate",
    description="Translate texts, or go on with them, with a trained run.",
)


if __name__ == "__main__":
    sys.exit(main())
