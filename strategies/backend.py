"""Importing Keras and its backend the way a command wants it: fast kernels, no chatter."""

import atexit
import contextlib
import gc
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator

from strategies import jax_devices

# What Keras and TensorFlow import only where they find it, for functions that nothing here calls: wrappers for
# scikit-learn, pictures of predictions, and a converter of JAX functions. They take as long as half of TensorFlow.
_OPTIONAL = ("sklearn", "matplotlib", "jax")


def start(engine: str | None = None, virtual_devices: int = 0) -> None:
    """Import Keras and its backend, with the settings of a command and without the backend's start-up chatter.

    What the import writes to standard error is shown only if it fails.

    Args:
        engine: tensorflow or jax; default, see `default_engine`.
        virtual_devices: that JAX is to see the CPU as; TensorFlow is told later, see `strategies.build`.
    """
    if engine and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = engine
    if engine == "jax" and virtual_devices:
        jax_devices.split_cpu(virtual_devices)
    # TensorFlow reads both when it is first imported. oneDNN's kernels train the zoo's convolutions at twice
    # the speed on CPUs where TensorFlow leaves them off (benchmarks/results).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" in sys.modules:
        return
    engine, asked = engine or default_engine(), os.environ.get("KERAS_BACKEND")
    with quiet(), uncollected(), _hidden(*(name for name in _OPTIONAL if name != engine)):
        os.environ["KERAS_BACKEND"] = engine
        try:
            importlib.import_module("keras")
        finally:
            if asked is None:  # or a process that this one starts would be asked
                del os.environ["KERAS_BACKEND"]
        if engine == "tensorflow":
            # The first look at the devices speaks as well.
            importlib.import_module("tensorflow").config.list_physical_devices()


def default_engine() -> str:
    """Return what Keras runs on where nothing asks for more: what KERAS_BACKEND says, TensorFlow, or JAX without it."""
    return os.environ.get("KERAS_BACKEND") or ("tensorflow" if installed("tensorflow") else "jax")


def installed(package: str) -> bool:
    """Return whether a package can be imported, without doing so."""
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Import without looking for garbage among the half a million objects that stay.

    They are not searched from here on either, nor is anything when the process ends: of `zoo.evaluate` that was a
    quarter of the time.
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
    """Let imports inside not find packages, but for those that are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what native code writes to standard error, unless what is done inside fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
