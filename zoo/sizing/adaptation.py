"""Sizes that `zoo.train` chooses before training: the widths that a budget allows, and the fastest batch size.

A child process (`python -m zoo.sizing`) does the work, so that a batch that exhausts memory ends the child alone. This
module evaluates its answers. Standard library only.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import strategies
from strategies import processes
from zoo.config import defaults
from zoo.config.options import option
from zoo.config.train_config import TrainConfig, flag
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.console.values import Count
from zoo.sizing import widths
from zoo.system.machine import available_memory

# Share of the highest throughput that a batch size must reach; the largest such size is chosen.
NEARLY = 0.95
# First batch size to try, rounded up to a multiple of the replicas.
FIRST = 16
# Seconds allowed for each batch size, including compilation, before the child process is killed.
PATIENCE = 600.0
CHILD = "zoo.sizing"  # module that the child process runs


@dataclass(frozen=True, kw_only=True)
class Options(TrainConfig):
    """Options of `zoo.train`: a configuration, and the sizes to choose before training."""

    auto_batch: bool = option(
        "time a few steps with batches of 16, 32, ... and use the largest within 5 % of the fastest; the learning rate"
        " stays the same",
        False,
        group="optimisation",
    )
    target_params: Count | None = option(
        "maximum number of parameters, such as 50k or 1.2M: scales the model's widths by a common factor, except those"
        " given with --set",
        metavar="COUNT",
        group="model",
    )
    target_flops: Count | None = option(
        "maximum number of floating-point operations per example, such as 20M: scales widths like --target-params",
        metavar="COUNT",
        group="model",
    )


OWN = ("auto_batch", "target_params", "target_flops")


@dataclass(frozen=True)
class Wanted:
    """Sizes to choose before training.

    Args:
        auto_batch: Whether to choose the batch size.
        target: Quantity that limits the widths, or None to leave the widths unchanged.
        budget: Maximum of the target quantity.
        fixed: Constructor arguments chosen by the user, which stay unchanged.
    """

    auto_batch: bool
    target: Literal["params", "flops"] | None
    budget: int
    fixed: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.auto_batch or self.target is not None

    @property
    def option(self) -> str:
        """Option that sets the target, as typed."""
        return f"--target-{self.target}"


NOTHING = Wanted(auto_batch=False, target=None, budget=0, fixed=())


def separate(given: Mapping[str, Any]) -> tuple[dict[str, Any], Wanted]:
    """Separate the options of a configuration from the sizes to choose.

    Args:
        given: Options of `zoo.train`, by field name.

    Returns:
        The options of `TrainConfig`, and the sizes to choose.

    Raises:
        UsageError: If options contradict each other.
    """
    plain = {name: value for name, value in given.items() if name not in OWN}
    targets = {name: given[name] for name in ("target_params", "target_flops") if given.get(name) is not None}
    if len(targets) > 1:
        raise UsageError("--target-params and --target-flops: expected one of them, received both")
    for name, budget in targets.items():
        if budget < 1:
            raise UsageError(f"{flag(name)}: expected 1 or more, received {budget}")
    auto_batch = bool(given.get("auto_batch"))
    if auto_batch and given.get("batch_size") is not None:
        raise UsageError("--auto-batch and --batch-size: expected one of them, received both")
    if auto_batch and given.get("strategy") == "multi_worker":
        raise UsageError(
            "--auto-batch: expected a single-process strategy, received multi_worker, whose workers can only train"
            " together; use --batch-size"
        )
    name, budget = next(iter(targets.items()), (None, 0))
    target = name and name.removeprefix("target_")
    return plain, Wanted(auto_batch, target, int(budget), tuple(given.get("settings") or ()))


def resolved(plain: Mapping[str, Any], wanted: Wanted) -> TrainConfig:
    """Return the resolved configuration before adaptation. With `auto_batch`, its batch size is the first one to try.

    Args:
        plain: Options of `TrainConfig`, by field name.
        wanted: Sizes to choose.

    Raises:
        UsageError: If no run could use the options, or no width of the model can be scaled.
    """
    config = TrainConfig(**plain)
    if wanted.auto_batch:  # the default batch size may be one that the replicas do not divide
        replicas = strategies.replicas_without_looking(config.strategy, config.virtual_devices)
        config = dataclasses.replace(config, batch_size=first_size(replicas))
    config = config.resolved()
    if wanted.target:
        _free(config, wanted)
    return config


def _free(config: TrainConfig, wanted: Wanted) -> widths.Widths:
    return widths.scalable(config.model, config.settings, dict.fromkeys(wanted.fixed), wanted.option)


def differences(record: Mapping[str, Any] | None, wanted: Wanted) -> list[str]:
    """Return one text for each option that differs from those a run was started with.

    Args:
        record: Record of `adapted`, kept when the run was started.
        wanted: Sizes to choose according to the present options.
    """
    record = record or {}
    texts = []
    if wanted.auto_batch and "batch_size" not in record:
        texts.append("--auto-batch was not given, now it is")
    have = record.get("settings", {})
    if wanted.target and (have.get("option"), have.get("budget")) != (wanted.option, wanted.budget):
        was = f"{have['option']} was {have['budget']:,}" if have else f"{wanted.option} was not given"
        texts.append(f"{was}, now {wanted.option} is {wanted.budget:,}")
    return texts


def first_size(replicas: int) -> int:
    """Return the smallest batch size to try."""
    return -(-FIRST // replicas) * replicas


def chosen(tried: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the measurements of the largest batch size that is nearly as fast as the fastest, and of the fastest."""
    fastest = max(tried, key=lambda one: one["examples_per_second"])
    least = NEARLY * fastest["examples_per_second"]
    return max(
        (one for one in tried if one["examples_per_second"] >= least), key=lambda one: one["batch_size"]
    ), fastest


