"""Importing Keras and its backend the way a command wants it: fast kernels, no chatter."""

import importlib
import os
import sys
import tempfile


def start() -> None:
    """Import Keras and its backend, with the settings of a command and without the backend's start-up chatter.

    What the import writes to standard error is shown only if it fails.
    """
    # TensorFlow reads both when it is first imported. oneDNN's kernels train the zoo's convolutions at twice
    # the speed on CPUs where TensorFlow leaves them off (benchmarks/results).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            importlib.import_module("keras")
            if importlib.import_module("keras").backend.backend() == "tensorflow":
                # The first look at the devices speaks as well.
                importlib.import_module("tensorflow").config.list_physical_devices()
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
