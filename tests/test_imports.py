"""The direction of imports: rooms import rooms below them, commands import everything, nothing imports a command."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("strategies", "zoo", "compression")
# Each room may import itself and the rooms before it; `zoo/data` and the others include their folders.
ORDER = (
    "strategies",
    *(f"zoo.{room}" for room in ("system", "console", "stock", "config", "introspection", "objectives", "models")),
    *(
        f"zoo.{room}"
        for room in (
            "isolation",
            "pretrained",
            "data",
            "hub",
            "runs",
            "scores",
            "reports",
            "tasks",
            "training",
            "guests",
        )
    ),
    *(
        f"zoo.{room}"
        for room in (
            "sizing",
            "sweep",
            "ensemble",
            "attack",
            "explain",
            "online",
            "demo",
            "make",
            "pipeline",
            "publish",
        )
    ),
    *(
        f"compression.{room}"
        for room in ("on_device", "recipes", "flatbuffers", "runtime", "devices", "memory", "surgery", "passes")
    ),
    *(
        f"compression.{room}"
        for room in ("exporting", "receipts", "tasks", "pipeline", "searching", "mcu", "comparison")
    ),
)
MOST_MODULES = 16
MOST_AT_THE_TOP = {"zoo": 16, "compression": 14}


def modules():
    """Return the path of every module of the three packages, by its dotted name."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


@functools.cache
def nodes(name):
    """Return all nodes of the syntax tree of a module."""
    return tuple(ast.walk(ast.parse(MODULES[name].read_text())))


@functools.cache
def imported(name):
    """Return the modules of ours that a module imports, at its top or inside a function."""
    found = set()
    for node in nodes(name):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & MODULES.keys() or {node.module}
    return found & MODULES.keys() - {name}


def room(name):
    return name if name.startswith("strategies") else ".".join(name.split(".")[:2])


def is_command(name):
    """Whether a module is typed by a user: a module at the top of a package, or the `__main__` of a room."""
    at_the_top = name.count(".") == 1 and MODULES[name].name != "__init__.py" and not name.startswith("strategies")
    return at_the_top or name.endswith(".__main__") or name in ("strategies.launch", "strategies.tpu_check")


def level(name):
    """Return the place of a module in the order of imports."""
    if name in ("zoo", "compression"):
        return -1  # they only name their version and load the public functions on demand
    return ORDER.index("strategies" if name.startswith("strategies") else room(name))


@pytest.mark.parametrize("name", [name for name in MODULES if not is_command(name) and name not in PACKAGES])
def test_rooms_import_only_what_is_below_them(name):
    for other in imported(name):
        assert not is_command(other), f"{name} imports the command {other}"
        assert level(other) <= level(name), f"{name} imports {other}"


def test_commands_are_imported_by_the_public_faces_alone():
    for name in MODULES:
        for other in imported(name):
            assert not is_command(other) or name.endswith(".api") or other.endswith(".api"), (name, other)


def test_no_module_is_part_of_a_circle_of_imports():
    remaining = {name: imported(name) for name in MODULES}
    while free := [name for name, others in remaining.items() if not others & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert not remaining, f"circles among {sorted(remaining)}"


def test_no_folder_is_a_drawer():
    for package in PACKAGES:
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")} - {ROOT / "zoo" / "models"}:
            count = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
            assert count <= MOST_AT_THE_TOP.get(folder.name, MOST_MODULES), folder
    rooms = {name for name, path in MODULES.items() if name.count(".") == 1 and path.name == "__init__.py"}
    assert rooms == set(ORDER) - {"strategies"}


def outside(folder):
    """Return, for each module of a folder, the packages that are not ours and that it imports."""
    for name, path in MODULES.items():
        if path.is_relative_to(ROOT / folder):
            names = {a.name for n in nodes(name) if isinstance(n, ast.Import) for a in n.names}
            names |= {n.module for n in nodes(name) if isinstance(n, ast.ImportFrom)}
            yield name, {module.split(".")[0] for module in names}, imported(name)


# Keras has no operator for the gradient of a function, and none for a whole step of Adam.
ENGINES = {"zoo.objectives.gradients": {"tensorflow", "jax"}, "zoo.objectives.optimizers": {"tensorflow"}}


@pytest.mark.parametrize("folder", ["zoo/models", "zoo/objectives"])
def test_models_and_objectives_import_keras_alone(folder):
    allowed = {
        "collections",
        "dataclasses",
        "importlib",
        "keras",
        "math",
        "numpy",
        "pkgutil",
        "typing",
        "warnings",
        "zoo",
    }
    for name, packages, ours in outside(folder):
        assert packages <= allowed | ENGINES.get(name, set()), name
        assert {room(other) for other in ours} <= {"zoo.models", "zoo.objectives", "zoo.introspection"}, name


def test_data_tasks_and_models_know_nothing_of_strategies():
    for folder in ("zoo/models", "zoo/data", "zoo/tasks"):
        for name, packages, _ in outside(folder):
            assert "strategies" not in packages, name


def test_every_model_file_is_in_the_registry_and_the_package():
    import zoo.models
    from zoo.config import registry

    registered = {entry.path.partition(":")[0] for entry in registry.MODELS.values()}
    combined = {entry.path.partition(":")[0] for entry in registry.COMBINED.values()}
    present = {f"zoo.models.{path.stem}" for path in (ROOT / "zoo" / "models").glob("*.py")} - {"zoo.models.__init__"}
    assert registered | combined == present
    assert all(registry.model_class(name).__name__ in zoo.models.__all__ for name in registry.MODELS)


def test_registered_names_are_not_taken_twice():
    """Keras replaces a class of the same registered name without a word, and loads models with the wrong one."""
    found = {}
    for name in MODULES:
        for node in nodes(name):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                if any("register_keras_serializable" in decorator for decorator in decorators):
                    found.setdefault(node.name, []).append(name)
    assert len(found) > 20
    assert not {name: places for name, places in found.items() if len(places) > 1}
