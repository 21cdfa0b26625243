"""Long recordings: a window that slides over them, the events that a classifier hears, and its false alarms.

`windows` serves detectors of anomalies as well.
"""

import csv
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.run_options import PredictOptions
from zoo.config.train_config import flag
from zoo.console.errors import UsageError
from zoo.data import DataSpec, Split
from zoo.data.sound import clips, formats
from zoo.runs.inference import logits_of, probabilities

# Length in clips from which a file is a recording in which events are looked for.
LONG = 2.0
# Part of a clip between windows, least probability of an event, and part of a clip that a mean is taken over.
HOP, THRESHOLD, AVERAGED = 0.25, 0.8, 0.5
# Classes that are no events.
QUIET = ("background", "_background_noise_", "noise", "other", "silence", "_silence_", "unknown", "_unknown_")
# Windows that are made at a time, and thresholds that false alarms are counted for.
WINDOWS = 2048
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
COLUMNS = ("file", "start", "end", "label")


@dataclass(frozen=True)
class Event:
    """Something heard in a recording.

    Args:
        label: Class.
        probability: Largest average probability.
        start: Begin of its first window in seconds.
        end: End of its last window in seconds.
    """

    label: str
    probability: float
    start: float
    end: float

    def overlaps(self, start: float, end: float) -> bool:
        """Return whether the event shares some time with an interval."""
        return self.start < end and start < self.end


def is_long(path: Path, spec: DataSpec) -> bool:
    """Return whether a file is longer than two clips of a run on sound.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        return formats.header(path).seconds > LONG * spec.input_shape[0] / spec.rate
    except formats.Unreadable as error:
        raise UsageError(f"{path}: expected a file of sound, and it cannot be read: {error}") from None


def tell_unused(text: str, options: PredictOptions, is_recording: bool) -> None:
    """Tell which options of `zoo.predict` do not matter for a file of sound.

    Args:
        text: File.
        options: Options.
        is_recording: Whether the file is longer than two clips of the run.
    """
    unused = ("top",) if is_recording else ("hop", "threshold")
    if given := [flag(name) for name in unused if getattr(options, name) is not None]:
        why = "a recording, which has events" if is_recording else "no longer than two clips, so it has one answer"
        print(f"INPUT {text}: {' and '.join(given)} not used, as it is {why}", file=sys.stderr)


def heard(model: keras.Model, path: Path, spec: DataSpec, hop: float | None) -> tuple[np.ndarray, float, float]:
    """Return the average probabilities of the classes in each window of a recording, and its times.

    Args:
        model: Trained classifier of sound.
        path: File of sound.
        spec: Form of the run's data.
        hop: Distance of the windows in seconds; None for a quarter of a clip.

    Returns:
        Probabilities (windows, classes), distance of the windows and length of the recording in seconds.

    Raises:
        UsageError: The file cannot be read.
    """
    (samples,) = spec.input_shape
    found, seconds = windows(path, spec)
    step = max(1, round((hop or HOP * samples / spec.rate) * spec.rate))
    parts = [probabilities(logits_of(model, part)) for part in taken(found, np.arange(0, len(found), step))]
    return averaged(np.concatenate(parts), max(1, round(AVERAGED * samples / step))), step / spec.rate, seconds


def windows(path: Path, spec: DataSpec) -> tuple[np.ndarray, float]:
    """Return the windows of a recording that begin at each of its samples, and its length in seconds.

    Args:
        path: File of sound.
        spec: Form of the run's data, whose clips are as long as a window.

    Returns:
        A view of the recording (windows, samples) int16, and the length.

    Raises:
        UsageError: The file cannot be read.
    """
    (samples,) = spec.input_shape
    try:
        x = clips.as_integers(clips.mono(path.read_bytes(), spec.rate))
    except (formats.Unreadable, OSError) as error:
        raise UsageError(f"{path}: expected a file of sound, and it cannot be read: {error}") from None
    seconds = len(x) / spec.rate
    x = np.pad(x, (0, max(0, samples - len(x))))
    return np.lib.stride_tricks.sliding_window_view(x, samples), seconds


def taken(found: np.ndarray, starts: np.ndarray) -> Iterator[Split]:
    """Yield the windows with these first samples, as splits that fit in memory.

    Args:
        found: What `windows` returned.
        starts: First sample of each window.
    """
    for first in range(0, len(starts), WINDOWS):
        some = found[starts[first : first + WINDOWS]]
        yield Split(some, np.zeros(len(some), np.int32))


def averaged(p: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of each window's probabilities and those of the windows around it, (windows, classes).

    Args:
        p: Probabilities (windows, classes).
        width: Number of windows of a mean; fewer at both ends.
    """
    total = np.concatenate([np.zeros((1, p.shape[1])), p.cumsum(0)])
    first = np.maximum(np.arange(len(p)) - (width - 1) // 2, 0)
    last = np.minimum(np.arange(len(p)) + width // 2 + 1, len(p))
    return (total[last] - total[first]) / (last - first)[:, None]


def events(p: np.ndarray, hop: float, spec: DataSpec, threshold: float) -> list[Event]:
    """Return runs of windows with the same most probable class, as events.

    Args:
        p: Average probabilities (windows, classes).
        hop: Distance of the windows in seconds.
        spec: Form of the run's data.
        threshold: Least probability; classes of `QUIET` are no events.
    """
    best, clip = p.argmax(-1), spec.input_shape[0] / spec.rate
    quiet = np.array([name.lower() in QUIET for name in spec.class_names])
    loud = (p.max(-1) >= threshold) & ~quiet[best]
    kinds = np.where(loud, best, -1)
    edges = np.flatnonzero(np.diff(kinds, prepend=-2, append=-2))
    return [
        Event(spec.class_names[kinds[a]], float(p[a:b].max()), float(a * hop), float((b - 1) * hop + clip))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
        if kinds[a] >= 0
    ]


def answers(
    model: keras.Model, path: Path, spec: DataSpec, hop: float | None, threshold: float | None
) -> list[dict[str, Any]]:
    """Return the events of a recording for `zoo.predict`, and tell how it was listened to.

    Raises:
        UsageError: The file cannot be read.
    """
    least = THRESHOLD if threshold is None else threshold
    p, distance, seconds = heard(model, path, spec, hop)
    found = events(p, distance, spec, least)
    print(
        f"INPUT {path}: {seconds:,.4g} s, listened to in {len(p):,} windows of"
        f" {spec.input_shape[0] / spec.rate:.4g} s, {distance:.4g} s apart; {len(found):,} events of a probability of"
        f" {least:g} or more",
        file=sys.stderr,
    )
    return [
        {
            "input": f"{path} {event.start:.2f} to {event.end:.2f} s",
            "label": event.label,
            "probability": event.probability,
            "start": event.start,
            "end": event.end,
        }
        for event in found
    ]


def recordings(path: Path) -> list[Path]:
    """Return the files of sound in a folder, or the file itself.

    Raises:
        UsageError: There is none.
    """
    if not path.exists():
        raise UsageError(f"--recordings {path}: expected a file of sound or a folder of them, found none")
    found = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file() and formats.is_sound(p)]
    if not found:
        raise UsageError(f"--recordings {path}: expected files of sound, found none")
    return found


def read_events(path: Path, files: Sequence[Path], names: Sequence[str]) -> dict[str, list[tuple[float, float, str]]]:
    """Return what is said in recordings: start, end and label of each event, by the name of the file.

    Args:
        path: Table with the columns file, start, end and label, in seconds.
        files: Recordings.
        names: Classes of the run.

    Raises:
        UsageError: A table of another form, or a name that is no recording or no class.
    """
    known = {file.name for file in files}
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in known}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--events {path}: cannot be read: {error}") from None
    for number, row in enumerate(rows, 2):
        try:
            name, start, end, label = row["file"], float(row["start"]), float(row["end"]), row["label"]
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                f"--events {path}, line {number}: expected the columns {', '.join(COLUMNS)} with seconds in start and"
                " end"
            ) from None
        if name not in known or label not in names or not start < end:
            what = "a recording" if name not in known else "a class of the run" if label not in names else "start < end"
            raise UsageError(f"--events {path}, line {number}: expected {what}, received {name}, {start:g}, {label}")
        found[name].append((start, end, label))
    return found


