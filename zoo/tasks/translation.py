"""Translation: from a source text to a target text, any pair of them, and how near to the reference it comes."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config import registry
from zoo.config.sampling import Beam, Sampling
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, below, written
from zoo.data import Dataset, DataSpec
from zoo.data.text import BEGIN_ID, END_ID
from zoo.reports.page import Page
from zoo.reports.page import text as escaped
from zoo.runs.folder import RunFolder
from zoo.scores import intervals
from zoo.system.files import write_text
from zoo.tasks import language_model
from zoo.tasks.base import callbacks, gathered, measured_with, remarks
from zoo.tasks.decoding import beam_search, compiled, sample
from zoo.tasks.language_model import compiled_with, rank, training_batches, validation_batches

__all__ = [
    "callbacks",
    "compiled_with",
    "gathered",
    "measured_with",
    "rank",
    "remarks",
    "training_batches",
    "validation_batches",
]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.generate", "TEXT")
# Texts that are translated at once.
BATCH = 64
# Translations on the page.
SHOWN = 24


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a model from one text to another."""
    known = registry.arguments(config.model)
    found = {
        "source_vocabulary_size": spec.vocabulary_size,
        "target_vocabulary_size": spec.target_vocabulary_size,
        "shared_vocabulary": spec.vocabulary_sha256 == spec.target_vocabulary_sha256,
    }
    return {**config.settings, **{name: value for name, value in found.items() if name in known}}


def build_shape(spec: DataSpec) -> list[tuple[int | None, ...]]:
    """Return what such a model is built for: a source, and a target without its last token."""
    return [(None, *spec.input_shape), (None, spec.target_shape[0] - 1)]


def translate(
    model: keras.Model,
    source: np.ndarray,
    length: int,
    how: Beam | Sampling,
    marks: tuple[int, int] = (BEGIN_ID, END_ID),
) -> np.ndarray:
    """Return a target for each source, (texts, length) ids, padded with 0 after the end.

    Args:
        model: of `encode`, `empty_cache` and `decode_step`, such as `zoo.models.Transformer`.
        source: (texts, time) ids, padded with 0.
        length: most ids of a target, the end among them.
        how: the best that a search finds, or one that is drawn.
        marks: the ids that a target begins and ends with.
    """
    batch = min(BATCH, len(source))
    run, texts = compiled(lambda ids: _decoded(model, ids, length, how, marks)), []
    for start in range(0, len(source), batch):
        part = source[start : start + batch]
        filled = np.concatenate([part, np.zeros((batch - len(part), source.shape[1]), source.dtype)])
        texts.append(ops.convert_to_numpy(run(ops.convert_to_tensor(filled)))[: len(part)])
    return np.concatenate(texts)


def _decoded(model: keras.Model, source: Any, length: int, how: Beam | Sampling, marks: tuple[int, int]) -> Any:
    """Return (batch, length) ids of the targets of a batch of sources."""
    context, mask = model.encode(source)
    beams = how.beams if isinstance(how, Beam) else 1
    context = keras.tree.map_structure(lambda part: ops.repeat(part, beams, axis=1), context)
    mask = ops.repeat(mask, beams, axis=0)

    def step(last: Any, position: Any, cache: Any) -> tuple[Any, Any]:
        return model.decode_step(last, position, cache, context, mask)

    batch = source.shape[0]
    (begin, end), cache = marks, model.empty_cache(batch * beams, length)
    first = ops.full((batch,), begin, "int32")
    if isinstance(how, Beam):
        return beam_search(step, first, cache, length=length, end=end, beam=how)[0]
    return sample(step, first, cache, start=0, length=length, end=end, sampling=how)


def measure(
    model: keras.Model, data: Dataset, split: str = "test", beam: Beam | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a split, its translations, source, reference and output of each, and intervals."""
    examples = data.split(split)
    target = data.target_vocabulary
    marks = (target.begin_id, target.end_id)
    ids = translate(model, examples.x, examples.y.shape[1] - 1, beam or Beam(), marks)
    outputs = [target.decode(row) for row in ids]
    references = data.references[split]
    sources = [data.vocabulary.decode(row) for row in examples.x]
    sums = language_model.token_sums(model, examples, data.spec)
    found = language_model.token_scores(sums) | scores(outputs, references)
    within = language_model.token_intervals(sums) | intervals_of(outputs, references)
    rows = [
        {"source": source, "reference": reference, "output": output}
        for source, reference, output in zip(sources, references, outputs, strict=True)
    ]
    return found, {"translations": rows, "intervals": within}


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write translations.tsv into a run's folder: source, reference and output of each test example."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(shown["translations"][0]), dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(shown["translations"])
    write_text(run.translations_file, text.getvalue())


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows: scores, and the first translations."""
    within = shown["intervals"]
    main = (
        (f"{found['bleu']:.2f}", f"BLEU, beam {Beam().beams}{below('bleu', within)}")
        if found["exact_match"] < 0.5  # texts that can be said in one way alone are right or wrong
        else (f"{found['exact_match']:.2%}", f"exactly right{below('exact_match', within)}")
    )
    chrf = (f"{found['chrf']:.2f}", f"chrF{below('chrf', within)}")
    tiles = [main, chrf, *language_model.tiles(found, within)]
    rows = "".join(
        f"<tr>{''.join(f'<td class=text>{escaped(value)}</td>' for value in row.values())}</tr>"
        for row in shown["translations"][:SHOWN]
    )
    table = f"<table><tr><th>source<th>reference<th>output</tr>{rows}</table>"
    subject = f"{data.spec.vocabulary_size:,} and {data.spec.target_vocabulary_size:,} {data.vocabulary.tokens} tokens"
    return Page(subject, tiles, [f"<section><h2>The first of the test split</h2>{table}</section>"])


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    return (
        f"BLEU {written(test, 'bleu', within)}, chrF {written(test, 'chrf', within)},"
        f" exact {written(test, 'exact_match', within)}, {language_model.nats(test, within)}"
    )


def scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return BLEU and chrF by sacrebleu (Post, 2018), how they were computed, and the share of exact matches."""
    from sacrebleu.metrics import BLEU, CHRF

    found: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        found[name] = metric.corpus_score(list(outputs), [list(references)]).score
        found[f"{name}_signature"] = str(metric.get_signature())
    exact = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return found | {"exact_match": float(np.mean(exact))}


def intervals_of(outputs: Sequence[str], references: Sequence[str]) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of what `scores` returns, over sentences (Koehn, 2004)."""
    from sacrebleu.metrics import BLEU, CHRF

    found: dict[str, intervals.Interval] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        # Its own bootstrap says how wide an interval is, and not where it lies.
        counts = np.array(metric._extract_corpus_statistics(list(outputs), [list(references)]), np.float64)

        def figures(sums: np.ndarray, name: str = name, metric: Any = metric) -> dict[str, np.ndarray]:
            return {name: np.array([metric._compute_score_from_stats(row.tolist()).score for row in sums])}

        found |= intervals.of_sums(counts, figures)
    exact = sum(output == reference for output, reference in zip(outputs, references, strict=True))
    return found | {"exact_match": intervals.of_share(exact, len(outputs))}
