"""The examples: where they come from, how they are split and preprocessed."""

from dataclasses import dataclass
from pathlib import Path

from zoo.config.options import option, under
from zoo.config.task_facts import Fit, Task, Tokens
from zoo.console.values import Bytes


@dataclass(frozen=True, kw_only=True)
@under("data")
class DataOptions:
    """The examples: where they come from, how they are split and preprocessed."""

    dataset: str | None = option("data set: an embedded one or any TFDS name (default: digits)")
    data: Path | None = option(
        "own data: a folder of images or sounds by class, or of images with masks or boxes; an .npz, .csv, .tsv or"
        " .jsonl file; a .txt file or a folder of them; a folder with train, valid and test tables of triples; files of"
        " records (.tfrecord, .array_record, .tar, .parquet) or a folder of them, also at an address such as"
        " gs://bucket/folder"
    )
    schema: str | None = option(
        "fields of records: x=FIELD of the input, y=FIELD of the label, such as 'x=image/encoded, y=label' or"
        " 'x=signal:float32[128,9], y=label' (default: found if only one field fits each)",
        metavar="x=FIELD,y=FIELD",
    )
    task: Task | None = option(
        "what to learn from the data (default: the task of the data set or, where several fit, that of the model;"
        " classification for own tables without triples, language_model for .txt files)"
    )
    validation_data: Path | None = option("own validation data in the format of --data")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: TFDS' own folder)")
    image_size: int | None = option(
        "height and width in pixels to which images are resized (default: the recipe's, or else the set's own)",
        within=(1, 4096),
    )
    fit: Fit | None = option(
        "how pictures with another aspect ratio than the input are resized: crop (cut off both ends of the longer"
        " side), pad (with black) or stretch (default: crop; stretch for boxes, pad for masks)"
    )
    group: str | None = option(
        "regular expression: files with the same first match in their name, or the same group 1 of it, are in one"
        " split; such as '_([a-z]+)_' for the speakers of 7_theo_32.wav",
        metavar="REGEX",
    )
    memory: Bytes | None = option(
        "memory for decoded examples, such as 500M or 4g; a set that needs more is decoded batch by batch (default: a"
        " quarter of what is free)",
        metavar="SIZE",
    )
    caption_templates: str | None = option(
        "templates of captions, separated by |, with {} for the class name: 'a photo of a {}|the {}' (default: built-in"
        " templates)"
    )
    tokens: Tokens | None = option(
        "unit into which texts are split (default: word; subword for translation, character for language_model)"
    )
    vocabulary_size: int | None = option(
        "largest number of tokens in a vocabulary, most frequent first (default: usually 10,000)",
        within=(3, 10_000_000),
    )
    sequence_length: int | None = option(
        "number of tokens to which texts are cut or padded (default: enough for 95 % of the texts, up to 512;"
        " translation: enough for all, up to 256; language_model: windows of 128)",
        within=(1, 100_000),
    )
    validation_split: float = option(
        "share of the training examples used for validation if the data have no such split", 0.1, within=(0, 0.9)
    )
    test_split: float = option(
        "share of all examples used for testing if the data have no such split", 0.2, within=(0, 0.9)
    )
    test_split_name: str | None = option(
        "TFDS split used for testing (default: test, or the first split whose name starts with test)"
    )
    skip_bad: bool = option("leave out unreadable files and lines with an empty field instead of stopping", False)
    augment: str | None = option(
        "random changes of training images or sounds, new in every epoch: none, light, standard, strong, sound, or"
        " words joined by +, such as 'flip + crop(4) + colour(0.2)'; see `python -m zoo.augment` (default: none)",
        metavar="RECIPE",
    )
    shift: int = option(
        "largest random shift of training images in pixels, along both axes, new in every epoch; the same as the word"
        " shift of --augment",
        0,
        within=(0, 256),
    )
    classifier: Path | None = option(
        "run of a classifier whose features compare generated images with real ones (default: principal components of"
        " the pixels)",
        metavar="RUN",
        stock_as="run",
    )
