"""A run that was killed and resumed equals an uninterrupted one bit for bit; a child process is really killed."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, blobs, run_module, unsealed, wait_for_step
from tests.zoo.tasks.test_anomaly_sound import folder as hums
from zoo import train
from zoo.console.errors import UsageError
from zoo.runs import checkpoints, examples
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like

# Shuffling, augmentation, dropout and BatchNorm: everything that a careless resume forgets.
SETTINGS = (
    "--set",
    "filters=4,4",
    "--set",
    "pools=1",
    "--set",
    "units=8",
    "--set",
    "dropout=0.3",
    "--set",
    "batch_norm=true",
)
STEPS, EPOCHS = 9, 6


@pytest.fixture
def words(tmp_path):
    """A training command of 6 epochs of 9 steps."""
    x, y = blobs(204, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    return ["zoo.train", "--model", "cnn", "--data", tmp_path / "blobs.npz", "--epochs", EPOCHS, "--batch-size", 16,
            "--augment", "standard + mixup",
            "--deterministic", "--checkpoint-every", 2, "--seed", 5, *SETTINGS]  # fmt: skip


def write_archive(path, x, y):
    """Write pictures and labels as WebDataset does."""
    with tarfile.open(path, "w") as archive:
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "png")
            for ending, content in (("png", buffer.getvalue()), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{i:04}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def start(words, cwd):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def state(folder):
    snapshot = checkpoints.newest(folder / "checkpoints")[0]
    assert snapshot.step == STEPS * EPOCHS
    return snapshot.arrays, (folder / "history.csv").read_bytes(), RunFolder(folder).read_metrics()["test"]


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param((), id="none", marks=pytest.mark.slow),  # a worker is killed in test_multi_worker.py
        pytest.param(("--strategy", "mirrored", "--virtual-devices", "2"), id="mirrored", marks=pytest.mark.slow),
        pytest.param(("--memory", "1k", "--augment", "standard"), id="streamed", marks=pytest.mark.slow),
    ],
)
def test_killed_run_continues_bit_for_bit(strategy, words, tmp_path):
    words += strategy
    if "--memory" in strategy:  # pictures that are decoded for each batch
        x, y = blobs(204, (12, 12))
        write_archive(tmp_path / "blobs.tar", (x * 255).astype("uint8"), y)
        words[words.index(tmp_path / "blobs.npz")] = tmp_path / "blobs.tar"
    check_resumed(words, tmp_path)


def check_resumed(words, tmp_path):
    """Check that a training which is killed twice ends as one that is not."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_module(*words, "--output", whole, cwd=tmp_path, check=0)

    # Killed inside the second epoch; the resumed run is killed inside a later one.
    for step, more in ((STEPS + 3, ()), (3 * STEPS + 3, ("--resume",))):
        child = start([*words, "--output", broken, *more], tmp_path)
        wait_for_step(broken, step, child)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        # The kill may come at any step: go back to a checkpoint inside an epoch.
        listed = checkpoints.listed(broken / "checkpoints")
        while int(listed[-1].name.split("-")[1]) % STEPS == 0:
            listed.pop().unlink()
        assert not (broken / "metrics.json").exists()
    run_module(*words, "--output", broken, "--resume", cwd=tmp_path, check=0)

    for ours, theirs in zip(state(broken), state(whole), strict=True):
        np.testing.assert_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["autoencoder", "autoencoder_conv"])
def test_killed_detector_of_anomalies_continues_bit_for_bit(model, tmp_path):
    """Sounds, of which normal ones alone are learnt; their frames are standardised before the first step."""
    hums(tmp_path / "hums", 0.1, normal=204, anomalous=20)
    words = ["zoo.train", "--model", model, "--task", "anomaly", "--data", tmp_path / "hums", "--set", "mels=16",
             "--epochs", EPOCHS, "--batch-size", 16, "--deterministic", "--checkpoint-every", 2]  # fmt: skip
    check_resumed(words, tmp_path)


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_resume(words, tmp_path):
    folder = tmp_path / "run"
    child = start([*words, "--output", folder], tmp_path)
    wait_for_step(folder, 4, child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    last = [line for line in err.splitlines() if line.startswith("zoo.train: ")][-1]  # TensorFlow may log after it
    step = checkpoints.newest(folder / "checkpoints")[0].step
    assert last.startswith(
        f"zoo.train: interrupted after step {step}; continue with: python -m zoo.train --resume --output"
    )
    # The suggested command resumes and finishes the run.
    done = run_module("zoo.train", "--resume", "--output", folder, cwd=tmp_path, check=0)
    assert f"after step {step}" in done.stderr
    assert done.stdout.splitlines()[-1] == str(folder)
    again = run_module("zoo.train", "--resume", "--output", folder, cwd=tmp_path, check=0)
    assert "nothing left to do" in again.stderr
    assert again.stdout == done.stdout


@pytest.fixture
def stored(tmp_path):
    """Three checkpoints at steps 1, 2 and 3."""
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, checkpoints.Snapshot(step, {"trainable/0/0": np.full(50, step)}, {"epoch": step}))
    return checkpoints.listed(tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, alter])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(damage, stored, tmp_path):
    damage(stored[2])
    snapshot, damaged = checkpoints.newest(tmp_path)
    assert (snapshot.step, snapshot.state) == (2, {"epoch": 2})
    np.testing.assert_array_equal(snapshot.arrays["trainable/0/0"], np.full(50, 2))
    assert len(damaged) == 1
    assert str(stored[2]) in damaged[0]
    assert "truncated or altered" in damaged[0]


