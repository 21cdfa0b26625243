"""Windows of series, and what is normal in them or in other data."""

from dataclasses import dataclass

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("windows and anomalies")
class SensorOptions:
    """Windows of series, and what is normal in them or in other data."""

    window: int | None = option(
        "number of samples in a window: --data is then a table or an .npz file of samples in time, or a folder of them,"
        " and each window is an example; see docs/guides/sensors.md",
        within=(2, 1_000_000),
    )
    hop: int | None = option(
        "number of samples from the start of one window to the start of the next (default: --window, so that they do"
        " not overlap)",
        within=(1, 1_000_000),
    )
    normal_class: tuple[str, ...] | None = option(
        "class or classes that are normal: a detector of anomalies is trained on them alone (default: the only class"
        " with training examples, or else the one called normal, good, ok, healthy or 0)",
        metavar="NAME[,...]",
    )
    false_alarm_rate: float | None = option(
        "share of the normal validation examples whose scores may exceed the threshold (default: 0.01)",
        within=(0, 0.5),
    )
