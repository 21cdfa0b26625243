"""What numbers depend on besides the code: versions, the processor, its cores. Standard library only."""

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

_VERSIONS_OF = (
    "keras",
    "tensorflow",
    "numpy",
    "scikit-learn",
    "pillow",
    "tokenizers",
    "tensorflow-datasets",
    "ai-edge-litert",
    "litert-quantizer",
    "tf_keras",
    "onnxruntime",
    "jax",
    "river",
)
# Of the environment, what decides which kernels compute and on how many threads.
_KERNELS = (
    *("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("TF_XLA_FLAGS", "XLA_FLAGS", "OMP_NUM_THREADS"),
)
# Instructions that decide how fast a kernel is, as Linux names them on x86 and on Arm.
_FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)


def versions() -> dict[str, str]:
    """Return the versions that a run depends on, and the machine's kind."""
    found = {}
    for name in _VERSIONS_OF:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # optional, or not on this host
            found[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), **found, "platform": platform.platform()}


def kernels() -> dict[str, str]:
    """Return the variables of the environment that choose kernels and threads, as far as they are set."""
    return {name: os.environ[name] for name in _KERNELS if name in os.environ}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes of memory that are left to this process' group and this machine; None where nothing says so."""
    left = []
    with contextlib.suppress(OSError, StopIteration):  # not Linux
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        left.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        group = Path("/sys/fs/cgroup")
        used = {name: int(n) for name, n in map(str.split, (group / "memory.stat").read_text().splitlines())}
        limit = int((group / "memory.max").read_text())
        left.append(limit - int((group / "memory.current").read_text()) + used["inactive_file"])
    return min(left, default=None)


def processor() -> dict[str, Any]:
    """Return the processor's name, those of its instructions that decide speed, and the cores of this process."""
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return {
        "name": facts.get("model name") or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "features": [name for name in _FEATURES if name in flags],
        "cores": cores(),
    }