def test_only_the_newest_checkpoints_are_kept(stored, tmp_path):
    checkpoints.save(tmp_path, checkpoints.Snapshot(4, {}, {}), keep=2)
    assert [int(p.name.split("-")[1]) for p in checkpoints.listed(tmp_path)] == [3, 4]


def test_resuming_with_another_configuration_names_what_differs(resumed):
    words = ("--model", "simplenet", "--epochs", "2", "--set", "units=5", "--learning-rate", "0.5")
    status, err, _ = resumed(lambda place: None, *words)
    assert status == 2 and len(err.splitlines()) == 1
    assert '--settings was {"units": [4]}, now {"units": [5]}' in err
    assert "--learning-rate was 0.001, now 0.5" in err
    assert "--epochs" not in err


def test_default_settings_do_not_contradict_the_same_command():
    from zoo.config.train_config import TrainConfig
    from zoo.runs.continuing import differences

    given = {"model": "cnn", "dataset": "digits", "settings": {"units": "32"}}
    stored = TrainConfig(**given).resolved()
    assert stored.settings == {"dropout": 0.5, "units": 32}  # dropout comes from the default settings
    assert differences(stored, given) == []
    assert len(differences(stored, given | {"settings": {"dropout": "0"}})) == 1


def test_three_damaged_checkpoints_neither_count_nor_vanish(stored, tmp_path):
    contents = []
    for path in stored:
        alter(path)
        contents.append(path.read_bytes())
    snapshot, told = checkpoints.newest(tmp_path)
    assert snapshot is None and len(told) == 3 and "set aside as damaged-step-" in told[0]
    for step in (1, 2, 3, 4):  # below and above the numbers of the damaged ones
        path = checkpoints.save(tmp_path, checkpoints.Snapshot(step, {}, {}))
        assert path.is_file()
    assert [int(p.name.split("-")[1]) for p in checkpoints.listed(tmp_path)] == [2, 3, 4]
    assert sorted(p.read_bytes() for p in tmp_path.glob("damaged-*")) == sorted(contents)


def test_a_checkpoint_under_the_name_of_another_step_is_refused(tmp_path):
    path = checkpoints.save(tmp_path, checkpoints.Snapshot(4, {}, {}, {"config": {"seed": 0}}))
    path.rename(path.with_name(path.name.replace("0004", "0009")))
    with pytest.raises(UsageError, match="was renamed: expected the checkpoint of step 9, it was made after step 4"):
        checkpoints.newest(tmp_path)


def test_a_checkpoint_of_another_origin_is_refused_with_what_differs(tmp_path):
    settings = {"units": 4, "dropout": 0.1}
    theirs = {"config": {"seed": 0, "gone": 1, "settings": settings}, "data": {"train": "a", "form": "b"}}
    ours = {"config": {"seed": 1, "new": 2, "settings": settings | {"units": 5}}, "data": {"train": "c", "form": "b"}}
    checkpoints.save(tmp_path, checkpoints.Snapshot(4, {}, {}, theirs))
    assert checkpoints.newest(tmp_path, theirs)[0].step == 4
    with pytest.raises(UsageError) as refused:
        checkpoints.newest(tmp_path, ours)
    assert (
        '--seed was 0, now 1; --settings was {"units": 4}, now {"units": 5}; the training examples differ; undo'
        in str(refused.value)
    )


