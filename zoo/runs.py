"""The run folder: the only thing handed from one command to the next.

Standard library only, but for `load_model`.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo import registry, stock
from zoo.config import TrainConfig
from zoo.errors import UsageError
from zoo.files import sha256, write_json
from zoo.machine import kernels, processor, versions

PARENT = Path("runs")


class RunFolder:
    """The files of one run, see the README; reading checks what it reads."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.model_file = self.path / "model.keras"
        self.metrics_file = self.path / "metrics.json"
        self.history_file = self.path / "history.csv"
        self.vocabulary_file = self.path / "vocabulary.json"
        self.target_vocabulary_file = self.path / "target_vocabulary.json"
        self.groups_file = self.path / "groups.csv"
        self.card_file = self.path / "MODEL_CARD.md"
        self.confusion_file = self.path / "confusion_matrix.csv"
        self.translations_file = self.path / "translations.tsv"
        self.samples = self.path / "samples"
        self.ranks_file = self.path / "ranks.tsv"
        self.reliability_file = self.path / "reliability.png"
        self.report_file = self.path / "report.html"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.attacks = self.path / "attack"
        self.key_file = self.path / "private.key"
        self.prequential_file = self.path / "prequential.csv"
        self.prequential_picture = self.path / "prequential.png"
        self.rejected_file = self.path / "rejected.jsonl"

    def snapshot_file(self, number: int) -> Path:
        """Return where the model as it was at the end of a cycle is, from 1."""
        return self.path / "snapshots" / f"{number}.keras"

    @property
    def started(self) -> bool:
        """Whether a run has written its configuration here."""
        return self.config_file.is_file()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.metrics_file.is_file() and self.model_file.is_file()

    def check_free(self) -> None:
        """Raise UsageError if something is in the folder already."""
        if self.path.is_dir() and any(self.path.iterdir()):
            what = "holds a run" if self.started else "is not empty"
            raise UsageError(
                f"--output {self.path}: expected a new or empty folder, this one {what}"
                + ("; continue it with --resume" if self.started and not self.finished else "")
            )
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--output {self.path}: expected a folder, received a file")

    def require(self) -> None:
        """Raise UsageError unless this is the folder of a run."""
        if not self.started:
            absent = f"no such folder{stock.hint(self.path)}"
            what = "no config.json in it" if self.path.is_dir() else absent
            raise UsageError(f"{self.path}: expected the folder of a run, found {what}")

    def read_config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            UsageError: this is not the folder of a run, or the file is damaged.
        """
        self.require()
        try:
            stored = json.loads(self.config_file.read_text(encoding="utf-8"))
            return stored | {"config": TrainConfig.from_json(stored["config"])}
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{self.config_file} is damaged: {error}") from None

    @property
    def task(self) -> str:
        """What the run learns, one of `zoo.config.Task`."""
        return self.read_config()["data"].get("task", "classification")

    def write_config(
        self,
        config: TrainConfig,
        data: Mapping[str, Any],
        command: list[str],
        begun_with: Mapping[str, Any] | None = None,
        adapted: Mapping[str, Any] | None = None,
    ) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(
            self.config_file,
            {
                "config": config.to_json(),
                "data": data,
                "command": command,
                "begun_with": begun_with,
                "adapted": adapted,
                "versions": versions(),
                "processor": processor(),
                "kernels": kernels(),
            },
        )

    def read_metrics(self) -> dict[str, Any]:
        """Return metrics.json.

        Raises:
            UsageError: the run has not finished.
        """
        self.require()
        if not self.metrics_file.is_file():
            raise UsageError(f"{self.path}: this run has not finished; continue it with --resume --output {self.path}")
        return json.loads(self.metrics_file.read_text(encoding="utf-8"))

    def check_model_file(self, snapshot: int = 0) -> Path:
        """Return model.keras, or a snapshot from 1, after checking that it is the file that the run wrote.

        Raises:
            UsageError: there is none, or it was altered.
        """
        metrics = self.read_metrics()
        expected = metrics["snapshots"][snapshot - 1] if snapshot else metrics["model_sha256"]
        file = self.snapshot_file(snapshot) if snapshot else self.model_file
        if not file.is_file():
            raise UsageError(f"{self.path}: expected a {file.relative_to(self.path)}, found none")
        if sha256(file) != expected:
            raise UsageError(f"{file} was truncated or altered: its SHA-256 is not the one in metrics.json")
        return file

    def load_model(self, snapshot: int = 0) -> Any:  # a keras.Model; Keras is not imported yet
        """Load model.keras, or a snapshot from 1, after checking that it is the file that the run wrote.

        Raises:
            UsageError: there is none, or it was altered.
        """
        file = self.check_model_file(snapshot)
        import keras

        import zoo.models
        import zoo.tasks.classification  # noqa: F401  both register the classes that a model file names
        from zoo.transfer import freeze

        # Without the optimizer, whose state a user's own class could not load before `freeze`.
        config = self.read_config()["config"]
        registry.model_class(config.model)  # may be one that is not in zoo.models
        model = keras.saving.load_model(file, compile=False)
        if config.freeze:
            freeze(model, config.freeze)
        return model

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; leave no empty folder behind when nothing was written to it.

        Raises:
            UsageError: another process trains in it.
        """
        from filelock import FileLock, Timeout

        existed = self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
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


