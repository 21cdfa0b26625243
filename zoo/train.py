"""`python -m zoo.train`: train a model and write its run folder."""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Any

import strategies
from strategies import backend
from zoo.config import privacy, registry
from zoo.config.catalogue import check_source
from zoo.config.groups import StrategyOptions
from zoo.config.train_config import CHANGEABLE, TrainConfig, command_line
from zoo.console import cli
from zoo.console.errors import Interrupted, UsageError
from zoo.runs.continuing import differences
from zoo.runs.folder import RunFolder, check_beginning, continued, default_output, newest_unfinished, scored
from zoo.sizing import adaptation


def configure(given: Mapping[str, Any], wanted: adaptation.Wanted = adaptation.NOTHING) -> TrainConfig:
    """Return the resolved configuration of the given options, or with `resume` that of the run to continue.

    Args:
        given: Options of a configuration, by field name.
        wanted: Values to be found by measurement, unless the run has started.

    Raises:
        UsageError: Options that no run could use, or that contradict the run to continue.
    """
    if not given.get("resume"):
        config = adaptation.resolved(given, wanted)
        check_beginning(config)
        if not strategies.is_chief(config.strategy):
            return config  # the chief owns the folder
        config = dataclasses.replace(config, output=config.output or default_output(config))
        RunFolder(config.output).check_free()
        return config
    folder = given.get("output") or newest_unfinished(TrainConfig(**given))
    if folder is None:
        raise UsageError(
            "--resume: expected an unfinished run of this model and data under runs/, found none;"
            " name its folder with --output"
        )
    run = RunFolder(folder)
    if not run.started:
        if "model" not in given:
            run.require()
        check_beginning(config := dataclasses.replace(adaptation.resolved(given, wanted), output=folder))
        return config  # killed before its first step
    begun = run.read_config()
    stored = begun["config"]
    if "online" in (begun.get("begun_with") or {}):
        raise UsageError(f"--resume: {folder} is a run of zoo.online; continue it with zoo.online --resume")
    if texts := differences(stored, given) + adaptation.differences(begun.get("adapted"), wanted):
        raise UsageError(f"--resume: {folder} was started with a different configuration: {'; '.join(texts)}")
    changed = {name: given[name] for name in CHANGEABLE if name in given}
    if "strategy" in given:  # these options belonged to the strategy before
        usual = {field.name: field.default for field in dataclasses.fields(StrategyOptions)}
        changed = {name: value for name, value in usual.items() if name in CHANGEABLE} | changed
    return dataclasses.replace(stored, **changed | {"resume": True, "output": folder}).resolved()


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Train, and return the folder and the metrics."""
    given, wanted = adaptation.separate(given)
    config = configure(given, wanted)
    chief = strategies.is_chief(config.strategy)
    folder = RunFolder(config.output or default_output(config))
    if config.resume and folder.finished:
        folder.key_file.unlink(missing_ok=True)  # a private training that was killed at its very end has left it
        print(f"{folder.path}: this run has finished; there is nothing left to do", file=sys.stderr)
        backend.start()  # the scores below are written by a task, which imports Keras
        return {"run": str(folder.path), **folder.read_metrics()}
    check_source(config)
    if chief and not config.resume:
        name = config.dataset or config.data
        cli.say(f"{config.model} on {name}, strategy {config.strategy}, seed {config.seed}; writes {folder.path}")
    from zoo.training.data import load_data, with_filled_batch

    # Other data than those of TFDS are read without TensorFlow, so that their errors come before its import.
    late = config.dataset_is_tfds or config.model in registry.HUB_MODELS  # tokenizers of KerasHub need Keras
    data = None if late else load_data(config)
    if data is not None and not (config.resume or "batch_size" in given or wanted.auto_batch):
        config = with_filled_batch(config, data)
    adapted = None
    if wanted and not continued(config):  # before this process takes the memory of a device
        config, adapted = adaptation.adapted(config, wanted)
    backend.start(strategies.engine(config.strategy), config.virtual_devices)
    from zoo.training.loop import train

    try:
        result = train(config, data=data, command=["python", "-m", "zoo.train", *sys.argv[1:]], adapted=adapted)
    except Interrupted as error:
        hint = command_line("zoo.train", "--resume", "--output", folder.path)
        raise Interrupted(f"{error}; continue with: {hint}") from None
    return {"run": str(result.run.path) if chief else None, **result.metrics}


def show(result: Mapping[str, Any]) -> None:
    """Print the main scores, the next commands and last the folder; workers other than the chief print nothing."""
    if result["run"] is None:
        return
    from zoo import tasks

    task = tasks.of(RunFolder(result["run"]).task)
    scores = f"examples: {result['test']['examples']:,}, without labels"
    if scored(result):
        scores = task.headline(result["test"], result.get("intervals", {}))
    print(f"test {scores}, weights of epoch {result['epoch']} of {result['epochs']}")
    if "private" in result:
        print(f"private: {privacy.headline(result['private'])}")
    print(f"report: {result['run']}/report.html")
    module, *words = task.facts.used_by
    print(f"next:   {command_line(module, result['run'], *words)}")
    recipe = "dynamic" if "private" in result else task.facts.shrunk_by  # int8 needs examples
    print(f"or:     {command_line('compression.compress', result['run'], '--recipe', recipe)}")
    print(result["run"])


def _resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return given options with the default settings of the model and the data set filled in."""
    config, wanted = adaptation.separate(given)
    found = adaptation.resolved(config, wanted)
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return given | {name: value for name, value in values.items() if value is not None}


main = functools.partial(
    cli.command,
    adaptation.Options,
    run,
    show,
    resolved=_resolved,
    prog="python -m zoo.train",
    description="Train a model and write its run folder. Options that are not given take the default settings for the"
    " model and the data set: see `python -m zoo.list recipes`.",
    examples=(
        "python -m zoo.train --model cnn --dataset digits --epochs 5 --output runs/digits",
        "python -m zoo.train --model lstm --data reviews.csv --set units=64 --strategy mirrored --virtual-devices 2",
    ),
)


if __name__ == "__main__":
    sys.exit(main())
