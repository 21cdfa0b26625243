"""Importing Keras and its backend the way a command wants it: fast kernels, no chatter."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator

from strategies import jax_devices


def start(engine: str | None = None, virtual_devices: int = 0) -> None:
    """Import Keras and its backend, with the settings of a command and without the backend's start-up chatter.

    What the import writes to standard error is shown only if it fails.

    Args:
        engine: tensorflow or jax; default, what KERAS_BACKEND says.
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
    with quiet():
        importlib.import_module("keras")
        if importlib.import_module("keras").backend.backend() == "tensorflow":
            # The first look at the devices speaks as well.
            importlib.import_module("tensorflow").config.list_physical_devices()


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