def continued(config: TrainConfig) -> RunFolder | None:
    """Return the folder of a training that goes on, if it had begun."""
    run = RunFolder(config.output) if config.resume and config.output else None
    return run if run and run.started else None


def check_beginning(config: TrainConfig, *, pretrained: bool = False) -> None:
    """Raise UsageError unless a training can begin as it is asked to.

    Args:
        config: of the training.
        pretrained: whether the model brings weights of its own.
    """
    if continued(config):
        return
    if config.model in registry.COMBINED and not pretrained:
        raise UsageError(
            f"--model {config.model}: expected a model to train, this one is made of trained runs:"
            " python -m zoo.ensemble RUN RUN"
        )
    if config.model in registry.HUB_MODELS:
        registry.check_hub(f"--model {config.model}")
        pretrained = True
    if config.classifier is not None:
        check_classifier(config.classifier)
    if config.freeze and not (config.init_from or pretrained):
        raise UsageError(
            f"--freeze {','.join(config.freeze)}: expected with --init-from RUN, received without it: these weights"
            " would stay as random as they begin"
        )
    if config.unfreeze_every and not (config.init_from or pretrained):
        raise UsageError(
            f"--unfreeze-every {config.unfreeze_every}: expected with --init-from RUN, received without it: layers"
            " would wait while they are random"
        )
    if config.new_head and config.init_from is None:
        raise UsageError("--new-head: expected with --init-from RUN, received without it: every head is new then")
    if config.init_from is None:
        return
    run = RunFolder(config.init_from)
    try:
        run.read_metrics()
        run.check_model_file()
    except UsageError as error:
        raise UsageError(f"--init-from: {error}") from None


def check_classifier(path: Path) -> dict[str, Any]:
    """Return the form of the data of a finished run that gives classes.

    Raises:
        UsageError: it is none.
    """
    run = RunFolder(path)
    try:
        run.read_metrics()
        run.check_model_file()
    except UsageError as error:
        raise UsageError(f"--classifier: {error}") from None
    if run.task != "classification":
        raise UsageError(f"--classifier {path}: expected a run that gives classes, this one is for {run.task}")
    return run.read_config()["data"]


def default_output(config: TrainConfig) -> Path:
    """Return the first of runs/MODEL-DATA, runs/MODEL-DATA-2, ... that is free."""
    base = PARENT / f"{config.model}-{config.data_name}"
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def newest_unfinished(config: TrainConfig) -> Path | None:
    """Return the unfinished run of the same model and data that was written last under runs/."""
    base = f"{config.model}-{config.data_name}"
    runs = [
        RunFolder(p)
        for p in PARENT.glob(f"{base}*")
        if p.name.removeprefix(base).lstrip("-").isdigit() or p.name == base
    ]
    unfinished = [run for run in runs if run.started and not run.finished]
    return max((run.path for run in unfinished), key=lambda p: p.stat().st_mtime, default=None)
