"""A child process that opens a .keras file under limits, before the process that needs the model does."""

import importlib
import json
import math
import re
import warnings
import zipfile
from typing import Any

from strategies import backend
from zoo.isolation import hdf5
from zoo.isolation.archive import CONFIG, WEIGHTS

# Groups of stored weights that a model without its optimizer does not take.
_NOT_OF_THE_MODEL = ("optimizer", "metric", "loss", "compile")
_UNKNOWN = re.compile(r"Could not locate (?:class|function) '([^']{1,80})'")
MOST_CHARACTERS = 300


def preload() -> None:
    """Import Keras, whose memory does not count towards the limit of a job."""
    backend.start()
    import keras  # noqa: F401

    import zoo.models  # noqa: F401  registers the classes that a model file names


def work(job: dict[str, Any]) -> str:
    """Open a file; return why it is refused, as the end of a sentence, or an empty text.

    Args:
        job: file; modules, which register further classes; build, whether the model is built as well as looked at;
            most, the number of weights that the configuration may describe; room, the bytes that opening may take.
    """
    with zipfile.ZipFile(job["file"]) as archive:
        name = next(name for name in WEIGHTS if name in archive.namelist())
        try:
            stored = _stored(archive, name) if name.endswith(".h5") else None
        except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, KeyError) as error:
            return f"its {name} cannot be read: {_said(error)}"
        if isinstance(stored, str):
            return stored
        config = archive.read(CONFIG).decode()
    if not job["build"]:
        return ""
    for module in job["modules"]:
        importlib.import_module(module)
    try:
        if (described := _described(config)) > job["most"]:
            return f"its configuration describes {described:,} weights, and the file has room for {job['most']:,}"
        return _opened(job["file"], stored)
    except MemoryError:
        return f"opening it takes more than {job['room'] / 1e9:.1f} GB of memory"


def _stored(archive: zipfile.ZipFile, name: str) -> int | str:
    """Return the number of values that a file of weights holds for the model, or why it is refused."""
    import h5py

    with archive.open(name) as member, h5py.File(member, "r") as file:
        if reason := hdf5.refusal(file):
            return f"in its {name}, {reason}"
        own = (
            d for path, d in hdf5.datasets(file) if not any(w in p for p in path.split("/") for w in _NOT_OF_THE_MODEL)
        )
        return sum(math.prod(dataset.shape) for dataset in own)


def _described(config: str) -> int:
    """Return the number of weights that a configuration describes, without making them; 0 if that is unknown."""
    import keras

    described = json.loads(config) | {"compile_config": None}
    try:
        # In this scope variables have a shape and no value.
        with warnings.catch_warnings(), keras.StatelessScope(initialize_variables=False):
            warnings.simplefilter("ignore")
            model = keras.saving.deserialize_keras_object(described, safe_mode=True)
        return _count(model)
    except Exception:  # a layer that needs its values; the limit of memory holds for it
        return 0


def _opened(file: str, stored: int | None) -> str:
    """Open a model as `keras.saving.load_model` does; return why it is refused, or an empty text."""
    import keras

    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras, its backend and a class of somebody else's raise many types
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # the latter: TensorFlow
            raise MemoryError from None
        if unknown := _UNKNOWN.search(str(error)):
            return f"it names the class {unknown[1]!r}, which no module that this program imports has registered"
        return f"it cannot be opened: {_said(error)}"
    # Keras goes on when building fails, with the layers that were built before: the others would be lost silently.
    unbuilt = any("cannot be built automatically" in str(warning.message) for warning in said)
    if unbuilt and stored is not None and (taken := _count(model)) < stored:
        return f"its configuration describes {taken:,} weights, of the {stored:,} that it holds"
    return ""


def _count(model: Any) -> int:
    return sum(math.prod(variable.shape) for variable in model.variables)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:MOST_CHARACTERS] or type(error).__name__
