"""Knowledge-graph embeddings: results of each scorer on WN18RR and on `family`, compared with published results.

The metric is the filtered mean reciprocal rank of the test questions in both directions, including questions about
entities without a training triple, as in the published results (LibKGE: Broscheit et al., 2020). On WN18RR `complex`
learns from all entities and the others from 256 negatives. The trainings are short, so that the scorers do not reach
their best results. Seconds are those of the whole command. Runs are kept under runs/kg_embedding, and the files are
made by `compression.compress`.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, trained

RUNS = Path("runs") / "kg_embedding"
TARGET, FAMILY_TARGET, MINUTES = 0.44, 0.95, 60
PUBLISHED = {"complex": 0.475, "rotate": 0.478, "distmult": 0.452, "transe": 0.228, "mlp": None}
PRECISIONS = ("float32", "float16", "dynamic")
_SAMPLED = ("--set", "strength=0", "--set", "negatives=256")
# Differences from the default recipe on WN18RR, by scorer.
WORDNET: dict[str, tuple[str, ...]] = {
    "complex": ("--epochs", "12"),
    "distmult": ("--epochs", "8", "--batch-size", "512", *_SAMPLED),
    "rotate": ("--epochs", "20", "--batch-size", "512", *_SAMPLED),
    "transe": ("--epochs", "8", "--batch-size", "512", *_SAMPLED),
    "mlp": ("--epochs", "8", "--batch-size", "512", "--optimizer", "adamw", "--learning-rate", "1e-3", *_SAMPLED)
    + ("--set", "dim=64", "--set", "units=64"),
}
# Differences from the default recipe on `family`, by scorer.
FAMILY: dict[str, tuple[str, ...]] = {
    "complex": (),
    "distmult": (),
    "rotate": ("--set", "strength=0.05"),
    "transe": ("--set", "strength=0.05"),
    "mlp": ("--optimizer", "adamw", "--learning-rate", "1e-2", "--set", "dim=32", "--set", "units=64", "--set")
    + ("strength=0",),
}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each scorer and dataset, and one for each file of the ComplEx run on WN18RR.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    sets = {"wordnet/WN18RR": WORDNET, "family": FAMILY}
    rows = [_trained(name, scorer, words, data_dir) for name, found in sets.items() for scorer, words in found.items()]
    kept = ("bytes", "gzip_bytes", "test", "latency")
    return {"rows": rows, "files": [exported(RUNS / "WN18RR-complex", precision, kept) for precision in PRECISIONS]}


def _trained(dataset: str, scorer: str, words: tuple[str, ...], data_dir: Path) -> dict[str, Any]:
    run = RUNS / f"{dataset.rpartition('/')[2]}-{scorer}"
    command = ("--model", "kg_embedding", "--dataset", dataset, "--set", f"scorer={scorer}", *words)
    kept = ("parameters", "epochs", "examples_per_second", "test")
    return {"scorer": scorer, "dataset": dataset, **trained(run, command, data_dir, kept)}


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
    lines += ["", "| file of the ComplEx run | bytes | file MRR | Keras MRR | ms per question |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in result["files"]:
        test = row["test"]
        lines.append(
            f"| {row['recipe']} | {row['bytes']:,} | {test['litert']['mrr']:.4f} | {test['keras']['mrr']:.4f} |"
            f" {row['latency'][0]['median_ms']:.2f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    file = result["files"][0]["test"]
    best = max(row["test"]["mrr"] for row in result["rows"] if row["dataset"] != "family")
    notes = [
        f"Targets: MRR {TARGET} on WN18RR in less than {MINUTES} minutes, where the best scorer reaches {best:.4f}, and"
        f" {FAMILY_TARGET} on `family`."
        f" Files are measured on {file['examples']:,} of {file['of']:,} test questions, evenly spread."
    ]
    commands = [f"- `{row['command']}`" for row in result["rows"]]
    return "\n".join([*table(result), "", *notes, "", *commands])
