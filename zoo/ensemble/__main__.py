"""`python -m zoo.ensemble`: several trained classifiers as one, in a run folder like any other."""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strategies import backend
from zoo.config.catalogue import check_source
from zoo.config.train_config import ON_ONE_DEVICE, TrainConfig, command_line, option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.ensemble.members import Member, check_same_architecture, members_of
from zoo.runs.folder import RunFolder, default_output

SOUPS = ("soup", "greedy_soup")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make one of, and how."""

    runs: tuple[Path, ...] = option(
        "run folders of classifiers of the same data, or one that kept snapshots",
        positional=True,
        metavar="RUN",
        stock="run",
    )
    method: Literal["soft", "weighted", "stacking", "soup", "greedy_soup"] = option(
        "the mean of probabilities, a weighted mean, a head over all, or one model with the mean of all weights, or of"
        " those that help",
        "soft",
    )
    weights: tuple[float, ...] | None = option(
        "of the weighted mean, one a run (default: fitted to the validation examples)", metavar="X,X,..."
    )
    calibrate: bool = option("divide the logits by the temperature that fits the validation examples best", False)
    output: Path | None = option("the run folder to write (default: runs/ensemble-DATA)")
    data_dir: Path | None = option("where TFDS sets are prepared (default: the first run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make one of the runs, and return its folder and metrics."""
    options = Options(**given)
    members = members_of(options.runs)
    _check(options, members)
    return made(members, options.method, given, weights=options.weights, calibrate=options.calibrate)


def made(
    members: Sequence[Member], method: str, given: Mapping[str, Any], command: str = "zoo.ensemble", **how: Any
) -> dict[str, Any]:
    """Make one of members, and return its folder and metrics.

    Args:
        members: that `zoo.ensemble.members` has let pass.
        method: how.
        given: a command's options; data_dir and output are taken from it.
        command: its module.
        how: see `zoo.ensemble.ensembling.make`.
    """
    config = _configuration(members, method, given)
    folder = RunFolder(config.output)
    folder.check_free()
    check_source(config)
    backend.start()
    from zoo.ensemble import ensembling
    from zoo.runs.inference import load_like

    data = load_like(members[0].run, config)
    words = ["python", "-m", command, *sys.argv[1:]]
    with folder.lock():
        metrics = ensembling.make(members, method, folder, config, data, command=words, **how)
    return {"run": str(folder.path), **metrics}


def _check(options: Options, members: Sequence[Member]) -> None:
    """Raise UsageError where options and members do not fit together."""
    weights = options.weights
    if weights is not None:
        said = f"--weights {','.join(f'{w:g}' for w in weights)}"
        if options.method != "weighted":
            raise UsageError(f"{said}: expected with --method weighted, received with {options.method}")
        if len(weights) != len(members):
            raise UsageError(f"{said}: expected one for each of the {len(members)} members, received {len(weights)}")
        if min(weights) < 0 or not sum(weights) > 0:
            raise UsageError(f"{said}: expected numbers of 0 or more, and one above it")
    if options.method in SOUPS:
        check_same_architecture(members)
        if options.calibrate:
            raise UsageError(
                f"--calibrate: expected with votes or a head; a {options.method} is one model of the members' kind,"
                " which python -m zoo.calibrate takes"
            )


def _configuration(members: Sequence[Member], method: str, given: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of the new run: how the first member was trained, on one device."""
    first = members[0].config
    changes = {"data_dir": given["data_dir"]} if "data_dir" in given else {}
    if method not in SOUPS:
        changes |= {"model": "ensemble", "settings": None}
    config = dataclasses.replace(first, **ON_ONE_DEVICE, freeze=None, output=None, **changes)
    output = given.get("output") or default_output(config)
    return dataclasses.replace(config, output=output)


def show(result: Mapping[str, Any]) -> None:
    """Print the members and what they are together, what to do next, and last the folder."""
    from zoo import tasks
    from zoo.ensemble import ensembling

    cli.table(*ensembling.table(result["members"]))
    print(f"test {tasks.of('classification').headline(result['test'], result['intervals'])}")
    measured, how = result["calibration"]["test"], ""
    if before := result["calibration"].get("test_before"):
        how = f", at temperature {result['calibration']['temperature']:.3f}; before: ECE {before['ece']:.4f}"
    print(f"calibration error (ECE) {measured['ece']:.4f}, Brier score {measured['brier']:.4f}{how}")
    print(f"report: {result['run']}/report.html")
    print(f"next:   {command_line('compression.compress', result['run'], '--recipe', 'float32')}")
    print(result["run"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.ensemble",
    description="Make several trained classifiers into one, in a run folder like any other.",
)


if __name__ == "__main__":
    sys.exit(main())
