"""Cost of distributed training: measured with workers on this machine, and modelled for TPUs from compiled steps.

Measured are the throughput of `zoo.train` on the embedded digits with one process, two replicas in one process, and two
workers over gRPC, and the bytes of gradients summed in each step. All use the same cores, so that none can be faster
than one process. Modelled is a step compiled for v5e slices by the TPU compiler: 128 examples per chip (28x28 images,
texts of 128 tokens), and at the sizes that others publish, ResNet-50 on 224x224 images and a language model of the size
of GPT-2. Computation, memory traffic and all-reduce are estimated from the published figures of the chip. Beyond a pod
of 256 chips, pods exchange the same bytes again over the data-centre network. Nothing was run on a TPU.

Compiled steps are kept in runs/scaling, and a further run compiles what is missing; delete the folder to compile
everything again.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.system.files import write_json

MODELS = ("cnn",)
EPOCHS, BATCH, REPEATS = 8, 64, 2
WAYS = {
    "none": ((), ()),
    "mirrored, 2": ((), ("--strategy", "mirrored", "--virtual-devices", "2")),
    "multi_worker, 2": (("strategies.launch", "--workers", "2", "--", "python", "-m"), ("--strategy", "multi_worker")),
    "data_parallel, 2": ((), ("--strategy", "data_parallel", "--virtual-devices", "2")),
}
TOPOLOGIES = {8: "v5e:2x4", 64: "v5e:8x8", 256: "v5e:16x16"}
CHIPS = (8, 64, 1024)
PER_CHIP = 128
SMALL = ("simplenet", "cnn", "lstm", "self_attention", "transformer", "transformer_lm", "transformer_seq2seq")
_GPT = [word for size in ("num_layers=12", "model_dim=768", "num_heads=12", "ff_dim=3072") for word in ("--set", size)]
# Model, examples per chip, and words of `strategies.tpu_check`, by the name in the table.
COMPILED: dict[str, tuple[str, int, tuple[str, ...]]] = {
    **{name: (name, PER_CHIP, ()) for name in SMALL},
    "ResNet-50, 224x224": ("resnet", 128, ("--set", "depth=50", "--input-shape", "224,224,3", "--classes", "1000")),
    "language model, 12 blocks of 768, 1,024 tokens": (
        "transformer_lm",
        8,
        (*_GPT, "--input-shape", "1024", "--classes", "50257"),
    ),
}
KEPT = Path("runs") / "scaling"


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the measured rows, and the compiled steps that the model uses.

    Args:
        data_dir: Unused, because the digits are embedded.
    """
    measured = []
    for model in MODELS:
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(REPEATS):  # interleaved, so that other load affects all ways equally
            for way, (before, words) in WAYS.items():
                found[way].append(_examples_per_second(model, before, words))
        measured.append(
            {
                "model": model,
                "examples_per_second": {way: statistics.median(values) for way, values in found.items()},
                "gradient_bytes": 4 * _parameters(model),
            }
        )
        print(measured[-1], file=sys.stderr, flush=True)
    return {"measured": measured, "compiled": compiled()}


def compiled(names: Iterable[str] = COMPILED) -> list[dict[str, Any]]:
    """Return the steps of models for each topology, compiled now or kept from before.

    Args:
        names: Keys of COMPILED.
    """
    found = [_compiled(name, chips) for name in names for chips in TOPOLOGIES]
    return [row for row in found if row]


def _examples_per_second(model: str, before: tuple[str, ...], words: tuple[str, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        common = ("--model", model, "--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--output", f"{folder}/run")
        command = [sys.executable, "-m", *before, "zoo.train", *words, *common, "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)["examples_per_second"]


def _parameters(model: str) -> int:
    from strategies import backend

    backend.start()
    from zoo.config import registry

    made = registry.model_class(model)(**registry.entry(model).preset)
    made.build((None, 28, 28, 1))
    return made.count_params()


def _compiled(name: str, chips: int) -> dict[str, Any] | None:
    kept = KEPT / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{chips}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    model, examples, given = COMPILED[name]
    words = (*given, "--topology", TOPOLOGIES[chips], "--batch-size", str(examples * chips), "--json")
    command = [sys.executable, "-m", "strategies.tpu_check", model, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"not compiled: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    row = json.loads(done.stdout) | {"model": name, "examples_per_chip": examples}
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, row)
    return row


def modelled(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lower bound of the step time for each model and number of chips, and its share of communication."""
    from strategies import tpu

    chip, rows = tpu.CHIPS["v5e"], []
    compiled = {(row["model"], row["chips"]): row for row in result["compiled"]}
    for model in dict.fromkeys(model for model, _ in compiled):
        for chips in CHIPS:
            row = compiled.get((model, min(chips, chip.pod)))
            if row is None:
                continue
            least = row["least_seconds"]
            alone = max(least["compute"], least["memory"])
            exchanged = least["all_reduce"]
            if pods := chips // chip.pod if chips > chip.pod else 0:
                _, moved = row["collectives"]["all-reduce"]
                exchanged += 2 * moved * (pods - 1) / pods / chip.pod_network
            rows.append(
                {
                    "model": model,
                    "chips": chips,
                    "examples": row.get("examples_per_chip", PER_CHIP),
                    "gigaflops": row["flops"] / 1e9,
                    "all_reduce_bytes": row["collectives"]["all-reduce"][1],
                    "memory": row["memory"],
                    "microseconds": 1e6 * (alone + exchanged),
                    "exchanging": exchanged / (alone + exchanged),
                }
            )
    return rows


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    ways = list(WAYS)
    lines = [
        f"| digits, batch {BATCH} | {' | '.join(ways)} | gradients per step |",
        "| --- |" + " --- |" * (len(ways) + 1),
    ]
    for row in result["measured"]:
        found = row["examples_per_second"]
        cells = [f"{found['none']:,.0f} images/s", *(f"{found[way] / found['none']:.2f}" for way in ways[1:])]
        lines.append(f"| {row['model']} | {' | '.join(cells)} | {row['gradient_bytes'] / 1e6:.2f} MB |")
    lines += [
        "",
        f"Medians of {REPEATS} interleaved trainings, relative to the throughput of `none` on the same cores.",
        "",
        "| v5e, bfloat16 | chips | examples per chip | GFLOP per chip and step | memory per chip | all-reduce |"
        " minimum step | communication |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in modelled(result):
        lines.append(
            f"| {row['model']} | {row['chips']:,} | {row['examples']} | {row['gigaflops']:.2f} |"
            f" {row['memory'] / 1e6:.1f} MB | {row['all_reduce_bytes'] / 1e6:.2f} MB |"
            f" {row['microseconds']:.0f} us | {row['exchanging']:.1%} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
