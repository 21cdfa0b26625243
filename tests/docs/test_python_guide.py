"""The code of the guide to Python and of the quickstart notebook runs as it stands there, and gives what it says."""

import re

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT, run_module


def code_of(page):
    """Return the Python blocks of a page, one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.slow
def test_the_whole_guide_runs(tmp_path):
    done = run_module("-c", code_of("docs/guides/python.md"), cwd=tmp_path, check=0, timeout=600)
    assert "largest difference from Keras" in done.stdout and "validation accuracy" in done.stdout


def test_the_guide_runs_up_to_its_own_models(tmp_path):
    code = code_of("docs/guides/python.md").partition("import keras\n")[0]
    done = run_module("-c", code, cwd=tmp_path, check=0)
    assert "test accuracy" in done.stdout and "val_accuracy" in done.stdout
    assert len(list((tmp_path / "runs" / "data").glob("arrays-*.npz"))) == 1


QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.mark.slow
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
