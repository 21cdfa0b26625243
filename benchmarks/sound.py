"""Spoken digits: the official split, each speaker held out, and the files that take samples.

The Free Spoken Digit Dataset 1.0.9 has 2,500 clips by five speakers. The official test split has the clips 0 to 4 of
each digit and speaker. With a speaker held out, training and test have no speaker in common, which `--group` makes sure
of; no clip of the held-out speaker chooses an epoch. Floor, coefficients, epochs and random changes were chosen with
one seed on george, jackson and nicolas, so theo and yweweler are the fairest test. Beside each network stands a support
vector machine on the MFCC of 20 times of a clip. MLPerf Tiny's trained DS-CNN gets its MFCC from the front end as a
layer, and from tf.signal.

Runs are kept in runs/sound, so that a measurement that was stopped goes on; seeds are measured one after another.
"""

import statistics
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import exported, run_command, told, trained

RUNS = Path("runs") / "sound"
ARCHIVE = "free-spoken-digit-dataset-1.0.9.tar.gz"
OFFICIAL = "official"
# Clips of each digit and speaker in the official test split.
FIRST = 5
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
SEEDS = (0, 1, 2)
KEPT = ("test", "train", "epochs", "parameters", "split_examples", "examples_per_second")
MODEL = (
    *("--model", "ds_cnn", "--set", "dropout=0.2", "--set", "floor=0.1", "--set", "coefficients=20"),
    *("--epochs", "35", "--learning-rate", "3e-3", "--label-smoothing", "0.1"),
    *("--augment", "timeshift(0.1) + speed(0.2) + equalize(6) + noise(0.5, 5, 30) + specaugment(1) + mixup(0.3)"),
)
# No example chooses an epoch: all but the test clips are trained on.
WHOLE = ("--validation-split", "0", "--group", "_([a-z]+)_")
RECIPES = ("int8", "int8(per_tensor=true)", "qat(epochs=3) + int8(per_tensor=true)", "dynamic")


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train on the official split and with each speaker held out.

    Args:
        data_dir: Folder of prepared TFDS sets; the archive of the digits is in ../raw, MLPerf Tiny's models are in
            ../models/mlperf_tiny.
        quick: Whether to use one seed.
    """
    archive = data_dir.parent / "raw" / ARCHIVE
    clips = _written(archive)
    result: dict[str, Any] = {
        "features": _features(clips),
        "mlperf_tiny": _mlperf(data_dir, clips),
        "svm": _machines(clips),
    }
    rows = []
    for seed in SEEDS[: 1 if quick else None]:
        for name in (OFFICIAL, *SPEAKERS):
            more = () if name == OFFICIAL else WHOLE
            words = [*MODEL, *more, "--seed", str(seed)]
            run = trained(RUNS / f"{name}-{seed}", ["--data", str(RUNS / "data" / name), *words], data_dir, KEPT)
            rows.append({"split": name, "seed": seed, **run})
    result["runs"] = rows
    kept = ("bytes", "gzip_bytes", "test", "latency", "device")
    result["files"] = [exported(RUNS / f"{OFFICIAL}-0", recipe, kept) for recipe in RECIPES]
    result["features_outside"] = told(
        run_command("compression.export", str(RUNS / f"{OFFICIAL}-0"), "--to", "features")
    )
    words = [*MODEL, "--set", "causal=true", "--set", "level=none", "--seed", "0"]
    causal = trained(RUNS / "causal-0", ["--data", str(RUNS / "data" / OFFICIAL), *words], data_dir, KEPT)
    streamed = run_command("compression.export", str(RUNS / "causal-0"), "--to", "streaming")
    kept = ("bytes", "frames_a_call", "state_bytes", "parity", "latency", "device")
    result["streaming"] = told({"run": causal, **{key: streamed[key] for key in kept}})
    return result


def _written(archive: Path) -> list[tuple[str, str, int, bytes]]:
    """Write the folders of each split once, and return digit, speaker, number and content of each clip."""
    clips = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith(".wav"):
                digit, speaker, number = Path(member.name).stem.split("_")
                clips.append((digit, speaker, int(number), tar.extractfile(member).read()))
    for name in (OFFICIAL, *SPEAKERS):
        for digit, speaker, number, content in clips:
            held = number < FIRST if name == OFFICIAL else speaker == name
            path = RUNS / "data" / name / ("test" if held else "train") / digit / f"{digit}_{speaker}_{number}.wav"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return sorted(clips)


def _samples(clips: list[tuple[str, str, int, bytes]], rate: int, seconds: float) -> np.ndarray:
    """Return clips at a rate, with zeros behind shorter ones, (clips, samples) float32."""
    from zoo.data.sound import clips as sound

    found = np.zeros((len(clips), round(seconds * rate)), np.float32)
    for row, (*_, content) in zip(found, clips, strict=True):
        x = sound.mono(content, rate)[: len(row)]
        row[: len(x)] = x
    return found


def _by_tf_signal(x: np.ndarray, front: Any, dtype: str) -> np.ndarray:
    """Return the log-mel spectra and the MFCC of samples by tf.signal, side by side."""
    import tensorflow as tf

    x = tf.constant(x, dtype)
    x = x / tf.reduce_max(x, 1, keepdims=True) if front.level == "peak" else x
    spectra = tf.abs(
        tf.signal.stft(x, front.frame, front.hop, fft_length=front.points, window_fn=tf.signal.hann_window)
    )
    bins = front.points // 2 + 1
    weights = tf.signal.linear_to_mel_weight_matrix(front.mels, bins, front.rate, 20.0, front.highest_hz, dtype=x.dtype)
    logs = tf.math.log(tf.matmul(spectra, weights) + front.floor)
    mfcc = tf.signal.mfccs_from_log_mel_spectrograms(logs)[..., : front.coefficients]
    return tf.concat([logs, mfcc], -1).numpy()


def _features(clips: list[tuple[str, str, int, bytes]]) -> list[dict[str, Any]]:
    """Return the largest differences of the front ends, and of tf.signal in float32, from tf.signal in float64."""
    from zoo.models.parts.sound import SoundFeatures

    rows, x = [], _samples(clips, 8000, 0.63)
    for floor in (1e-6, 0.1):
        fronts = [SoundFeatures(kind, 8000, floor=floor) for kind in ("logmel", "mfcc")]
        exact, rounded = (_by_tf_signal(x, fronts[1], dtype) for dtype in ("float64", "float32"))
        for front, columns in zip(fronts, (slice(0, 40), slice(40, None)), strict=True):
            found = np.asarray(front(x))[..., 0]
            ours, theirs = (np.abs(made - exact[..., columns]) for made in (found, rounded[..., columns]))
            rows.append(
                told(
                    {
                        "features": front.kind,
                        "floor": floor,
                        "clips": len(x),
                        "largest_difference": float(ours.max()),
                        "within_1e-4": float((ours <= 1e-4).mean()),
                        "tf_signal_in_float32": float(theirs.max()),
                    }
                )
            )
    return rows


def _mlperf(data_dir: Path, clips: list[tuple[str, str, int, bytes]]) -> dict[str, Any] | None:
    """Return how often MLPerf Tiny's DS-CNN answers the same with its MFCC as a layer and from tf.signal."""
    import keras

    from zoo.models.parts.sound import SoundFeatures

    path = data_dir.parent / "models" / "mlperf_tiny" / "dscnn_kws.keras"
    if not path.is_file():
        return None
    model, x = keras.models.load_model(path), _samples(clips, 16_000, 1.0)
    front = SoundFeatures("mfcc", 16_000)  # the defaults are those of MLPerf Tiny
    inputs = keras.Input((16_000,))
    whole = keras.Model(inputs, model(front(inputs)))
    outside = _by_tf_signal(x, front, "float32")[..., front.mels :, None]
    found, expected = (net.predict(given, verbose=0) for net, given in ((whole, x), (model, outside)))
    return told(
        {
            "clips": len(x),
            "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            "largest_difference": float(np.abs(found - expected).max()),
        }
    )


