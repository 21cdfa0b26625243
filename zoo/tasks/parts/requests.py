"""Checks of what `zoo.predict` and `zoo.generate` are asked, before Keras is imported.

A row of `zoo.config.task_facts` names the options that apply to a run for its task, and the check of its inputs: a
function of the run folder and the options.
"""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from zoo.config import task_facts
from zoo.config.run_options import GenerateOptions, PredictOptions
from zoo.config.sampling import Beam, Sampling
from zoo.config.task_facts import TASKS
from zoo.config.train_config import flag
from zoo.console.errors import UsageError, unknown
from zoo.data.dataset import DataSpec
from zoo.data.tabular import header as tables
from zoo.runs import inputs
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec

SEARCH, DRAW = ("beams", "length_penalty"), ("temperature", "top_k", "top_p")
# Kind of the inputs that an option of zoo.predict is for, if not for all, and its name in messages.
_KINDS = {"hop": ("sound", "sound"), "threshold": ("sound", "sound"), "text_column": ("tokens", "texts")}
# Mark of the unknown end of a triple.
UNKNOWN = "?"
# Temperature of a language model, at which text is neither repetitive nor incoherent.
TEMPERATURE = 0.8


def check_options(run: RunFolder, options: PredictOptions) -> None:
    """Raise UsageError for an option of `zoo.predict` that would change nothing in the answers of a run."""
    facts, kind = task_facts.of(run.task), run.read_config()["data"]["kind"]
    for name in sorted({name for row in TASKS.values() for name in row.asked}):
        value = getattr(options, name)
        if value is None:
            continue
        shown = f"{value:g}" if isinstance(value, float) else ",".join(value) if name == "labels" else value
        given = f"{flag(name)} {shown}"
        if name in _KINDS and kind != _KINDS[name][0]:
            raise UsageError(f"{given}: expected a run on {_KINDS[name][1]}, this one takes {kind} inputs")
        if name not in facts.asked:
            taken = [flag(each) for each in facts.asked if each not in _KINDS or kind == _KINDS[each][0]]
            more = f"; it takes {', '.join(taken)}" if taken else ""
            if name == "threshold" and "false_alarm_rate" in facts.options:
                more = "; its threshold is that of --false-alarm-rate"
            raise UsageError(
                f"{given}: expected a run that gives {task_facts.asked_of(name)}, this one gives {facts.gives}{more}"
            )


def check_captions(run: RunFolder, options: PredictOptions) -> None:
    """Raise UsageError for texts that an image cannot be matched with."""
    if options.labels is None:
        if not run.read_config()["data"]["class_names"]:
            raise UsageError("--labels: expected texts to choose from, as this run has captions and no classes")
        return
    if len(options.labels) < 2:
        raise UsageError(f"--labels: expected two or more texts separated by commas, received {len(options.labels)}")
    if repeated := [label for label, count in Counter(options.labels).items() if count > 1]:
        raise UsageError(f"--labels: expected every text once, received {repeated[0]!r} more than once")


def check_questions(run: RunFolder, options: PredictOptions) -> None:
    """Raise UsageError for texts that are no questions about the entities of a run."""
    spec, _ = read_spec(run)
    for text in options.inputs:
        question(text, spec)


def question(text: str, spec: DataSpec) -> tuple[int, int]:
    """Return a question about a triple as ids (entity, relation). Questions about a head have an inverse relation.

    Args:
        text: Head, relation and tail, one of the ends a question mark. They are separated by tabs, or by spaces if
            names that contain spaces are quoted.
        spec: Form of the run's data.

    Raises:
        UsageError: A text that is no question, or a name that the run does not know.
    """
    words = text.split("\t") if "\t" in text else _words(text)
    asked = [i for i, word in enumerate(words) if word == UNKNOWN]
    if len(words) != 3 or asked not in ([0], [2]):
        raise UsageError(
            f"INPUT {text!r}: expected 'HEAD RELATION ?' or '? RELATION TAIL', names with spaces in quotation marks or"
            f" all separated by tabs, received {len(words)} words with {len(asked)} question marks"
        )
    entity = _id("entity", words[2 - asked[0]], spec.class_names)
    relation = _id("relation", words[1], spec.relations)
    return entity, relation + (len(spec.relations) if asked == [0] else 0)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe
        return text.split()


def _id(what: str, name: str, known: Sequence[str]) -> int:
    try:
        return known.index(name)
    except ValueError:
        raise unknown(what, name, known) from None


def check_continuation(run: RunFolder, options: GenerateOptions) -> None:
    """Raise UsageError for options that a language model does not have, or values out of range."""
    _check_texts(options)
    for text in options.inputs:
        inputs.check_text(text)
    continuation(options)


