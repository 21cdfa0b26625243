"""`python -m compression.compress`: from a run to a small .tflite file, with a receipt measured on that file."""

import dataclasses
import functools
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import strategies
from compression import tasks
from compression.devices import targets
from compression.pipeline import source
from compression.pipeline.source import OpenedRun
from compression.receipts import signing
from compression.receipts.wording import called, left_in_float, on_device, slower
from compression.recipes import language
from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import (
    Calibration,
    ExportOptions,
    ModelTraining,
    Nms,
    Reporting,
    StageTraining,
    unfollowed,
)
from compression.searching import automatic
from compression.searching.budget import ON_A_DEVICE
from compression.searching.worker import TRAINING, SearchInputs
from strategies import backend
from zoo.config import privacy
from zoo.config.options import SEEDS, changed, option
from zoo.config.run_options import ModelData
from zoo.config.sampling import Beam
from zoo.config.train_config import TrainConfig, command_line, flag
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.guests.model import OpenedModel
from zoo.runs import space
from zoo.runs.folder import RunFolder, check_classifier
from zoo.system.machine import processor

# Options that name the data, and say how a model file is trained.
SOURCE = ("dataset", "data", "data_dir", "input_range", *TRAINING)
# Of the model: a SavedModel, the file and what the converter writes; for each stage its model and its checkpoints.
COPIES_ON_DISK = 4