def adapted(config: TrainConfig, wanted: Wanted) -> tuple[TrainConfig, dict[str, Any]]:
    """Choose the wanted sizes and report them on standard error.

    Args:
        config: Configuration, as `resolved` returns it.
        wanted: Sizes to choose, as `separate` returns them.

    Returns:
        The configuration with the chosen sizes, and a JSON-serialisable record of the choice.

    Raises:
        UsageError: If the budget is too small, or training with the configuration is refused.
        strategies.StrategyError: If the strategy cannot run on this machine.
        Failed: If the smallest batch does not fit in memory, or its step fails.
    """
    job = {
        "config": config.to_json(),
        "auto_batch": wanted.auto_batch,
        "target": wanted.target,
        "budget": wanted.budget,
        "option": wanted.option,
        "free": _free(config, wanted) if wanted.target else {},
        "memory_bytes": available_memory(),
    }
    record: dict[str, Any] = {}
    tried: list[dict[str, Any]] = []
    for answer in _answers(job):
        kind = answer.pop("kind")
        if kind == "scaled":
            config, record["settings"] = _scaled(config, wanted, answer)
        elif kind == "timed":
            tried.append(answer)
            cli.say(
                f"batch {answer['batch_size']}: {answer['examples_per_second']:,.0f} examples/s,"
                f" {answer['milliseconds']:.1f} ms/step"
            )
        elif kind == "ended":
            cli.say(f"batch {answer['batch_size']}: {answer['reason']}")
            if not tried:
                raise Failed(f"--auto-batch: batch {answer['batch_size']}, the smallest: {answer['reason']}")
            record["batch_size"] = {"ended": answer}
    if wanted.auto_batch:
        config, found = _batch(config, tried)
        record["batch_size"] = found | record.get("batch_size", {})
    return config, record


def _scaled(config: TrainConfig, wanted: Wanted, answer: Mapping[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the configuration with the chosen widths, and their record."""
    found = {name: tuple(v) if isinstance(v, list) else v for name, v in answer["widths"].items()}
    before = {name: value for name, value in _free(config, wanted).items() if name in found}
    cli.say(
        f"{wanted.option} {wanted.budget:,}: {answer['reached']:,} with {widths.described(found)}"
        f" ({answer['factor']:.4g} times {widths.described(before)})"
    )
    record = {"option": wanted.option, "budget": wanted.budget, **answer, "scaled_from": before}
    return dataclasses.replace(config, settings={**config.settings, **found}), record


def _batch(config: TrainConfig, tried: Sequence[Mapping[str, Any]]) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the configuration with the chosen batch size, and its record."""
    best, fastest = chosen(tried)
    size, usual = best["batch_size"], defaults.defaults_for(config.model, config.dataset)()["batch_size"]
    cli.say(
        f"--auto-batch: {size}, the largest of {tried[0]['batch_size']} to {tried[-1]['batch_size']} within"
        f" {100 * (1 - NEARLY):.0f} % of the fastest ({fastest['batch_size']}:"
        f" {fastest['examples_per_second']:,.0f} examples/s). The learning rate stays {config.learning_rate:g}, tuned"
        f" for the default batch of {usual}"
    )
    record = {"option": "--auto-batch", "within": NEARLY, "recipe": usual, "tried": list(tried)}
    return dataclasses.replace(config, batch_size=size), record


def _answers(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a job in a child process and yield its answers; a crash while timing a batch becomes an `ended` answer."""
    root = Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryFile("w+", errors="replace") as chatter, _shown() as doing:
        child = subprocess.Popen(
            processes.command(CHILD),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=chatter, text=True, env=environment,
        )  # fmt: skip
        trying, late = None, None
        try:
            child.stdin.write(json.dumps(job, default=str))
            child.stdin.close()
            for line in child.stdout:
                if late:
                    late.cancel()
                answer = json.loads(line)
                if answer["kind"] == "refused":
                    raise UsageError(answer["text"])
                if answer["kind"] != "trying":
                    yield answer
                    trying = None
                    continue
                trying = answer["batch_size"]
                doing(f"timing batches of {trying}")
                late = threading.Timer(PATIENCE, child.kill)
                late.start()
            status = child.wait()
        finally:
            if late:
                late.cancel()
            child.kill()
            child.stdout.close()
            child.wait()
        if not status:
            return
        ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if trying is None:
            chatter.seek(0)
            said = chatter.read().strip().splitlines()
            raise Failed(f"the process that builds the model {ended}: {said[-1] if said else 'no message'}")
        yield {"kind": "ended", "batch_size": trying, "reason": f"does not fit: the process {ended}"}


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Show a status line on a terminal; yield the function that updates it."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("building the model") as status:
        yield status.update
