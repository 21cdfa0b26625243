"""The direction of imports: strategies know nothing of the zoo, models know nothing but Keras."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo", "strategies", "compression", "benchmarks", "tests")
MAY_IMPORT = {
    "strategies": {"strategies"},
    "zoo": {"zoo", "strategies"},
    "compression": {"compression", "strategies", "zoo"},
    "benchmarks": {"benchmarks", "compression", "strategies", "zoo"},
}
# Commands, which nothing imports: one turns a name of the zoo into a model, one shows what compression made.
EXCEPTIONS = {"strategies/tpu_check.py": {"zoo"}, "zoo/demo.py": {"compression"}}


# What several models are made of, and models that no task trains yet.
NOT_REGISTERED = {
    f"zoo.models.{name}"
    for name in (
        *("__init__", "attention", "base", "blocks", "layers", "losses", "metrics", "normalization"),
        *("optimizers", "pair_loss", "schedules", "scorers"),
        *("discriminator", "generator", "gradients"),  # parts of a GAN
        "attack",  # around a model while it is trained
        "ensemble",  # of trained models
        "private",  # around a model while it is trained
    )
}
# Keras has no operator for the gradient of a function, and none for a whole step of Adam.
ENGINES = {"zoo/models/gradients.py": {"tensorflow", "jax"}, "zoo/models/optimizers.py": {"tensorflow"}}


def imported(path):
    """Return every module that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def files(package):
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_in_one_direction(package):
    for path in files(package):
        ours = {name.split(".")[0] for name in imported(path)} & set(PACKAGES)
        assert ours <= MAY_IMPORT[package] | EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), set()), path


@pytest.mark.parametrize("folder", ["zoo/models", "zoo/tasks", "zoo/data"])
def test_training_alone_brings_strategies_to_models_tasks_and_data(folder):
    for path in files(folder):
        assert not {name for name in imported(path) if name.split(".")[0] == "strategies"}, path


def test_models_import_keras_alone():
    for path in files("zoo/models"):
        outside = {name for name in imported(path) if not name.startswith("zoo.models")}
        allowed = {"collections", "keras", "math", "numpy", "typing"} | ENGINES.get(
            path.relative_to(ROOT).as_posix(), set()
        )
        assert {name.split(".")[0] for name in outside} <= allowed, path


def test_every_model_file_is_in_the_registry_and_the_package():
    import zoo.models
    from zoo.config import registry

    registered = {entry.path.partition(":")[0] for entry in registry.MODELS.values()}
    present = {f"zoo.models.{path.stem}" for path in files("zoo/models")} - NOT_REGISTERED
    assert registered == present
    assert all(registry.model_class(name).__name__ in zoo.models.__all__ for name in registry.MODELS)
