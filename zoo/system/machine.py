"""Facts about the environment that affect results: package versions, processor, cores. Standard library only."""

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

# Of this package; pyproject.toml has the same.
VERSION = "0.2.0"
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
# Environment variables that select kernels and thread counts.
_KERNELS = (
    *("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("TF_XLA_FLAGS", "XLA_FLAGS", "OMP_NUM_THREADS"),
)
# Instruction sets that determine kernel speed, named as Linux reports them on x86 and Arm.
_FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)


def versions() -> dict[str, str]:
    """Return the versions of the packages that a run depends on, of Python, and the platform."""
    found = {}
    for name in _VERSIONS_OF:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # optional package
            found[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), **found, "platform": platform.platform()}


def kernels() -> dict[str, str]:
    """Return those environment variables that select kernels and threads and are set."""
    return {name: os.environ[name] for name in _KERNELS if name in os.environ}


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes of memory available within the machine and the control group, or None if unknown."""
    left = []
    with contextlib.suppress(OSError, StopIteration):  # not Linux
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        left.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # not in a container, or in one without a limit
        group = Path("/sys/fs/cgroup")
        used = {name: int(n) for name, n in map(str.split, (group / "memory.stat").read_text().splitlines())}
        limit = int((group / "memory.max").read_text())
        left.append(limit - int((group / "memory.current").read_text()) + used["inactive_file"])
    return min(left, default=None)


def processor() -> dict[str, Any]:
    """Return the processor's name, its speed-relevant instruction sets and the cores this process may use."""
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
