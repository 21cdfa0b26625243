"""Records of a training in MLflow or Weights & Biases (`--track`), beside its run folder.

What is recorded: the configuration, the scores of each epoch, the final scores, and the files that describe the run. A
training that is resumed goes on in the same record, whose identifier the run folder keeps.
"""

import abc
import contextlib
import importlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from strategies import collective
from zoo.config.train_config import TrainConfig
from zoo.console.documents import from_json
from zoo.runs.folder import RunFolder
from zoo.system.files import write_json
from zoo.training.capabilities.base import Capability, Training


class Record(abc.ABC):
    """One record in a tracker.

    Args:
        run: Run folder, after which the record is named.
        identifier: Identifier of the record to go on with; None starts one.
        options: Configuration by name.
    """

    identifier: str

    @abc.abstractmethod
    def __init__(self, run: RunFolder, identifier: str | None, options: Mapping[str, Any]) -> None: ...

    @abc.abstractmethod
    def epoch(self, scores: Mapping[str, float], epoch: int) -> None:
        """Record the scores of an epoch, counted from 1."""

    @abc.abstractmethod
    def finish(self, scores: Mapping[str, float], run: RunFolder) -> None:
        """Record the final scores and the files of the run, and close the record."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Close the record of a training that did not finish."""


class MLflow(Record):
    """A run of MLflow, at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, run: RunFolder, identifier: str | None, options: Mapping[str, Any]) -> None:
        self.module = importlib.import_module("mlflow")
        named = {"run_id": identifier} if identifier else {"run_name": run.path.name}
        self.identifier = self.module.start_run(**named).info.run_id
        if identifier is None:
            self.module.log_params(options)

    def epoch(self, scores: Mapping[str, float], epoch: int) -> None:
        self.module.log_metrics(dict(scores), step=epoch)

    def finish(self, scores: Mapping[str, float], run: RunFolder) -> None:
        self.module.log_metrics(dict(scores))
        for path in (run.config_file, run.metrics_file, run.report_file):
            self.module.log_artifact(str(path))
        self.module.end_run()

    def stop(self) -> None:
        self.module.end_run("KILLED")


class WeightsAndBiases(Record):
    """A run of Weights & Biases, in the project WANDB_PROJECT; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, run: RunFolder, identifier: str | None, options: Mapping[str, Any]) -> None:
        self.identifier = identifier or uuid.uuid4().hex[:8]
        self.record = importlib.import_module("wandb").init(
            id=self.identifier, name=run.path.name, resume="allow", config=dict(options)
        )

    def epoch(self, scores: Mapping[str, float], epoch: int) -> None:
        self.record.log(dict(scores) | {"epoch": epoch})

    def finish(self, scores: Mapping[str, float], run: RunFolder) -> None:
        self.record.summary.update(dict(scores))
        for path in (run.config_file, run.metrics_file, run.report_file):
            self.record.save(str(path), base_path=str(run.path), policy="now")
        self.record.finish()

    def stop(self) -> None:
        self.record.finish(exit_code=1)


TRACKERS: dict[str, type[Record]] = {"mlflow": MLflow, "wandb": WeightsAndBiases}


class Tracking(Capability):
    """Record a training in trackers."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return bool(config.track)

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self.records: list[Record] = []

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        try:
            yield
        finally:
            for record in self.records:  # none if the training has finished
                record.stop()

    def started(self) -> None:
        training, run = self.training, self.training.run
        if collective.worker(training.strategy):  # the chief records
            return
        file = run.tracking_file
        known = from_json(file.read_bytes(), str(file)) if training.config.resume and file.exists() else {}
        options = {name: json.dumps(value, default=str) for name, value in training.config.to_json().items()}
        for name in training.config.track:
            self.records.append(TRACKERS[name](run, known.get(name), options))
            known[name] = self.records[-1].identifier
        write_json(file, known)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        return [keras.callbacks.LambdaCallback(on_epoch_end=self._record)]

    def _record(self, epoch: int, logs: Mapping[str, Any]) -> None:
        for record in self.records:
            record.epoch(numbers(self.training.memory.history[epoch]), epoch + 1)

    def finished(self, metrics: Mapping[str, Any]) -> None:
        scores = {f"test_{name}": value for name, value in numbers(metrics.get("test", {})).items()}
        while self.records:
            self.records.pop().finish(scores, self.training.run)


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the entries that are numbers."""
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
