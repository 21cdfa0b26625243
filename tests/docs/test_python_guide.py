"""The code of guides in Python and of the quickstart notebook runs as it stands there, and gives what it says."""

import re

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT, run_module

pytestmark = pytest.mark.slow


def code_of(page):
    """Return the Python blocks of a page, one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))


def test_the_whole_guide_runs(tmp_path):
    done = run_module("-c", code_of("docs/guides/python.md"), cwd=tmp_path, check=0, timeout=600)
    assert "largest difference from Keras" in done.stdout and "validation accuracy" in done.stdout


def test_the_guide_runs_up_to_its_own_models(tmp_path):
    code = code_of("docs/guides/python.md").partition("import keras\n")[0]
    done = run_module("-c", code, cwd=tmp_path, check=0)
    assert "test accuracy" in done.stdout and "val_accuracy" in done.stdout
    assert len(list((tmp_path / "runs" / "data").glob("arrays-*.npz"))) == 1


def test_the_guide_to_own_models_runs(tmp_path):
    done = run_module("-c", code_of("docs/guides/own_models.md"), cwd=tmp_path, check=0)
    assert "test accuracy" in done.stdout and "largest difference from Keras" in done.stdout


@pytest.mark.timeout(900)
def test_each_guide_of_tfmot_has_its_recipe_here(tmp_path):
    done = run_module("-c", code_of("docs/guides/from_tfmot.md"), cwd=tmp_path, check=0, timeout=800)
    row = r"^(\S+) +([\d.]+)%, [\d,]+ bytes, gzip ([\d,]+), zeros (\d+)%, at most (\d+) values a tensor$"
    rows = {name: [float(text.replace(",", "")) for text in rest] for name, *rest in re.findall(row, done.stdout, re.M)}
    assert set(rows) == {"int8", "prune", "2:4", "cluster", "qat", "PQAT", "CQAT", "PCQAT"}
    assert all(accuracy > 85 for accuracy, *_ in rows.values())
    assert all(rows[name][2] >= 50 for name in ("prune", "PQAT", "PCQAT")) and rows["2:4"][2] >= 45
    assert rows["cluster"][3] <= 16 and rows["CQAT"][3] <= 8 and rows["PCQAT"][3] <= 8
    assert all(rows[name][1] < rows["int8"][1] for name in ("prune", "2:4", "cluster", "PQAT", "CQAT", "PCQAT"))
    assert re.search(r"^int4 [\d.]+%, trained for it [\d.]+%$", done.stdout, re.M)


OTHERS = """
import keras
from keras import layers
model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.sparsity.keras import prune_registry
assert not prune_registry.PruneRegistry._LAYERS_WEIGHTS_MAP[prune_registry.layers.DepthwiseConv2D]
for refuses in (tfmot.sparsity.keras.prune_low_magnitude, tfmot.quantization.keras.quantize_model):
    try:
        refuses(model)
    except ValueError:
        print("refused")
assert tfmot.clustering.keras.cluster_weights(model, 8) is None
model.quantize("int8")
print([layer.dtype_policy.name for layer in model.layers])
try:
    tf.lite.TFLiteConverter.from_keras_model(model).convert()
except Exception as error:
    print(type(error).__name__)
"""


def test_what_the_guide_says_of_other_packages_is_true(tmp_path):
    done = run_module("-c", OTHERS, cwd=tmp_path, check=0)
    assert done.stdout.count("refused") == 2
    assert "['float32', 'float32', 'int8_from_float32']" in done.stdout  # the convolution stays
    assert "ConverterError" in done.stdout


QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"


def test_the_quickstart_notebook_runs_from_a_clean_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(QUICKSTART, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")  # stored without outputs
    resources = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(notebook, timeout=280, kernel_name="python3", resources=resources).execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    pages = [out["data"].get("text/html", "") for out in outputs if "data" in out]
    assert sum("<table>" in page for page in pages) == 5  # the run, predictions, the file, its verification, its bytes
    assert any("image/png" in out.get("data", {}) for out in outputs)
