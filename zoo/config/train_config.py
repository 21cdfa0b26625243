"""TrainConfig: everything that decides a training run, in one record that is saved beside its result.

Standard library only. The options are declared in `zoo.config.groups`, whose docstring says how one is added;
`zoo.console.cli` turns them into command-line options. An option that is None takes its value from the default settings
of the model and the data set, see `zoo.config.defaults`.
"""

import contextlib
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import strategies
from zoo.config import attacks, augmentation, defaults, prepared, privacy, registry, task_facts
from zoo.config.groups import (
    Capabilities,
    ColumnOptions,
    DataOptions,
    ModelOptions,
    Optimisation,
    OutputOptions,
    SensorOptions,
    SoundOptions,
    StrategyOptions,
    optimisation,
    strategy,
)
from zoo.config.options import flag, take_types
from zoo.config.records import format_of, is_address, parse
from zoo.config.task_facts import COMPRESSED, FIRST_FIT, TABLES, USUAL_FIT
from zoo.console.errors import UsageError

# Data sets that need neither a network nor a path.
EMBEDDED = {
    "digits": "1,797 scans of handwritten digits, 8x8 grey (scikit-learn; Alpaydin & Kaynak, 1998)",
    "addition": "50,000 sums of two numbers of three digits and their results as texts, generated",
    "shapes": "700 pictures of circles, squares and triangles with their masks, generated",
    "family": "112 triples of kinship in two families of 12 people (after Hinton, 1986), generated from rules",
}

Group = TypeVar("Group")


