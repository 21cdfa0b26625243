"""`python -m compression.compress`: from a run to a small .tflite file, with a receipt measured on that file."""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import strategies
from compression.pipeline import source
from compression.receipts.wording import called, compared, parted, scored
from compression.recipes import images as image_recipes
from compression.recipes import language as recipes
from compression.recipes import links as link_recipes
from compression.recipes import pairs as pair_recipes
from compression.recipes import texts as text_recipes
from compression.recipes.language import Kernel, Recipe
from strategies import backend
from zoo.config import privacy
from zoo.config.options import option
from zoo.config.sampling import Beam
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs.folder import check_classifier


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compress, and how."""

    run: Path = option("the run folder", positional=True, stock_as="copy")
    recipe: str = option("words joined by +, such as 'prune(0.8) + qat + int8': see `python -m compression`", "int8")
    output: Path | None = option("folder of the file and its receipt (default: RUN/artifacts)")
    lstm_kernel: Kernel = option("recurrent layers as a loop, written out, or as one fused operator", "auto")
    uint8_input: bool = option("the file takes camera bytes from 0 to 255 and scales them itself", False)
    input_size: tuple[int, ...] | None = option(
        "height and width of those bytes, resized inside the file", metavar="HEIGHT,WIDTH"
    )
    batch: int = option("static batch size of the file", 1)
    beams: int | None = option(
        "of a run that translates: beginnings that the search goes on with, in the file and in Keras (default: 4)"
    )
    skip_worst: int = option("leave this many of the layers in float32 that quantization harms most", 0)
    calibration: int = option("training examples (of texts: tokens) that calibrate int8 and int16x8", 256)
    strategy: str = option("how training is spread over devices: see `python -m strategies`", "none")
    virtual_devices: int = option("split the CPU into this many devices, so mirrored has replicas anywhere", 0)
    bare: bool = option(
        "leave names of tensors and metadata out: smaller, and `inspect` cannot tell layers apart", False
    )
    allow_flex: bool = option("allow operators that need TensorFlow's own kernels on the device", False)
    seed: int = option("of the choice of calibration examples", 0)
    time_limit: float = option("seconds that a conversion may take", 900.0)
    data_dir: Path | None = option("where TFDS sets are prepared (default: the run's)")

    def __post_init__(self) -> None:
        for name, low in (("batch", 1), ("calibration", 1), ("time_limit", 1), ("skip_worst", 0), ("seed", 0)):
            if (value := getattr(self, name)) < low:
                raise UsageError(f"--{name.replace('_', '-')}: expected at least {low}, received {value}")
        if self.strategy in strategies.ON_JAX:
            raise UsageError(
                f"--strategy {self.strategy}: recipes are trained and files exported on TensorFlow; expected none,"
                " one_device, mirrored or multi_worker, received one of JAX"
            )
        size = self.input_size
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise UsageError(f"--input-size: expected HEIGHT,WIDTH in pixels, received {','.join(map(str, size))}")
        if size is not None and not self.uint8_input:
            raise UsageError("--input-size: expected together with --uint8-input, received without it")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compress, and return the receipt and where it is."""
    options = Options(**given)
    recipe = recipes.parse(options.recipe)
    if options.skip_worst and not recipe.skippable:
        raise UsageError(f"--skip-worst: {recipe.precision} treats all layers alike; use dynamic, int8 or int4")
    if options.skip_worst and recipe.skip:
        raise UsageError(f"--skip-worst: chooses what to skip itself, received {options.recipe!r} besides")
    if options.skip_worst and recipe.stages:
        raise UsageError(
            "--skip-worst: expected a precision alone, received a recipe that trains; name layers with skip"
        )
    beam = None if options.beams is None else Beam(beams=options.beams)
    chosen = source.open_run(options.run, given, texts=True)
    if chosen.task == "classification":
        text_recipes.check_classes(beam)
    elif chosen.task == "generation":
        image_recipes.check(recipe, uint8=options.uint8_input, beam=beam)
        if options.skip_worst:
            raise UsageError("--skip-worst: expected a run that gives classes; this one draws images")
        if chosen.config.classifier is not None:
            check_classifier(chosen.config.classifier)
    elif chosen.task == "link_prediction":
        asked = {"uint8": options.uint8_input, "batch": options.batch, "skip_worst": options.skip_worst}
        link_recipes.check(recipe, beam=beam, **asked)
    else:
        _check_functions(chosen.task, recipe, options, beam)
    privacy.check_trained_on(chosen.config.private, recipe)
    kept = privacy.of_file(chosen.config.private, recipe.calibrated or options.skip_worst > 0)
    if kept:
        cli.say(kept)
    # What went with the run's own strategy does not go with this one.
    training = dataclasses.replace(
        chosen.config,
        strategy=options.strategy,
        virtual_devices=options.virtual_devices,
        model_devices=0,
        steps_per_execution=None,
        shard="data",
    )
    teachers = [source.open_teacher(Path(path), chosen) for path in (recipe.distill.teacher if recipe.distill else ())]
    chief = strategies.is_chief(options.strategy)
    if options.virtual_devices or options.strategy == "multi_worker":  # before anything else uses TensorFlow
        backend.start("tensorflow")
        facts = {"--recipe": str(recipe), "run": chosen.provenance()["model_sha256"], "--seed": options.seed}
        strategies.build(options.strategy, options.virtual_devices, facts=facts, seconds=training.worker_timeout)
    model, data = chosen.load()
    from compression.pipeline import pipeline, sensitivity

    folder = options.output or chosen.run.path / "artifacts"
    if options.skip_worst:
        ways = {"kernel": options.lstm_kernel, "seed": options.seed, "say": cli.say}
        recipe = sensitivity.without_worst(model, data, recipe, options.skip_worst, **ways)
        cli.say(f"left in float32: {', '.join(recipe.skip)}")
    stages = {
        "training": training,
        "teachers": (lambda: [teacher.load_model() for teacher in teachers]) if teachers else None,
        "calibration": options.calibration,
        "seed": options.seed,
    }
    if not chief:
        if recipe.stages:
            pipeline.assist(model, data, recipe, **stages)
        return {"path": None}
    made = pipeline.compress(
        model,
        data,
        recipe,
        folder,
        kernel=options.lstm_kernel,
        uint8=options.uint8_input,
        input_size=options.input_size,
        batch=options.batch,
        beam=beam,
        bare=options.bare,
        allow_flex=options.allow_flex,
        seconds=options.time_limit,
        **stages,
        provenance=chosen.provenance() | ({"privacy": kept} if kept else {}),
        say=cli.say,
        verbose=True,
    )
    return {"path": str(made.path), **made.receipt}


