"""Import of Keras and its backend by commands."""

import pytest

from strategies import backend
from tests.conftest import run_module

STARTED = "import sys; from strategies import backend; backend.start(); import keras; "


def test_what_keras_only_looks_for_is_not_imported_and_can_be_afterwards(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    names = [name for name in ("sklearn", "matplotlib", "jax") if backend.installed(name)]
    code = f"print(*set({names}) & set(sys.modules)); import {', '.join(names)}; print(keras.backend.backend())"
    assert run_module("-c", STARTED + code, cwd=tmp_path, check=0).stdout.splitlines() == ["", "tensorflow"]


@pytest.mark.slow
def test_what_is_imported_already_stays(tmp_path):
    code = "import sklearn; before = sklearn; " + STARTED + "print(sys.modules['sklearn'] is before)"
    assert run_module("-c", code, cwd=tmp_path, check=0).stdout == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_imported_is_not_searched_for_garbage_and_what_comes_after_is(tmp_path, enabled):
    code = f"import gc; gc.{'enable' if enabled else 'disable'}(); " + STARTED
    code += "print(gc.isenabled(), gc.get_freeze_count() > 100_000); import weakref; C = type('C', (), {}); c = C(); "
    code += "c.itself, seen = c, weakref.ref(c); del c; gc.collect(); print(seen() is None)"
    assert run_module("-c", code, cwd=tmp_path, check=0).stdout.split() == [str(enabled), "True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["tensorflow", "jax"])
def test_the_environment_says_what_keras_runs_on(tmp_path, monkeypatch, asked):
    monkeypatch.setenv("KERAS_BACKEND", asked)
    code = STARTED + "print(keras.backend.backend(), float(keras.ops.sum(keras.ops.ones(3))))"
    assert run_module("-c", code, cwd=tmp_path, check=0).stdout == f"{asked} 3.0\n"


def test_without_tensorflow_keras_runs_on_jax(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(backend, "installed", lambda package: package != "tensorflow")
    assert backend.default_engine() == "jax"
