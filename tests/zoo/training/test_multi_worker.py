"""Training in two processes over gRPC, started by strategies.launch, equals one process, also after a kill."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, blobs, run_module, wait_for_step
from tests.zoo.training.workers_child import COMPRESSION, MODELS
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder

pytestmark = pytest.mark.timeout(600)  # two processes that each import TensorFlow and trace every model
LAUNCH = ("strategies.launch", "--workers", "2")
FEW = ("simplenet",)
MORE = tuple(name for name in MODELS if name not in FEW)  # two processes on two cores trace a model for 20 seconds


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders with the results of one process and of two workers for some models."""
    return by_strategy(tmp_path_factory, FEW)


@pytest.fixture(scope="module")
def more_trained(tmp_path_factory):
    return by_strategy(tmp_path_factory, (*FEW, *MORE, COMPRESSION))


def by_strategy(tmp_path_factory, names):
    folders = {}
    for strategy, before in (("none", ()), ("multi_worker", (*LAUNCH, "--", "python", "-m"))):
        folders[strategy] = tmp_path_factory.mktemp(strategy)
        words = (*before, "tests.zoo.training.workers_child", strategy, folders[strategy], *names)
        run_module(*words, cwd=ROOT, check=0, timeout=500)
    return folders


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_two_workers_equal_one_process(name, request):
    """Compare weights, metrics of every epoch, validation and test with uneven last batches, and predictions."""
    trained = request.getfixturevalue("trained" if name in FEW else "more_trained")
    one, two = (np.load(trained[strategy] / f"{name}.npz") for strategy in ("none", "multi_worker"))
    assert set(one.files) == set(two.files)
    tolerance = 1e-11 if MODELS[name][1] == "float64" else 1e-5
    for key in one.files:
        np.testing.assert_allclose(two[key], one[key], rtol=0, atol=tolerance, err_msg=key)
    changes = "loss" if name == "gan_dense" else "accuracy"
    assert one[f"1 {changes}"] != one[f"0 {changes}"]


@pytest.mark.slow
def test_workers_give_the_same_bits_in_executions_and_step_by_step(more_trained):
    names = ("simplenet", "simplenet, step by step")
    several, single = (np.load(more_trained["multi_worker"] / f"{name}.npz") for name in names)
    for ours, theirs in zip(several.files, single.files, strict=True):  # names of layers are counted in a process
        np.testing.assert_array_equal(several[ours], single[theirs], err_msg=ours)


@pytest.mark.slow
def test_compression_gives_the_same_masks_weights_and_ranges(more_trained):
    one, two = (np.load(more_trained[strategy] / "compressed.npz") for strategy in ("none", "multi_worker"))
    for key in one.files:
        np.testing.assert_array_equal(one[key] == 0, two[key] == 0)
        np.testing.assert_allclose(one[key], two[key], rtol=0, atol=1e-5, err_msg=key)
    zeros = [int((one[key] == 0).sum()) for key in one.files if one[key].ndim > 1 and key != "ranges"]
    assert zeros == [round(one[key].size * 0.5) for key in one.files if one[key].ndim > 1 and key != "ranges"]


def test_only_the_chief_writes_and_the_model_is_restored(trained):
    for name in FEW:
        one, two = (trained[strategy] / name for strategy in ("none", "multi_worker"))
        assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
        assert len(list((two / "tensorboard").rglob("events*"))) == len(list((one / "tensorboard").rglob("events*")))
    stored = RunFolder(trained["multi_worker"] / "simplenet").read_config()["config"]  # outside of any cluster
    assert stored.strategy == "multi_worker"


@pytest.mark.slow
def test_a_saved_model_normalises_by_itself(more_trained):
    import keras

    import zoo.models  # noqa: F401

    model = keras.saving.load_model(more_trained["multi_worker"] / "cnn, normalised" / "model.keras")
    assert not model.norms[0].synchronized