def _check_functions(task: str, recipe: Recipe, options: Options, beam: Beam | None) -> None:
    """Refuse what a file of several functions cannot have: one that makes texts, or that matches them with images."""
    asked = {"uint8": options.uint8_input, "batch": options.batch, "beam": beam}
    if task == "contrastive":
        pair_recipes.check(recipe, **asked)
    else:
        text_recipes.check(task, recipe, **asked)
    if options.skip_worst:
        what = "of two towers" if task == "contrastive" else "of a decoder's layers"
        raise UsageError(f"--skip-worst: expected a run that gives classes; none {what} can be left out")


def show(result: Mapping[str, Any]) -> None:
    """Print the numbers that matter, what to do next, and last the file; it is the chief's to say."""
    if result["path"] is None:
        return
    print(
        f"{result['bytes']:,} bytes, {result['times_smaller']:.1f} times smaller than the weights in float32"
        f" (gzip: {result['gzip_bytes']:,}, {result['times_smaller_gzip']:.1f} times)"
    )
    if "not_run" in result:
        print(f"not measured: {result['not_run']}")
    else:
        _show_measured(result)
    for row in result.get("stages", ()):
        print(f"after {row['stage']}: {scored(row)}, {row['bytes']:,} bytes (gzip {row['gzip_bytes']:,})")
    if result["keeps_state"]:
        print("this file keeps state: call reset_all_variables() before each example")
    print(f"next:   {command_line('compression.verify', result['path'])}")
    print(result["path"])


def _show_measured(result: Mapping[str, Any]) -> None:
    test, parity = result["test"], result["parity"]
    print(f"{compared(test)} ({test['examples']:,} examples)")
    print(parted(parity))
    if "source_effect" in parity:
        print(
            f"another source changes {parity['source_effect']:.1%} of what is said next, in Keras"
            f" {parity['source_effect_keras']:.1%}"
        )
    for row in result["latency"]:
        print(
            f"latency {row['median_ms']:.3f} ms, 95 % within {row['p95_ms']:.3f} ms ({called(row)}, {row['runs']} runs)"
        )


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        'python -m compression.compress runs/digits --recipe "channels(0.5) + int8"',
        "python -m compression.compress runs/digits --recipe int8 --output small/digits",
    ),
    prog="python -m compression.compress",
    description="Turn a run into a small .tflite file with a receipt measured on that file.",
)


if __name__ == "__main__":
    sys.exit(main())
