"""Sets that do not fit in memory: speed, memory, and exactness after kills.

A set of TFRecord files is generated for each kind of example, used and removed: JPEG pictures of 192x192, decoded at
half their scale to 96x96, with a step of MobileNetV2 0.35; and records of 128x9 float32 with a step of the lstm.
`--size` says how large each set is (default: 20 GB).

- Speed: 2,000 steps on examples that are read and decoded for each batch, in turns of ten steps with as many steps on
  examples that memory holds decoded, in one process. The turns alternate, so that drifts of the machine's speed affect
  both; the share of the speed is the median over the pairs of turns.
- Memory: peak of the resident memory of `zoo.train` with 2,000 steps and `--memory 100M`, less that of a training of
  two steps on 500 examples.
- Exactness: two workers of `multi_worker` train on 10 MB of the pictures with `--memory 1k --augment standard
  --deterministic`, are killed (SIGKILL) at ten random moments and resumed; the arrays of their last checkpoint are
  compared bit for bit with those of an undisturbed training.
"""

import contextlib
import io
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from benchmarks import rounds
from benchmarks.commands import told
from zoo.console.figures import size as in_words

SIZE, QUICK_SIZE = 20 * 10**9, 10**8
STEPS, QUICK_STEPS, TURN = 2000, 60, 10
BATCH = 32
KILLS, QUICK_KILLS = 10, 2
FEW = 10**7  # bytes of the pictures that two workers train on
SHARDS, POOL, HELD = 16, 512, 500  # files of the set; different examples in it; validation and test examples
SHOWN, SEEN, CLASSES = 192, 96, 4
SIGNAL = (128, 9)
# Targets: share of the speed in memory, and bytes above an empty training.
SPEED, MEMORY = 0.9, 1.5 * 10**9


def measure(data_dir: Path, quick: bool = False, size: int | None = None) -> dict[str, Any]:
    """Return speed, memory and exactness of streamed trainings.

    Args:
        data_dir: Not used.
        quick: Whether to use small sets, fewer steps and fewer kills.
        size: Bytes of each set.
    """
    size = size or (QUICK_SIZE if quick else SIZE)
    steps, rows = QUICK_STEPS if quick else STEPS, []
    with tempfile.TemporaryDirectory(prefix="streaming-", dir=os.environ.get("TMPDIR")) as made:
        folder = Path(made)
        os.environ["ZOO_CACHE"] = str(folder / "cache")
        for kind in ("pictures", "records"):
            began = time.perf_counter()
            count = write(folder / kind, kind, size)
            facts = {"kind": kind, "bytes": _bytes(folder / kind), "examples": count}
            rows.append(
                told(facts | {"write_seconds": time.perf_counter() - began} | _speed(folder / kind, kind, steps))
            )
            rows[-1] |= _memory(folder, kind, steps)
            told(rows[-1])
            if kind == "pictures":
                few = folder / "few"
                write(few, kind, FEW, shards=2)
                exact = told(_exact(folder, few, QUICK_KILLS if quick else KILLS))
            shutil.rmtree(folder / kind)
    return {"size": size, "steps": steps, "rows": rows, "exact": exact}


def write(folder: Path, kind: str, size: int, shards: int = SHARDS) -> int:
    """Write a set of TFRecord files, and return the number of its training examples.

    Args:
        folder: Folder of the files.
        kind: "pictures" or "records".
        size: Bytes of the training files.
        shards: Number of these files.
    """
    folder.mkdir()
    pool = [_framed(content) for content in _contents(kind, POOL)]
    held = [_framed(content) for content in _contents(kind, 2 * HELD, seed=1)]
    for split, part in (("validation", held[:HELD]), ("test", held[HELD:])):
        (folder / f"{split}.tfrecord").write_bytes(b"".join(part))
    count, rng = 0, np.random.default_rng(2)
    for shard in range(shards):
        with (folder / f"train-{shard:05}-of-{shards:05}.tfrecord").open("wb") as file:
            while file.tell() < size // shards:
                file.write(b"".join(pool[i] for i in rng.permutation(POOL)))
                count += POOL
    return count


