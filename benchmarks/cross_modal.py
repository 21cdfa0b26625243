"""Matching images and captions of MNIST: results of the model with either head, and its files in every precision.

Captions are generated from class names by templates, with digits also written as words. Zero-shot accuracy is the share
of the 10,000 test images that are closest to the captions of their class. Recall@10 is the share of captions with an
image of their class among the ten best. Seconds are those of the whole command. The files are made by
`compression.compress` from the model with the cosine head, and measured through LiteRT on one thread. The difference is
the largest cosine distance between an embedding of the file and that of Keras. Runs are kept under runs/cross_modal.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, trained

RUNS = Path("runs") / "cross_modal"
TRAINING = ("--model", "cross_modal", "--dataset", "mnist")
HEADS = {"cosine": (), "fusion": ("--set", "head=fusion")}
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int4")
# Targets for the cosine head.
ZERO_SHOT, RECALL_AT_10 = 0.98, 0.99


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each head, and one for each file of the first head.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    kept = ("parameters", "epochs", "examples_per_second", "test")
    rows = [
        {"head": head, **trained(RUNS / head, (*TRAINING, *words), data_dir, kept)} for head, words in HEADS.items()
    ]
    of_file = ("bytes", "gzip_bytes", "test", "parity", "latency")
    files = [exported(RUNS / next(iter(HEADS)), precision, of_file) for precision in PRECISIONS]
    return {"rows": rows, "files": files}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| `cross_modal` on MNIST | zero-shot accuracy | caption to image recall@1 / 10 | image to caption recall@1 /"
        " 10 | parameters | epochs | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        lines.append(
            f"| head {row['head']} | {row['test']['zero_shot_accuracy']:.2%} | {_recalls(row['test'])} |"
            f" {row['parameters']:,} | {row['epochs']} | {row['seconds'] / 60:.1f} |"
        )
    lines += [
        "",
        "| file of both towers | bytes | gzip | zero-shot accuracy | caption to image recall@1 / 10 | image to caption"
        " recall@1 / 10 | difference | ms an image | ms a caption |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["files"]:
        scores = row["test"]["litert"]
        ms = {each["signature"]: each["median_ms"] for each in row["latency"] if each["threads"] == 1}
        lines.append(
            f"| {row['recipe']} | {row['bytes']:,} | {row['gzip_bytes']:,} | {scores['zero_shot_accuracy']:.2%} |"
            f" {_recalls(scores)} | {row['parity']['largest_cosine_difference']:.1e} | {ms['encode_image']:.3f} |"
            f" {ms['encode_text']:.3f} |"
        )
    return lines


def _recalls(scores: dict[str, Any]) -> str:
    ways = ("caption_to_image", "image_to_caption")
    return " | ".join(f"{scores[f'{way}_recall_at_1']:.2%} / {scores[f'{way}_recall_at_10']:.2%}" for way in ways)


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    commands = [f"- head {row['head']}: `{row['command']}`" for row in result["rows"]]
    targets = f"Targets: zero-shot accuracy {ZERO_SHOT:.0%}, caption to image recall@10 {RECALL_AT_10:.0%}."
    return "\n".join([*table(result), "", targets, "", *commands])
