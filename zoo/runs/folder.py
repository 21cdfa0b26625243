"""The run folder, through which commands exchange configurations, models and results.

Standard library only, except for `RunFolder.load_model`.
"""

import contextlib
import csv
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo import stock
from zoo.config import registry, task_facts
from zoo.config.train_config import PLACES, TrainConfig
from zoo.console.errors import UsageError
from zoo.isolation import archive, models, passed
from zoo.runs import contents, sealed
from zoo.system import temporary
from zoo.system.files import sha256
from zoo.system.machine import kernels, processor, versions

PARENT = Path("runs")
# A process that is killed before it writes anything leaves the file of its lock.
LOCK = ".lock"
# Options whose paths may be edited in config.json, because data and runs may move.
MOVING = (*PLACES, "data_dir", "output")


def scored(metrics: Mapping[str, Any]) -> bool:
    """Return whether the test examples had labels, so that there are scores besides their number.

    Args:
        metrics: Content of metrics.json.
    """
    return metrics["test"].keys() != {"examples"}


class RunFolder:
    """The files of one run. Reading a file also checks it.

    Args:
        path: Path of the folder.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.model_file = self.path / "model.keras"
        self.metrics_file = self.path / "metrics.json"
        self.examples_file = self.path / "examples.npz"
        self.history_file = self.path / "history.csv"
        self.vocabulary_file = self.path / "vocabulary.json"
        self.target_vocabulary_file = self.path / "target_vocabulary.json"
        self.groups_file = self.path / "groups.csv"
        self.card_file = self.path / "MODEL_CARD.md"
        self.confusion_file = self.path / "confusion_matrix.csv"
        self.translations_file = self.path / "translations.tsv"
        self.samples = self.path / "samples"
        self.ranks_file = self.path / "ranks.tsv"
        self.vectors_file = self.path / "vectors.npz"
        self.reliability_file = self.path / "reliability.png"
        self.report_file = self.path / "report.html"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.tracking_file = self.path / "tracking.json"
        self.attacks = self.path / "attack"
        self.key_file = self.path / "private.key"
        self.prequential_file = self.path / "prequential.csv"
        self.prequential_picture = self.path / "prequential.png"
        self.rejected_file = self.path / "rejected.jsonl"

    def snapshot_file(self, number: int) -> Path:
        """Return the path of the model saved at the end of a learning-rate cycle.

        Args:
            number: Number of the cycle, from 1.
        """
        return self.path / "snapshots" / f"{number}.keras"

    @property
    def started(self) -> bool:
        """Whether a run has written its configuration to the folder."""
        return self.config_file.is_file()

    @property
    def finished(self) -> bool:
        """Whether the run has finished."""
        return self.metrics_file.is_file() and self.model_file.is_file()

    def check_free(self) -> None:
        """Raise UsageError unless the folder is new or empty; what killed processes left in it is removed."""
        if self.path.is_dir():
            temporary.sweep(self.path)
        if self.path.is_dir() and any(entry.name != LOCK for entry in self.path.iterdir()):
            what = "holds a run" if self.started else "is not empty"
            raise UsageError(
                f"--output {self.path}: expected a new or empty folder, this one {what}"
                + ("; continue it with --resume" if self.started and not self.finished else "")
            )
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--output {self.path}: expected a folder, received a file")

    def require(self) -> None:
        """Raise UsageError unless this is a run folder."""
        if not self.started:
            absent = f"no such folder{stock.hint(self.path)}"
            what = "no config.json in it" if self.path.is_dir() else absent
            raise UsageError(f"{self.path}: expected the folder of a run, found {what}")

    def read_config(self) -> dict[str, Any]:
        """Return config.json, with the configuration as a `TrainConfig`.

        Raises:
            UsageError: If this is not a run folder, or if the file is damaged or was altered. Paths of data may be
                edited, because data may move.
        """
        self.require()
        stored, seal = sealed.read(self.config_file)
        try:
            contents.check_config(stored)
            config = TrainConfig.from_json(stored["config"])
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{self.config_file} is damaged: {error}") from None
        sealed.check(self.config_file, seal, _without(stored, seal.get("without", "").split()))
        return stored | {"config": config}

    @property
    def task(self) -> str:
        """What the run learns, a key of `zoo.config.task_facts.TASKS`."""
        return self.read_config()["data"].get("task", task_facts.CLASSES)

    @property
    def model_name(self) -> str:
        """Name of the model that the run trained."""
        stored = self.read_config()
        return stored.get("own_model") or stored["config"].model

    def write_config(
        self,
        config: TrainConfig,
        data: Mapping[str, Any],
        command: list[str],
        begun_with: Mapping[str, Any] | None = None,
        adapted: Mapping[str, Any] | None = None,
        own_model: str | None = None,
    ) -> None:
        """Write config.json.

        Args:
            config: Resolved configuration.
            data: Specification of the data, as JSON.
            command: Command line of the training.
            begun_with: Record of the run or runs that this one starts from.
            adapted: Record of `zoo.sizing.adaptation.adapted`, if it chose the configuration.
            own_model: Name of a model of one's own, which was trained in place of the configuration's.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        content = {
            "config": config.to_json(),
            "data": data,
            "command": command,
            "begun_with": begun_with,
            "adapted": adapted,
            "own_model": own_model,
            "versions": versions(),
            "processor": processor(),
            "kernels": kernels(),
        }
        covered = _without(content, MOVING)
        run = sealed.digest([config.deciding(), data])
        sealed.write(self.config_file, content, covered, without=" ".join(MOVING), run=run)

    def read_metrics(self) -> dict[str, Any]:
        """Return metrics.json.

        Raises:
            UsageError: If the run has not finished, if the file is damaged or was altered, if its numbers contradict
                each other, or if config.json is another run's.
        """
        stored = self.read_config()
        if not self.metrics_file.is_file():
            raise UsageError(f"{self.path}: this run has not finished; continue it with --resume --output {self.path}")
        metrics, seal = sealed.read(self.metrics_file)
        try:
            facts = task_facts.of(stored["data"].get("task", task_facts.CLASSES))
            several = stored["data"].get("per_step", False) or facts.several_answers
            contents.check_metrics(metrics, several, facts.of_classes)
        except ValueError as error:
            raise UsageError(f"{self.metrics_file} is damaged: {error}") from None
        sealed.check(self.metrics_file, seal, metrics)
        if seal and seal.get("run") != sealed.read(self.config_file)[1].get("run"):
            raise UsageError(
                f"{self.metrics_file} and {self.config_file.name} are not of one run: what was trained, or on which"
                " data, differs"
            )
        return metrics

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, with the SHA-256 of its content, of what config.json says was trained and of history.csv.

        Args:
            metrics: Content of the file.
        """
        history = {"history": sha256(self.history_file)} if self.history_file.is_file() else {}
        run = sealed.read(self.config_file)[1].get("run", "")
        sealed.write(self.metrics_file, metrics, run=run, **history)

    def read_history(self) -> list[dict[str, str]]:
        """Return the rows of history.csv, one for each epoch; none for a run without epochs.

        Raises:
            UsageError: If the run has not finished, or if the file is damaged or was altered since it finished.
        """
        self.read_metrics()
        recorded = sealed.read(self.metrics_file)[1].get("history")
        if not self.history_file.is_file():
            if recorded:
                raise UsageError(f"{self.history_file}: expected the epochs of the run, found no such file")
            return []
        if recorded and sha256(self.history_file) != recorded:
            raise UsageError(f"{self.history_file} was altered: its SHA-256 is not the one in metrics.json")
        try:
            with self.history_file.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, strict=True))
        except (ValueError, csv.Error) as error:
            raise UsageError(f"{self.history_file} is damaged: {error}") from None
        if any(None in row or None in row.values() for row in rows):
            raise UsageError(f"{self.history_file} is damaged: a row has more or fewer values than there are columns")
        return rows

    def check_model_file(self, snapshot: int = 0) -> Path:
        """Return the path of model.keras or of a snapshot, after checking its SHA-256.

        Args:
            snapshot: Number of the snapshot, from 1; 0 for model.keras.

        Raises:
            UsageError: If the file is missing, was altered or declares more than it stores.
        """
        metrics = self.read_metrics()
        expected = metrics["snapshots"][snapshot - 1] if snapshot else metrics["model_sha256"]
        file = self.snapshot_file(snapshot) if snapshot else self.model_file
        if not file.is_file():
            raise UsageError(f"{self.path}: expected a {file.relative_to(self.path)}, found none")
        if sha256(file) != expected:
            raise UsageError(f"{file} was truncated or altered: its SHA-256 is not the one in metrics.json")
        if not passed.knows(expected):
            archive.look(file)
        return file

    def load_model(self, snapshot: int = 0) -> Any:  # a keras.Model; Keras is not imported yet
        """Load model.keras or a snapshot, after checking its SHA-256 and trying it, see `zoo.isolation.models`.

        Args:
            snapshot: Number of the snapshot, from 1; 0 for model.keras.

        Raises:
            UsageError: If the file is missing, was altered or cannot be opened safely.
        """
        file = self.check_model_file(snapshot)
        config = self.read_config()["config"]
        registry.model_class(config.model)  # registers a class that is not in zoo.models
        from zoo.introspection.freezing import freeze

        # Without the optimizer: a user's own class cannot load its state before `freeze`.
        model = models.load(file)
        if config.freeze:
            freeze(model, config.freeze)
        return model

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process, and remove it at the end if it is new and no run was started in it.

        Raises:
            UsageError: If another process holds the lock.
        """
        from filelock import FileLock, Timeout

        existed = self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"--output {self.path}: in use by another process that is training there") from None
        try:
            yield
        finally:
            lock.release()
            if not existed and not self.started:
                shutil.rmtree(self.path, ignore_errors=True)


