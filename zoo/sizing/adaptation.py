"""What `zoo.train` finds out before it trains: the widths that a budget allows, and the batch that is fastest.

Standard library only. The work is done in a child process (`zoo.sizing`), whose death by lack of memory says
that a size does not fit; here its answers are read and judged.
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
from zoo.config import defaults
from zoo.config.options import option
from zoo.config.train_config import TrainConfig, flag
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.console.values import Count
from zoo.sizing import widths
from zoo.system.machine import available_memory

# A larger batch is taken for the fastest if its examples a second are at least this share of the most.
NEARLY = 0.95
# Where doubling begins, as near as the replicas divide it.
FIRST = 16
# Seconds that a size may take, the compilation of its step among them, before the child is stopped.
PATIENCE = 600.0
CHILD = ("-m", "zoo.sizing")


@dataclass(frozen=True, kw_only=True)
class Options(TrainConfig):
    """The options of `zoo.train`: a configuration, and what is found out of it before it trains."""

    auto_batch: bool = option(
        "time a few steps of batches of 16, 32, ... and take the largest that is within 5 % of the fastest; the"
        " learning rate stays",
        False,
        group="optimisation",
    )
    target_params: Count | None = option(
        "multiply the model's widths by the largest factor with which it has at most this many parameters, such as 50k"
        " or 1.2M; those of --set stay",
        metavar="COUNT",
        group="model",
    )
    target_flops: Count | None = option(
        "the same for the floating-point operations of one example, such as 20M", metavar="COUNT", group="model"
    )


OWN = ("auto_batch", "target_params", "target_flops")


@dataclass(frozen=True)
class Wanted:
    """What is to be found out.

    Args:
        auto_batch: whether the batch size is.
        target: what the widths are chosen by, if they are.
        budget: the most of it.
        fixed: constructor arguments that the user chose.
    """

    auto_batch: bool
    target: Literal["params", "flops"] | None
    budget: int
    fixed: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.auto_batch or self.target is not None

    @property
    def option(self) -> str:
        """The option of the target, as typed."""
        return f"--target-{self.target}"


NOTHING = Wanted(auto_batch=False, target=None, budget=0, fixed=())


def separate(given: Mapping[str, Any]) -> tuple[dict[str, Any], Wanted]:
    """Return the options of a configuration, and what is to be found out of it.

    Args:
        given: options of `zoo.train`, by field name.

    Raises:
        UsageError: options that contradict each other.
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
            "--auto-batch: expected a strategy of one process, received multi_worker, whose workers only"
            " train together; give --batch-size"
        )
    name, budget = next(iter(targets.items()), (None, 0))
    target = name and name.removeprefix("target_")
    return plain, Wanted(auto_batch, target, int(budget), tuple(given.get("settings") or ()))


def resolved(plain: Mapping[str, Any], wanted: Wanted) -> TrainConfig:
    """Return the resolved configuration that is to be adapted; with `auto_batch` its batch is the first that is tried.

    Raises:
        UsageError: options that no run could use, or a model whose widths no target can change.
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
    """Return one text for each option that contradicts what was found out when a run began."""
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
    """Return the smallest batch that is tried."""
    return -(-FIRST // replicas) * replicas


def chosen(tried: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the largest batch that is nearly as fast as the fastest, and the fastest; each as it was timed."""
    fastest = max(tried, key=lambda one: one["examples_per_second"])
    least = NEARLY * fastest["examples_per_second"]
    return max(
        (one for one in tried if one["examples_per_second"] >= least), key=lambda one: one["batch_size"]
    ), fastest


def adapted(config: TrainConfig, wanted: Wanted) -> tuple[TrainConfig, dict[str, Any]]:
    """Find out what is wanted, say it on standard error, and return the configuration with it, and a record of it.

    Args:
        config: of `resolved`.
        wanted: of `separate`.

    Raises:
        UsageError: a budget that is too small, or what `zoo.training.loop.train` raises it for.
        strategies.StrategyError: the strategy cannot run here.
        Failed: not even the smallest batch fits, or its step fails.
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
                f" {answer['milliseconds']:.1f} ms a step"
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
    """Return the configuration with the widths that were found, and their record."""
    found = {name: tuple(v) if isinstance(v, list) else v for name, v in answer["widths"].items()}
    before = {name: value for name, value in _free(config, wanted).items() if name in found}
    cli.say(
        f"{wanted.option} {wanted.budget:,}: {answer['reached']:,} reached with {widths.described(found)}, which is"
        f" {answer['factor']:.4g} times {widths.described(before)}"
    )
    record = {"option": wanted.option, "budget": wanted.budget, **answer, "scaled_from": before}
    return dataclasses.replace(config, settings={**config.settings, **found}), record


def _batch(config: TrainConfig, tried: Sequence[Mapping[str, Any]]) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the configuration with the batch that is chosen, and its record."""
    best, fastest = chosen(tried)
    size, usual = best["batch_size"], defaults.defaults_for(config.model, config.dataset)()["batch_size"]
    cli.say(
        f"--auto-batch: {size}, the largest of {tried[0]['batch_size']} to {tried[-1]['batch_size']} within"
        f" {100 * (1 - NEARLY):.0f} % of the fastest ({fastest['batch_size']}:"
        f" {fastest['examples_per_second']:,.0f} examples/s). The default is {usual}; the learning rate stays"
        f" {config.learning_rate:g}, chosen for that"
    )
    record = {"option": "--auto-batch", "within": NEARLY, "recipe": usual, "tried": list(tried)}
    return dataclasses.replace(config, batch_size=size), record


def _answers(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Let a child do a job, and yield what it says; its death while it tries a batch is what `ended` says."""
    root = Path(__file__).parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryFile("w+", errors="replace") as chatter, _shown() as doing:
        child = subprocess.Popen(
            [sys.executable, *CHILD],
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
        yield {"kind": "ended", "batch_size": trying, "reason": f"does not fit: its process {ended}"}


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; yields what says it."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("building the model") as status:
        yield status.update
