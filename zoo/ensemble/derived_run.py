"""Run folders derived from trained classifiers, as `zoo.ensemble` and `zoo.calibrate` create and show them."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from strategies import backend
from zoo.config.catalogue import check_source
from zoo.config.train_config import ON_ONE_DEVICE, TrainConfig, command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.ensemble.members import Member
from zoo.runs.folder import RunFolder, default_output

SOUPS = ("soup", "greedy_soup")


def made(
    members: Sequence[Member], method: str, given: Mapping[str, Any], command: str = "zoo.ensemble", **how: Any
) -> dict[str, Any]:
    """Create a run from members, and return its folder and metrics.

    Args:
        members: Classifiers accepted by `zoo.ensemble.members`.
        method: Method that combines them, see `zoo.ensemble.ensembling.Method`.
        given: Options of the command, of which `data_dir` and `output` are used.
        command: Module of the command.
        how: Further arguments of `zoo.ensemble.ensembling.make`.
    """
    config = _configuration(members, method, given)
    folder = RunFolder(config.output)
    folder.check_free()
    check_source(config)
    backend.start()
    from zoo.ensemble import ensembling
    from zoo.runs import examples
    from zoo.runs.inference import load_like

    data = load_like(members[0].run, config)
    for member in members[1:]:
        if count := examples.moved_from_training(member.run, data):
            raise UsageError(
                f"RUN {member.name}: expected the same splits as {members[0].name}, and it was trained on {count:,} of"
                f" the {len(data.test):,} test examples, as the data changed between the trainings; train it again"
            )
    words = ["python", "-m", command, *sys.argv[1:]]
    with folder.lock():
        metrics = ensembling.make(members, method, folder, config, data, command=words, **how)
    return {"run": str(folder.path), **metrics}


def _configuration(members: Sequence[Member], method: str, given: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of the new run: that of the first member, on one device."""
    first = members[0].config
    changes = {"data_dir": given["data_dir"]} if "data_dir" in given else {}
    if method not in SOUPS:
        changes |= {"model": "ensemble", "settings": None}
    config = dataclasses.replace(first, **ON_ONE_DEVICE, freeze=None, output=None, **changes)
    output = given.get("output") or default_output(config)
    return dataclasses.replace(config, output=output)


def show(result: Mapping[str, Any]) -> None:
    """Print the members, the scores of the result, the next command, and last the run folder."""
    from zoo import tasks
    from zoo.ensemble import ensembling

    cli.table(*ensembling.table(result["members"]))
    task = tasks.of(RunFolder(result["run"]).task)
    print(f"test {task.headline(result['test'], result['intervals'])}")
    measured, how = result["calibration"]["test"], ""
    if before := result["calibration"].get("test_before"):
        how = f" at temperature {result['calibration']['temperature']:.3f} (ECE {before['ece']:.4f} before)"
    print(f"calibration error (ECE) {measured['ece']:.4f}, Brier score {measured['brier']:.4f}{how}")
    print(f"report: {result['run']}/report.html")
    print(f"next:   {command_line('compression.compress', result['run'], '--recipe', 'float32')}")
    print(result["run"])