def _without(stored: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the content of config.json without some options."""
    return {**stored, "config": {name: value for name, value in stored["config"].items() if name not in names}}


def pretrained(name: str) -> RunFolder:
    """Return the folder of a pretrained run inside the package. Nothing may be written to it.

    Args:
        name: Name of the pretrained run.

    Raises:
        UsageError: If the name is unknown, or if a file is missing or was altered.
    """
    return RunFolder(stock.checked(name))


def continued(config: TrainConfig) -> RunFolder | None:
    """Return the folder of the run that a training resumes, or None if it does not resume one.

    Args:
        config: Configuration of the training.
    """
    run = RunFolder(config.output) if config.resume and config.output else None
    return run if run and run.started else None


def _check_pretrained(name: str) -> None:
    """Raise UsageError unless a text names trained weights from elsewhere."""
    if name == "imagenet" or Path(name).is_file():
        return
    raise UsageError(f"--pretrained {name}: expected imagenet, or a .keras or .h5 file; there is no such file")


def check_beginning(config: TrainConfig, *, pretrained: bool = False) -> None:
    """Raise UsageError unless trackers and initial weights of a training are as its configuration says.

    Args:
        config: Configuration of the training.
        pretrained: Whether the model has pretrained weights.
    """
    for name in config.track or ():
        if find_spec(name) is None:
            raise UsageError(
                f"--track {name}: expected the package {name}, which is not installed; pip install"
                f" 'keras-compression-zoo[{name}]'"
            )
    if continued(config):
        return
    if config.model in registry.COMBINED and not pretrained:
        raise UsageError(
            f"--model {config.model}: expected a model to train, but this model is made from trained runs with"
            " python -m zoo.ensemble RUN RUN"
        )
    if config.model in registry.HUB_MODELS:
        registry.check_hub(f"--model {config.model}")
        pretrained = True
    if config.classifier is not None:
        check_classifier(config.classifier)
    if config.pretrained is not None:
        _check_pretrained(config.pretrained)
        pretrained = True
    if config.freeze and not (config.init_from or pretrained):
        raise UsageError(
            f"--freeze {','.join(config.freeze)}: expected together with --init-from RUN, because the frozen weights"
            " would stay random without it"
        )
    if config.unfreeze_every and not (config.init_from or pretrained):
        raise UsageError(
            f"--unfreeze-every {config.unfreeze_every}: expected together with --init-from RUN, because the frozen"
            " layers would be random without it"
        )
    if config.new_head and config.init_from is None:
        raise UsageError("--new-head: expected together with --init-from RUN; without it, every head is new")
    if config.init_from is None:
        return
    run = RunFolder(config.init_from)
    try:
        run.read_metrics()
        run.check_model_file()
    except UsageError as error:
        raise UsageError(f"--init-from: {error}") from None


def check_classifier(path: Path) -> dict[str, Any]:
    """Return the data specification of a finished classification run.

    Args:
        path: Folder of the run.

    Raises:
        UsageError: If it is not a finished classification run.
    """
    run = RunFolder(path)
    try:
        run.read_metrics()
        run.check_model_file()
    except UsageError as error:
        raise UsageError(f"--classifier: {error}") from None
    if not task_facts.of(run.task).classifies:
        raise UsageError(f"--classifier {path}: expected a classification run, received a {run.task} run")
    return run.read_config()["data"]


def default_output(config: TrainConfig) -> Path:
    """Return the first of runs/MODEL-DATA, runs/MODEL-DATA-2, ... that is free."""
    return free_folder(PARENT / f"{config.model}-{config.data_name}")


def free_folder(path: Path) -> Path:
    """Return the first of PATH, PATH-2, PATH-3, ... that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def newest_unfinished(config: TrainConfig) -> Path | None:
    """Return the most recent unfinished run of the same model and data under runs/, or None."""
    base = f"{config.model}-{config.data_name}"
    runs = [
        RunFolder(p)
        for p in PARENT.glob(f"{base}*")
        if p.name.removeprefix(base).lstrip("-").isdigit() or p.name == base
    ]
    unfinished = [run for run in runs if run.started and not run.finished]
    return max((run.path for run in unfinished), key=lambda p: p.stat().st_mtime, default=None)
