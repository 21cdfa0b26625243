"""What every test shares: two CPU devices in one process, a private cache, small data made on the spot."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from strategies import backend

# Before the conftest.py of a folder imports Keras: in this process TensorFlow must have the kernels of the commands.
backend.start()
ROOT = Path(__file__).parent.parent
# Real sets for the tests that need them; skipped with a reason where the folder is absent.
DATA_DIR = Path(os.environ.get("ZOO_TEST_DATA", ROOT.parent / "shared" / "data" / "tensorflow_datasets"))


def pytest_configure(config):
    from zoo.system import temporary

    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # nohup ignores it, and children would inherit that; a handler of ours is not inherited.
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    temporary.sweep_system()
    import tensorflow as tf

    # Once, before any test touches TensorFlow: the number of devices cannot change afterwards.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory):
    """One cache for tests and fixtures of modules: a model that a fixture trained is known, and not tried again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(autouse=True)
def _private_temporary_folder(tmp_path_factory, monkeypatch):
    # A command would tell what processes that other tests killed have left in the system's folder.
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))


@pytest.fixture(scope="session")
def mirrored():
    """One MirroredStrategy on two CPU devices, shared: several in a process starve each other of threads."""
    import strategies

    return strategies.build("mirrored", 2)


@pytest.fixture
def data_dir():
    """The folder of real, prepared TFDS sets."""
    if not DATA_DIR.is_dir():
        pytest.skip(f"no prepared TFDS sets in {DATA_DIR}; set ZOO_TEST_DATA to a folder that has them")
    return DATA_DIR


def blobs(count, shape, classes=3, seed=0):
    """Return uint8 images or float features whose class is the brightest of `classes` bands of the first axis."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = rng.uniform(0, 0.4, (count, *shape))
    for i, label in enumerate(y):
        band = np.array_split(np.arange(shape[0]), classes)[label]
        x[i, band] += 0.5
    return x, y.astype("int32")


@pytest.fixture
def image_npz(tmp_path):
    """An .npz of 120 grey 20x20 images in 3 classes that any model learns at once."""
    x, y = blobs(120, (20, 20))
    path = tmp_path / "blobs.npz"
    np.savez(path, x=(x * 255).astype("uint8"), y=y)
    return path


def unsealed(folder, name):
    """Return what a JSON file of a run holds, and remove the hashes of its files, so that a test can change them."""
    found = {}
    for file in (folder / "config.json", folder / "metrics.json"):
        if file.is_file():
            found[file.name] = json.loads(file.read_text())
            found[file.name].pop("sha256", None)
            file.write_text(json.dumps(found[file.name]))
    return found[name]


def run_module(*words, cwd, check=None, timeout=250, **options):
    """Run `python -m ...` in a child process, as a user would."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *(() if words[0] == "-c" else ("-m",)), *map(str, words)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


def stop_after(steps):
    """Return a callback that ends a run after some steps, as a signal does, when the snapshot is written."""
    import keras

    from zoo.console.errors import Interrupted

    class Stop(keras.callbacks.Callback):
        left = steps

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if not self.left:
                raise Interrupted("here")

    return Stop()


def wait_for_step(folder, step, child):
    """Wait until a training in a child process has written a checkpoint at or after this step."""
    from zoo.runs import checkpoints

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        listed = checkpoints.listed(folder / "checkpoints")
        if listed and int(listed[-1].name.split("-")[1]) >= step:
            return
        time.sleep(0.002)
    raise AssertionError(f"no checkpoint at step {step}: {child.communicate()[1]}")


def is_gone(pid, seconds):
    """Whether a process ends within this time; one that nobody has waited for counts as ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def offset_of(before, after, most):
    """Return by how much an image was moved, (rows, columns) from 0 to twice `most`; it must be moved by one way."""
    height, width = before.shape[:2]
    padded = np.pad(before, ((most, most), (most, most), (0, 0)))
    places = [(i, j) for i in range(2 * most + 1) for j in range(2 * most + 1)]
    (found,) = [(i, j) for i, j in places if np.array_equal(after, padded[i : i + height, j : j + width])]
    return found
