"""--track: what MLflow and Weights & Biases keep of a training, read back with their own libraries."""

import importlib.util
import json
import time

import pytest

from tests.conftest import stop_after
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.runs import folder
from zoo.training.loop import train

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")


def records(content):
    """Yield the records of a file of Weights & Biases: a log of LevelDB, in blocks of 32 KiB after 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    place, block, parts = 7, 32768, b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # no header fits into the rest of the block
            place += block - place % block
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def configured(tmp_path, **options):
    given = {"model": "simplenet", "settings": {"units": (4,)}, "epochs": 2, "batch_size": 256, **options}
    return TrainConfig(output=tmp_path / "run", **given)


@pytest.mark.slow
def test_mlflow_keeps_the_configuration_the_curves_and_the_scores(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    result = train(configured(tmp_path, track=("mlflow",)), verbose=False)
    (identifier,) = json.loads(result.run.tracking_file.read_text()).values()
    kept = mlflow.get_run(identifier)
    assert kept.info.status == "FINISHED" and kept.info.run_name == "run" and kept.data.params["model"] == '"simplenet"'
    assert kept.data.metrics["test_accuracy"] == pytest.approx(result.metrics["test"]["accuracy"])
    curve = mlflow.MlflowClient().get_metric_history(identifier, "val_accuracy")
    assert [(m.step, m.value) for m in curve] == [
        (i + 1, pytest.approx(row["val_accuracy"])) for i, row in enumerate(result.history)
    ]
    names = {file.path for file in mlflow.MlflowClient().list_artifacts(identifier)}
    assert names == {"config.json", "metrics.json", "report.html"}


@pytest.mark.slow
def test_a_resumed_training_goes_on_in_its_record(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    config = configured(tmp_path, track=("mlflow",), epochs=3)
    with pytest.raises(Interrupted):
        train(config, verbose=False, callbacks=[stop_after(6)])
    (identifier,) = json.loads((tmp_path / "run" / "tracking.json").read_text()).values()
    assert mlflow.get_run(identifier).info.status == "KILLED"
    train(configured(tmp_path, track=("mlflow",), epochs=3, resume=True), verbose=False)
    kept = mlflow.get_run(identifier)
    assert kept.info.status == "FINISHED"
    assert [m.step for m in mlflow.MlflowClient().get_metric_history(identifier, "loss")] == [1, 2, 3]


def test_weights_and_biases_keep_a_run_offline(tmp_path):
    pytest.importorskip("wandb")
    result = train(configured(tmp_path, track=("wandb",)), verbose=False)
    (identifier,) = json.loads(result.run.tracking_file.read_text()).values()
    (file,) = tmp_path.glob(f"wandb/offline-run-*/run-{identifier}.wandb")
    deadline = time.monotonic() + 60
    while not any(record.HasField("exit") for record in records(file.read_bytes())):  # another process writes it
        assert time.monotonic() < deadline, file.stat()
        time.sleep(0.1)
    rows, summary = [], {}
    for record in records(file.read_bytes()):
        rows.append({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
        summary |= {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.summary.update}
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == pytest.approx([row["loss"] for row in result.history])
    assert summary["test_accuracy"] == pytest.approx(result.metrics["test"]["accuracy"])


def test_a_tracker_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(folder, "find_spec", lambda name: None if name == "mlflow" else found(name))
    with pytest.raises(UsageError, match=r"--track mlflow: .*not installed; pip install .*\[mlflow\]"):
        train(configured(tmp_path, track=("mlflow",)), verbose=False)
    assert not (tmp_path / "run").exists()
