"""`python -m zoo.sizing`: build a model and time its steps, in a process that may die of it.

The parent is `zoo.sizing.adaptation`, which writes a job to standard input and reads an answer a line.
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import strategies
from strategies import backend
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError

Say = Callable[..., None]


def work(job: Mapping[str, Any], say: Say) -> None:
    """Do a job of `zoo.sizing.adaptation.adapted`, and say what is found as it is."""
    config = TrainConfig.from_json(job["config"])
    backend.start(strategies.engine(config.strategy), config.virtual_devices)
    from zoo.sizing import scaling, step_times
    from zoo.training.data import load_data

    data, replicas = load_data(config), 1
    if job["auto_batch"]:  # before a model is traced, which fixes the devices
        strategy = strategies.build(config.strategy, config.virtual_devices, model_devices=config.model_devices)
        replicas = strategy.num_replicas_in_sync
    if job["target"]:
        free = {name: tuple(value) if isinstance(value, list) else value for name, value in job["free"].items()}
        found = scaling.scaled(
            config, data.spec, free, target=job["target"], budget=job["budget"], option=job["option"]
        )
        say("scaled", **dataclasses.asdict(found))
        config = dataclasses.replace(config, settings=config.settings | found.widths)
    if job["auto_batch"]:
        _be_expendable(job["memory_bytes"])
        step_times.measure(config, data, replicas, say)


def _be_expendable(memory_bytes: int | None) -> None:
    """Let a lack of memory end this process, and no other; it may take so many bytes more than it has."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    if memory_bytes is None:
        return
    import resource

    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    limit = 1024 * int(facts["VmData"].split()[0]) + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Read the job, do it, and answer; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, **values: Any) -> None:
        answers.write(json.dumps({"kind": kind, **values}) + "\n")
        answers.flush()

    try:
        work(json.load(sys.stdin), say)
    except (UsageError, strategies.StrategyError) as error:
        say("refused", text=str(error))


if __name__ == "__main__":
    main()