def measured(
    model: keras.Model,
    spec: DataSpec,
    files: Sequence[Path],
    truth: Mapping[str, Sequence[tuple[float, float, str]]],
    hop: float | None,
) -> dict[str, Any]:
    """Return false alarms in an hour, and the share of the events that were heard, for several thresholds.

    An event is right if it overlaps one of the same class in the truth. Every other is a false alarm.

    Args:
        model: Trained classifier of sound.
        spec: Form of the run's data.
        files: Recordings.
        truth: Start, end and label of what is said in each, by the name of the file; nothing for a file that is absent.
        hop: Distance of the windows in seconds; None for a quarter of a clip.
    """
    seconds, said = 0.0, sum(map(len, truth.values()))
    counts = {threshold: [0, 0] for threshold in THRESHOLDS}
    for path in files:
        p, distance, length = heard(model, path, spec, hop)
        seconds += length
        expected = truth.get(path.name, ())
        for threshold, count in counts.items():
            alarms, hits = _compared(events(p, distance, spec, threshold), expected)
            count[0] += alarms
            count[1] += hits
    hours = seconds / 3600
    rows = [
        {
            "threshold": threshold,
            "false_alarms": alarms,
            "false_alarms_an_hour": alarms / hours if hours else math.nan,
            "heard": hits / said if said else None,
        }
        for threshold, (alarms, hits) in counts.items()
    ]
    return {"recordings": len(files), "hours": hours, "events": said, "thresholds": rows}


def _compared(found: Sequence[Event], truth: Sequence[tuple[float, float, str]]) -> tuple[int, int]:
    """Return the number of false alarms, and of events in the truth that were heard."""

    def right(event: Event) -> Iterator[int]:
        return (i for i, (a, b, label) in enumerate(truth) if label == event.label and event.overlaps(a, b))

    hits = {i for event in found for i in right(event)}
    return sum(next(right(event), None) is None for event in found), len(hits)
