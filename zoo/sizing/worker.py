"""Work of the child process of `zoo.sizing.adaptation`: scale a model's widths and time its training steps."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import strategies
from strategies import backend
from zoo.config.train_config import TrainConfig

Say = Callable[..., None]


def work(job: Mapping[str, Any], say: Say) -> None:
    """Do a job and report each result as soon as it is known.

    Args:
        job: Job as `zoo.sizing.adaptation.adapted` writes it.
        say: Function that receives the kind of a message and its values.
    """
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
    """Make this process the first to be killed when memory runs out, and limit the memory it may still allocate."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    if memory_bytes is None:
        return
    import resource

    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    limit = 1024 * int(facts["VmData"].split()[0]) + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
