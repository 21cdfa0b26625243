"""`python -m zoo.online`: a trained classifier goes on learning from a stream, in a run folder of its own."""

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies import backend
from zoo.config.catalogue import check_source
from zoo.config.options import option
from zoo.config.train_config import ON_ONE_DEVICE, TrainConfig, command_line
from zoo.console import cli
from zoo.console.errors import Interrupted, UsageError
from zoo.console.values import Seconds
from zoo.ensemble.members import classifier
from zoo.online import streams
from zoo.online.settings import Settings, check_unchanged
from zoo.runs.folder import RunFolder

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What learns, from which stream, and how."""

    run: Path = option("the run folder of a classifier", positional=True, stock_as="copy")
    stream: str | None = option(
        'a file with a line {"x": ..., "y": ...} for each example, - for standard input, or tfds:NAME/SPLIT'
    )
    follow: bool = option("at the end of the file wait for more, until Ctrl-C, SIGTERM or --idle", False)
    idle: Seconds | None = option("end when nothing came for so long, such as 30s (default: never)", metavar="TIME")
    output: Path | None = option("the run folder to write (default: RUN-online)")
    resume: bool = option("go on where --output stopped: killed, interrupted, or at the end of a file that grew", False)
    data_dir: Path | None = option("where TFDS sets are prepared (default: the run's)")

    @property
    def file(self) -> Path | None:
        """The stream's file, where it is one."""
        return None if self.stream == STDIN or streams.set_of(self.stream) else Path(self.stream)

    @property
    def endless(self) -> bool:
        """Whether only a signal may end the stream, which then is its end."""
        return self.follow or self.stream == STDIN


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Learn, and return the new run's folder and metrics."""
    options = Options(**given)
    _check_stream(options)
    base = classifier(options.run)
    stored = base.read_config()
    if stored["data"].get("per_step"):
        raise UsageError(f"RUN {base.path}: expected a run that gives one label an example, this one gives one a step")
    if importlib.util.find_spec("river") is None:
        raise UsageError(
            "zoo.online: expected river, which is not installed; pip install 'keras-compression-zoo[online]' (Python"
            " 3.11 or newer)"
        )
    folder = RunFolder(options.output or base.path.with_name(f"{base.path.resolve().name}-online"))
    told = {"run": str(base.path), "model_sha256": base.read_metrics()["model_sha256"]}
    settings = _settings(options, given, stored["config"], folder, told)
    config = _configuration(stored["config"], settings, given, folder)
    check_source(config)
    found = streams.set_of(options.stream)
    named = _of_set(config, found[0]) if found else None
    if named:
        check_source(named)
    backend.start()
    from zoo.online import run as online_run
    from zoo.runs.inference import load_like

    source = online_run.Source(
        path=options.file,
        named=(named, found[1]) if named else None,
        follow=options.follow,
        idle=options.idle,
        endless=options.endless,
    )
    begun_with = {"online": settings.to_json(), "stream": options.stream, **told}
    words = ["python", "-m", "zoo.online", *sys.argv[1:]]
    with folder.lock():
        try:
            metrics = online_run.learn(
                base, folder, config, settings, load_like(base, config), source,
                resume=options.resume, begun_with=begun_with, command=words,
            )  # fmt: skip
        except Interrupted as error:
            hint = command_line(
                "zoo.online", base.path, "--stream", options.stream, "--output", folder.path, "--resume"
            )
            raise Interrupted(f"{error}; continue with: {hint}") from None
    return {"run": str(folder.path), **metrics}


def _check_stream(options: Options) -> None:
    """Raise UsageError for a stream that cannot be read, or not as it is asked to."""
    if options.stream is None:
        raise UsageError("--stream: expected a file, - or tfds:NAME/SPLIT, received none")
    file = options.file
    if options.follow and file is None:
        raise UsageError(f"--follow: expected with a file, received --stream {options.stream}")
    if options.idle is not None and not options.endless:
        raise UsageError("--idle: expected with --follow or --stream -, received with a stream that has an end")
    if file is not None and not file.is_file():
        what = "a folder" if file.is_dir() else "none"
        raise UsageError(f"--stream {file}: expected a file, found {what}")


def _settings(
    options: Options, given: Mapping[str, Any], trained: TrainConfig, folder: RunFolder, told: Mapping[str, Any]
) -> Settings:
    """Return what decides the numbers: what was given, or of a run that goes on what it was started with."""
    if not options.resume:
        folder.check_free()
        found = {name: getattr(options, name) for name in options.to_json()}
        if options.learning_rate is None:
            found["learning_rate"] = trained.learning_rate / 10
        return Settings(**found)
    begun = folder.read_config()["begun_with"] or {}
    if "online" not in begun:
        raise UsageError(f"--resume: {folder.path}: expected a run of zoo.online, this one is of another command")
    if begun["model_sha256"] != told["model_sha256"]:
        raise UsageError(f"--resume: {folder.path} was begun with {begun['run']}, not with the model of {told['run']}")
    check_unchanged(begun["online"], given, folder.path)
    return Settings(**begun["online"])


def _configuration(
    trained: TrainConfig, settings: Settings, given: Mapping[str, Any], folder: RunFolder
) -> TrainConfig:
    """Return the configuration of the new run: how the other was trained, at a flat rate on one device."""
    return dataclasses.replace(
        trained,
        **ON_ONE_DEVICE,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=settings.seed,
        schedule="constant",
        warmup=0.0,
        snapshots=0,
        average=None,
        deterministic=True,
        output=folder.path,
        **{name: given[name] for name in ("data_dir",) if name in given},
    )


def _of_set(config: TrainConfig, name: str) -> TrainConfig:
    """Return the configuration of another set, whose splits are taken as they are."""
    changes = {"dataset": name, "data": None, "validation_data": None, "test_split_name": None}
    return dataclasses.replace(config, **changes, validation_split=0.0, test_split=0.0)


def show(result: Mapping[str, Any]) -> None:
    """Print what was learnt, what to do next, and last the folder."""
    from zoo import tasks

    found = result["prequential"]
    print(
        f"{found['examples']:,} examples, {found['learnt']:,} learnt, {found['held_out']:,} held out,"
        f" {found['rejected']:,} lines rejected"
    )
    print(
        f"prequential accuracy {found['accuracy']:.2%}, of the last {found['window']:,} {found['windowed']:.2%};"
        f" {len(found['drifts'])} drifts, {len(found['rollbacks'])} rollbacks"
    )
    before = found["test_accuracy_before"]
    print(
        f"test {tasks.of('classification').headline(result['test'], result['intervals'])}; accuracy {before:.2%} before"
    )
    print(f"report: {result['run']}/report.html")
    print(f"next:   {command_line('compression.compress', result['run'], '--recipe', 'int8')}")
    print(result["run"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.online runs/digits --stream examples.jsonl",
        "python -m zoo.online runs/digits --stream - --learning-rate 1e-3 --rehearsal 1000",
    ),
    prog="python -m zoo.online",
    description="Let a trained classifier go on learning from a stream: each example is predicted, then learnt from.",
)


if __name__ == "__main__":
    sys.exit(main())
