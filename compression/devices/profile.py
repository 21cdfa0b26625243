"""What a file takes on a device: flash, arena, operators and cycles, in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compression.devices import arena, cortex_m, edge_tpu, micro, vela
from compression.devices.targets import DEFAULT, NPUS, versions
from compression.flatbuffers import flatbuffer

# Parts of a section that a budget can limit.
LIMITED = ("arena_bytes", "flash_bytes", "cycles")


def section(path: Path, target: str = DEFAULT) -> dict[str, Any]:
    """Return the section `device` of a file's receipt: everything that can be measured without an input.

    Args:
        path: Path of the file.
        target: Accelerator, one of `targets.NPUS`.

    Returns:
        What `measure` returns, with the versions of the packages that measured it; empty unless they are installed.
    """
    installed = versions()
    return measure(path, target) | {"versions": installed} if installed else {}


def measure(path: Path, target: str, *, examples: int = 0, compiled: Path | None = None) -> dict[str, Any]:
    """Return what a file takes on a device.

    Args:
        path: Path of the file.
        target: Device, one of `targets.Target`.
        examples: Number of random inputs on which TFLite Micro's outputs are compared with LiteRT's.
        compiled: Path for the file that Vela compiles for an accelerator; None to keep none.

    Returns:
        target; weights_bytes; flash_bytes, the size of what is flashed besides code: the file, or for an accelerator
        the compiled one; register, the methods that register the operators; and what `arena.measure` returns. With an
        accelerator also what `vela.measure` returns, its `refused` as `npu_refused`; with cortex-m7 what
        `cortex_m.estimate` returns, its `refused` as `estimate_refused`; with edgetpu what `edge_tpu.check` returns.
    """
    model = flatbuffer.read(path)
    size = path.stat().st_size
    found = {
        "target": target,
        "weights_bytes": sum(row["bytes"] for row in flatbuffer.constants(model)),
        "flash_bytes": size,
        "register": [method for method in map(micro.method, flatbuffer.operators(model)) if method],
        **arena.measure(path, examples),
    }
    if target in NPUS:
        on_npu = vela.measure(path, target, compiled)
        found["flash_bytes"] = on_npu.get("compiled_bytes", size)
        found |= _renamed(on_npu, "npu_refused")
    elif target == "cortex-m7":
        found |= _renamed(cortex_m.estimate(model), "estimate_refused")
    elif target == "edgetpu":
        found |= edge_tpu.check(model)
    return found


def _renamed(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name if key == "refused" else key: value for key, value in found.items()}


def milliseconds(found: Mapping[str, Any], clock: float | None) -> float | None:
    """Return the time of one inference at a clock, from cycles that were estimated or simulated; None without cycles.

    Args:
        found: What `measure` returned.
        clock: Cycles a second; None for the clock that Vela assumes.
    """
    cycles = found.get("cycles") or found.get("cycles_estimated")
    hertz = clock or found.get("clock_hz")
    return 1000 * cycles / hertz if cycles and hertz else None
