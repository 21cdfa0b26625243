"""Options of the commands that use a trained run: `zoo.predict` and `zoo.generate`. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from zoo.config.options import SEEDS, option

# Images of one grid, and tokens of a continuation, unless the user says otherwise.
IMAGES = 64
LENGTH = 256


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of `python -m zoo.predict`."""

    run: Path = option("run folder", positional=True, stock_as="run")
    inputs: tuple[str, ...] = option(
        "image, .npz file with an array x, table with a text column, or text; for a knowledge graph a question:"
        " 'HEAD RELATION ?' or '? RELATION TAIL'",
        positional=True,
        metavar="INPUT",
    )
    top: int | None = option(
        "number of classes or answers to show for each input (default: 1; for images and captions all texts)"
    )
    labels: tuple[str, ...] | None = option(
        "for a run on images and captions: texts to choose from (default: its classes)", metavar="TEXT,TEXT"
    )
    text_column: str | None = option("column of the text in a table (default: the run's, or text)")


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Options of `python -m zoo.generate`."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    inputs: tuple[str, ...] = option(
        "text to translate or to continue; none for a run that gives images",
        (),
        positional=True,
        optional=True,
        metavar="TEXT",
    )
    beams: int | None = option("number of beams of the search for a translation (default: 4)")
    length_penalty: float | None = option("length penalty of the search: 0 prefers short translations (default: 0.6)")
    temperature: float | None = option(
        "sample tokens at this temperature: below 1 sharpens, above 1 flattens the distribution (default for a language"
        " model: 0.8)"
    )
    top_k: int | None = option("sample from this many most probable tokens, 0: all")
    top_p: float | None = option("sample from the most probable tokens whose probabilities add up to this share")
    greedy: bool = option("take the most probable token at each step", False)
    seed: int = option("random seed of the samples", 0, within=SEEDS)
    count: int | None = option(
        f"number of texts for each input when tokens are sampled (default: 1), or of images (default: {IMAGES})"
    )
    length: int | None = option(
        f"maximum number of tokens (default: {LENGTH} for a language model, otherwise the run's longest target)"
    )
    label: str | None = option("class of all images, for a run that draws by class (default: every class in turn)")
    output: Path | None = option(
        "picture to write for a run that gives images, with an .npz of the images beside it (default:"
        " RUN/samples/seed-N.png)"
    )
