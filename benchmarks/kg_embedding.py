"""Knowledge graphs: what each scorer reaches on WN18RR and on the families, beside published figures.

Filtered mean reciprocal rank of the test questions, in both directions, those about entities that no training triple
has among them, as the published figures have it (LibKGE: Broscheit et al., 2020). `complex` and `distmult` learn from
all entities, the others from 256 negatives: scores of all entities take them much longer. All but `complex` are short
trainings, whose figures are not the best that their scorer can do. Seconds are of the whole command. Runs are kept
under runs/kg_embedding, and the file is that of `compression.compress`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.tutorial import run_command

RUNS = Path("runs") / "kg_embedding"
TARGET, FAMILY_TARGET = 0.44, 0.95
PUBLISHED = {"complex": 0.475, "rotate": 0.478, "distmult": 0.452, "transe": 0.228, "mlp": None}
_SAMPLED = ("--epochs", "20", "--set", "strength=0", "--set", "negatives=256")
# By scorer, what differs from the recipe on WN18RR.
WORDNET: dict[str, tuple[str, ...]] = {
    "complex": (),
    "distmult": ("--set", "dim=128"),
    "rotate": _SAMPLED,
    "transe": _SAMPLED,
    "mlp": (*_SAMPLED, "--optimizer", "adamw", "--learning-rate", "1e-3", "--set", "dim=64", "--set", "units=64"),
}
# The same on the families.
FAMILY: dict[str, tuple[str, ...]] = {
    "complex": (),
    "distmult": (),
    "rotate": ("--set", "strength=0.05"),
    "transe": ("--set", "strength=0.05"),
    "mlp": ("--optimizer", "adamw", "--learning-rate", "1e-2", "--set", "dim=32", "--set", "units=64", "--set")
    + ("strength=0",),
}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each scorer and set, and one for each file of the ComplEx run on WN18RR."""
    rows = [_trained("wordnet/WN18RR", scorer, words, data_dir) for scorer, words in WORDNET.items()]
    rows += [_trained("family", scorer, words, data_dir) for scorer, words in FAMILY.items()]
    return {"rows": rows, "files": [_exported(precision) for precision in ("float32", "float16", "dynamic")]}


def _trained(dataset: str, scorer: str, words: tuple[str, ...], data_dir: Path) -> dict[str, Any]:
    name = f"{dataset.rpartition('/')[2]}-{scorer}"
    run, seconds = RUNS / name, RUNS / f"{name}.seconds.json"
    command = ("--model", "kg_embedding", "--dataset", dataset, "--set", f"scorer={scorer}", *words)
    if not seconds.is_file():
        began = time.perf_counter()
        run_command("zoo.train", *command, "--data-dir", str(data_dir), "--output", str(run))
        seconds.write_text(json.dumps(time.perf_counter() - began))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    row = {
        "command": f"python -m zoo.train {' '.join(command)}",
        "name": name,
        "scorer": scorer,
        "dataset": dataset,
        "seconds": json.loads(seconds.read_text()),
        **{key: metrics[key] for key in ("parameters", "epochs", "examples_per_second", "test")},
    }
    print(row, file=sys.stderr, flush=True)
    return row


def _exported(precision: str) -> dict[str, Any]:
    receipt = run_command("compression.compress", str(RUNS / "WN18RR-complex"), "--recipe", precision)
    row = {"precision": precision, **{key: receipt[key] for key in ("bytes", "gzip_bytes", "test", "latency")}}
    print(row, file=sys.stderr, flush=True)
    return row


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| triples | scorer | MRR | hits at 1 | at 3 | at 10 | published MRR | parameters | epochs | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        test, published = row["test"], PUBLISHED[row["scorer"]] if row["dataset"] != "family" else None
        hits = " | ".join(f"{test[f'hits_at_{n}']:.2%}" for n in (1, 3, 10))
        lines.append(
            f"| {row['dataset']} | `{row['scorer']}` | {test['mrr']:.4f} | {hits} | {published or ''} |"
            f" {row['parameters']:,} | {row['epochs']} | {row['seconds'] / 60:.1f} |"
        )
    lines += ["", "| file of the ComplEx run | bytes | MRR of the file | of Keras | ms a question |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in result["files"]:
        test = row["test"]
        lines.append(
            f"| {row['precision']} | {row['bytes']:,} | {test['litert']['mrr']:.4f} | {test['keras']['mrr']:.4f} |"
            f" {row['latency'][0]['median_ms']:.2f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, the commands below."""
    file = result["files"][0]["test"]
    notes = [
        f"Targets: {TARGET} on WN18RR with `complex` or `rotate`, {FAMILY_TARGET} on the families. Files are measured"
        f" on {file['examples']:,} of {file['of']:,} test questions, evenly spread."
    ]
    commands = [f"- {row['name']}: `{row['command']}`" for row in result["rows"]]
    return "\n".join([*table(result), "", *notes, "", *commands])