@pytest.fixture
def words(tmp_path):
    """A deterministic training command of 6 epochs of 9 steps, with random and hidden state."""
    x, y = blobs(204, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    settings = [
        w for s in ("filters=4,4", "pools=1", "units=8", "dropout=0.3", "batch_norm=true") for w in ("--set", s)
    ]
    return ["zoo.train", "--model", "cnn", "--data", tmp_path / "blobs.npz", "--epochs", "6", "--batch-size", "16",
            "--augment", "standard + mixup",
            "--deterministic", "--checkpoint-every", "2", "--strategy", "multi_worker", *settings]  # fmt: skip


@pytest.fixture
def undisturbed(words, tmp_path):
    run_module(*LAUNCH, "--", "python", "-m", *words, "--output", tmp_path / "whole", cwd=tmp_path, check=0)
    return tmp_path / "whole"


def start(words, cwd, restarts=1):
    """Start a launcher; return it and the process of each worker."""
    command = [*LAUNCH, "--restarts", restarts, "--", sys.executable, "-m", *words]
    child = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [child.stderr.readline() for _ in range(2)]
    return child, [int(re.search(r"is process (\d+)", line)[1]) for line in lines]


def assert_same_run(folder, whole):
    ours, theirs = (checkpoints.newest(f / "checkpoints")[0] for f in (folder, whole))
    assert ours.step == theirs.step == 54
    np.testing.assert_equal(ours.arrays, theirs.arrays)
    assert (folder / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    ours, theirs = (json.loads((f / "metrics.json").read_text())["test"] for f in (folder, whole))
    assert ours == theirs
    assert not list(folder.rglob(".writing*"))


def assert_gone(processes):
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def killed(victim, step, words, folder, cwd):
    """Train with a worker that is killed after a step and started again; return the launcher's output."""
    child, processes = start([*words, "--output", folder], cwd)
    wait_for_step(folder, step, child)
    os.kill(processes[victim], signal.SIGKILL)
    out, err = child.communicate(timeout=200)
    assert child.returncode == 0, err
    assert out.splitlines()[-1] == str(folder)
    assert f"worker {victim} was ended by SIGKILL" in err or "another worker was lost" in err
    assert "starting all 2 workers again (1 of 1)" in err
    assert_gone(processes)
    return err


@pytest.mark.slow
def test_a_killed_worker_changes_no_bit(words, undisturbed, tmp_path):
    err = killed(1, 13, words, tmp_path / "broken", tmp_path)
    assert re.search(r"continuing .* after step \d+", err)
    assert_same_run(tmp_path / "broken", undisturbed)


@pytest.mark.slow
def test_data_that_changed_before_resume_are_refused_by_every_worker(words, tmp_path):
    words = [*words, "--epochs", "1", "--output", tmp_path / "run"]
    run_module(*LAUNCH, "--", "python", "-m", *words, cwd=tmp_path, check=0)
    (tmp_path / "run" / "metrics.json").unlink()
    x, y = blobs(204, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y[::-1])
    done = run_module(*LAUNCH, "--", "python", "-m", *words, "--resume", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    refused = r"\[worker (\d)\] zoo.train: .*: the data changed since the run was started: the training examples differ"
    assert sorted(re.findall(refused, done.stderr)) == ["0", "1"], done.stderr


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ten_kills_of_each_worker(words, undisturbed, tmp_path):
    for step in np.random.default_rng(0).integers(2, 52, 10):
        for victim in (0, 1):
            folder = tmp_path / f"broken-{step}-{victim}"
            killed(victim, int(step), words, folder, tmp_path)
            assert_same_run(folder, undisturbed)


@pytest.mark.slow
def test_ctrl_c_stops_all_workers_at_the_same_step(words, tmp_path):
    folder = tmp_path / "run"
    child, processes = start([*words, "--output", folder], tmp_path)
    wait_for_step(folder, 4, child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=100)
    assert child.returncode == 130, err
    step = checkpoints.newest(folder / "checkpoints")[0].step
    told = re.findall(r"\[worker (\d)\] zoo.train: interrupted after (?:step|epoch) (\d+)", err)
    assert sorted(worker for worker, _ in told) == ["0", "1"]
    assert len({number for _, number in told}) == 1 and int(told[0][1]) in (step, step // 9)
    assert "continue with:" in err
    assert_gone(processes)


@pytest.mark.slow
def test_workers_with_different_options_are_refused(tmp_path):
    """The second worker has another learning rate."""
    code = (
        "import json, os, sys; from zoo import train\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "sys.exit(train.main(['--strategy', 'multi_worker', '--learning-rate', str(0.1 + index), '--output', 'run']))"
    )
    done = run_module(*LAUNCH, "--", "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"worker 1 \(\S+\) disagrees with the chief: --learning-rate 1.1 \(chief: 0.1\)", done.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_lone_worker_gives_up_after_its_timeout_and_names_the_missing_ones(tmp_path, monkeypatch):
    from strategies.launch import free_ports

    addresses = [f"localhost:{port}" for port in free_ports(2)]
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    done = run_module("zoo.train", "--strategy", "multi_worker", "--worker-timeout", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert f"worker 1 ({addresses[1]}) did not connect within 1 s" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def images(tmp_path):
    """A folder of 25 images of each of two classes, each with a number of its own in its corner."""
    rng = np.random.default_rng(0)
    for i in range(50):
        picture = rng.integers(0, 100, (8, 8)).astype("uint8")
        picture[i % 2 * 4 : i % 2 * 4 + 4] += 120
        picture[0, 0] = i
        folder = tmp_path / "images" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
    return tmp_path / "images"


@pytest.mark.slow
def test_workers_train_on_files_of_their_own(images, tmp_path):
    """Two workers that read their own part of each batch from the files have the weights of one process."""
    words = ("zoo.train", "--model", "simplenet", "--data", images, "--epochs", 2, "--batch-size", 6, "--seed", 3)
    words += ("--precision", "float64", "--keep", "last")
    run_module(*words, "--output", tmp_path / "one", cwd=tmp_path, check=0)
    several = (*LAUNCH, "--", "python", "-m", *words, "--strategy", "multi_worker", "--shard", "files")
    done = run_module(*several, "--output", tmp_path / "two", cwd=tmp_path, check=0)
    assert "decoded for each batch (--shard files)" in done.stderr
    one, two = (checkpoints.newest(tmp_path / name / "checkpoints")[0] for name in ("one", "two"))
    assert one.step == two.step == 2 * 6
    weights = [name for name in one.arrays if name.startswith(("trainable", "optimizer"))]
    assert len(weights) > 4
    for name in weights:
        np.testing.assert_allclose(one.arrays[name], two.arrays[name], atol=1e-10)


UNREPAIRED = """
import json, os, keras, numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
data = tf.data.Dataset.from_tensor_slices((np.ones((8, 4), "float32"), np.ones((8, 2), "float32"))).batch(4)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
data = data.with_options(options)
for repair in (lambda: None, lambda: setattr(model, "_maybe_symbolic_build", lambda **_: None)):
    repair()
    try:
        model.fit(data, verbose=0)
        print("trained")
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.slow  # the release of Keras is pinned
def test_keras_does_not_train_under_several_workers_by_itself(tmp_path):
    """Pass while Keras fails; otherwise a part of strategies/keras_fit.py can be removed."""
    done = run_module(*LAUNCH, "--", "python", "-c", UNREPAIRED, cwd=tmp_path, check=0)
    first, second = [line for line in done.stdout.splitlines() if "rror" in line or line == "trained"]
    assert first != "trained", "the symbolic build of Keras has been repaired"
    assert second != "trained", "the logs of Keras have been repaired"
