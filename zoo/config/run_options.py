"""Options of the commands that use a trained run or a model file. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from zoo.config.options import SEEDS, option, under
from zoo.console.errors import UsageError

# Images of one grid, and tokens of a continuation, unless the user says otherwise.
IMAGES = 64
LENGTH = 256


MODEL_FILE = "a model file"


@dataclass(frozen=True, kw_only=True)
@under(MODEL_FILE)
class ModelData:
    """The data of a model file, or other data for a run."""

    dataset: str | None = option("data set for a model file, or another one than the run's")
    data: Path | None = option(
        "own data for a model file, or other data than the run's: what zoo.train takes, or an .npz file with x_train,"
        " y_train, x_test and y_test; several inputs are x_train.NAME; labels may be left out if no score is needed"
    )
    input_range: tuple[float, ...] | None = option(
        "values that a model file expects for the darkest and the brightest pixel, such as 0,255 (default: the range"
        " with which it is right clearly most often)",
        metavar="LOW,HIGH",
    )

    def __post_init__(self) -> None:
        pair = self.input_range
        if pair is not None and (len(pair) != 2 or pair[0] >= pair[1]):
            received = ",".join(f"{value:g}" for value in pair)
            raise UsageError(f"--input-range: expected LOW,HIGH with LOW below HIGH, received {received}")


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ModelData):
    """Options of `python -m zoo.predict`."""

    run: Path = option("run folder, or a model file (.keras, .h5)", positional=True, stock_as="run")
    inputs: tuple[str, ...] = option(
        "image, sound, .npz file with an array x, table, or text; for tables also one row as NAME=VALUE ...; for"
        " recommendations a user; for a knowledge graph a question: 'HEAD RELATION ?' or '? RELATION TAIL'",
        positional=True,
        metavar="INPUT",
    )
    top: int | None = option(
        "number of classes or answers to show for each input (default: 1; for images and captions all texts)"
    )
    labels: tuple[str, ...] | None = option(
        "for a run on images and captions: texts to choose from (default: its classes); for a model file: names of its"
        " classes in their order, or a text file with a name in each line (default: those of its data, or numbers)",
        metavar="TEXT,TEXT",
    )
    hop: float | None = option(
        "distance in seconds of the windows in a recording that is longer than two clips (default: a quarter of a clip;"
        " for anomalies a clip)",
        within=(0.001, 3600),
    )
    threshold: float | None = option("lowest probability of an event in such a recording (default: 0.8)", within=(0, 1))
    text_column: str | None = option("column of the text in a table (default: the run's, or text)")
    draw: Path | None = option(
        "PNG file to write: the picture with the objects or masks that were found; further pictures get -2, -3 and so"
        " on before the suffix",
        metavar="OUT.png",
    )
    min_score: float | None = option("lowest score of an object that is shown (default: 0.3)", within=(0, 1))
    dataset: str | None = option("data set whose classes the outputs of a model file stand for", group=MODEL_FILE)
    data: Path | None = option(
        "own data whose classes the outputs of a model file stand for, such as the folder it was trained on",
        group=MODEL_FILE,
    )
    data_dir: Path | None = option("folder of prepared TFDS sets, for --dataset", group=MODEL_FILE)


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