@dataclass(frozen=True, kw_only=True)
class Options(ModelTraining, ModelData):
    """What to compress, and how."""

    run: Path = option("run folder, or a model file (.keras, .h5) with its data", positional=True, stock_as="copy")
    recipe: str = option(
        "words joined by +, such as 'prune(0.8) + qat + int8', or auto: see `python -m compression`", "int8"
    )
    output: Path | None = option("folder for the file and its receipt (default: RUN/artifacts)")
    lstm_kernel: Kernel = option("export recurrent layers as a loop, unrolled, or as one fused operator", "auto")
    uint8_input: bool = option("make a file that takes camera bytes from 0 to 255 and scales them itself", False)
    input_size: tuple[int, ...] | None = option(
        "height and width of the camera picture, which the file resizes; needs --uint8-input", metavar="HEIGHT,WIDTH"
    )
    batch: int = option("static batch size of the file", ExportOptions.batch)
    beams: int | None = option(
        "width of the beam search of a run that translates, in the file and in Keras (default: 4)"
    )
    skip_worst: int = option("number of layers to leave in float32, those that quantization harms most", 0)
    calibration: int = option(
        "number of training examples (tokens, for texts) for int8, int16x8 and the rounding of int4",
        Calibration.examples,
    )
    strategy: str = option("strategy for recipes that train: none, one_device, mirrored or multi_worker", "none")
    virtual_devices: int = option(
        "number of virtual devices into which the CPU is split, the replicas of mirrored; 0: no split", 0
    )
    bare: bool = option("leave out tensor names and metadata: smaller, but `inspect` cannot tell layers apart", False)
    nms: Nms = option(
        "where the boxes of a detector are decoded and overlapping ones suppressed: host (the file gives raw boxes and"
        " scores; see compression/on_device/detect.py) or file (in float32, by operators of LiteRT)",
        "host",
    )
    argmax: bool = option("for masks: give the class of each pixel instead of the scores of all classes", False)
    allow_flex: bool = option("allow operators that need TensorFlow's own kernels on the device", False)
    seed: int = option("random seed for the choice of calibration examples", Calibration.seed, within=SEEDS)
    time_limit: float = option("time limit of a conversion in seconds", ExportOptions.seconds)
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")
    sign: Path | None = option(
        "Ed25519 private key in PEM, without a passphrase, that signs the receipt", metavar="KEY"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if wanted := automatic.parse(self.recipe):
            self._check_automatic(wanted)
        else:
            language.parse(self.recipe)
        for name, low in (("batch", 1), ("calibration", 1), ("time_limit", 1), ("skip_worst", 0), ("seed", 0)):
            if (value := getattr(self, name)) < low:
                raise UsageError(f"--{name.replace('_', '-')}: expected at least {low}, received {value}")
        if self.strategy in strategies.ON_JAX:
            raise UsageError(
                f"--strategy {self.strategy}: recipes are trained and files exported on TensorFlow; expected none,"
                " one_device, mirrored or multi_worker, received one of JAX"
            )
        if self.output is not None and self.output.suffix == ".tflite":
            raise UsageError(
                f"--output: expected a folder, which gets a file named after the recipe, received {self.output}"
            )
        size = self.input_size
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise UsageError(f"--input-size: expected HEIGHT,WIDTH in pixels, received {','.join(map(str, size))}")
        if size is not None and not self.uint8_input:
            raise UsageError("--input-size: expected together with --uint8-input, received without it")

    def _check_automatic(self, wanted: automatic.Automatic) -> None:
        """Refuse options of files that `auto` does not measure, and a device that is not installed."""
        plain = {field.name: field.default for field in dataclasses.fields(ExportOptions)}
        names = {"uint8_input": "uint8", "batch": "batch", "nms": "nms", "argmax": "argmax"}
        others = [name for name, field in names.items() if getattr(self, name) != plain[field]]
        others += [name for name in ("skip_worst", "strategy", "calibration") if name in changed(self)]
        if others:
            raise UsageError(
                f"{flag(others[0])}: expected a recipe of words with it, received auto, which measures plain files on"
                " one device"
            )
        if wanted.budget.device:
            limits = {name for name in wanted.budget.limits if name in ON_A_DEVICE}
            targets.check_installed([f"--recipe auto({name})" for name in sorted(limits)])

    @property
    def export(self) -> ExportOptions:
        """Options of the file."""
        return ExportOptions(
            kernel=self.lstm_kernel,
            uint8=self.uint8_input,
            input_size=self.input_size,
            batch=self.batch,
            argmax=self.argmax,
            nms=self.nms,
            bare=self.bare,
            allow_flex=self.allow_flex,
            seconds=self.time_limit,
        )

    @property
    def beam(self) -> Beam | None:
        """Beam search that was asked for."""
        return None if self.beams is None else Beam(beams=self.beams)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compress, and return the receipt and the path of the file; a worker that is not the chief has no path."""
    options = Options(**given)
    chosen = source.opened(options.run, given, any_task=automatic.parse(options.recipe) is None)
    return carried_out(options, chosen)


def carried_out(
    options: Options, chosen: OpenedRun | OpenedModel, training: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Compress what was opened, and return what `run` returns.

    Args:
        options: Options of the command.
        chosen: Run or model.
        training: Further options of training that were given.
    """
    loaded = None
    if wanted := automatic.parse(options.recipe):
        cli.say(_opening(options, None, chosen))
        loaded = chosen.load()
        recipe = _automatic(options, wanted, chosen, loaded)
        options = dataclasses.replace(options, recipe=str(recipe), bare=True)  # as the files that were compared
    else:
        recipe = language.parse(options.recipe)
        if told := unfollowed(recipe, changed(options) | (training or {})):
            cli.say(told)
    _check_skip_worst(options, recipe)
    folder = source.output_of(chosen, options.output)
    key = signing.private_key(options.sign) if options.sign else None
    limits = tasks.entry(chosen.task).limits
    limits.check(recipe, options.export, beam=options.beam, skip_worst=options.skip_worst)
    if chosen.config.classifier is not None:
        check_classifier(chosen.config.classifier)
    privacy.check_trained_on(chosen.config.private, recipe)
    kept = privacy.of_file(chosen.config.private, recipe.takes_examples or options.skip_worst > 0)
    if kept:
        cli.say(kept)
    config = _training_config(chosen.config, options)
    space.check(folder, COPIES_ON_DISK * (1 + len(recipe.stages)) * chosen.model_bytes)
    teachers = [source.open_teacher(Path(path), chosen) for path in (recipe.distill.teacher if recipe.distill else ())]
    chief = strategies.is_chief(options.strategy)
    if chief:
        cli.say(_opening(options, recipe, chosen))
    if options.virtual_devices or options.strategy == "multi_worker":  # before anything else uses TensorFlow
        backend.start("tensorflow")
        facts = {
            "--recipe": str(recipe),
            "run": chosen.provenance().get("model_sha256", "in memory"),
            "--seed": options.seed,
        }
        strategies.build(options.strategy, options.virtual_devices, facts=facts, seconds=config.worker_timeout)

    model, data = loaded or chosen.load()
    from compression.pipeline import pipeline, sensitivity

    if options.skip_worst:
        ways = {"kernel": options.lstm_kernel, "seed": options.seed, "say": cli.say}
        recipe = sensitivity.without_worst(model, data, recipe, options.skip_worst, **ways)
        cli.say(f"left in float32: {', '.join(recipe.skip)}")
    training = StageTraining(config, (lambda: [teacher.load_model() for teacher in teachers]) if teachers else None)
    calibration = Calibration(options.calibration, options.seed)
    if not chief:
        if recipe.stages:
            pipeline.assist(model, data, recipe, training=training, calibration=calibration)
        return {"path": None}
    made = pipeline.compress(
        model,
        data,
        recipe,
        folder,
        export=options.export,
        calibration=calibration,
        training=training,
        beam=options.beam,
        provenance=chosen.provenance() | ({"privacy": kept} if kept else {}),
        sign=key,
        progress=Reporting(cli.say, verbose=True),
    )
    return {
        "path": str(made.path),
        "page": str(_compared(made.path, options, chosen)),
        "next": _verifying(made.path, options, chosen),
        **made.receipt,
    }


def _opening(options: Options, recipe: Recipe | None, chosen: OpenedRun | OpenedModel) -> str:
    """Return what is about to happen, as a sentence; without a recipe, one is to be chosen."""
    made = chosen.provenance()
    name, machine = made.get("run") or made.get("model_file") or made["model"], processor()
    of = f"{made['model']} on {made['data']}" if isinstance(chosen, OpenedRun) else f"on {made['data']}"
    size = f", {chosen.run.read_metrics()['parameters']:,} parameters" if isinstance(chosen, OpenedRun) else ""
    count = len(recipe.stages) if recipe else 0
    trains = f"; {count} stage{'s' * (count > 1)} of training, strategy {options.strategy}," if count else ";"
    where = f"on {machine['name']}, {machine['cores']} cores; writes {source.output_of(chosen, options.output)}"
    return f"{recipe or options.recipe} of {name} ({of}{size}){trains} {where}"


def _automatic(
    options: Options, wanted: automatic.Automatic, chosen: OpenedRun | OpenedModel, loaded: tuple[Any, Any]
) -> Recipe:
    """Return the recipe that `auto` chooses; searches are kept in the folder `search` beside the files.

    Stages that a search trained are copied, so that they are not trained again.
    """
    folder = source.output_of(chosen, options.output)
    inputs = SearchInputs(
        run=options.run,
        teachers=(),
        folder=(folder if options.output else chosen.place) / "search",
        kernel=options.lstm_kernel,
        threads=1,
        target=wanted.budget.device,
        options={name: value for name in SOURCE if (value := getattr(options, name)) is not None},
    )
    of_run = isinstance(chosen, OpenedRun)
    teachers = {str(options.run): source.open_teacher(options.run, chosen)} if of_run else {}
    recipe = automatic.choose(wanted, inputs, chosen, teachers, loaded, cli.say)
    from compression.searching.search import FILES

    stages = f"{recipe.training_name}.stages"
    trained = inputs.folder / FILES / stages
    if recipe.stages and trained.is_dir() and not (folder / stages).exists():
        shutil.copytree(trained, folder / stages)
    return recipe


def _compared(path: Path, options: Options, chosen: OpenedRun | OpenedModel) -> Path:
    """Draw the page of all files beside a new one, and return its path; the report of a run links to it."""
    from compression.comparison import described, page
    from zoo.reports import page as report

    of_run = isinstance(chosen, OpenedRun) and options.output is None
    place = chosen.place / page.NAME if of_run else path.parent / page.NAME
    made = chosen.provenance()
    title = f"Compressed files of {made.get('run') or made.get('model_file') or path.parent.name}"
    page.write(described.found_in(path.parent), place, title)
    if of_run:
        report.link(RunFolder(chosen.place), place.name, "compressed files")
    return place


def _verifying(path: Path, options: Options, chosen: OpenedRun | OpenedModel) -> str | None:
    """Return the command that verifies a file; None for a model in memory, which no command finds again."""
    words: list[Any] = [path]
    if chosen.artifacts is None:
        if chosen.path is None or chosen.data is not None:
            return None
        words += [chosen.path, *source.load_words(chosen, {})]
    elif options.output is not None and not path.resolve().is_relative_to(options.run.resolve()):
        words += [options.run]
    return command_line("compression.verify", *words)


def _check_skip_worst(options: Options, recipe: Recipe) -> None:
    if options.skip_worst and not recipe.skippable:
        raise UsageError(f"--skip-worst: {recipe.precision} treats all layers alike; use dynamic, int8 or int4")
    if options.skip_worst and recipe.skip:
        raise UsageError(
            f"--skip-worst: it selects the layers to skip itself; expected a recipe without skip, received"
            f" {options.recipe!r}"
        )
    if options.skip_worst and recipe.stages:
        raise UsageError(
            "--skip-worst: expected a precision alone, received a recipe that trains; name layers with skip"
        )


def _training_config(config: TrainConfig, options: Options) -> TrainConfig:
    """Return the configuration of a run with the strategy of this command, and without options of its own strategy."""
    return dataclasses.replace(
        config,
        strategy=options.strategy,
        virtual_devices=options.virtual_devices,
        model_devices=0,
        steps_per_execution=None,
        shard="data",
    )


def show(result: Mapping[str, Any]) -> None:
    """Print the numbers that matter, the next command, and last the file; only the chief has something to print."""
    if result["path"] is None:
        return
    form = tasks.of(result["made"]["task"])
    print(
        f"{result['bytes']:,} bytes, {result['times_smaller']:.1f} times smaller than the weights in float32"
        f" (gzip: {result['gzip_bytes']:,}, {result['times_smaller_gzip']:.1f} times)"
    )
    if floats := result.get("float_operators"):
        listed = ", ".join(f"{count} {name}" for name, count in floats.items())
        print(f"computed in float inside this integer file: {listed}")
    if floats := left_in_float(result):
        print(floats)
    if "not_run" in result:
        print(f"not measured: {result['not_run']}")
    else:
        print(f"{form.comparison(result['test'])} ({result['test']['examples']:,} examples)")
        for line in form.parity(result["parity"]):
            print(line)
        for row in result["latency"]:
            times = f"{row['median_ms']:.3f} ms, p95 {row['p95_ms']:.3f} ms"
            print(f"latency {times} ({called(row)}, {row['runs']} runs)")
    for line in (*slower(result.get("latency", ())), *on_device(result)):
        print(line)
    for row in result.get("stages", ()):
        print(f"after {row['stage']}: {form.headline(row)}, {row['bytes']:,} bytes (gzip {row['gzip_bytes']:,})")
    if result["keeps_state"]:
        print("this file keeps state: call reset_all_variables() before each example")
    if "signed" in result:
        print(f"signed with the private key of {result['signed']['public_key']}")
    print(f"page:   {result['page']}")
    if result["next"]:
        print(f"next:   {result['next']}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        'python -m compression.compress runs/digits --recipe "channels(0.5) + int8"',
        "python -m compression.compress mine.keras --data photographs --recipe int8 --output small",
        "python -m compression.compress runs/digits --recipe int8 --output small/digits",
    ),
    prog="python -m compression.compress",
    description="Turn a run into a small .tflite file with a receipt measured on that file.",
)


if __name__ == "__main__":
    sys.exit(main())
