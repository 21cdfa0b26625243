"""Import of Keras and its backend for a command: fast kernels, short start-up, no log messages."""

import atexit
import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from strategies import jax_devices, limits

# Optional imports of Keras and TensorFlow for functions not used here: scikit-learn wrappers, plots of predictions and
# a converter of JAX functions. Importing them takes half as long as importing TensorFlow.
_OPTIONAL = ("sklearn", "matplotlib", "jax")


def start(engine: str | None = None, virtual_devices: int = 0) -> None:
    """Import Keras and its backend with the settings of a command, without the backend's log messages.

    What the import writes to standard error is shown only if it fails.

    Args:
        engine: Keras backend, "tensorflow" or "jax". By default, that of `default_engine`.
        virtual_devices: Number of devices JAX divides the CPU into. TensorFlow divides it later, in `strategies.build`.

    Raises:
        StrategyError: A limit of this process is too low for TensorFlow.
    """
    if engine and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = engine
    if engine == "jax" and virtual_devices:
        jax_devices.split_cpu(virtual_devices)
    if "keras" in sys.modules:  # a process that imported it itself keeps its own settings
        return
    engine, asked = engine or default_engine(), os.environ.get("KERAS_BACKEND")
    if engine == "tensorflow":
        limits.check()
    # TensorFlow reads both variables when it is first imported. oneDNN kernels train the zoo's convolutions twice as
    # fast on CPUs where TensorFlow disables them by default (benchmarks/results).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with quiet(), uncollected(), _hidden(*(name for name in _OPTIONAL if name != engine)):
        os.environ["KERAS_BACKEND"] = engine
        try:
            importlib.import_module("keras")
        finally:
            if asked is None:  # child processes must not inherit this choice
                del os.environ["KERAS_BACKEND"]
        if engine == "tensorflow":
            # A function that is traced for several sets is no mistake of the user's.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
            # Listing the devices for the first time writes log messages, too.
            importlib.import_module("tensorflow").config.list_physical_devices()


def default_engine() -> str:
    """Return the default backend: that of KERAS_BACKEND, otherwise TensorFlow if installed, otherwise JAX."""
    return os.environ.get("KERAS_BACKEND") or ("tensorflow" if installed("tensorflow") else "jax")


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Exclude the objects created inside from garbage collection.

    Imports create half a million permanent objects. They are frozen, so that later collections skip them, and all
    objects are frozen before the process exits. Collecting them took a quarter of the time of `zoo.evaluate`.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.freeze)
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Hide packages from imports inside, except those that are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress standard error, including that of native code, unless an exception is raised inside."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            with contextlib.suppress(OSError):  # a closed or full standard error must not replace the exception
                os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
