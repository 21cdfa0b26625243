"""The options of a training in six groups, one frozen dataclass each. Standard library only.

Every option is declared once, here: name, type, default and help. The classes are the headings of `--help`; TrainConfig
inherits from all of them, so `config.learning_rate` is the value of `config.optimisation.learning_rate`.

To add an option:

1. Declare a field with `option` in the class of its group, in the order in which `--help` should list it. A default of
   None means that the value comes from `zoo.config.defaults`. Limits of a number go into `within`.
2. If it contradicts other options, raise UsageError in `zoo.config.train_config.TrainConfig.__post_init__`.
3. If the numbers of a run do not depend on it, add it to `CHANGEABLE` or `NOT_COMPARED` there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.config.options import SEEDS, option, under
from zoo.config.task_facts import Fit, Task, Tokens
from zoo.console.values import Bytes


@dataclass(frozen=True, kw_only=True)
@under("model")
class ModelOptions:
    """The model and the weights that it starts with."""

    model: str = option("model to train, a name of `python -m zoo.list models`", "cnn")
    settings: Mapping[str, Any] = option(
        "argument of the model's constructor; repeat the option for several", None, name="set", metavar="NAME=VALUE"
    )
    init_from: Path | None = option(
        "run whose weights are copied wherever path and shape are the same; models of texts also take its vocabulary"
        " and sequence length",
        stock_as="run",
    )
    pretrained: str | None = option(
        "trained weights to begin with: imagenet, or a .keras or .h5 file of a network of the same structure, also one"
        " of keras.applications. Another number of classes gets a new output layer; see docs/guides/vision.md",
        metavar="NAME|FILE",
    )
    input_range: tuple[float, ...] | None = option(
        "what the network of --pretrained takes for the darkest and the brightest value, such as 0,255 (default: what"
        " the model's mean and std make of 0 and 1)",
        metavar="LOW,HIGH",
    )
    probe: bool | None = option(
        "fit the output layer before training, by logistic regression on the features of the frozen network, which are"
        " computed once (default: with --pretrained if the recipe says so)"
    )
    freeze: tuple[str, ...] | None = option(
        "layers or variables that are not trained: patterns of a path or its end, such as embedding,block_*. Frozen"
        " layers, including batch-norm statistics, do not change",
        metavar="PATTERN[,...]",
    )
    new_head: bool = option("initialise the output layer anew, even where its shape is that of the run", False)


@dataclass(frozen=True, kw_only=True)
@under("data")
class DataOptions:
    """The examples: where they come from, how they are split and preprocessed."""

    dataset: str | None = option("data set: an embedded one or any TFDS name (default: digits)")
    data: Path | None = option(
        "own data: a folder of images or sounds by class; an .npz, .csv, .tsv or .jsonl file; a .txt file or a folder of them; a"
        " folder with train, valid and test tables of triples; files of records (.tfrecord, .array_record, .tar,"
        " .parquet) or a folder of them, also at an address such as gs://bucket/folder"
    )
    schema: str | None = option(
        "fields of records: x=FIELD of the input, y=FIELD of the label, such as 'x=image/encoded, y=label' or"
        " 'x=signal:float32[128,9], y=label' (default: the fields that could be meant, if there are no others)",
        metavar="x=FIELD,y=FIELD",
    )
    task: Task | None = option(
        "what to learn from the data (default: the task of the data set or, where several fit, of the model; own tables"
        " without triples: classification; .txt: language_model)"
    )
    validation_data: Path | None = option("own validation data in the format of --data")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: TFDS' own folder)")
    image_size: int | None = option(
        "height and width in pixels to which images are resized (default: the set's own)", within=(1, 4096)
    )
    fit: Fit | None = option(
        "what is done to pictures whose aspect ratio is not that of the input: crop (cut off both ends of the longer"
        " side), pad (with black) or stretch (default: crop)"
    )
    rate: int | None = option(
        "samples of sound in a second, to which files of other rates are resampled (default: the most frequent rate of"
        " the files)",
        within=(1_000, 768_000),
        metavar="HZ",
    )
    seconds: float | None = option(
        "length to which sounds are cut or padded on both sides (default: enough for 95 % of them)",
        within=(0.01, 600),
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
    text_column: str | None = option(
        "column with the text; several columns, separated by commas, are joined by a space (default: text; beside"
        " images: caption)"
    )
    label_column: str | None = option("column with the label (default: label)")
    source: str | None = option(
        "language or column to translate from (default: the set's first language, or the column source)"
    )
    target: str | None = option(
        "language or column to translate into (default: the set's second language, or the column target)"
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
    skip_bad: bool = option("leave out unreadable images and lines with an empty field instead of stopping", False)
    augment: str | None = option(
        "random changes of training images or sounds, new in every epoch: none, light, standard, strong, sound, or words joined by +,"
        " such as 'flip + crop(4) + colour(0.2)'; see `python -m zoo.augment` (default: none)",
        metavar="RECIPE",
    )
    noise: Path | None = option(
        "folder of recordings that the word noise of --augment mixes into sounds (default: _background_noise_ in the"
        " data, if there is one)"
    )
    shift: int = option(
        "largest random shift of training images in pixels, along both axes, new in every epoch; the word shift of"
        " --augment",
        0,
        within=(0, 256),
    )
    classifier: Path | None = option(
        "run of a classifier whose features compare generated images with real ones (default: principal components of"
        " the pixels)",
        metavar="RUN",
        stock_as="run",
    )


@dataclass(frozen=True, kw_only=True)
@under("optimisation")
class Optimisation:
    """How the weights are fitted: length, optimizer, learning rate, loss and numerics."""

    epochs: int | None = option(
        "number of epochs, passes over the training examples; 0, with --pretrained or --init-from, takes the weights as"
        " they are",
        within=(0, 1_000_000),
    )
    steps_per_epoch: int = option(
        "number of steps after which an epoch ends, with validation and a checkpoint; the next epoch continues with the"
        " examples that follow (0: one pass over all examples)",
        0,
        within=(0, 1_000_000_000),
    )
    batch_size: int | None = option(
        "number of examples in a step over all replicas (the global batch size)", within=(1, 1_000_000)
    )
    optimizer: Literal["adamw", "sgd", "adagrad"] | None = option("optimizer; sgd has Nesterov momentum 0.9")
    learning_rate: float | None = option("peak learning rate, reached at the end of the warm-up", within=(0, 1_000))
    layer_decay: float | None = option(
        "factor of the learning rate for each layer further from the output (default: 1)", within=(0.01, 1)
    )
    beta_1: float | None = option("decay of the running mean of gradients in adamw (default: 0.9)", within=(0, 0.9999))
    schedule: Literal["cosine", "constant", "inverse_sqrt"] | None = option(
        "learning rate after the warm-up: cosine decay to zero, constant, or inverse square root of the step (Vaswani"
        " et al., 2017)"
    )
    warmup: float | None = option(
        "share of all steps in which the learning rate rises linearly from zero", within=(0, 1)
    )
    weight_decay: float | None = option(
        "decoupled weight decay of kernels (Loshchilov & Hutter, 2019)", within=(0, 1_000)
    )
    clip_norm: float | None = option("largest global norm of the gradients; 0: no clipping", within=(0, 1e9))
    label_smoothing: float | None = option(
        "share of the target probability that is spread over all classes", within=(0, 0.99)
    )
    class_weights: Literal["none", "balanced"] = option(
        "weights of the classes in the loss; balanced: inverse to their frequency", "none"
    )
    sampling: Literal["all", "balanced"] = option(
        "examples of an epoch: all of them once, or equally many of every class (balanced), those of rare classes"
        " several times",
        "all",
    )
    focal_gamma: float = option(
        "exponent of the focal loss, which gives less weight to examples that are right already (Lin et al., 2017;"
        " 0: cross-entropy)",
        0.0,
        within=(0, 10),
    )
    early_stopping: int = option(
        "number of epochs without a better validation result after which training stops; 0: never",
        0,
        within=(0, 1_000_000),
    )
    keep: Literal["best", "last"] = option("epoch whose weights are saved; best: by validation", "best")
    precision: Literal["float32", "bfloat16", "float64"] | None = option(
        "numeric precision; bfloat16 computes in bfloat16 and keeps float32 weights, float64 is slow and meant for"
        " telling rounding from faults (default: float32; on a TPU bfloat16)"
    )
    deterministic: bool = option(
        "use deterministic operations: the same seed gives the same bits, also after --resume; slower", False
    )
    seed: int = option("random seed for weights, shuffling and dropout", 0, within=SEEDS)


@dataclass(frozen=True, kw_only=True)
@under("capabilities")
class Capabilities:
    """Additions to the plain training loop, off by default; see `zoo.training.capabilities`."""

    unfreeze_every: int = option(
        "gradual unfreezing: train only the last layer at first, and one more layer after every so many epochs (Howard"
        " & Ruder, 2018). Frozen layers, including batch-norm statistics, do not change (0: train all layers)",
        0,
        within=(0, 1_000_000),
    )
    adversarial: str | None = option(
        "adversarial training: attack every batch with pgd(eps=0.1, steps=7) or fgsm(eps=0.1); eps is the largest"
        " change of an input value, where pixels range from 0 to 1; further arguments are step=X and start=clean",
        metavar="ATTACK",
    )
    private: str | None = option(
        "train with differential privacy (DP-SGD): dp(epsilon=3, delta=1e-5, clip=1), or noise=1.1 instead of epsilon;"
        " see docs/guides/privacy.md",
        metavar="dp(...)",
    )
    average: str | None = option(
        "average the weights: ema(0.999) is an exponential moving average over steps, swa(0.75) the mean over the"
        " epochs after that share of the training (Izmailov et al., 2018; use --schedule constant)",
        metavar="ema(X)|swa(X)",
    )
    snapshots: int = option(
        "number of cosine cycles of the learning rate; the weights at the end of each cycle are saved for zoo.ensemble"
        " (Huang et al., 2017; 0: one cycle, no snapshots)",
        0,
        within=(0, 1_000),
    )


@dataclass(frozen=True, kw_only=True)
@under("strategy")
class StrategyOptions:
    """How training is distributed over devices and processes."""

    strategy: str = option("distribution strategy, a name of `python -m strategies`", "none")
    virtual_devices: int = option(
        "number of virtual devices into which the CPU is split; 0: no split", 0, within=(0, 1024)
    )
    model_devices: int = option(
        "number of devices that share one copy of the model under model_parallel; 0: all", 0, within=(0, 100_000)
    )
    shard: Literal["data", "files"] = option(
        "what a multi_worker process reads in an epoch: its part of each batch, from decoded examples in its memory if"
        " they fit (data), or always from the files (files)",
        "data",
    )
    worker_timeout: float = option(
        "seconds that multi_worker processes wait for each other at the start", 300.0, within=(0.1, 1e9)
    )
    steps_per_execution: int | None = option(
        "largest number of steps in one execution on the device; the results stay the same (default: 16; 1 under"
        " mirrored and multi_worker, and with JAX on a CPU or GPU)",
        within=(1, 100_000),
    )


@dataclass(frozen=True, kw_only=True)
@under("output")
class OutputOptions:
    """The run folder and its checkpoints."""

    output: Path | None = option("run folder to write (default: runs/MODEL-DATASET)")
    checkpoint_every: int = option(
        "number of steps between checkpoints inside an epoch; 0: only at its end", 0, within=(0, 1_000_000_000)
    )
    resume: bool = option("continue the run in --output from its last complete checkpoint", False)
    accept_changed_data: bool = option(
        "with --resume: go on although the data changed; every example stays in the split that it had, and new ones are"
        " drawn into a split by what they are",
        False,
    )
