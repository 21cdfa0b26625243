"""TrainConfig: everything that decides a training run, in one flat record that is saved beside its result.

Standard library only. Each field states its option once: type, default, help; `zoo.console.cli` turns them into
command-line options. A field that is None takes its value from the recipe of the model and the data set.
"""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import strategies
from zoo.config import attacks, privacy, registry
from zoo.config import defaults as recipes
from zoo.config.options import option
from zoo.config.task_facts import Task, Tokens
from zoo.console.errors import UsageError

# Sets that need neither a network nor a path, and what they are.
EMBEDDED = {
    "digits": "1,797 scans of handwritten digits, 8x8 grey (scikit-learn; Alpaydin & Kaynak, 1998)",
    "addition": "50,000 sums of two numbers of three digits and their results as texts, generated",
    "family": "112 triples of kinship in two families of 12 people (after Hinton, 1986), by rules",
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What to train, on what, how, and where to write it.

    Raises:
        UsageError: a value that no run could use, with the option, what was expected and what was received.
    """

    model: str = option("a name of `python -m zoo.list models`", "cnn")

    # The data.
    dataset: str | None = option("an embedded set or any TFDS name (default: digits)", None)
    data: Path | None = option(
        "own data: a folder of images by class, an .npz, a .csv, .tsv or .jsonl file; a .txt file or a folder of them;"
        " for link_prediction a folder of train, valid and test tables as well"
    )
    task: Task | None = option(
        "what is learnt from the data (default: what the set is for, of classes what the model learns from them; own"
        " tables: classification, or what the model learns from triples; .txt: language_model)"
    )
    validation_data: Path | None = option("own validation data, of the same form as --data")
    data_dir: Path | None = option("where TFDS sets are prepared (default: TFDS' own folder)")
    image_size: int | None = option("resize images to this height and width in pixels (default: the set's)")
    text_column: str | None = option(
        "column of the text; several, comma-separated, are joined by a space (default: text; beside images: caption)"
    )
    label_column: str | None = option("column of the label (default: label)")
    source: str | None = option(
        "what is translated: a language of the set, or a column of the table (default: the set's first, or source)"
    )
    target: str | None = option("what it is translated to (default: the set's second, or target)")
    caption_templates: str | None = option(
        "what captions are made of from the names of classes, with | between: 'a photo of a {}|the {}' (default: ours)"
    )
    tokens: Tokens | None = option(
        "what texts are cut into (default: word; subword for translation, character for language_model)"
    )
    vocabulary_size: int | None = option("most tokens in a vocabulary, by frequency (default: the recipe's, or 10,000)")
    sequence_length: int | None = option(
        "tokens a text is cut or padded to (default: 95 % of texts fit; translation: all, up to 256;"
        " language_model: windows of 128)"
    )
    validation_split: float = option("share of the training examples held out, where no split is given", 0.1)
    test_split: float = option("share of all examples kept for testing, where no split is given", 0.2)
    test_split_name: str | None = option(
        "which split of a TFDS set is the test (default: test, or the first whose name begins so)"
    )
    skip_bad: bool = option("leave out unreadable images, or triples with an empty field, instead of stopping", False)

    classifier: Path | None = option(
        "of a model that draws images: a classifier's run, in whose features they are compared with real ones"
        " (default: in principal components of pixels)",
        metavar="RUN",
        stock_as="run",
    )

    # What it begins with.
    init_from: Path | None = option(
        "begin with the weights of this run, wherever path and shape are the same; texts take over its vocabulary and"
        " length",
        stock_as="run",
    )
    freeze: tuple[str, ...] | None = option(
        "layers or variables of it that are not trained: patterns of a path or its end, such as embedding,block_*",
        metavar="PATTERN[,...]",
    )
    new_head: bool = option("begin the layer that gives the logits anew, whatever the run's is", False)
    unfreeze_every: int = option(
        "train the last layer alone, and after each so many epochs the one before those as well (Howard & Ruder, 2018);"
        " 0: all from the start",
        0,
    )

    # The optimisation.
    epochs: int | None = option("passes over the training examples")
    steps_per_epoch: int = option(
        "end an epoch, with its validation and its checkpoint, after so many steps; the next goes on from there in the"
        " examples (0: after all of them)",
        0,
    )
    batch_size: int | None = option("examples in one step over all replicas (the global batch)")
    optimizer: Literal["adamw", "sgd", "adagrad"] | None = option("sgd is with Nesterov momentum 0.9")
    learning_rate: float | None = option("the peak, reached at the end of the warm-up")
    layer_decay: float | None = option(
        "what a layer's learning rate is multiplied by for each layer between it and the output (default: 1)"
    )
    beta_1: float | None = option("of adamw: decay of the running mean of gradients (default: 0.9)")
    schedule: Literal["cosine", "constant", "inverse_sqrt"] | None = option(
        "after the warm-up: to zero by a cosine, flat, or with the square root of the step (Vaswani et al., 2017)"
    )
    warmup: float | None = option("share of all steps in which the rate rises from zero")
    weight_decay: float | None = option("decoupled weight decay of kernels (Loshchilov & Hutter, 2019)")
    clip_norm: float | None = option("upper limit of the gradients' global norm, 0 for none")
    label_smoothing: float | None = option("share of the target spread over all classes")
    shift: int = option("move each training image by up to this many pixels, at random each epoch", 0)
    class_weights: Literal["none", "balanced"] = option("balanced: weigh each class by its inverse frequency", "none")
    adversarial: str | None = option(
        "train on what an attack makes of each batch: pgd(eps=0.1, steps=7) or fgsm(eps=0.1); eps is the most that a"
        " number of an input is changed by, of images a share of the range of pixels; also step=X and start=clean",
        metavar="ATTACK",
    )
    private: str | None = option(
        "promise that the weights depend little on any one training example: dp(epsilon=3, delta=1e-5, clip=1), or with"
        " noise=1.1 in place of epsilon; DP-SGD, see docs/PRIVACY.md",
        metavar="dp(...)",
    )
    early_stopping: int = option("stop after this many epochs without a better validation result, 0: never", 0)
    keep: Literal["best", "last"] = option("which epoch's weights the run ends with", "best")
    average: str | None = option(
        "end with averaged weights instead: ema(0.999), a running average over steps that decays so, or swa(0.75), the"
        " mean over the epochs after that share of them (Izmailov et al., 2018; with --schedule constant)",
        metavar="ema(X)|swa(X)",
    )
    snapshots: int = option(
        "restart the cosine of the learning rate so that there are as many cycles, and keep the weights that each ends"
        " with, for zoo.ensemble (Huang et al., 2017)",
        0,
    )
    settings: Mapping[str, Any] = option(
        "a constructor argument of the model; repeat for more", None, name="set", metavar="NAME=VALUE"
    )

    # The machine.
    strategy: str = option("how training is spread over devices: see `python -m strategies`", "none")
    virtual_devices: int = option("split the CPU into this many devices, so that any machine has several", 0)
    model_devices: int = option("devices that hold one copy of the model under model_parallel, 0: all", 0)
    shard: Literal["data", "files"] = option(
        "what a worker of multi_worker reads: all, of which it trains on its part of each batch (data), or its own part"
        " of the image files alone (files)",
        "data",
    )
    worker_timeout: float = option("seconds that workers of multi_worker wait for each other at the start", 300.0)
    steps_per_execution: int | None = option(
        "most steps that a device runs before this process looks; the numbers stay (default: 16, and 1 where a strategy"
        " or JAX on a CPU or GPU runs one at a time)"
    )
    precision: Literal["float32", "bfloat16", "float64"] | None = option(
        "bfloat16 computes in it and keeps float32 weights; float64 is slow, and tells rounding from a fault"
        " (default: float32, on a TPU bfloat16)"
    )
    deterministic: bool = option("the same seed gives the same bits, also through --resume; slower", False)
    seed: int = option("of the weights, the order of examples and dropout", 0)

    # The run folder.
    output: Path | None = option("the run folder to write (default: runs/MODEL-DATASET)")
    checkpoint_every: int = option("steps between checkpoints inside an epoch, 0: at its end only", 0)
    resume: bool = option("continue the run in --output from its last complete checkpoint", False)

    def __post_init__(self) -> None:
        registry.entry(self.model)
        strategies.check_name(self.strategy)
        if self.dataset is not None and self.data is not None:
            raise UsageError("--dataset and --data: expected one of them, received both")
        if self.validation_data is not None and self.data is None:
            raise UsageError("--validation-data: expected beside --data, received without it")
        if self.source is not None and self.source == self.target:
            raise UsageError(f"--source and --target: expected two different texts, received {self.source!r} for both")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{flag(name)}: expected a value from {low:g} to {high:g}, received {value}")
        if self.strategy in strategies.STEP_BY_STEP and (self.steps_per_execution or 1) > 1:
            raise UsageError(
                f"--steps-per-execution {self.steps_per_execution}: expected 1 with {self.strategy}, under which"
                " Keras 3 runs one step at a time"
            )
        if self.classifier is not None and not (entry := registry.entry(self.model)).facts.judged_by_classifier:
            raise UsageError(f"--classifier: expected a model that draws images, {self.model} learns {entry.task}")
        if self.adversarial is not None:
            self._check_adversarial()
        if self.private is not None:
            self._check_private()
        self._check_average()
        self._check_layers()
        object.__setattr__(self, "settings", registry.parse_settings(self.model, self.settings or {}))

    def _check_adversarial(self) -> None:
        attack, entry = attacks.parse(self.adversarial), registry.entry(self.model)
        kinds = [kind for kind in entry.inputs if kind in attacks.KINDS] or entry.inputs
        attacks.check_inputs(f"--adversarial with --model {self.model}", entry.task, kinds[0], per_step=False)
        if len(kinds) == 1:  # else the data say what the model is given
            attacks.check_range(f"--adversarial {attack.word}: eps", attack.eps, kinds[0])

    def _check_private(self) -> None:
        privacy.parse(self.private)
        entry = registry.entry(self.model)
        kinds = [kind for kind in entry.inputs if kind in privacy.KINDS] or entry.inputs
        privacy.check_inputs(f"--private with --model {self.model}", entry.task, kinds[0], per_step=False)

    def _check_private_training(self) -> None:
        privacy.check_accountant()
        for name, value, reason in _PRIVATE:
            if (given := getattr(self, name)) != value:
                received = f"{flag(name)} {given}"
                raise UsageError(
                    f"--private: expected {flag(name)} {value or 'left out'}, received {received}: {reason}"
                )
        for name in privacy.UNFIT:
            if given := self.settings.get(name):
                raise UsageError(f"--private: expected --set {name}=0, received {given}: {privacy.UNFIT[name]}")

    def _check_average(self) -> None:
        if self.average is None:
            return
        found = _AVERAGE.fullmatch(self.average)
        if not found or not 0 <= float(found[2]) < 1:
            raise UsageError(
                f"--average: expected ema(X) or swa(X) with X from 0 to below 1, received {self.average!r}"
            )
        if registry.entry(self.model).facts.averages_itself:
            raise UsageError(
                f"--average {self.average}: {self.model} draws by a running average of its own: --set average_decay=X"
            )
        if found[1] == "swa" and self.early_stopping:
            raise UsageError(f"--average {self.average}: expected every epoch, received --early-stopping besides")
        if found[1] == "swa" and self.shard == "files":
            raise UsageError(f"--average {self.average}: expected --shard data: no worker has examples of all")

    def _check_layers(self) -> None:
        """Raise UsageError for what needs layers that follow one another, and a model that has none such."""
        for name in ("new_head", "unfreeze_every", "layer_decay"):
            if getattr(self, name) and (why := registry.entry(self.model).facts.unordered):
                raise UsageError(
                    f"{flag(name)}: expected a model of layers that follow one another up to a head; {self.model} {why}"
                )

    def _check_turns(self) -> None:
        tied = self.settings.get("tied", getattr(registry.arguments(self.model).get("tied"), "default", False))
        if self.new_head and tied:
            raise UsageError(
                f"--new-head: expected --set tied=false: {self.model} else scores tokens by the table that embeds them,"
                " and has no head"
            )
        if self.unfreeze_every >= self.epochs:
            raise UsageError(
                f"--unfreeze-every {self.unfreeze_every}: expected less than the {self.epochs} epochs of the training"
            )

    def _check_snapshots(self) -> None:
        said = f"--snapshots {self.snapshots}"
        if self.epochs % self.snapshots:
            raise UsageError(f"{said}: expected a number that divides the {self.epochs} epochs")
        for name, value in _CYCLIC.items():
            if (given := getattr(self, name)) != value:
                raise UsageError(f"{said}: expected {flag(name)} {value}, received {given}")
        if self.early_stopping:
            raise UsageError(f"{said}: expected every epoch, received --early-stopping besides")

    def _check_shard(self) -> None:
        if self.strategy != "multi_worker":
            raise UsageError(f"--shard files: expected --strategy multi_worker, received {self.strategy}")
        if self.data is None or not self.data.is_dir():
            received = f"--data {self.data}" if self.data else f"--dataset {self.dataset or 'digits'}"
            raise UsageError(f"--shard files: expected --data with a folder of images, received {received}")
        if self.class_weights != "none":
            raise UsageError("--shard files: expected --class-weights none: no worker has all labels")

    @property
    def share(self) -> tuple[int, int]:
        """Which part of the training files this process reads, and of how many."""
        return strategies.place(self.strategy) if self.shard == "files" else (0, 1)

    @property
    def averaging(self) -> tuple[str, float] | None:
        """How weights are averaged, "ema" or "swa", and its number."""
        found = self.average and _AVERAGE.fullmatch(self.average)
        return (found[1], float(found[2])) if found else None

    @property
    def data_name(self) -> str:
        """A short name of the data, for folders and titles."""
        if self.data is not None:
            return self.data.resolve().stem
        return (self.dataset or "digits").replace("/", "-").replace(":", "-")

    @property
    def dataset_is_tfds(self) -> bool:
        """Whether the data are a TFDS set, neither embedded nor one's own."""
        return self.data is None and self.dataset is not None and self.dataset not in EMBEDDED

    def _usual_steps_per_execution(self) -> int:
        several = self.strategy == "tpu" or strategies.engine(self.strategy) == "tensorflow"
        return 16 if several and self.strategy not in strategies.STEP_BY_STEP else 1

    def resolved(self) -> "TrainConfig":
        """Return the configuration with every recipe value filled in.

        Raises:
            UsageError: a strategy that cannot be used here, or a batch that it cannot divide. A configuration is made
                without looking, so that a run can be opened on any machine.
        """
        replicas = strategies.replicas_without_looking(self.strategy, self.virtual_devices)
        dataset = None if self.data else (self.dataset or "digits")
        on_tpu = self.strategy == "tpu"
        values = {
            "precision": "bfloat16" if on_tpu else "float32",
            "steps_per_execution": self._usual_steps_per_execution(),
            "vocabulary_size": 10_000,
            "beta_1": 0.9,
        }
        values |= recipes.recipe_for(self.model, dataset)()
        values |= _CYCLIC if self.snapshots else {}
        settings = values.pop("settings", {})
        if self.private:
            values["clip_norm"] = 0.0  # each example's gradient is clipped already
            known = registry.arguments(self.model)
            settings = settings | {name: type(known[name].default)() for name in privacy.UNFIT if name in known}
        settings = {**settings, **self.settings}
        missing = {name: value for name, value in values.items() if getattr(self, name) is None}
        found = dataclasses.replace(self, dataset=dataset, settings=settings, **missing)
        check_divisible(found.batch_size, replicas)
        if self.snapshots:
            found._check_snapshots()
        found._check_turns()
        if self.private:
            found._check_private_training()
        if self.shard == "files":
            self._check_shard()
        return found

    def shared(self) -> dict[str, Any]:
        """Return what all workers of one training must agree on, by option; their data are compared when loaded."""
        own = {*NOT_COMPARED, *PLACES}
        return {flag(name): value for name, value in self.to_json().items() if name not in own}

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return {
            f.name: str(value) if isinstance(value := getattr(self, f.name), Path) else value
            for f in dataclasses.fields(self)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Rebuild a configuration from `to_json`'s values."""
        paths = {f.name for f in dataclasses.fields(cls) if "Path" in str(f.type)}
        typed = {k: Path(v) if k in paths and v is not None else v for k, v in values.items()}
        typed["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in typed["settings"].items()}
        return cls(**typed | {"freeze": typed.get("freeze") and tuple(typed["freeze"])})


# Options that say where something is read from: another path may lead to the same.
PLACES = ("data", "validation_data", "init_from", "classifier")
# Options that may differ between the workers of one training.
NOT_COMPARED = ("resume", "output", "checkpoint_every", "data_dir", "skip_bad", "worker_timeout")
# Options that may differ between a run and its continuation: they do not decide its numbers, except for rounding.
CHANGEABLE = (*NOT_COMPARED, "strategy", "virtual_devices", "model_devices", "steps_per_execution")

# What a run that is made of others has in place of how these were trained: it begins with no other, on one device.
ON_ONE_DEVICE = {
    "init_from": None,
    "new_head": False,
    "unfreeze_every": 0,
    "layer_decay": None,
    "strategy": "none",
    "virtual_devices": 0,
    "model_devices": 0,
    "shard": "data",
    "steps_per_execution": 1,
    "resume": False,
}

_AVERAGE = re.compile(r"(ema|swa)\(([0-9]*\.?[0-9]+)\)")
# What a learning rate that restarts has in place of the recipe's.
_CYCLIC = {"schedule": "cosine", "warmup": 0.0}
# What a private training cannot have otherwise, and why.
_PRIVATE = (
    ("strategy", "none", "noise is added once, to the sum of all gradients, which replicas would each make a part of"),
    ("class_weights", "none", "how frequent a class is depends on every example"),
    ("adversarial", None, "attacks are made of whole batches"),
)

_RANGES = (
    ("image_size", 1, 4096),
    ("vocabulary_size", 3, 10_000_000),
    ("sequence_length", 1, 100_000),
    ("validation_split", 0, 0.9),
    ("test_split", 0, 0.9),
    ("unfreeze_every", 0, 1_000_000),
    ("epochs", 1, 1_000_000),
    ("steps_per_epoch", 0, 1_000_000_000),
    ("batch_size", 1, 1_000_000),
    ("learning_rate", 0, 1_000),
    ("layer_decay", 0.01, 1),
    ("beta_1", 0, 0.9999),
    ("warmup", 0, 1),
    ("weight_decay", 0, 1_000),
    ("clip_norm", 0, 1e9),
    ("label_smoothing", 0, 0.99),
    ("shift", 0, 256),
    ("early_stopping", 0, 1_000_000),
    ("snapshots", 0, 1_000),
    ("virtual_devices", 0, 1024),
    ("model_devices", 0, 100_000),
    ("steps_per_execution", 1, 100_000),
    ("worker_timeout", 0.1, 1e9),
    ("checkpoint_every", 0, 1_000_000_000),
    ("seed", 0, 2**32 - 1),
)


def flag(name: str) -> str:
    """Return the option that sets a field."""
    return "--" + name.replace("_", "-")


def check_divisible(global_batch_size: int, replicas: int) -> None:
    """Raise UsageError unless every replica gets the same share of the batch."""
    if global_batch_size % replicas:
        below = global_batch_size // replicas * replicas
        near = f"{below} or {below + replicas}" if below else str(replicas)
        raise UsageError(
            f"--batch-size {global_batch_size}: expected a multiple of the {replicas} replicas, such as {near}"
        )


def differences(stored: TrainConfig, given: Mapping[str, Any]) -> list[str]:
    """Return one text for each given option that contradicts the stored configuration."""
    texts = []
    for name, value in given.items():
        if name in CHANGEABLE:
            continue
        have = getattr(stored, name)
        if name == "settings":  # those given: the run's others come from its preset and recipe
            typed = registry.parse_settings(stored.model, value)
            value = {key: typed[key] for key in value}
            have = {key: have.get(key, registry.arguments(stored.model)[key].default) for key in value}
        if name in PLACES:
            value, have = value and Path(value).resolve(), have and have.resolve()
        if value != have:
            texts.append(f"{flag(name)} was {json.dumps(have, default=str)}, now {json.dumps(value, default=str)}")
    return texts


def command_line(module: str, *words: object) -> str:
    """Return a command that can be pasted into a shell."""
    return shlex.join(["python", "-m", module, *map(str, words)])