def _contents(kind: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield serialized `tf.train.Example`s of CLASSES classes that can be told apart."""
    from PIL import Image
    from tensorflow.train import BytesList, Example, Feature, Features, FloatList, Int64List

    rng = np.random.default_rng(seed)
    for i in range(count):
        label = i % CLASSES
        if kind == "pictures":
            coarse = rng.normal(128, 40, (SHOWN // 8, SHOWN // 8, 3))
            coarse[:: label + 1] += 60
            image = np.kron(coarse, np.ones((8, 8, 1))) + rng.normal(0, 8, (SHOWN, SHOWN, 3))
            buffer = io.BytesIO()
            Image.fromarray(np.clip(image, 0, 255).astype("uint8")).save(buffer, "JPEG", quality=85)
            x = Feature(bytes_list=BytesList(value=[buffer.getvalue()]))
        else:
            wave = np.sin(np.arange(SIGNAL[0])[:, None] * (label + 1) / 10 + rng.normal(size=SIGNAL[1]))
            x = Feature(float_list=FloatList(value=(wave + rng.normal(0, 0.5, SIGNAL)).reshape(-1)))
        fields = {"x": x, "label": Feature(int64_list=Int64List(value=[label]))}
        yield Example(features=Features(feature=fields)).SerializeToString()


def _framed(content: bytes) -> bytes:
    """Return a record as a TFRecord file has it."""
    length = struct.pack("<Q", len(content))

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    return length + masked(length) + content + masked(content)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _options(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "pictures":
        return {"model": "cnn", "data": folder, "image_size": SEEN, "schema": "x=x, y=label", "batch_size": BATCH}
    schema = f"x=x:float32[{SIGNAL[0]},{SIGNAL[1]}], y=label"
    return {"model": "lstm", "data": folder, "schema": schema, "batch_size": BATCH}


def _speed(folder: Path, kind: str, steps: int) -> dict[str, Any]:
    """Return the time of a step on streamed examples and on examples in memory, in alternate turns of one process."""
    with rounds.started("benchmarks.streaming", [str(folder), kind]) as (ask, facts):
        found = [ask() for _ in range(steps // TURN)]
    streamed, kept = ([turn[i] for turn in found] for i in range(2))
    return {
        **facts,
        "streamed_ms": statistics.median(streamed),
        "in_memory_ms": statistics.median(kept),
        "share": rounds.ratio(kept, streamed)[0],
    }


def _side(folder: Path, kind: str) -> None:
    from strategies import backend

    backend.start()
    import keras

    from benchmarks import steps
    from zoo.config.train_config import TrainConfig
    from zoo.data import load
    from zoo.data.batches.pipeline import training_batches
    from zoo.data.dataset import Split
    from zoo.training import executions

    began = time.perf_counter()
    config = TrainConfig(**_options(folder, kind), memory=1000).resolved()
    data = load(config)
    seen = time.perf_counter() - began
    assert not data.train.in_memory
    keras.utils.set_random_seed(0)
    if kind == "pictures":
        model = keras.applications.MobileNetV2((SEEN, SEEN, 3), alpha=0.35, weights=None, classes=CLASSES)
        model.compile("adam", "sparse_categorical_crossentropy")
        run = executions.steps_of(model)
    else:
        model, run = steps.compiled(config, data.spec)
    few = np.arange(2048)
    kept = Split(data.train.x[few], data.train.y[few])
    options = {"batch_size": BATCH, "seed": 0, "start": 0, "stop": 1_000_000}
    batches = [iter(training_batches(split, **options)) for split in (data.train, kept)]

    def turn_ms(batches: Any) -> float:
        began = time.perf_counter()
        float(run(batches, TURN)["loss"])
        return (time.perf_counter() - began) / TURN * 1e3

    turn = 0

    def all_sides() -> list[float]:
        nonlocal turn
        turn += 1
        found = {side: turn_ms(batches[side]) for side in ((0, 1) if turn % 2 else (1, 0))}
        return [found[0], found[1]]

    rounds.serve(all_sides, parameters=model.count_params(), seconds_to_check=seen)


def _memory(folder: Path, kind: str, steps: int) -> dict[str, Any]:
    """Return the peak of the resident memory of a streamed training, and that of an empty one."""
    small = folder / f"{kind}-empty"
    small.mkdir()
    for name in ("validation", "test"):
        shutil.copy(folder / kind / f"{name}.tfrecord", small)
    shutil.copy(folder / kind / "validation.tfrecord", small / "train.tfrecord")
    found = {}
    for name, place, count in (("streamed", folder / kind, steps), ("empty", small, 2)):
        words = [f"--{key.replace('_', '-')}={value}" for key, value in (_options(place, kind)).items()]
        words += ["--memory=100M", "--epochs=1", f"--steps-per-epoch={count}", f"--output={folder / kind}-{name}-run"]
        found[f"{name}_peak"] = _peak([sys.executable, "-m", "zoo.train", *words])
        shutil.rmtree(f"{folder / kind}-{name}-run")
    shutil.rmtree(small)
    return found | {"above": found["streamed_peak"] - found["empty_peak"]}


def _peak(command: list[str]) -> int:
    """Return the largest resident memory of a command in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return used.ru_maxrss * 1024


def _exact(folder: Path, data: Path, kills: int) -> dict[str, Any]:
    """Return whether the weights after kills are those of an undisturbed training of two workers, bit for bit."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in _options(data, "pictures").items()]
    words += ["--image-size=32", "--memory=1k", "--augment=standard", "--deterministic", "--strategy=multi_worker"]
    words += ["--epochs=6", "--checkpoint-every=2", "--keep=last", "--set=filters=8,8", "--set=units=8"]
    launch = [sys.executable, "-m", "strategies.launch", "--workers", "2", "--", "python", "-m", "zoo.train", *words]
    began = time.perf_counter()
    subprocess.run([*launch, f"--output={folder / 'whole'}"], check=True, capture_output=True)
    seconds, rng = time.perf_counter() - began, random.Random(0)
    killed, place = 0, folder / "killed"
    while killed < kills:
        process = subprocess.Popen(
            [*launch, f"--output={place}", *(["--resume"] if killed else [])],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = _newest(place)
        limit = time.monotonic() + 5 * seconds
        while process.poll() is None and _newest(place) == before and time.monotonic() < limit:
            time.sleep(0.05)  # until a step was trained, so that every kill is one of training
        time.sleep(rng.uniform(0, 1.0))
        if process.poll() is not None:
            break  # it has finished
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    subprocess.run([*launch, f"--output={place}", "--resume"], check=True, capture_output=True)
    mine, theirs = (_weights(path) for path in (place, folder / "whole"))
    same = mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)
    return {"kills": killed, "equal": bool(same), "arrays": len(mine), "seconds_undisturbed": seconds}


def _newest(run: Path) -> str:
    with contextlib.suppress(OSError):
        return max((path.name for path in (run / "checkpoints").glob("step-*.npz")), default="")
    return ""


def _weights(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / _newest(run)) as found:
        return {name: found[name] for name in found.files if found[name].dtype.kind == "f"}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| set | size | examples | check at the start | step, streamed | in memory | share of the speed |"
        " peak above an empty training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        above = in_words(row["above"]) if row["above"] > 0 else "none"
        lines.append(
            f"| {row['kind']} | {in_words(row['bytes'])} | {row['examples']:,} | {row['seconds_to_check']:.0f} s |"
            f" {row['streamed_ms']:.1f} ms | {row['in_memory_ms']:.1f} ms | {row['share']:.1%} | {above} |"
        )
    exact = result["exact"]
    return [
        *lines,
        "",
        f"Two workers, {exact['kills']} kills: the {exact['arrays']} arrays of the last checkpoint are"
        f" {'equal bit for bit' if exact['equal'] else 'NOT EQUAL'} to those of an undisturbed training.",
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    targets = (
        f"Batches of {BATCH}, {result['steps']:,} steps. Targets: at least {SPEED:.0%} of the speed in memory, at most"
        f" {in_words(MEMORY)} above an empty training."
    )
    return "\n".join([*table(result), "", targets])


if __name__ == "__main__":
    _side(Path(sys.argv[1]), sys.argv[2])
