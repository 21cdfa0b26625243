"""Opening model files that may come from elsewhere: looked at, tried in a child process with limits, then opened."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from zoo.console.errors import Failed, UsageError
from zoo.isolation import archive, passed
from zoo.system.files import sha256

# Memory that opening may take beyond Keras and its backend: the zip member, the arrays read from it, initial values
# and final ones are each as large as the weights.
TIMES_THE_WEIGHTS = 8
FURTHER_BYTES = 2 << 30
# Limit of time: what an import of Keras can take on a busy machine, and shares for the weights and for the layers.
SECONDS = 120.0
SECONDS_PER_WEIGHTS_GB = 60.0
SECONDS_PER_CONFIG_MB = 60.0
# Weights that a configuration may describe beside one for each stored byte.
FURTHER_WEIGHTS = 1 << 20
# Memory of threads would count towards the limit, and opening gains nothing by them.
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def memory_bytes(declared: archive.ModelArchive) -> int:
    """Return the memory that opening a file may take beyond the imports, in bytes: 8 times its weights and 2 GiB.

    Args:
        declared: What the file declares.
    """
    return TIMES_THE_WEIGHTS * declared.weights_bytes + FURTHER_BYTES


def seconds(declared: archive.ModelArchive) -> float:
    """Return the time that opening a file may take: 120 s, 60 s per GB of weights and 60 s per MB of configuration.

    Args:
        declared: What the file declares.
    """
    weights, config = declared.weights_bytes / 1e9, declared.config_bytes / 1e6
    return SECONDS + SECONDS_PER_WEIGHTS_GB * weights + SECONDS_PER_CONFIG_MB * config


def check(file: Path) -> None:
    """Raise UsageError unless a .keras file can be opened safely.

    A file that a training of this user wrote, that passed before or that is shipped with the package is not tried.

    Args:
        file: Path of the file.
    """
    digest = sha256(file)
    if not passed.knows(digest):
        _try(file, weights_only=False)
        passed.remember(digest)


def check_weights(file: Path) -> None:
    """Raise UsageError unless the weights in a .keras file can be read safely; its configuration is not used.

    Args:
        file: Path of the file.
    """
    digest = sha256(file)
    if not (passed.knows(digest) or passed.knows(f"{digest}-weights")):
        _try(file, weights_only=True)
        passed.remember(f"{digest}-weights")


def _try(file: Path, *, weights_only: bool) -> None:
    """Look at a file and open it in a child process; raise UsageError with the reason if it is refused."""
    from zoo.isolation import child  # its imports would make every --help slower

    declared = archive.look(file)
    modules, missing = _registered_in(declared.classes)
    room = memory_bytes(declared)
    job = {
        "file": file.absolute(),
        "modules": modules,
        "build": not (weights_only or missing),
        "most": declared.weights_bytes + FURTHER_WEIGHTS,
        "room": room,
    }
    limits = {"seconds": seconds(declared), "memory_bytes": room, "once": True, "environment": _environment()}
    try:
        refused = child.run("zoo.isolation.trial", job, **limits)
    except child.Ended as error:
        refused = f"opening it in a process of its own {error}"
    except Failed as error:
        refused = f"it cannot be opened: {error}"
    if refused:
        raise UsageError(f"{file}: expected a model file that opens within its limits; {refused}")


def load(file: Path) -> Any:  # a keras.Model; Keras is not imported yet
    """Check a .keras file as `check` does, and return its model without an optimizer.

    Args:
        file: Path of the file.

    Raises:
        UsageError: The file is damaged, or cannot be opened safely.
    """
    check(file)
    import keras

    import zoo.models  # noqa: F401  registers the classes that a model file names

    return keras.saving.load_model(file, compile=False, safe_mode=True)


def loaded(path: Path) -> Any:  # a keras.Model; Keras is not imported yet
    """Load a .keras or .h5 file, after checking it, with its compiled loss if it has one that can be loaded.

    Args:
        path: Path of the file.

    Raises:
        UsageError: The file cannot be opened safely, or Keras cannot load it.
    """
    if path.suffix == ".keras":
        check(path)
    import keras

    import zoo.models  # noqa: F401  registers the classes that a model file may name
    from zoo.introspection.naming import fresh_names

    options = {"safe_mode": True}
    if path.suffix == ".h5":
        from zoo.isolation import keras_2

        keras_2.look(path)
        options["custom_objects"] = keras_2.of_keras_2()
    with fresh_names():
        try:
            return keras.saving.load_model(path, **options)
        except Exception:
            try:  # the loss or the metrics may be of a class that is not there
                return keras.saving.load_model(path, compile=False, **options)
            except Exception as error:
                raise UsageError(
                    f"{path}: expected a model that Keras {keras.__version__} loads:"
                    f" {' '.join(str(error).split())[:300]}"
                ) from None


def _registered_in(names: frozenset[str]) -> tuple[list[str], bool]:
    """Return the modules of this process that register classes of a file, and whether one cannot be imported again."""
    if "keras" not in sys.modules:
        return [], False
    import keras

    known = keras.saving.get_custom_objects()
    modules = {getattr(known[name], "__module__", "__main__") for name in names & known.keys()}
    again = {name for name in modules if name != "__main__" and importlib.util.find_spec(name) is not None}
    return sorted(again), again != modules


def _environment() -> dict[str, str]:
    """Return the environment of a trial: the engine of this process, and one thread."""
    if "keras" not in sys.modules:
        return _ONE_THREAD
    import keras

    return _ONE_THREAD | {"KERAS_BACKEND": keras.backend.backend()}
