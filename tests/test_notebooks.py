"""The notebook is executed from a clean kernel, and its commands on a host without TensorFlow."""

import json

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT, run_module

NOTEBOOK = ROOT / "notebooks" / "colab_tpu.ipynb"
# Runs a module in a process that cannot import TensorFlow.
HIDDEN = """
import runpy, sys
sys.modules["tensorflow"] = None
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def cells():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.slow
def test_it_runs_from_a_clean_kernel(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = nbclient.NotebookClient(
        cells, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [out for cell in cells.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") for out in outputs)
    assert "--strategy none" in text
    shown = json.loads((tmp_path / "runs/digits/metrics.json").read_text())["test"]["accuracy"]
    assert f"test accuracy {shown:.2%} of 360 examples" in text and shown > 0.9
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert (tmp_path / "runs/digits/artifacts/int8.tflite").is_file()
    assert "Traceback" not in text


def test_it_is_stored_without_outputs(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in cells.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_a_host_without_tensorflow_says_what_can_train_there(tmp_path):
    done = run_module("-c", HIDDEN, "strategies", "--json", cwd=tmp_path, check=0)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert [name for name, row in rows.items() if row["available"]] == [
        "none", "one_device", "data_parallel", "model_parallel"
    ]  # fmt: skip
    assert rows["mirrored"]["reason"] == "TensorFlow is not installed; data_parallel is the counterpart on JAX"


@pytest.mark.slow
def test_a_host_without_tensorflow_trains(tmp_path):
    """The run that it leaves opens on TensorFlow."""
    words = ("zoo.train", "--model", "simplenet", "--epochs", "2", "--output", "run")
    run_module("-c", HIDDEN, *words, cwd=tmp_path, check=0)
    assert not (tmp_path / "run" / "tensorboard").exists()
    from zoo.runs.folder import RunFolder

    assert RunFolder(tmp_path / "run").load_model().count_params() > 0
