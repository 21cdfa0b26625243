"""`python -m benchmarks.restock`: retrain and compress the pretrained runs of the package, and list what changed.

With `--receipts`, nothing is trained: receipts of an earlier version get the fields that they lack and a digest.

Each run is made by the user's commands in a temporary folder, so that its files contain no path of this machine. The
stock is replaced only after all runs were made, verified and found within the size limits.
"""

import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import mlperf_inputs, mlperf_tiny
from compression.recipes import language
from strategies import backend
from zoo import stock
from zoo.config import catalogue
from zoo.config.options import option
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import Failed, UsageError, unknown
from zoo.reports import stock_table
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256, write_json

ROOT = Path(__file__).parent.parent
# Maximum size in bytes of each file, of one with given weights, and of the whole stock. Given weights cannot take less
# without becoming others: the autoencoder of MLPerf Tiny has 269,992 weights in float32.
MOST_FILE, MOST_GIVEN, MOST_ALL = 500_000, 1_200_000, 18_000_000
# Files of a run to keep, if they exist.
KEPT = ("config.json", "metrics.json", "model.keras", "vocabulary.json", "target_vocabulary.json")
# Suffixes of a compressed file, its receipt and its metadata, and files of the last stage, the reference for verify.
BESIDE = (".tflite", ".receipt.json", ".labels.txt", ".relations.txt", ".vocabulary.json", ".target_vocabulary.json")
LAST = ("*.json", "{last}/metrics.json", "{last}/model.keras")
KEPT_IN = "kept"


# How a ResNet-8 is trained on CIFAR-10, from random weights.
RESNET8 = (
    "--model resnet --dataset cifar10 --set depth=8 --augment light --epochs 60 --batch-size 128 --optimizer sgd"
    " --learning-rate 0.1 --weight-decay 2e-3 --label-smoothing 0 --clip-norm 0"
)


@dataclass(frozen=True)
class Made:
    """Definition of a pretrained run.

    Args:
        words: Arguments of `zoo.train`.
        recipe: Recipe of its compressed file.
        given: Task of MLPerf Tiny whose weights and inputs it has, see `benchmarks.mlperf_tiny`; None for none.
        bare: Whether the compressed file has no names and descriptions.
    """

    words: str
    recipe: str
    given: mlperf_tiny.Task | None = None
    bare: bool = False

    @property
    def file_name(self) -> str:
        """Name of the compressed file, without its suffix."""
        return language.parse(self.recipe).file_name + "-bare" * self.bare


def _given(name: str) -> Made:
    """Return the definition of a network of MLPerf Tiny with its own weights."""
    task = mlperf_tiny.TASKS[name]
    return Made(shlex.join(mlperf_tiny.train_words(task, f"{task.inputs}.npz")), mlperf_tiny.CLOSED, task)


STOCK = {
    "cnn-mnist": Made(
        "--model cnn --dataset mnist",
        "channels(0.7, epochs=6, learning_rate=3e-3) + qat(epochs=2, learning_rate=3e-4) + int8(per_tensor=true)",
    ),
    "cnn-digits": Made("--model cnn --dataset digits --set filters=16,32,32", "prune(0.8) + cluster(16) + qat + int8"),
    "simplenet-mnist": Made(
        "--model simplenet --dataset mnist --set units=64",
        "prune(0.8, epochs=4) + cluster(16, epochs=2) + qat(epochs=2) + int8",
    ),
    "transformer-digits": Made(
        "--model transformer --dataset digits --epochs 30 --learning-rate 2e-3 --set model_dim=32 --set ff_dim=64",
        "int8",
    ),
    "gan_dense-digits": Made(
        "--model gan_dense --dataset digits --image-size 16 --epochs 200 --set conditional=true --set units=64,96",
        "int8",
    ),
    "lenet5-mnist": Made(
        "--model lenet5 --dataset mnist --set filters=8,18 --set units=24 --epochs 5 --batch-size 128"
        " --learning-rate 5e-3",
        "qat(epochs=2) + int4",
    ),
    "lstm-mnist": Made("--model lstm --dataset mnist --set units=64,64 --epochs 4", "dynamic"),
    "self_attention-mnist": Made("--model self_attention --dataset mnist", "int4"),
    "cross_modal-digits": Made(
        "--model cross_modal --dataset digits --epochs 15 --learning-rate 2e-3 --set filters=16,32,32", "int8"
    ),
    "transformer_seq2seq-addition": Made("--model transformer_seq2seq --dataset addition", "dynamic"),
    "transformer_lm-tiny_shakespeare": Made(
        "--model transformer_lm --dataset tiny_shakespeare --set num_layers=2 --set model_dim=64 --set ff_dim=192"
        " --epochs 3",
        "int8",
    ),
    **{name: _given(name) for name in mlperf_tiny.TASKS},
    "resnet8-cifar10-100kb": Made(RESNET8, "int8(per_tensor=true)"),
    "resnet8-cifar10-50kb": Made(
        RESNET8,
        "channels(0.25, coupled=true, epochs=18, learning_rate=0.05) + qat(epochs=2, learning_rate=0.002)"
        " + distill(resnet8-cifar10-50kb) + int8(per_tensor=true)",
        bare=True,
    ),
    "resnet8-cifar10-20kb": Made(
        RESNET8,
        "channels(0.38, coupled=true, epochs=24, learning_rate=0.05) + distill(resnet8-cifar10-20kb)"
        " + int4(per_tensor=true)",
        bare=True,
    ),
    "kg_embedding-family": Made("--model kg_embedding --dataset family", "dynamic"),
}

