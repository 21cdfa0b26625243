"""GANs trained on MNIST: what 10,000 samples look like to a classifier of the zoo, and in what time they got there.

A cnn is trained first, and tells how many samples it recognises, which classes they are of, and how they lie among the
10,000 test images in its features (its last layer's inputs). Distances in other features are other numbers: none of
them is an FID of the literature. Images are drawn by class. Seconds are of the whole command, its measurements among
them. Runs are kept under runs/gan.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, trained

RUNS = Path("runs") / "gan"
CLASSIFIER = ("--model", "cnn", "--dataset", "mnist")
_GAN = ("--dataset", "mnist")
# Name of a row, and the words of its training.
ROWS: dict[str, tuple[str, ...]] = {
    "gan": ("--model", "gan", *_GAN),
    "gan_dense": ("--model", "gan_dense", *_GAN),
}
_KEPT = ("parameters", "epochs", "examples_per_second", "test")
FILES = ("float32", "dynamic", "int8")
# Of the first row: share of the rarest class, of samples recognised with 0.9 or more, coverage, and minutes.
TARGETS = {"rarest_class": 0.05, "recognised": 0.90, "coverage": 0.80}
MINUTES = 30
CLASSIFIER_ACCURACY = 0.99


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the classifier's accuracy, a row for each training, and one for each file of the first."""
    classifier = trained(RUNS / "classifier", CLASSIFIER, data_dir, _KEPT)
    judged = ("--classifier", str(RUNS / "classifier"))
    of_gan = (*_KEPT, "epoch", "collapsed", "diverged")
    rows = [{"name": name, **trained(RUNS / name, (*words, *judged), data_dir, of_gan)} for name, words in ROWS.items()]
    files = [exported(RUNS / "gan", recipe, ("bytes", "gzip_bytes", "test", "latency")) for recipe in FILES]
    return {"classifier": classifier, "rows": rows, "files": files}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| GAN on MNIST | recognised | rarest class | coverage | density | precision | recall | Frechet | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        test = row["test"]
        lines.append(
            f"| `{row['name']}` | {test['recognised']:.2%} | {test['rarest_class']:.2%} | {test['coverage']:.2%} |"
            f" {test['density']:.2f} | {test['precision']:.2%} | {test['recall']:.2%} |"
            f" {test['frechet_distance']:.2f} | {row['seconds'] / 60:.1f} |"
        )
    lines += [
        "",
        "| file of the first | bytes | dB to its own images | coverage of the file | of Keras | ms an image |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["files"]:
        mine, theirs = (row["test"][name] for name in ("litert", "keras"))
        lines.append(
            f"| `{row['recipe']}` | {row['bytes']:,} | {mine['psnr']:.1f} | {mine['against_real']['coverage']:.2%} |"
            f" {theirs['against_real']['coverage']:.2%} | {row['latency'][0]['median_ms']:.3f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, the commands below."""
    classifier, first = result["classifier"], result["rows"][0]
    reached = ", ".join(f"{name} {first['test'][name]:.2%} (>= {least:.0%})" for name, least in TARGETS.items())
    told = (
        f"The classifier has {classifier['test']['accuracy']:.2%} of the test images right. Frechet: the distance in"
        f" its features. Targets of `{first['name']}`: {reached}, {first['seconds'] / 60:.1f} minutes (< {MINUTES})."
    )
    commands = [f"- `{row['command']}`" for row in (classifier, *result["rows"])]
    return "\n".join([*table(result), "", told, "", *commands])