def test_a_checkpoint_of_version_0_1_resumes_with_one_line(tmp_path):
    checkpoints.save(tmp_path, checkpoints.Snapshot(4, {"a": np.ones(2)}, {"x": 1}))
    snapshot, (told,) = checkpoints.newest(tmp_path, {"config": {"seed": 0}})
    assert (snapshot.step, snapshot.state) == (4, {"x": 1})
    assert "could not be checked" in told


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A finished run and the same without its end, on one file of data."""
    place = tmp_path_factory.mktemp("ended")
    x, y = blobs(120, (12, 12))
    np.savez(place / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    words = ["--model", "simplenet", "--set", "units=4", "--data", str(place / "blobs.npz"), "--epochs", "2"]
    words += ["--deterministic", "--batch-size", "16"]
    assert train.main([*words, "--output", str(place / "run")]) == 0
    shutil.copytree(place / "run", place / "broken")
    for name in ("metrics.json", "model.keras"):
        (place / "broken" / name).unlink()
    checkpoints.listed(place / "broken" / "checkpoints")[-1].unlink()
    return place


@pytest.fixture
def resumed(ended, tmp_path, capsys):
    """A function that changes the unfinished run in a copy of the folder and resumes it: status, errors and run."""

    def resume(change, *words):
        place = tmp_path / "copy"
        shutil.copytree(ended, place)
        stored = unsealed(place / "broken", "config.json")
        stored["config"]["data"] = str(place / "blobs.npz")  # as somebody whose data moved would write it
        (place / "broken" / "config.json").write_text(json.dumps(stored))
        change(place)
        capsys.readouterr()
        status = train.main(["--resume", "--output", str(place / "broken"), *words])
        return status, capsys.readouterr().err, place / "broken"

    return resume


def relabel(place):
    with np.load(place / "blobs.npz") as found:
        x, y = found["x"], found["y"].copy()
    y[::2] = (y[::2] + 1) % 3
    np.savez(place / "blobs.npz", x=x, y=y)


def extend(place):
    """Add examples and take some away, so that the drawn splits would be others."""
    with np.load(place / "blobs.npz") as found:
        x, y = found["x"], found["y"]
    more, labels = blobs(60, (12, 12), seed=1)
    np.savez(place / "blobs.npz", x=np.concatenate([x[7:], (more * 255).astype("uint8")]), y=np.append(y[7:], labels))


def exchange_config(place):
    stored = json.loads((place / "broken" / "config.json").read_text())
    stored["config"]["seed"] = 1
    (place / "broken" / "config.json").write_text(json.dumps(stored))


def copy_in(place):
    """Put a checkpoint of a run with another seed in the place of the run's own."""
    folder = place / "broken" / "checkpoints"
    snapshot, _ = checkpoints.newest(folder)
    for path in checkpoints.listed(folder):
        path.unlink()
    origin = snapshot.origin | {"config": snapshot.origin["config"] | {"seed": 1}}
    checkpoints.save(folder, dataclasses.replace(snapshot, origin=origin))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (relabel, "the data changed since the run was started: the training examples differ ("),
        (extend, "the training examples differ ("),
        (exchange_config, "--seed was 0, now 1"),
        (copy_in, "--seed was 1, now 0"),
    ],
)
def test_what_changed_between_a_kill_and_resume_is_refused(change, message, resumed):
    status, err, run = resumed(change)
    assert status == 2 and len(err.splitlines()) == 1
    assert "belongs to another run, or the run was changed since" in err or "--accept-changed-data" in err
    assert message in err
    assert not (run / "metrics.json").exists()


def test_accepted_data_keep_their_splits(resumed, ended):
    status, err, run = resumed(extend, "--accept-changed-data")
    assert status == 0 and "the data changed, which is accepted: the training examples differ (" in err
    then, now = (examples.read(RunFolder(folder)) for folder in (ended / "broken", run))
    before = {key: split for split, (keys, _) in then.items() for key in keys.tolist()}
    after = {key: split for split, (keys, _) in now.items() for key in keys.tolist()}
    assert len(before) == 120 and len(after) == 120 - 7 + 60
    assert sum(key in before for key in after) == 113
    assert all(after[key] == split for key, split in before.items() if key in after)
    new = [split for key, split in after.items() if key not in before]
    assert {"train", "test"} <= set(new) and new.count("train") > 30
    assert RunFolder(run).read_metrics()["data"]["examples"] == {s: len(keys) for s, (keys, _) in now.items()}
    # Another interruption is resumed without the option.
    before = (run / "examples.npz").read_bytes()
    (run / "metrics.json").unlink()
    assert train.main(["--resume", "--output", str(run)]) == 0
    assert (run / "examples.npz").read_bytes() == before
    found = load_like(RunFolder(run), RunFolder(run).read_config()["config"])  # as zoo.evaluate reads them
    assert examples.of_data(found)["test"][0].tolist() == now["test"][0].tolist()


def test_accepting_changes_needs_a_run_to_resume(tmp_path, capsys):
    assert train.main(["--accept-changed-data", "--output", str(tmp_path / "run")]) == 2
    assert "--accept-changed-data: expected together with --resume" in capsys.readouterr().err
    words = ["--model", "cnn", "--resume", "--accept-changed-data", "--output", str(tmp_path / "run")]
    words += ["--strategy", "multi_worker"]
    assert train.main(words) == 2
    assert "--accept-changed-data: expected a single process" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_history_is_written_again_from_the_checkpoint(resumed, ended):
    status, _, run = resumed(lambda place: (place / "broken" / "history.csv").write_bytes(b"\xff"))
    assert status == 0
    assert (run / "history.csv").read_bytes() == (ended / "run" / "history.csv").read_bytes()
