"""Training steps on one GPU: Keras on JAX beside PyTorch, eager and compiled by `torch.compile`.

Three networks: ResNet-50 for pictures of 224x224 pixels, a language model of GPT-2's smallest size with 1,024 tokens,
and the small `cnn`. The zoo's side is the model, the loss, the metrics and the optimizer that `zoo.train` has on JAX;
PyTorch has a network with the same weights, autocast for bfloat16, fused Adam, channels_last for images and its fused
attention, and no metrics. All sides use Adam without clipping, weights in float32, and one batch of random numbers that
stays on the card. In float32, TF32 is off.

Each side has a process of its own. Times are medians of steps, after each of which the card is waited for; the memory
is the peak of the framework's allocator. The operations are those of products and convolutions, the same for every
side. Their rate is divided by the published dense peak of the card.

Ten minutes on one NVIDIA GPU, with the extras `jax` and `peers` and JAX built for CUDA: pip install 'jax[cuda12]'.
"""

import dataclasses
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.commands import told
from benchmarks.gpu_sizes import NETWORKS, QUICK, Network, card_of, fitting_batch, flops, peak
from zoo.console.errors import Failed
from zoo.isolation import child

# By name: module that runs the side, and whether PyTorch compiles its step.
SIDES = {
    "zoo on JAX": ("benchmarks.gpu_zoo", False),
    "PyTorch": ("benchmarks.gpu_pytorch", False),
    "PyTorch, compiled": ("benchmarks.gpu_pytorch", True),
}
# Time limits in seconds of one side, and of all.
SECONDS, SECONDS_OF_ALL = 150.0, 600.0
# Longest text of an error that is kept.
LETTERS = 300


def missing(quick: bool) -> str | None:
    """Return what the benchmark expects and this machine does not have, None if it can run.

    Args:
        quick: Whether only tiny sizes run, on the CPU.
    """
    if quick or gpu():
        return None
    return "expected an NVIDIA GPU that nvidia-smi lists, found none; --quick runs tiny sizes on the CPU"


def gpu() -> dict[str, Any] | None:
    """Return the number, the name and the bytes of memory of the first GPU in use, None if there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "":
        return None
    number = (visible or "0").split(",")[0]
    asked = ["nvidia-smi", "-i", number, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
        name, mebibytes = done.stdout.strip().rsplit(",", 1)
        return {"number": number, "name": name.strip(), "memory": int(mebibytes) << 20}
    except (OSError, subprocess.SubprocessError, ValueError):  # not installed, no such card, or no numbers of it
        return None


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return a row for each network and side; a side that fails has its reason.

    Args:
        data_dir: Unused, because the examples are random.
        quick: Whether to run tiny sizes on the CPU.
    """
    card, began, rows = None if quick else gpu(), time.monotonic(), []
    for name, network in (QUICK if quick else NETWORKS).items():
        if card and not network.batch:
            network = dataclasses.replace(network, batch=fitting_batch(network, card["memory"]))
        for side in SIDES:
            left = SECONDS_OF_ALL - (time.monotonic() - began)
            row = {"network": name, "side": side, "batch": network.batch, "precision": network.precision}
            rows.append(told(row | _measured(network, side, card, min(SECONDS, left))))
    return {"device": card["name"] if card else "CPU", "rows": rows}


def _measured(network: Network, side: str, card: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    """Run a side in its process, and return what it measured, or why it failed."""
    if seconds <= 0:
        return {"failed": f"the {SECONDS_OF_ALL:g} s of the benchmark were over"}
    module, compiled = SIDES[side]
    job = {"network": dataclasses.asdict(network), "compiled": compiled, "on_gpu": card is not None}
    # JAX may take the whole card, as PyTorch does, instead of three quarters.
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95", "JAX_PLATFORMS": "cuda" if card else "cpu"}
    if card:
        environment |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": card["number"]}
    else:
        environment |= {"CUDA_VISIBLE_DEVICES": ""}
    try:
        found = child.run(module, job, seconds=seconds, once=True, environment=environment)
    except Failed as error:
        return {"failed": str(error)[:LETTERS]}
    done = flops(network)
    return {**found, "flops": done, **share(done / found["seconds"], found["device"], network.precision)}


def share(rate: float, device: str, precision: str) -> dict[str, Any]:
    """Return the share of the card's peak, and the type it is published for; nothing for an unknown card.

    Args:
        rate: Operations per second.
        device: Name of the card.
        precision: Precision of the network.
    """
    card = card_of(device)
    if card is None:
        return {}
    most, kind = peak(card, precision)
    return {"share": rate / most, "peak": f"{most / 1e12:g} TFLOPS in {kind}"}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"| training step on {result['device']} | side | ms | examples/s | memory, GB | TFLOP/s | share of the peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        start = f"| {row['network']}, batch {row['batch']}, {row['precision']} | {row['side']} |"
        if "failed" in row:
            lines.append(f"{start} failed: {row['failed'].replace('|', '/')} | | | | |")
            continue
        part = f"{row['share']:.1%} of {row['peak']}" if "share" in row else "unknown"
        lines.append(
            f"{start} {row['seconds'] * 1e3:,.2f} | {row['batch'] / row['seconds']:,.0f} | {row['memory'] / 1e9:.2f} |"
            f" {row['flops'] / row['seconds'] / 1e12:,.3g} | {part} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by what each side ran."""
    measured = [row for row in result["rows"] if "failed" not in row]
    notes = [
        f"- {row['network']}, {row['side']}: {row['framework']}, {row['parameters']:,} parameters,"
        f" {row['steps']} steps; {row['flops']:.4g} operations in a step{_counted(row)}"
        for row in measured
    ]
    if any("share" not in row for row in measured):
        notes.append(f"- the published peak of {result['device']} is not known here, so no share of it is given")
    return "\n".join([*table(result), "", *notes])


def _counted(row: dict[str, Any]) -> str:
    """Return how many operations XLA counts, elementwise ones included, for a side that it compiles."""
    return f", {row['xla_flops']:.4g} by XLA" if "xla_flops" in row else ""
