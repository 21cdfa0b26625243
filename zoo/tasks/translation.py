"""Translation: from a source text to a target text, and how close the output comes to the reference."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config import registry
from zoo.config.run_options import GenerateOptions
from zoo.config.sampling import Beam, Sampling
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, below, written
from zoo.data import Dataset, DataSpec
from zoo.data.text import BEGIN_ID, END_ID
from zoo.reports.page import Page
from zoo.reports.page import text as escaped
from zoo.runs.folder import RunFolder
from zoo.runs.inference import as_floats, probabilities, read_inputs
from zoo.runs.vocabularies import read_spec, read_target_vocabulary
from zoo.scores import intervals
from zoo.system.files import write_text
from zoo.tasks import base, language_model
from zoo.tasks.base import Reading, Shape, Texts, percent, short
from zoo.tasks.language_model import TokenTask
from zoo.tasks.parts import requests
from zoo.tasks.parts.decoding import beam_search, compiled, sample

# Number of texts that are translated at once.
BATCH = 64
# Number of translations in the report.
SHOWN = 24


class Translation(TokenTask):
    """From a source text to a target text."""

    name = "translation"
    truth_is = "reference"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        known = registry.arguments(config.model)
        found = {
            "source_vocabulary_size": spec.vocabulary_size,
            "target_vocabulary_size": spec.target_vocabulary_size,
            "shared_vocabulary": spec.vocabulary_sha256 == spec.target_vocabulary_sha256,
        }
        return {**config.settings, **{name: value for name, value in found.items() if name in known}}

    def build_shape(self, spec: DataSpec) -> list[Shape]:
        """Return the shapes of a source, and of a target without its last token."""
        return [(None, *spec.input_shape), (None, spec.target_shape[0] - 1)]

    def measure(
        self, model: keras.Model, data: Dataset, split: str = "test", beam: Beam | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, its translations and the intervals.

        Args:
            model: Trained model.
            data: Data that the split belongs to.
            split: train, validation or test.
            beam: Search for the translations.
        """
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

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write translations.tsv: source, reference and output of each test example."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(shown["translations"][0]), dialect="excel-tab", lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown["translations"])
        write_text(run.translations_file, text.getvalue())

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        within = shown["intervals"]
        main = (
            (f"{scores['bleu']:.2f}", f"BLEU, beam {Beam().beams}{below('bleu', within)}")
            if scores["exact_match"] < 0.5  # for targets with one right wording, exact matches say more
            else (f"{scores['exact_match']:.2%}", f"exact matches{below('exact_match', within)}")
        )
        chrf = (f"{scores['chrf']:.2f}", f"chrF{below('chrf', within)}")
        tiles = [main, chrf, *language_model.tiles(scores, within)]
        rows = "".join(
            f"<tr>{''.join(f'<td class=text>{escaped(value)}</td>' for value in row.values())}</tr>"
            for row in shown["translations"][:SHOWN]
        )
        table = f"<table><tr><th>source<th>reference<th>output</tr>{rows}</table>"
        spec = data.spec
        sizes = f"{spec.vocabulary_size:,} and {spec.target_vocabulary_size:,}"
        subject = f"{sizes} {data.vocabulary.tokens} tokens"
        return Page(subject, tiles, [f"<section><h2>First examples of the test split</h2>{table}</section>"])

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return (
            f"BLEU {written(test, 'bleu', within)}, chrF {written(test, 'chrf', within)},"
            f" exact {written(test, 'exact_match', within)}, {language_model.nats(test, within)}"
        )

    def generate(self, run: RunFolder, options: GenerateOptions) -> list[dict[str, str]]:
        spec, vocabulary = read_spec(run)
        model = run.load_model()
        names, x = read_inputs(options.inputs, spec, vocabulary, "source")
        target, count = read_target_vocabulary(run, spec), options.count or 1
        length, marks = options.length or spec.target_shape[0] - 1, (target.begin_id, target.end_id)
        ids = translate(model, x.repeat(count, axis=0), length, requests.translation(options), marks)
        repeated = [name for name in names for _ in range(count)]
        return [{"input": name, "output": target.decode(row)} for name, row in zip(repeated, ids, strict=True)]

    def readings(self, model: keras.Model, x: Sequence[np.ndarray], spec: DataSpec, texts: Texts) -> Iterator[Reading]:
        longest = spec.target_shape[0] - 1
        for one, ids in zip(x, translate(model, np.concatenate(list(x)), longest, Beam()), strict=True):
            # The decoder reads the translation, shifted by one, so that its attention at each step can be seen.
            written_ids = ids[: np.argmax(ids == END_ID) + 1 if (ids == END_ID).any() else len(ids)]
            read = np.zeros((1, len(ids)), np.int32)
            read[0, : len(written_ids)] = [BEGIN_ID, *written_ids[:-1]]
            inputs = (ops.convert_to_tensor(one), ops.convert_to_tensor(read))
            count = len(written_ids)
            p = probabilities(as_floats(model(inputs, training=False))[0, :count])
            sure = float(p[np.arange(count), written_ids].min())
            label, tokens = texts.target_vocabulary.decode(written_ids), base.tokens_of(one, texts.vocabulary)
            yield Reading(
                inputs,
                label,
                sure,
                f"translated as {short(label)!r} (least certain token {percent(sure)})",
                tokens=tokens,
                written=texts.target_vocabulary.pieces(written_ids),
                spans={
                    "encoder": (len(tokens), len(tokens)),
                    "decoder": (count, count),
                    "cross_attention": (count, len(tokens)),
                },
            )

    def truth(self, data: Dataset, split: str, index: int) -> str:
        return data.references[split][index]

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape, tokens = input_shape or (base.TIME,), size or base.TOKENS
        return DataSpec("example", "pairs", shape, (), False, tokens, self.name, (shape[0] + 1,), tokens)


