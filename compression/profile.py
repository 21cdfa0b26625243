"""`python -m compression.profile`: what a .tflite file takes on a device, measured without the device."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.devices import targets
from compression.devices.targets import Target
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.values import Hertz

# Layers in the table; --json lists all.
SHOWN = 12
EXAMPLES = 4  # random inputs on which TFLite Micro is compared with LiteRT


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to profile, and for which device."""

    file: Path = option(".tflite file", positional=True, stock_as="file")
    target: Target = option(
        "tflm is TFLite Micro on any processor, ethos-uXX-N an Arm accelerator with N multiply-adds in a cycle,"
        " cortex-m7 adds an estimate of its cycles, edgetpu checks the published rules of its compiler",
        "tflm",
    )
    clock: Hertz | None = option(
        "clock of the device, for the time of one inference on cortex-m7 or ethos-uXX-N, such as 80MHz (default: the"
        " one that Vela assumes)",
        metavar="HZ",
    )
    compiled: Path | None = option("path for the file that Vela compiles for the accelerator", metavar="FILE")

    def __post_init__(self) -> None:
        if self.clock is not None and self.target not in targets.COUNTED:
            raise UsageError(
                f"--clock {self.clock / 1e6:g}MHz: expected together with a target whose cycles are counted, cortex-m7"
                f" or an accelerator such as {targets.DEFAULT}, received --target {self.target}"
            )
        if self.compiled is not None and self.target not in targets.NPUS:
            raise UsageError(
                f"--compiled {self.compiled}: expected together with an accelerator such as --target"
                f" {targets.DEFAULT}, received --target {self.target}"
            )
        if self.compiled is not None and not self.compiled.absolute().parent.is_dir():
            raise UsageError(f"--compiled {self.compiled}: expected a path in a folder that exists")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a file for a device, and return the numbers."""
    options = Options(**given)
    targets.check_installed(["python -m compression.profile"])
    from compression.devices import profile
    from compression.flatbuffers import flatbuffer

    model = flatbuffer.read(options.file)
    found = profile.measure(options.file, options.target, examples=EXAMPLES, compiled=options.compiled)
    return {
        "path": str(options.file),
        "bytes": options.file.stat().st_size,
        "operators": flatbuffer.operators(model),
        **found,
        "clock_hz": options.clock or found.get("clock_hz"),
        "milliseconds": profile.milliseconds(found, options.clock),
        "versions": targets.versions(),
    }


def show(result: Mapping[str, Any]) -> None:
    """Print flash, arena, operators and cycles, what cannot run and why, the heaviest layers, and last the file."""
    for line in in_words(result):
        print(line)
    heavy = sorted(result.get("layers", ()), key=lambda row: -row["cycles"])
    if result.get("cycles"):
        rows = [
            (row["layer"], " ".join(row["operators"]), f"{row['cycles']:,}", f"{row['sram_bytes']:,}")
            for row in heavy[:SHOWN]
        ]
        cli.table(("layer", "operators", "cycles", "SRAM bytes"), rows)
        if len(heavy) > SHOWN:
            print(f"{len(heavy) - SHOWN} lighter layers are not listed; --json lists all")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    print(result["path"])


def in_words(result: Mapping[str, Any]) -> list[str]:
    """Return the lines about a profile."""
    compiled = " for the compiled file" if "compiled_bytes" in result else ""
    lines = [f"flash {result['flash_bytes']:,} bytes{compiled} besides code, {result['weights_bytes']:,} of weights"]
    if "refused" in result:
        lines.append(result["refused"])
    else:
        lines.append(
            f"arena {result['arena_bytes']:,} bytes in TFLite Micro on a 64-bit machine:"
            f" {result['activation_bytes']:,} of activations, {result['persistent_bytes']:,} of structures, which take"
            " less on a 32-bit microcontroller"
        )
    if "largest_difference" in result:
        lines.append(f"largest difference of TFLite Micro from LiteRT: {result['largest_difference']:g}")
    names = result["register"]
    lines.append(f"register {len(names)} operators: {', '.join(names)}")
    if "npu_refused" in result:
        lines.append(result["npu_refused"])
    elif "npu_share" in result:
        lines += _accelerator(result)
    if "cycles_estimated" in result:
        lines.append(
            f"estimate: {result['cycles_estimated']:,} cycles for {result['multiply_adds']:,} multiply-adds"
            f"{_at(result)}, from {result['source']}"
        )
    if "estimate_refused" in result:
        lines.append(f"no estimate of cycles: {result['estimate_refused']}")
    if "tpu_share" in result:
        lines.append(
            f"Edge TPU: {result['tpu_share']:.0%} of the operators come before the first that its compiler would"
            f" refuse ({result['rules']})"
        )
    lines += [
        f"on the processor: {row['operator']} of layer {row['layer']}: {row['reason']}" for row in _on_cpu(result)
    ]
    return lines


def _accelerator(result: Mapping[str, Any]) -> list[str]:
    share = f"{result['target']}: {result['npu_share']:.0%} of the operators run on the accelerator"
    if result["cycles"] is None:
        return [f"{share}; recipe int8 makes a file for it"]
    return [
        f"{share}, {result['cycles']:,} cycles{_at(result)}, {result['sram_bytes']:,} bytes of SRAM"
        f" ({result['system']}, {result['memory_mode']})"
    ]


def _at(result: Mapping[str, Any]) -> str:
    if result["milliseconds"] is None:
        return ""
    return f" ({result['milliseconds']:.3f} ms at {result['clock_hz'] / 1e6:g} MHz)"


def _on_cpu(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the first refusal of each operator."""
    return list({row["operator"]: row for row in reversed(result.get("on_cpu", ()))}.values())[::-1]


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m compression.profile runs/digits/artifacts/int8.tflite",
        "python -m compression.profile int8.tflite --target ethos-u55-128 --compiled int8_vela.tflite",
        "python -m compression.profile int8.tflite --target cortex-m7 --clock 216MHz",
    ),
    prog="python -m compression.profile",
    description="Show flash, arena, operators and cycles that a .tflite file takes on a device, without the device.",
)


if __name__ == "__main__":
    sys.exit(main())