def _machines(clips: list[tuple[str, str, int, bytes]]) -> dict[str, float]:
    """Return the accuracy of a support vector machine on MFCC for each split."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from zoo.data.sound import clips as sound
    from zoo.models.parts.sound import SoundFeatures

    front, rows = SoundFeatures("mfcc", 8000, 25.0, 10.0, coefficients=13), []
    for *_, content in clips:
        x = sound.mono(content, 8000)
        frames = np.asarray(front(np.pad(x, (0, max(0, 400 - len(x))))[None]))[0, :, :, 0]
        places = np.linspace(0, len(frames) - 1, 20).round().astype(int)
        rows.append(frames[places].reshape(-1))
    x, y = np.array(rows), np.array([int(digit) for digit, *_ in clips])
    accuracies = {}
    for name in (OFFICIAL, *SPEAKERS):
        held = np.array([number < FIRST if name == OFFICIAL else who == name for _, who, number, _ in clips])
        machine = make_pipeline(StandardScaler(), SVC(C=10)).fit(x[~held], y[~held])
        accuracies[name] = float(machine.score(x[held], y[held]))
    return told(accuracies)


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the tables of splits and of files."""
    rows = result["runs"]
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        f"| split | ds_cnn, mean of {len(seeds)} seeds | each seed | MFCC and SVM | test clips |",
        "| --- | --- | --- | --- | --- |",
    ]
    means, machines = [], result["svm"]
    for name in (OFFICIAL, *SPEAKERS):
        found = [row["test"]["accuracy"] for row in rows if row["split"] == name]
        if not found:
            continue
        means.append((name, statistics.mean(found)))
        what = "official" if name == OFFICIAL else f"{name} held out"
        each = ", ".join(f"{value:.1%}" for value in found)
        examples = next(row for row in rows if row["split"] == name)["test"]["examples"]
        lines.append(f"| {what} | {means[-1][1]:.2%} | {each} | {machines[name]:.1%} | {examples} |")
    held = [value for name, value in means if name != OFFICIAL]
    machine = statistics.mean(machines[name] for name in SPEAKERS)
    lines.append(f"| **mean of the held-out speakers** | **{statistics.mean(held):.2%}** | | {machine:.1%} | |")
    lines += ["", "| file | bytes | test accuracy | Keras | ms | arena |", "| --- | --- | --- | --- | --- | --- |"]
    for file in result["files"]:
        test, arena = file["test"], (file["device"] or {}).get("arena_bytes")
        lines.append(
            f"| {file['recipe']}, takes samples | {file['bytes']:,} | {test['litert']['accuracy']:.2%} |"
            f" {test['keras']['accuracy']:.2%} | {file['latency'][0]['median_ms']:.3f} |"
            f" {f'{arena:,}' if arena else '-'} |"
        )
    outside = result["features_outside"]
    lines.append(
        f"| int8, takes features of features.c | {outside['bytes']:,} | {outside['test']['litert']['accuracy']:.2%} |"
        f" {outside['test']['keras']['accuracy']:.2%} | {outside['latency'][0]['median_ms']:.3f} | - |"
    )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the tables, what streaming and the features give, and the commands of the first seed."""
    stream = result["streaming"]
    lines = [
        *table(result),
        "",
        f"Streaming, float32: {stream['bytes']:,} bytes, {stream['latency']['median_ms_a_frame']:.4f} ms and"
        f" {stream['device'].get('arena_bytes', 0):,} bytes of arena for a frame; largest difference from the model on"
        f" the whole recording {stream['parity']['largest_difference']:.1e} in {stream['parity']['frames']:,} frames.",
        "",
        "| features | floor | largest difference from tf.signal in float64 | within 1e-4 | tf.signal in float32 |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {row['features']} | {row['floor']:g} | {row['largest_difference']:.1e} | {row['within_1e-4']:.4%} |"
            f" {row['tf_signal_in_float32']:.1e} |"
            for row in result["features"]
        ),
    ]
    if tiny := result["mlperf_tiny"]:
        lines += [
            "",
            f"MLPerf Tiny's DS-CNN: {tiny['same_answer']:.2%} of {tiny['clips']:,} clips get the same answer with the"
            f" MFCC as a layer; largest difference in probability {tiny['largest_difference']:.1e}.",
        ]
    commands = dict.fromkeys(row["command"] for row in result["runs"] if row["seed"] == SEEDS[0])
    return "\n".join([*lines, "", *(f"- `{command}`" for command in commands)])
