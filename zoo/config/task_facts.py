"""Tasks by name, and what must be known of each before Keras is imported. Standard library only.

A task has a row here, a module of the same name in `zoo.tasks` and, if its models can be exported, one in
`compression.tasks`. Code asks a row for the property that it means; it never compares names of tasks.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.console.errors import UsageError, unknown

# Endings of own files: arrays, tables of texts with their delimiter (jsonl has none), and plain text.
ARRAYS = ".npz"
TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": None}
TEXT = ".txt"
# Endings of tables of typed columns, which that of a compressed file may follow.
COLUMNS, COMPRESSED = (*TABLES, ".parquet"), ".gz"
_TABLES = ", ".join(TABLES)
# Endings of tables of typed columns; see `zoo.data.tabular`.
NUMBERS = (".csv", ".tsv", ".jsonl", ".parquet", ".gz")
# Names of folders, files and rows of a split.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

Tokens = Literal["word", "character", "subword"]
# How pictures of another aspect ratio are brought to the size of a model's input; see `zoo.data.fitting`.
Fit = Literal["crop", "pad", "stretch"]
# What runs of version 0.1 did, whose configurations do not say it, and what is done by default.
FIRST_FIT: Fit = "stretch"
USUAL_FIT: Fit = "crop"


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """Properties of a task that commands, options and data sources depend on.

    Args:
        gives: Outputs of a run, in the plural, for messages: "classes".
        used_by: Command that uses a trained run, and placeholders for its inputs.
        shrunk_by: Recipe that is suggested for a first compressed file.
        module: Module of the task where it is not that of its name in `zoo.tasks`.
        check: `module:function` that checks the options of `used_by` before Keras is imported. It takes the run folder
            and the options. Empty if nothing is to be checked.
        check_data: `module:function` that checks the data of a `TrainConfig` before they are read. Empty if their names
            tell enough.
        source: `module:function` that reads the data: takes a `TrainConfig` and a `zoo.data.taken.Taken`, returns a
            `Dataset`.
        own_data: Own data that the task learns from, for messages.
        own_files: Endings of own files.
        own_folder: Contents of a folder of own data: images in a folder for each class, tables, or plain texts. None if
            folders are refused.
        from_data: Whether users train models on data for this task. False for tasks that compression alone trains.
        from_classes: Whether the task is learnt from images of classes if the model learns it.
        from_own: Whether the task is learnt from own data if the model learns it. Own data are of classes otherwise.
        usual_tokens: Tokens that texts are cut into by default.
        whole_texts: Whether a text is read with its line breaks, as one sequence.
        has_sides: Whether `--source` and `--target` apply.
        has_captions: Whether captions are read or made from the names of classes.
        compares_pairs: Whether the loss compares all pairs of a batch, so that a batch needs two or more.
        classifies: Whether a run gives the logits of classes for each example, or for each step of one.
        unlabelled: Whether the inputs of a network that is not trained here may lack labels, see `DataSpec.unlabelled`.
        one_class: Whether examples of a single class are learnt from, so that a folder needs no other one.
        several_answers: Whether an example may have several answers, such as a class for each pixel, so that a share of
            right ones need not be one of examples.
        focal: Whether --focal-gamma applies, although the task does not classify.
        judged_by_classifier: Whether samples are compared with real images in the features of `--classifier`.
        not_augmented: Why training images are not changed at random. Empty if they may be.
        not_smoothed: Why --label-smoothing does not apply. Empty if it does.
        not_rounded: Why --precision bfloat16 does not apply. Empty if it does.
        validation_is: What the validation examples are, where --validation-data does not apply. Empty if it does.
        averages_itself: Whether models keep a running average of their weights.
        unordered: Why the layers of a model do not follow one another up to a head. Empty if they do.
        test_stands_alone: Whether the scores of the test split depend on no other split.
        swept: Whether `zoo.sweep` compares runs, which it does by their accuracy.
        explained: Whether `zoo.explain` takes a run.
        draws: What `zoo.predict --draw` draws into pictures; empty if the option does not apply.
        options: Options of a training that apply to this task and not to every other, by the name of the field; their
            default is None.
        asked: Options of `zoo.predict` that apply to a run for this task, of those that do not apply to all.
        figures: Scores that commands and tables show, the most important first.
        headline: Scores that a row of a table has room for.
        of_classes: Scores of each class, the one by which the worst class is named last.
        stock_figure: Score that the table of pretrained runs shows.
    """

    gives: str
    used_by: tuple[str, ...]
    figures: tuple[str, ...]
    headline: tuple[str, ...]
    of_classes: tuple[str, ...] = ("precision", "recall", "f1")
    options: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    stock_figure: str = ""
    shrunk_by: str = "int8"
    module: str = ""
    check: str = ""
    check_data: str = ""
    source: str = ""
    own_data: str = ""
    own_files: tuple[str, ...] = ()
    own_folder: Literal["classes", "tables", "texts", "masks", "objects"] | None = None
    from_data: bool = True
    from_classes: bool = False
    from_own: bool = False
    usual_tokens: Tokens = "word"
    whole_texts: bool = False
    has_sides: bool = False
    has_captions: bool = False
    compares_pairs: bool = False
    classifies: bool = False
    unlabelled: bool = False
    one_class: bool = False
    several_answers: bool = False
    focal: bool = False
    judged_by_classifier: bool = False
    not_augmented: str = ""
    not_smoothed: str = ""
    not_rounded: str = ""
    draws: str = ""
    validation_is: str = ""
    averages_itself: bool = False
    unordered: str = ""
    test_stands_alone: bool = True
    swept: bool = True
    explained: bool = False

    @property
    def command(self) -> str:
        """The command that uses a trained run: `zoo.predict` or another."""
        return self.used_by[0]


_SERIES = ("columns", "known_columns", "time_column", "group_column", "horizon", "lookback", "season", "quantiles") + (
    "split_rows",
)
_RECALLS = tuple(f"{way}_recall_at_{k}" for way in ("caption_to_image", "image_to_caption") for k in (1, 5, 10))

# Options of windows of series.
_OF_WINDOWS = ("columns", "time_column", "group_column", "window", "hop")

TASKS = {
    "classification": TaskFacts(
        gives="classes",
        used_by=("zoo.predict", "INPUT"),
        asked=("top", "hop", "threshold", "text_column"),
        source="zoo.data.sources.classes:load",
        own_data=f"a folder of images by class, or a file that ends in {ARRAYS}, {_TABLES} ({TEXT} for a language"
        " model)",
        own_files=(ARRAYS, *TABLES),
        own_folder="classes",
        check_data="zoo.data.sources.classes:check",
        classifies=True,
        unlabelled=True,
        explained=True,
        options=(*_OF_WINDOWS, "target_column"),
        figures=("accuracy", "f1", "precision", "recall", "top_5_accuracy", "recording_accuracy", "loss"),
        headline=("accuracy", "f1"),
    ),
    "anomaly": TaskFacts(
        gives="scores of anomalies",
        used_by=("zoo.predict", "INPUT"),
        asked=("hop",),
        source="zoo.data.sources.anomalies:load",
        own_data=f"a folder of images or sounds by class, an {ARRAYS} file, or with --window recordings in tables or"
        " arrays",
        own_files=(ARRAYS,),
        own_folder="classes",
        unlabelled=True,
        one_class=True,
        from_classes=True,
        not_augmented="changed images would be learnt as normal ones",
        validation_is="normal examples of --data, those of a split validation or a share, --validation-split",
        test_stands_alone=False,  # the threshold is chosen on normal validation examples
        swept=False,
        options=(*_OF_WINDOWS, "normal_class", "false_alarm_rate"),
        not_smoothed="its targets are the inputs",
        figures=("auc", "partial_auc", "detected", "false_alarms", "threshold", "loss"),
        headline=("auc", "partial_auc", "loss"),
        stock_figure="auc",
    ),
    "regression": TaskFacts(
        gives="numbers",
        used_by=("zoo.predict", "INPUT"),
        asked=("text_column",),
        check_data="zoo.data.tabular.numbers:check",
        source="zoo.data.tabular.numbers:load",
        own_data=f"a table with a column of numbers that ends in {_TABLES} or .parquet, or arrays that end in {ARRAYS}",
        own_files=(ARRAYS, *TABLES),
        from_own=True,
        options=("columns", "group_column", "target_column", "quantiles"),
        swept=False,
        not_smoothed="its targets are numbers",
        figures=("rmse", "mae", "r2", "quantile_loss", "inside", "loss"),
        headline=("rmse", "r2"),
        stock_figure="r2",
    ),
    "ordinal": TaskFacts(
        gives="ordered classes",
        used_by=("zoo.predict", "INPUT"),
        asked=("top", "hop", "threshold", "text_column"),
        check_data="zoo.data.sources.classes:check",
        source="zoo.data.tabular.ordered:load",
        own_data=f"a folder of images by class, or a file that ends in {ARRAYS}, {_TABLES}, with ordered classes",
        own_files=(ARRAYS, *TABLES),
        own_folder="classes",
        from_classes=True,
        options=("columns", "group_column", "target_column", "class_order"),
        swept=False,
        classifies=True,
        explained=True,
        figures=("rank_error", "kappa", "accuracy", "f1", "precision", "recall", "top_5_accuracy", "loss"),
        headline=("rank_error", "kappa", "accuracy"),
        stock_figure="kappa",
    ),
    "multilabel": TaskFacts(
        gives="labels",
        used_by=("zoo.predict", "INPUT"),
        asked=("text_column",),
        check_data="zoo.data.tabular.labels:check",
        source="zoo.data.tabular.labels:load",
        own_data=f"a table with columns of labels that ends in {_TABLES} or .parquet, or arrays that end in {ARRAYS}",
        own_files=(ARRAYS, *TABLES),
        from_own=True,
        options=("columns", "group_column", "label_columns"),
        swept=False,
        several_answers=True,
        figures=("micro_f1", "macro_f1", "mean_ap", "exact_match", "loss"),
        headline=("micro_f1", "macro_f1", "mean_ap"),
        stock_figure="micro_f1",
    ),
    "translation": TaskFacts(
        gives="texts",
        used_by=("zoo.generate", "TEXT"),
        check="zoo.tasks.parts.requests:check_translation",
        source="zoo.data.sources.pairs:load",
        own_data=f"a table of pairs that ends in {_TABLES}",
        own_files=tuple(TABLES),
        usual_tokens="subword",
        has_sides=True,
        explained=True,
        figures=("bleu", "chrf", "exact_match", "loss", "perplexity", "accuracy"),
        headline=("bleu", "chrf", "exact_match"),
        stock_figure="exact_match",
    ),
    "language_model": TaskFacts(
        gives="texts",
        used_by=("zoo.generate", "TEXT"),
        check="zoo.tasks.parts.requests:check_continuation",
        source="zoo.data.sources.language:load",
        own_data=f"a {TEXT} file or a folder of them",
        own_files=(TEXT,),
        own_folder="texts",
        usual_tokens="character",
        whole_texts=True,
        explained=True,
        figures=("loss", "perplexity", "accuracy"),
        headline=("loss", "accuracy"),
    ),
    "contrastive": TaskFacts(
        gives="captions",
        used_by=("zoo.predict", "IMAGE"),
        asked=("top", "labels"),
        check="zoo.tasks.parts.requests:check_captions",
        source="zoo.data.sources.captions:load",
        own_data=f"a folder of images by class, an {ARRAYS} file of them, or a table of images and captions that ends"
        f" in {_TABLES}",
        own_files=(ARRAYS, *TABLES),
        own_folder="classes",
        from_classes=True,
        has_captions=True,
        compares_pairs=True,
        unordered="has two towers side by side",
        not_smoothed="its targets are pairs",
        figures=("zero_shot_accuracy", *_RECALLS, "loss", "temperature", "answers_by"),
        headline=("zero_shot_accuracy", "caption_to_image_recall_at_1", "image_to_caption_recall_at_1"),
    ),
    "generation": TaskFacts(
        gives="images",
        used_by=("zoo.generate", "--count", "64"),
        check="zoo.tasks.parts.requests:check_drawing",
        source="zoo.data.sources.classes:load",
        own_data=f"a folder of images by class, or a file that ends in {ARRAYS}",
        own_files=(ARRAYS,),
        own_folder="classes",
        from_classes=True,
        judged_by_classifier=True,
        not_augmented="the generator would learn to draw changed images",
        averages_itself=True,
        unordered="has two networks that train against each other",
        test_stands_alone=False,  # without a classifier, samples are judged in components of the training images
        swept=False,
        not_smoothed="no labels are learnt here",
        figures=(
            "frechet_distance",
            "density",
            "coverage",
            "precision",
            "recall",
            "recognised",
            "as_asked",
            "rarest_class",
        ),
        headline=("psnr", "frechet_distance", "coverage", "recognised"),
        stock_figure="coverage",
    ),
    "link_prediction": TaskFacts(
        gives="entities",
        used_by=("zoo.predict", "HEAD RELATION ?"),
        asked=("top",),
        shrunk_by="dynamic",  # a file of triples cannot be quantised to int8
        check="zoo.tasks.parts.requests:check_questions",
        source="zoo.data.sources.triples:load",
        own_data=f"a table of triples that ends in {_TABLES}, or a folder of train, valid and test tables",
        own_files=tuple(TABLES),
        own_folder="tables",
        from_own=True,
        unordered="has tables of vectors and a function that scores them",
        test_stands_alone=False,  # scores tell entities apart that training has not seen
        figures=("mrr", "hits_at_1", "hits_at_3", "hits_at_10", "loss"),
        headline=("mrr", "hits_at_1", "hits_at_10"),
    ),
    "detection": TaskFacts(
        gives="objects",
        used_by=("zoo.predict", "PICTURE"),
        asked=("min_score",),
        source="zoo.data.sources.detection:load",
        own_data="a folder of annotated pictures in the layout of Pascal VOC, COCO or YOLO",
        own_folder="objects",
        from_own=True,
        unordered="has a head for each level of its pyramid",
        several_answers=True,
        draws="boxes",
        focal=True,
        swept=False,
        not_smoothed="a score learns the quality of its box",
        figures=("map_50", "map", "map_75", "detection_recall", "map_small", "map_medium", "map_large"),
        headline=("map_50", "map"),
        of_classes=("map", "map_50"),
    ),
    "segmentation": TaskFacts(
        gives="masks",
        used_by=("zoo.predict", "PICTURE"),
        source="zoo.data.sources.masks:load",
        own_data="a folder with the folders images and masks, in it or in train, val and test",
        own_folder="masks",
        from_own=True,
        several_answers=True,
        draws="masks",
        unordered="joins features of several depths",
        swept=False,
        options=("dice",),
        figures=("miou", "pixel_accuracy", "boundary_f1", "loss"),
        headline=("miou", "pixel_accuracy"),
    ),
    "forecasting": TaskFacts(
        gives="forecasts",
        used_by=("zoo.predict", "TABLE"),
        check="zoo.tasks.parts.requests:check_series",
        source="zoo.data.series.source:load",
        own_data="a table of series that ends in .csv, .tsv, .jsonl or .parquet, which .gz may follow",
        own_files=NUMBERS,
        from_own=True,
        options=_SERIES,
        unordered="forecasts each part of a series by itself",
        validation_is="the steps of --data before those of the test, --validation-split or --split-rows",
        test_stands_alone=False,  # the scale of its scores is that of the training part
        swept=False,
        not_smoothed="its targets are numbers",
        figures=("mse", "mae", "mase", "quantile_loss", "inside", "naive_mse", "naive_mae", "naive_mase"),
        headline=("mse", "mae", "mase"),
    ),
    "recommendation": TaskFacts(
        gives="items",
        used_by=("zoo.predict", "USER"),
        asked=("top",),
        shrunk_by="dynamic",  # its input is a whole number, and many items would tie in int8
        check="zoo.tasks.parts.requests:check_users",
        source="zoo.data.events.source:load",
        own_data="a table of users and items that ends in .csv, .tsv, .jsonl or .parquet, which .gz may follow",
        own_files=NUMBERS,
        from_own=True,
        options=("user_column", "item_column", "rating_column", "liked", "time_column"),
        unordered="has two towers side by side",
        validation_is="the second last event of each user in --data",
        test_stands_alone=False,  # items of the other splits are not recommended again
        swept=False,
        not_smoothed="items are compared with one another",
        not_rounded="items are told apart by small differences of their scores",
        figures=(
            "recall_at_10",
            "ndcg_at_10",
            "recall_at_5",
            "ndcg_at_5",
            "recall_at_20",
            "ndcg_at_20",
            "reciprocal_rank",
        )
        + ("popularity_recall_at_10", "popularity_ndcg_at_10"),
        headline=("recall_at_10", "ndcg_at_10"),
    ),
    "imitation": TaskFacts(
        module="zoo.tasks.parts.imitation",
        gives="images",
        used_by=("compression.compress",),
        from_data=False,
        swept=False,
        figures=("psnr",),
        headline=("psnr",),
    ),
    "own_model": TaskFacts(
        gives="the outputs of a model of one's own",
        used_by=("compression.compress",),
        several_answers=True,
        from_data=False,
        swept=False,
        figures=(
            *("accuracy", "f1", "precision", "recall", "top_5_accuracy", "auc", "micro_f1", "macro_f1", "exact_match"),
            *("rmse", "mae", "r2", "loss"),
        ),
        headline=("accuracy", "micro_f1", "rmse", "r2"),
    ),
}

# What data of classes are for unless the model learns something else from them.
CLASSES = "classification"

# Tasks that a user can name.
Task = Literal[tuple(name for name, facts in TASKS.items() if facts.from_data)]


def of(name: str) -> TaskFacts:
    """Return the row of a task.

    Raises:
        UsageError: Unknown name.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def ending_of_table(path: Path) -> str:
    """Return the ending that tells the form of a table of typed columns, without that of a compressed file.

    Returns:
        One of COLUMNS; empty for other files.
    """
    name = path.name.lower().removesuffix(COMPRESSED)
    return next((known for known in COLUMNS if name.endswith(known)), "")


def following(option: str) -> tuple[str, ...]:
    """Return the tasks that an option of a training applies to; none if it applies to all."""
    return tuple(name for name, facts in TASKS.items() if option in facts.options)


def given(command: str) -> str:
    """Return what the runs give that a command uses: "classes, captions or entities"."""
    return _either(facts.gives for facts in TASKS.values() if facts.command == command)


def asked_of(option: str) -> str:
    """Return what the runs give that an option of `zoo.predict` applies to: "classes, captions or entities"."""
    return _either(facts.gives for facts in TASKS.values() if option in facts.asked)


def _either(words: Iterable[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def check_request(command: str, run: Any, options: Any) -> None:
    """Raise UsageError unless a command can use a run with these options.

    Args:
        command: Name of the command, such as zoo.predict.
        run: Run folder, a `zoo.runs.folder.RunFolder`.
        options: Options of the command.
    """
    facts = of(run.task)
    if facts.command != command:
        raise UsageError(
            f"{run.path}: expected a run that gives {given(command)}, this one gives {facts.gives}; use {facts.command}"
        )
    if facts.check:
        resolved(facts.check)(run, options)


def resolved(path: str) -> Callable[..., Any]:
    """Import and return the function that `module:function` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