_WEIGHTS = "weights: MLPerf Tiny (github.com/mlcommons/tiny)"
# Description, source and licence of each dataset. Runs that were trained here are of datasets with a clear licence.
DATA = {
    "mnist": {
        "what": "MNIST, 70,000 handwritten digits",
        "source": "Y. LeCun, C. Cortes, C. Burges, 2010; TFDS mnist",
        "licence": "CC BY-SA 3.0",
    },
    "digits": {
        "what": "1,797 handwritten digits of 8x8 pixels",
        "source": "E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository; scikit-learn",
        "licence": "CC BY 4.0",
    },
    "cifar10": {
        "what": "CIFAR-10, 60,000 colour images of 32x32 pixels",
        "source": f"A. Krizhevsky, 2009; TFDS cifar10; {_WEIGHTS}",
        "licence": "none stated; weights Apache-2.0",
    },
    "kws01": {
        "what": "1,000 official inputs of keyword spotting, of which 800 judge",
        "source": f"github.com/eembc/energyrunner, of Speech Commands 0.02, P. Warden, 2018; {_WEIGHTS}",
        "licence": "none stated, sounds CC BY 4.0; weights Apache-2.0",
    },
    "flowers": {
        "what": "1,250 photographs of flowers without labels; the network's own data, COCO, are not here",
        "source": f"github.com/JoelOscarsson/dl-assignment; {_WEIGHTS}",
        "licence": "CC0 claimed; weights Apache-2.0",
    },
    "spoken_digits_db": {
        "what": "1,250 pieces of spoken digits without labels; the network's own data, ToyADMOS, are not here",
        "source": f"Z. Jackson, Free Spoken Digit Dataset, 2016; {_WEIGHTS}",
        "licence": "CC BY-SA 4.0; weights Apache-2.0",
    },
    "spoken_digits": {
        "what": "1,250 pieces of spoken digits without labels; recordings of the wake word are not here",
        "source": f"Z. Jackson, Free Spoken Digit Dataset, 2016; {_WEIGHTS}",
        "licence": "CC BY-SA 4.0; weights Apache-2.0",
    },
    "addition": {
        "what": "50,000 sums of two numbers of three digits",
        "source": "generated by zoo.data",
        "licence": "Apache-2.0, as this project",
    },
    "tiny_shakespeare": {
        "what": "40,000 lines of Shakespeare's plays",
        "source": "A. Karpathy, char-rnn, 2015; TFDS tiny_shakespeare",
        "licence": "public domain",
    },
    "family": {
        "what": "112 triples of kinship, after G. Hinton, 1986",
        "source": "generated by zoo.data",
        "licence": "Apache-2.0, as this project",
    },
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `benchmarks.restock`."""

    names: tuple[str, ...] = option(
        "pretrained runs to make (default: all)", (), positional=True, metavar="NAME", optional=True
    )
    data_dir: Path | None = option("folder of prepared TFDS sets (default: that of TFDS)")
    work: Path | None = option("folder that keeps the runs; those that it has already are used (default: temporary)")
    receipts: bool = option("train nothing, and add to the receipts what those of an earlier version lack", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make runs, replace them in the stock, and return the numbers that changed, by run name.

    Args:
        given: Options that were given, by field name.

    Raises:
        UsageError: If a name is unknown, or data are missing.
        Failed: If a command fails, or a file is too large.
    """
    options = Options(**given)
    for name in options.names:
        if name not in STOCK:
            raise unknown("pretrained run", name, STOCK)
    names = options.names or tuple(STOCK)
    data_dir = (options.data_dir or catalogue.default_data_dir()).resolve()
    sets = {dataset(name) for name in names if not (given := STOCK[name].given) or not given.inputs}
    for absent in sorted(s for s in sets if s not in catalogue.EMBEDDED and not catalogue.find_prepared(s, data_dir)):
        raise UsageError(f"--data-dir {data_dir}: expected the prepared set {absent}, found none")
    if options.work and not options.work.is_dir() and any(p.is_file() for p in (options.work, *options.work.parents)):
        raise UsageError(f"--work {options.work}: expected a folder, found a file on its path")
    if options.receipts:
        return {"changed": {name: complete(name, data_dir) for name in names}, "path": str(stock.FOLDER / stock.INDEX)}
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        made = {name: make(name, work, data_dir) for name in names}
        return _replaced(made, work)


def _replaced(made: Mapping[str, Any], work: Path) -> dict[str, Any]:
    """Replace runs by new ones, remove those that are no longer listed, and return the changes."""
    before = stock.index()
    every = before | made
    entries = {name: every[name] for name in STOCK if name in every}
    check_limits(entries)
    old = {name: stock_table.facts(stock.FOLDER / name, entry["file"]) for name, entry in before.items()}
    for name in [*made, *(name for name in before if name not in entries)]:
        shutil.rmtree(stock.FOLDER / name, ignore_errors=True)
    for name in made:
        shutil.copytree(work / KEPT_IN / name, stock.FOLDER / name)
    write_json(stock.FOLDER / stock.INDEX, entries)
    changes = {name: changed(old.get(name, {}), name) for name in made}
    return {"changed": changes, "path": str(stock.FOLDER / stock.INDEX)}


def complete(name: str, data_dir: Path) -> dict[str, tuple[None, Any]]:
    """Verify the files of a run, complete receipts of an earlier version, and return what was added.

    Args:
        name: Name of the run.
        data_dir: Folder of prepared TFDS sets.

    Raises:
        Failed: If a number of a receipt is not reproduced.
    """
    from compression import verify
    from compression.pipeline import stages
    from compression.receipts.artifacts import beside, check_beside, read_receipt, receipt_path, sealed
    from compression.surgery.copying import copies, weights_sha256

    run, entries = RunFolder(stock.checked(name)), stock.index()
    added = {}
    for file in sorted(run.path.glob("artifacts/*.tflite")):
        before = read_receipt(file)
        if "digest" in before:
            continue
        measured, model = verify.run({"file": file, "data_dir": data_dir}), run.load_model()
        made = {"task": run.task, "weights_sha256": weights_sha256(model)}
        if folder := before["made"].get("stages_folder"):
            recipe = language.parse(before["made"]["recipe"])
            plan = stages.Stages(copies(model), None, recipe, file.parent / folder, TrainConfig(), None)
            made["stages_sha256"] = stages.sha256_of(plan)
        suffixes = [suffix for suffix in BESIDE[2:] if file.with_suffix(suffix).is_file()]
        new = {"beside": beside(file, suffixes), "tolerances": measured["tolerances"]}
        of_inputs = {key: value for key, value in measured["test"].items() if key == "inputs_sha256"}
        receipt = before | new | {"made": before["made"] | made, "test": before["test"] | of_inputs}
        write_json(receipt_path(file), sealed(receipt))
        check_beside(file, read_receipt(file))
        fact = {"bytes": receipt_path(file).stat().st_size, "sha256": sha256(receipt_path(file))}
        entries[name]["files"][receipt_path(file).relative_to(run.path).as_posix()] = fact
        names = [*new, *(f"made.{key}" for key in made), *(f"test.{key}" for key in of_inputs), "digest"]
        added |= {f"{file.stem}: {key}": (None, "added") for key in names}
    check_limits(entries)
    write_json(stock.FOLDER / stock.INDEX, entries)
    return added


def dataset(name: str) -> str:
    """Return the dataset of a pretrained run, or the name of the file with its inputs."""
    given = STOCK[name].given
    return given.inputs if given and given.inputs else _word(name, "--dataset")


def _word(name: str, flag: str) -> str:
    words = shlex.split(STOCK[name].words)
    return words[words.index(flag) + 1]


def make(name: str, work: Path, data_dir: Path) -> dict[str, Any]:
    """Train and compress a run in `work`, verify the files kept in work/kept, and return its index entry.

    Runs with the same training are trained once.

    Args:
        name: Name of the run.
        work: Folder for the runs.
        data_dir: Folder of prepared TFDS sets.

    Raises:
        Failed: If a command fails.
    """
    made = STOCK[name]
    say = functools.partial(_command, cwd=work, data_dir=data_dir)
    if given := made.given:
        shutil.copyfile(mlperf_inputs.folder_of(data_dir) / given.network, work / given.network)
        if given.write is not None:
            given.write(data_dir, work / f"{given.inputs}.npz")
    trained = RunFolder(work / trained_as(name))
    if not trained.finished:
        resumed = ["--resume"] * trained.started
        say("zoo.train", *shlex.split(made.words), "--output", trained.path.name, *resumed)
        without_optimizer(trained.path)
    if not (work / name).is_dir():
        shutil.copytree(trained.path, work / name, ignore=shutil.ignore_patterns("artifacts"))
    for text, bare in ((stock_table.REFERENCE, False), (made.recipe, made.bare)):
        say("compression.compress", name, "--recipe", text, *["--bare"] * bare)
    facts = _kept(work / name, made, work / KEPT_IN / name)
    for of in (stock_table.REFERENCE, made.file_name):
        say("compression.verify", f"{KEPT_IN}/{name}/artifacts/{of}.tflite")
    return entry(name, facts)


def trained_as(name: str) -> str:
    """Return the name of the first run with the same training, whose weights all of them have."""
    return next(other for other in STOCK if STOCK[other].words == STOCK[name].words)


def entry(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the index entry of a run.

    Args:
        name: Name of the run.
        facts: Bytes and SHA-256 of its files, by path.
    """
    made = STOCK[name]
    return {
        "model": _word(name, "--model"),
        "dataset": dataset(name),
        **DATA[dataset(name)],
        "train": f"python -m zoo.train {made.words}",
        "recipe": str(language.parse(made.recipe)),
        "file": f"artifacts/{made.file_name}.tflite",
        "files": dict(facts),
    }


def _kept(run: Path, made: Made, place: Path) -> dict[str, dict[str, Any]]:
    """Copy the files of a run to keep, and return bytes and SHA-256 of each."""
    files, stages = (stock_table.REFERENCE, made.file_name), language.parse(made.recipe).stages
    patterns = [*KEPT, *(f"artifacts/{of}{suffix}" for of in files for suffix in BESIDE)]
    if stages:
        folder = f"{language.parse(made.recipe).training_name}.stages"
        last = f"{len(stages)}-{stages[-1].word}"
        patterns += [f"artifacts/{folder}/{pattern.format(last=last)}" for pattern in LAST]
    facts = {}
    shutil.rmtree(place, ignore_errors=True)  # files of an earlier recipe
    for path in (path for pattern in patterns for path in sorted(run.glob(pattern))):
        copy = place / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        facts[path.relative_to(run).as_posix()] = {"bytes": copy.stat().st_size, "sha256": sha256(copy)}
    return facts


def _command(module: str, *words: str, cwd: Path, data_dir: Path) -> None:
    """Run a command of the project with TFDS_DATA_DIR set, so that the data folder is not recorded in the run."""
    cli.say(f"python -m {module} {shlex.join(words)}")
    env = os.environ | {"PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(data_dir)}
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"python -m {module} {shlex.join(words)}: {done.stderr.strip().splitlines()[-1]}")
    cli.say(done.stdout)


def without_optimizer(folder: Path) -> None:
    """Save the model of a run again without its optimizer state, which is twice as large as the weights."""
    backend.start("tensorflow")
    run = RunFolder(folder)
    run.load_model().save(run.model_file)
    run.write_metrics(run.read_metrics() | {"model_sha256": sha256(run.model_file)})


def check_limits(entries: Mapping[str, Any]) -> None:
    """Raise `Failed` if a file or the whole stock is too large.

    Args:
        entries: Index entries, by run name.
    """
    sizes = {
        f"{name}/{file}": fact["bytes"] for name, entry in entries.items() for file, fact in entry["files"].items()
    }
    for file, size in sizes.items():
        most = MOST_GIVEN if (made := STOCK.get(file.partition("/")[0])) and made.given else MOST_FILE
        if size > most:
            raise Failed(f"{file}: expected at most {most:,} bytes, found {size:,}")
    if (total := sum(sizes.values())) > MOST_ALL:
        raise Failed(f"the stock: expected at most {MOST_ALL:,} bytes, found {total:,}")


def changed(old: Mapping[str, Any], name: str) -> dict[str, tuple[Any, Any]]:
    """Return the changed numbers of a run as (old, new); for a new run all numbers, with None for old.

    Args:
        old: Numbers of the previous run.
        name: Name of the run.
    """
    new = stock_table.facts(stock.FOLDER / name, stock.index()[name]["file"])
    return {key: (old.get(key), value) for key, value in new.items() if old.get(key) != value}


def show(result: Mapping[str, Any]) -> None:
    """Print a row for each changed number, and last the path of the index."""
    rows = [
        (name, key, "" if old is None else old, new)
        for name, changes in result["changed"].items()
        for key, (old, new) in changes.items()
    ]
    cli.table(("run", "number", "old", "new"), rows)
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m benchmarks.restock",
    description="Retrain the pretrained runs of the package, and list what changed.",
)


if __name__ == "__main__":
    sys.exit(main())