def translate(
    model: keras.Model,
    source: np.ndarray,
    length: int,
    how: Beam | Sampling,
    marks: tuple[int, int] = (BEGIN_ID, END_ID),
) -> np.ndarray:
    """Return a translation of each source, (texts, length) ids, padded with 0 after the end.

    Args:
        model: Model with `encode`, `empty_cache` and `decode_step`, such as `zoo.models.Transformer`.
        source: Ids of the sources, (texts, time), padded with 0.
        length: Maximum number of ids of a translation, including the end.
        how: Search for the best translation, or how tokens are sampled.
        marks: Ids that a target begins and ends with.
    """
    batch = min(BATCH, len(source))
    run, texts = compiled(lambda ids: _decoded(model, ids, length, how, marks)), []
    for start in range(0, len(source), batch):
        part = source[start : start + batch]
        filled = np.concatenate([part, np.zeros((batch - len(part), source.shape[1]), source.dtype)])
        texts.append(ops.convert_to_numpy(run(ops.convert_to_tensor(filled)))[: len(part)])
    return np.concatenate(texts)


def _decoded(model: keras.Model, source: Any, length: int, how: Beam | Sampling, marks: tuple[int, int]) -> Any:
    """Return the translations of a batch of sources, (batch, length) ids."""
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


def scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return BLEU and chrF by sacrebleu (Post, 2018) with their signatures, and the share of exact matches."""
    from sacrebleu.metrics import BLEU, CHRF

    found: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        found[name] = metric.corpus_score(list(outputs), [list(references)]).score
        found[f"{name}_signature"] = str(metric.get_signature())
    exact = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return found | {"exact_match": float(np.mean(exact))}


def intervals_of(outputs: Sequence[str], references: Sequence[str]) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the scores, over sentences (Koehn, 2004)."""
    from sacrebleu.metrics import BLEU, CHRF

    found: dict[str, intervals.Interval] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        # The bootstrap of sacrebleu gives the width of an interval, but not its ends.
        counts = np.array(metric._extract_corpus_statistics(list(outputs), [list(references)]), np.float64)

        def figures(sums: np.ndarray, name: str = name, metric: Any = metric) -> dict[str, np.ndarray]:
            return {name: np.array([metric._compute_score_from_stats(row.tolist()).score for row in sums])}

        found |= intervals.of_sums(counts, figures)
    exact = sum(output == reference for output, reference in zip(outputs, references, strict=True))
    return found | {"exact_match": intervals.of_share(exact, len(outputs))}


TASK = Translation()