def check_translation(run: RunFolder, options: GenerateOptions) -> None:
    """Raise UsageError for options that a translation does not have, or values out of range."""
    _check_texts(options)
    for text in options.inputs:
        inputs.check_text(text, inputs.FILES_OF_TEXTS)
    translation(options)


def continuation(options: GenerateOptions) -> Sampling | None:
    """Return how the tokens of a continuation are sampled, None for the most probable one at each step.

    Raises:
        UsageError: Options of a search, options that exclude each other, or values out of range.
    """
    search, draw = _given(options, SEARCH), _given(options, DRAW)
    if search:
        raise UsageError(f"{flag(next(iter(search)))}: expected a run that translates, this one continues texts")
    _check_one_way(options, search, draw)
    if options.greedy:
        _check_one_text(options)
    return None if options.greedy else Sampling(**{"temperature": TEMPERATURE} | draw, seed=options.seed)


def translation(options: GenerateOptions) -> Beam | Sampling:
    """Return the search for a translation, or how its tokens are sampled.

    Raises:
        UsageError: Options that exclude each other, or values out of range.
    """
    search, draw = _given(options, SEARCH), _given(options, DRAW)
    _check_one_way(options, search, draw)
    if draw:
        return Sampling(**draw, seed=options.seed)
    _check_one_text(options)
    return Beam(beams=1) if options.greedy else Beam(**search)


def _given(options: GenerateOptions, names: Sequence[str]) -> dict[str, float]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _check_texts(options: GenerateOptions) -> None:
    """Raise UsageError for options that no run on texts has."""
    if not options.inputs:
        raise UsageError("TEXT: expected one text or more, received none")
    if images := list(_given(options, ("label", "output"))):
        raise UsageError(f"{flag(images[0])}: expected a run that gives images, this one gives texts")
    for name in ("count", "length"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UsageError(f"{flag(name)} {value}: expected 1 or more")


def _check_one_way(options: GenerateOptions, search: dict[str, float], draw: dict[str, float]) -> None:
    if search and options.greedy:
        name, value = next(iter(search.items()))
        raise UsageError(
            f"--greedy and {flag(name)} {value:g}: expected the most probable token at each step or a search, received"
            " both; leave one out"
        )
    if (search or options.greedy) and draw:
        other = next(iter(search), "greedy")
        raise UsageError(f"{flag(other)} and {flag(next(iter(draw)))}: expected a search or samples, received both")


def _check_one_text(options: GenerateOptions) -> None:
    """Raise UsageError for several texts of an input where nothing is drawn at random."""
    if options.count is not None and options.count > 1:
        way = "--greedy" if options.greedy else "a search"
        raise UsageError(f"--count {options.count}: expected 1 for {way}, which finds one text; or --temperature")


def check_drawing(run: RunFolder, options: GenerateOptions) -> None:
    """Raise UsageError for options of texts, a class that is not drawn, or a file that cannot be written."""
    if texts := list(_given(options, (*SEARCH, *DRAW, "length"))) + ["greedy"] * options.greedy:
        raise UsageError(f"{flag(texts[0])}: expected a run that gives texts, this one gives images")
    if options.inputs:
        raise UsageError(f"TEXT: expected none, as this run gives images; received {options.inputs[0]!r}")
    if options.count is not None and options.count < 1:
        raise UsageError(f"--count {options.count}: expected 1 or more")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed {options.seed}: expected a value from 0 to 4294967295")
    if options.label is not None:
        stored = run.read_config()
        names = stored["data"]["class_names"]
        if not stored["config"].settings.get("conditional"):
            raise UsageError(f"--label {options.label}: expected a run with --set conditional=true, this one has none")
        if options.label not in names:
            raise unknown("class", options.label, names)
    if (path := picture(run, options)).suffix.lower() != ".png":
        raise UsageError(f"--output {path}: expected a name that ends in .png")


def picture(run: RunFolder, options: GenerateOptions) -> Path:
    """Return the file that images are written to."""
    return options.output or run.samples / f"seed-{options.seed}.png"


def check_series(run: RunFolder, options: PredictOptions) -> None:
    """Raise UsageError for inputs that are no tables."""
    for text in options.inputs:
        if not Path(text).is_file() or not tables.is_table(Path(text)):
            what = "a folder" if Path(text).is_dir() else "none" if not Path(text).exists() else "another file"
            raise UsageError(f"TABLE {text}: expected a table that ends in {tables.ENDINGS}, found {what}")


def check_users(run: RunFolder, options: PredictOptions) -> None:
    """Raise UsageError for users that the run does not know."""
    known = read_spec(run)[0].events.users
    for text in options.inputs:
        if text not in known:
            raise unknown("user", text, known)
