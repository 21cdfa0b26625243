"""Sequence models: results and duration of training, and the exported translation files.

`addition` is scored by sums with all digits correct, Multi30k German to English by sacrebleu with beam size 4 on
test_2016_flickr, and tiny Shakespeare by nats per character on its validation split. Training uses bfloat16 where
stated, which is fast only on processors with bfloat16 instructions. Seconds are those of the whole command, including
reading, vocabulary, training, and beam search on the test split. The files are made by `compression.compress`, and
their BLEU is measured through LiteRT. Runs are kept under runs/sequences.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, trained

RUNS = Path("runs") / "sequences"
PRECISIONS = ("float32", "dynamic", "int8")
# Limits for a quantized file: difference of BLEU from Keras, and size relative to the float32 file.
LARGEST_LOSS, LARGEST_SHARE = 0.5, 0.3
# By row name: arguments of the training, the score with a target, and the target.
ROWS: dict[str, tuple[tuple[str, ...], str, float]] = {
    "addition": (("--model", "transformer_seq2seq", "--dataset", "addition"), "exact_match", 0.99),
    "multi30k": (
        ("--model", "transformer_seq2seq", "--dataset", "multi30k", "--source", "de", "--target", "en")
        + ("--test-split-name", "test_2016_flickr", "--precision", "bfloat16"),
        "bleu",
        33.0,
    ),
    "tiny_shakespeare": (
        ("--model", "transformer_lm", "--dataset", "tiny_shakespeare", "--precision", "bfloat16"),
        "validation loss",
        1.60,
    ),
}
SHOWN = {"exact_match": "{:.2%} exact match", "bleu": "{:.2f} BLEU", "validation loss": "{:.4f} nats per character"}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each training, and one for each file of the translation model.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = [_trained(name, data_dir) for name in ROWS]
    kept = ("bytes", "gzip_bytes", "test")
    return {"rows": rows, "files": [exported(RUNS / "multi30k", precision, kept) for precision in PRECISIONS]}


def _trained(name: str, data_dir: Path) -> dict[str, Any]:
    words, score, target = ROWS[name]
    row = trained(RUNS / name, words, data_dir, ("parameters", "epochs", "examples_per_second", "test", "validation"))
    validation = row.pop("validation")
    found = validation["loss"] if score == "validation loss" else row["test"][score]
    return {"name": name, "score": score, "found": found, "target": target, **row}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| sequences | reached | target | parameters | epochs | minutes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        text = SHOWN[row["score"]]
        lines.append(
            f"| `{row['name']}` | {text.format(row['found'])} | {text.format(row['target'])} | {row['parameters']:,} |"
            f" {row['epochs']} | {row['seconds'] / 60:.1f} |"
        )
    lines += ["", "| file of the Multi30k run | bytes | relative to float32 | file BLEU | Keras BLEU |"]
    lines.append("| --- | --- | --- | --- | --- |")
    whole = result["files"][0]["bytes"]
    for row in result["files"]:
        scores = row["test"]
        lines.append(
            f"| {row['recipe']} | {row['bytes']:,} | {row['bytes'] / whole:.2f} | {scores['litert']['bleu']:.2f} |"
            f" {scores['keras']['bleu']:.2f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    signature = next(row["test"]["bleu_signature"] for row in result["rows"] if row["score"] == "bleu")
    commands = [f"- {row['name']}: `{row['command']}`" for row in result["rows"]]
    return "\n".join([*table(result), "", f"BLEU: {signature}.", "", *commands])