# A dataclass begins with the fields of its last base.
@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    OutputOptions,
    StrategyOptions,
    Capabilities,
    Optimisation,
    SoundOptions,
    SensorOptions,
    ColumnOptions,
    DataOptions,
    ModelOptions,
):
    """What to train, on what, how, and where to write it.

    An option can be read by itself or through its group: `config.learning_rate` is
    `config.optimisation.learning_rate`. A function that needs one group only can be annotated with its class.

    Raises:
        UsageError: A value that no run could use; the message names the option, what was expected and what was
            received.
    """

    @property
    def model_options(self) -> ModelOptions:
        return self._group(ModelOptions)

    @property
    def data_options(self) -> DataOptions:
        return self._group(DataOptions)

    @property
    def column_options(self) -> ColumnOptions:
        return self._group(ColumnOptions)

    @property
    def sensor_options(self) -> SensorOptions:
        return self._group(SensorOptions)

    @property
    def sound_options(self) -> SoundOptions:
        return self._group(SoundOptions)

    @property
    def optimisation(self) -> Optimisation:
        return self._group(Optimisation)

    @property
    def capabilities(self) -> Capabilities:
        return self._group(Capabilities)

    @property
    def strategy_options(self) -> StrategyOptions:
        return self._group(StrategyOptions)

    @property
    def output_options(self) -> OutputOptions:
        return self._group(OutputOptions)

    @property
    def learns(self) -> str:
        """The task that the model learns: that of the option `task` if the model can learn it.

        Otherwise it is the first of the model's tasks that the given options apply to, or its usual one.
        """
        entry = registry.entry(self.model)
        if self.task in entry.tasks:
            return self.task
        of_tasks = {option for facts in task_facts.TASKS.values() for option in facts.options}
        given = {option for option in of_tasks if getattr(self, option) is not None}
        return next((task for task in entry.tasks if given <= set(task_facts.of(task).options)), entry.task)

    def _group(self, kind: type[Group]) -> Group:
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})

    def __post_init__(self) -> None:
        take_types(self)
        registry.entry(self.model)
        with _refused_strategies():
            strategies.check_name(self.strategy)
        if self.dataset is not None and self.data is not None:
            raise UsageError("--dataset and --data: expected one of them, received both")
        if self.accept_changed_data and not self.resume:
            raise UsageError("--accept-changed-data: expected together with --resume, received without it")
        if self.accept_changed_data and self.strategy == "multi_worker":
            raise UsageError("--accept-changed-data: expected a single process, received --strategy multi_worker")
        if self.validation_data is not None and self.data is None:
            raise UsageError("--validation-data: expected together with --data, received without it")
        if self.source is not None and self.source == self.target:
            raise UsageError(f"--source and --target: expected two different names, received {self.source!r} twice")
        for field in dataclasses.fields(self):
            value, (low, high) = getattr(self, field.name), field.metadata.get("within", (None, None))
            if low is not None and value is not None and not low <= value <= high:
                raise UsageError(f"{flag(field.name)}: expected a value from {low:g} to {high:g}, received {value}")
        if self.classifier is not None and not task_facts.of(self.learns).judged_by_classifier:
            raise UsageError(f"--classifier: expected a model that draws images, {self.model} learns {self.learns}")
        self._check_pretrained()
        if self.adversarial is not None:
            self._check_adversarial()
        if self.private is not None:
            self._check_private()
        self._check_augmentation()
        self._check_classes()
        self._check_group()
        self._check_series()
        parse(self.schema)
        self._check_windows()
        self._check_average()
        self._check_layers()
        object.__setattr__(self, "settings", registry.parse_settings(self.model, self.settings or {}))

    def _check_pretrained(self) -> None:
        given = [name for name in ("init_from", "pretrained") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError("--init-from and --pretrained: expected one of them, received both")
        if self.pretrained is not None and not registry.takes_pretrained(self.model):
            raise UsageError(
                f"--pretrained {self.pretrained}: expected one of {', '.join(registry.pretrained_models())},"
                f" {self.model} begins with the weights of a run: --init-from"
            )
        if self.input_range is not None:
            if self.pretrained is None:
                raise UsageError("--input-range: expected together with --pretrained, received without it")
            if len(self.input_range) != 2 or self.input_range[0] >= self.input_range[1]:
                numbers = ",".join(f"{number:g}" for number in self.input_range)
                raise UsageError(f"--input-range {numbers}: expected LOW,HIGH, the lower number first")

    def _check_adversarial(self) -> None:
        attack, entry = attacks.parse(self.adversarial), registry.entry(self.model)
        kinds = [kind for kind in entry.inputs if kind in attacks.KINDS] or entry.inputs
        attacks.check_inputs(f"--adversarial with --model {self.model}", self.learns, kinds[0], per_step=False)
        if len(kinds) == 1:  # otherwise the kind of input is known with the data
            attacks.check_range(f"--adversarial {attack.word}: eps", attack.eps, kinds[0])

    def _check_private(self) -> None:
        privacy.parse(self.private)
        entry = registry.entry(self.model)
        kinds = [kind for kind in entry.inputs if kind in privacy.KINDS] or entry.inputs
        privacy.check_inputs(f"--private with --model {self.model}", self.learns, kinds[0], per_step=False)

    def _check_augmentation(self) -> None:
        """Raise UsageError for words that no data of this model could follow, or that another option excludes."""
        found, entry = self.augmentation, registry.entry(self.model)
        fitting = [kind for kind in entry.inputs if all(kind in word.kinds for word in found)]
        kind = next(iter(fitting), "image" if "image" in entry.inputs else entry.inputs[0])
        augmentation.check_inputs(f"{self.augmented_by} with --model {self.model}", found, self.learns, kind)
        if self.adversarial is not None:
            augmentation.check_unmixed("--adversarial", found, "an attack needs one class for each example")
        if self.private is not None:
            augmentation.check_unmixed("--private", found, "each gradient may depend on one example alone")

    def _check_classes(self) -> None:
        """Raise UsageError for options of classes that the model does not learn, or that contradict each other."""
        facts = task_facts.of(self.learns)
        if self.focal_gamma and not (facts.classifies or facts.focal):
            raise UsageError(
                f"--focal-gamma {self.focal_gamma:g}: expected a classifier, {self.model} learns {self.learns}"
            )
        if self.sampling == "balanced" and self.class_weights == "balanced":
            raise UsageError(
                "--sampling balanced and --class-weights balanced: expected one of them, together they would count the"
                " rarity of a class twice"
            )

    def _check_group(self) -> None:
        if self.group is None:
            return
        try:
            re.compile(self.group)
        except re.error as error:
            raise UsageError(f"--group {self.group}: expected a regular expression: {error}") from None

    def _check_windows(self) -> None:
        if self.hop is not None and self.window is None:
            raise UsageError(f"--hop {self.hop}: expected together with --window, received without it")
        if self.window is not None and self.data is None:
            raise UsageError(f"--window {self.window}: expected together with --data, received without it")

    def _check_series(self) -> None:
        """Raise UsageError for numbers that no series could be forecast with."""
        listed = {name: ",".join(f"{value:g}" for value in getattr(self, name) or ()) for name in _LISTED}
        quantiles, rows = self.quantiles or (), self.split_rows
        if list(quantiles) != sorted(set(quantiles)) or not all(0 < value < 1 for value in quantiles):
            raise UsageError(f"--quantiles {listed['quantiles']}: expected increasing numbers between 0 and 1")
        if rows is not None and (len(rows) != len(_PARTS) or min(rows) < 0 or not rows[0]):
            raise UsageError(
                f"--split-rows {listed['split_rows']}: expected three numbers of steps, for {', '.join(_PARTS)}, the"
                " first above 0"
            )

    def _check_private_training(self) -> None:
        """Raise UsageError for resolved options that differential privacy excludes."""
        privacy.check_accountant()
        for name, value, reason in _PRIVATE:
            if (given := getattr(self, name) or None) != value:
                wanted = f"{flag(name)} {value}" if value else f"no {flag(name)}"
                raise UsageError(f"--private: expected {wanted}, received {flag(name)} {given}: {reason}")
        for name in privacy.UNFIT:
            if given := self.settings.get(name):
                raise UsageError(f"--private: expected --set {name}=0, received {given}: {privacy.UNFIT[name]}")

    def _check_average(self) -> None:
        if self.average is None:
            return
        found = _AVERAGE.fullmatch(self.average)
        if not found or not 0 <= float(found[2]) < 1:
            raise UsageError(f"--average: expected ema(X) or swa(X) with 0 <= X < 1, received {self.average!r}")
        if task_facts.of(self.learns).averages_itself:
            raise UsageError(
                f"--average {self.average}: {self.model} has a moving average of its own; set it with"
                " --set average_decay=X"
            )
        if found[1] == "swa" and self.early_stopping:
            raise UsageError(f"--average {self.average}: expected --early-stopping 0, received {self.early_stopping}")

    def _check_layers(self) -> None:
        """Raise UsageError for an option that needs a sequence of layers, and a model without one."""
        for name in ("new_head", "unfreeze_every", "layer_decay"):
            if getattr(self, name) and (why := task_facts.of(self.learns).unordered):
                raise UsageError(
                    f"{flag(name)}: expected a model whose layers form a sequence up to an output layer;"
                    f" {self.model} {why}"
                )

    def _check_unfreezing(self) -> None:
        tied = self.settings.get("tied", getattr(registry.arguments(self.model).get("tied"), "default", False))
        if self.new_head and tied:
            raise UsageError(
                f"--new-head: expected --set tied=false: with tied weights {self.model} scores tokens by its embedding"
                " and has no output layer"
            )
        if self.unfreeze_every and self.unfreeze_every >= self.epochs:
            raise UsageError(
                f"--unfreeze-every {self.unfreeze_every}: expected less than the number of epochs, {self.epochs}"
            )

    def _check_snapshots(self) -> None:
        said = f"--snapshots {self.snapshots}"
        if self.epochs % self.snapshots:
            raise UsageError(f"{said}: expected a divisor of the number of epochs, {self.epochs}")
        for name, value in _CYCLIC.items():
            if (given := getattr(self, name)) != value:
                raise UsageError(f"{said}: expected {flag(name)} {value}, received {given}")
        if self.early_stopping:
            raise UsageError(f"{said}: expected --early-stopping 0, received {self.early_stopping}")

    @property
    def part(self) -> tuple[int, int]:
        """Index of the part of each training batch that this process reads, and the number of parts."""
        return strategies.place(self.strategy) if self.strategy == "multi_worker" else (0, 1)

    @property
    def averaging(self) -> tuple[str, float] | None:
        """Kind of average, "ema" or "swa", and its argument."""
        found = self.average and _AVERAGE.fullmatch(self.average)
        return (found[1], float(found[2])) if found else None

    @property
    def augmentation(self) -> tuple[augmentation.Word, ...]:
        """The random changes of training images: those of `--shift`, then those of `--augment`."""
        return augmentation.parse(" + ".join(filter(None, (self.shift and f"shift({self.shift})", self.augment))))

    @property
    def augmented_by(self) -> str:
        """The options that `augmentation` comes from, for messages."""
        given = (self.shift and f"--shift {self.shift}", self.augment and f"--augment {self.augment}")
        return " ".join(filter(None, given))

    @property
    def data_name(self) -> str:
        """Short name of the data, for folders and titles."""
        if self.data is not None:
            path = self.data if is_address(self.data) else self.data.resolve()
            if format_of(path.name):
                return path.name.partition(".")[0]
            return Path(path.name.removesuffix(COMPRESSED)).stem
        return (self.dataset or "digits").replace("/", "-").replace(":", "-")

    @property
    def dataset_is_tfds(self) -> bool:
        """Whether the data are a TFDS set, neither embedded nor the user's own."""
        return self.data is None and self.dataset is not None and self.dataset not in EMBEDDED

    def _default_steps_per_execution(self) -> int:
        return 16 if self.strategy == "tpu" or strategies.engine(self.strategy) == "tensorflow" else 1

    def resolved(self) -> "TrainConfig":
        """Return the configuration with the default settings of its model and data filled in.

        Raises:
            UsageError: A strategy that cannot be used here, a batch that it cannot divide, or options that contradict
                each other. The constructor does not look at the machine, so that a run can be opened anywhere.
        """
        with _refused_strategies():
            replicas = strategies.replicas_without_looking(self.strategy, self.virtual_devices)
        strategy.check_used(self)
        dataset = None if self.data else (self.dataset or "digits")
        on_tpu = self.strategy == "tpu"
        values = {
            "precision": "bfloat16" if on_tpu else "float32",
            "steps_per_execution": self._default_steps_per_execution(),
            "vocabulary_size": 10_000,
            "fit": USUAL_FIT,
            "beta_1": 0.9,
        }
        texts = self.window is None and prepared.holds_texts(self.data, dataset, self.data_dir, tuple(TABLES))
        transfers = self.pretrained is not None
        values |= defaults.defaults_for(self.model, dataset, texts=texts, transfers=transfers)()
        if not self.resume:  # earlier versions took and recorded options that change nothing
            values |= optimisation.check_used(self, self.task or self.learns, values)
        values |= _CYCLIC if self.snapshots else {}
        settings = values.pop("settings", {})
        if self.epochs == 0 and self.pretrained is None and self.init_from is None:
            raise UsageError("--epochs 0: expected together with --pretrained or --init-from, received without them")
        if self.probe and self.pretrained is None and self.init_from is None:
            raise UsageError("--probe: expected together with --pretrained or --init-from, received without them")
        if self.epochs == 0:
            values.pop("freeze", None)
        if self.private:
            values["clip_norm"] = 0.0  # each example's gradient is clipped already
            values.pop("probe", None)
            known = registry.arguments(self.model)
            settings = settings | {name: type(known[name].default)() for name in privacy.UNFIT if name in known}
        settings = {**settings, **self.settings}
        missing = {name: value for name, value in values.items() if getattr(self, name) is None}
        missing["augment"] = augmentation.spelled_out(self.augment)
        found = dataclasses.replace(self, dataset=dataset, settings=settings, **missing)
        check_divisible(found.batch_size, replicas)
        if self.snapshots:
            found._check_snapshots()
        found._check_unfreezing()
        if self.private:
            found._check_private_training()
        return found

    def shared(self) -> dict[str, Any]:
        """Return the values that all workers of a training must share, by option; data are compared after loading."""
        own = {*NOT_COMPARED, *PLACES}
        return {flag(name): value for name, value in self.to_json().items() if name not in own}

    def deciding(self) -> dict[str, Any]:
        """Return JSON-able values of the options that decide the weights of each step, by name.

        Left out are what a continuation may change (`CHANGEABLE` and the number of epochs) and paths, whose content
        counts. Arguments of the model that are not set have the defaults of its constructor.
        """
        own = {*CHANGEABLE, *PLACES, "epochs"}
        values = {name: value for name, value in self.to_json().items() if name not in own}
        known = registry.arguments(self.model).items()
        defaults = {name: argument.default for name, argument in known if name not in registry.FROM_DATA}
        return json.loads(json.dumps(values | {"settings": defaults | self.settings}))

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values, flat, that `from_json` reads back."""
        return {
            f.name: str(value) if isinstance(value := getattr(self, f.name), Path) else value
            for f in dataclasses.fields(self)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Return the configuration of the values of `to_json`."""
        return cls(**{"fit": FIRST_FIT} | values)


# Paths of what is read; different paths may lead to the same content.
PLACES = ("data", "validation_data", "noise", "init_from", "classifier")
# Options that may differ between the workers of one training.
NOT_COMPARED = (
    "resume",
    "accept_changed_data",
    "output",
    "track",
    "checkpoint_every",
    "data_dir",
    "skip_bad",
    "memory",
    "worker_timeout",
)
# Options that may differ between a run and its continuation; its numbers depend on them by rounding alone.
CHANGEABLE = (*NOT_COMPARED, "strategy", "virtual_devices", "model_devices", "steps_per_execution")

# Values in the configuration of a run that is made of trained runs: no initial weights, one device.
ON_ONE_DEVICE = {
    "init_from": None,
    "pretrained": None,
    "input_range": None,
    "probe": None,
    "new_head": False,
    "unfreeze_every": 0,
    "layer_decay": None,
    "strategy": "none",
    "virtual_devices": 0,
    "model_devices": 0,
    "shard": "data",
    "worker_timeout": 300.0,
    "steps_per_execution": 1,
    "resume": False,
    "accept_changed_data": False,
}

_PARTS = ("training", "validation", "test")
_LISTED = ("quantiles", "split_rows")
_AVERAGE = re.compile(r"(ema|swa)\(([0-9]*\.?[0-9]+)\)")
# Schedule of a learning rate that restarts.
_CYCLIC = {"schedule": "cosine", "warmup": 0.0}
# Values that private training needs, and the reason.
_PRIVATE = (
    ("strategy", "none", "noise is added once to the sum of all gradients, and a replica has only a part of it"),
    ("class_weights", "none", "class frequencies depend on every example"),
    ("sampling", "all", "the privacy accountant assumes that every example is as likely as any other"),
    ("adversarial", None, "attacks are computed for whole batches"),
    ("probe", None, "a regression on the features of all examples is not private"),
)


@contextlib.contextmanager
def _refused_strategies() -> Iterator[None]:
    """Raise UsageError in the place of a `strategies.StrategyError`."""
    try:
        yield
    except strategies.StrategyError as error:
        raise UsageError(str(error)) from None


def check_divisible(global_batch_size: int, replicas: int) -> None:
    """Raise UsageError unless every replica gets the same share of the batch."""
    if global_batch_size % replicas:
        below = global_batch_size // replicas * replicas
        near = f"{below} or {below + replicas}" if below else str(replicas)
        raise UsageError(
            f"--batch-size {global_batch_size}: expected a multiple of the {replicas} replicas, such as {near}"
        )


def command_line(module: str, *words: object) -> str:
    """Return a command that can be pasted into a shell."""
    return shlex.join(["python", "-m", module, *map(str, words)])
