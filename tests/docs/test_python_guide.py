"""The code of the guide to Python and of the quickstart notebook runs as it stands there, and gives what it says."""

import re

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
