"""Cluster of workers, read from the environment of this process. Standard library only.

TensorFlow, Kubeflow's TFJob and `strategies.launch` use TF_CONFIG. Inside a SLURM step the variables of `srun` suffice.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategies.errors import StrategyError

# Base port of a SLURM step, and range of the offset derived from the job id, so that two jobs can share a node.
SLURM_PORTS, SLURM_SPREAD = 20_000, 10_000
_HOW = "`python -m strategies.launch --workers 2 -- COMMAND` starts a cluster on this machine"


@dataclass(frozen=True)
class Cluster:
    """Workers that train together.

    Args:
        workers: Address host:port of each worker. The first is the chief, the only one that writes results.
        index: Index of this worker.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    @property
    def port(self) -> int:
        """Port this worker listens on."""
        return int(self.workers[self.index].rpartition(":")[2])

    def name(self, index: int) -> str:
        """Return a worker's name for messages."""
        return f"worker {index} ({self.workers[index]})"


def from_environment(environ: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster this process belongs to.

    Args:
        environ: Environment variables, by default those of this process.

    Raises:
        StrategyError: If the environment describes no cluster, or an invalid one.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TF_CONFIG"):
        return _from_tf_config(environ["TF_CONFIG"])
    if "SLURM_STEP_NODELIST" in environ:
        return _from_slurm(environ)
    raise StrategyError(
        "strategy 'multi_worker': expected a cluster in the environment, TF_CONFIG or the variables of a SLURM step,"
        f" found neither; {_HOW}"
    )


def _from_tf_config(text: str) -> Cluster:
    def refuse(what: str) -> StrategyError:
        return StrategyError(f"TF_CONFIG: expected {what}, received {text if len(text) <= 200 else text[:197] + '...'}")

    form = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, task = dict(config["cluster"]), dict(config["task"])
        kind, index = task["type"], int(task["index"])
        if not all(isinstance(found, list) for found in jobs.values()):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        raise refuse(f"JSON of the form {form}") from None
    if others := sorted(set(jobs) - {"chief", "worker"}):
        raise refuse(f"workers and at most one chief, no {', '.join(others)}")
    # A separately listed chief becomes the first worker.
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1:
        raise refuse("at most one chief")
    if not chiefs + workers:
        raise refuse("at least one worker")
    if kind not in jobs:
        raise refuse(f"a task type among {', '.join(sorted(jobs))}")
    if not 0 <= index < len(jobs[kind]):
        raise refuse(f"a task index from 0 to {len(jobs[kind]) - 1}, the workers of its cluster")
    return Cluster(_checked([*chiefs, *workers], refuse), index + (len(chiefs) if kind == "worker" else 0))


def _checked(addresses: list[Any], refuse: Any) -> tuple[str, ...]:
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise refuse(f"HOST:PORT with a port from 1 to 65535 instead of {address!r}")
    if len(set(addresses)) < len(addresses):
        raise refuse("a different address for each worker")
    return tuple(addresses)


def _from_slurm(environ: Mapping[str, str]) -> Cluster:
    def number(name: str) -> int:
        text = environ.get(name, "")
        if not text.isdecimal():
            raise StrategyError(f"{name}: expected an integer, as srun sets it, received {text!r}")
        return int(text)

    hosts = expand_hosts(environ["SLURM_STEP_NODELIST"])
    tasks = _tasks_of_each(environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    index, count = number("SLURM_PROCID"), number("SLURM_STEP_NUM_TASKS")
    if len(tasks) != len(hosts) or sum(tasks) != count or not index < count:
        raise StrategyError(
            f"SLURM: expected {count} tasks on {len(hosts)} nodes, including this one, received"
            f" SLURM_STEP_TASKS_PER_NODE={environ.get('SLURM_STEP_TASKS_PER_NODE')}, SLURM_PROCID={index}"
        )
    first = SLURM_PORTS + number("SLURM_JOB_ID") % SLURM_SPREAD
    workers = [f"{host}:{first + i}" for host, here in zip(hosts, tasks, strict=True) for i in range(here)]
    return Cluster(tuple(workers), index)


def expand_hosts(text: str) -> list[str]:
    """Return the host names of a SLURM host list: `n[01-02,7],m` is n01, n02, n7 and m.

    Raises:
        StrategyError: If the text is not a host list.
    """
    hosts = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?|.", re.sub(r"\s", "", text)):
        if part == ",":
            continue
        match = re.fullmatch(r"([^,\[\]]+)(?:\[(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\])?", part)
        if not match:
            raise StrategyError(f"SLURM_STEP_NODELIST: expected names such as node[01-04], received {text!r}")
        for numbers in (match[2] or "").split(","):
            first, _, last = numbers.partition("-")
            width = len(first)
            suffixes = [f"{i:0{width}}" for i in range(int(first), int(last or first) + 1)] if numbers else [""]
            hosts += [match[1] + suffix for suffix in suffixes]
    return hosts


def _tasks_of_each(text: str) -> list[int]:
    """Return the number of tasks on each node: `2(x3),1` is 2, 2, 2 and 1."""
    tasks = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise StrategyError(f"SLURM_STEP_TASKS_PER_NODE: expected numbers such as 2(x3),1, received {text!r}")
        tasks += [int(match[1])] * int(match[2] or 1)
    return tasks
