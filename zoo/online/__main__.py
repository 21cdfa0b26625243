"""`python -m zoo.online`: continue training a classifier on a stream of examples, in a new run folder."""

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
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import Interrupted, UsageError
from zoo.console.values import Seconds
from zoo.ensemble.members import classifier
from zoo.online import streams
from zoo.online.settings import Settings, configuration, of_run, of_set
from zoo.runs.folder import RunFolder

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """Options of `zoo.online`."""

    run: Path = option("run folder of a classifier", positional=True, stock_as="copy")
    stream: str | None = option(
        'file with one line {"x": ..., "y": ...} per example, - for standard input, or tfds:NAME/SPLIT'
    )
    follow: bool = option("wait for more lines at the end of the file, until Ctrl-C, SIGTERM or --idle", False)
    idle: Seconds | None = option(
        "time without new data after which to stop, such as 30s (default: never)", metavar="TIME"
    )
    output: Path | None = option("run folder to write (default: RUN-online)")
    resume: bool = option("resume the run in --output after an interruption, or after its file has grown", False)
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")

    @property
    def file(self) -> Path | None:
        """File of the stream, or None for standard input and TFDS sets."""
        return None if self.stream == STDIN or streams.set_of(self.stream) else Path(self.stream)

    @property
    def endless(self) -> bool:
        """Whether the stream may have no end, so that a signal ends it regularly."""
        return self.follow or self.stream == STDIN


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Learn from the stream, and return the folder and metrics of the new run."""
    options = Options(**given)
    _check_stream(options)
    base = classifier(options.run)
    stored = base.read_config()
    if stored["data"].get("per_step"):
        raise UsageError(f"RUN {base.path}: expected a run with one label per example, this one has one per time step")
    if importlib.util.find_spec("river") is None:
        raise UsageError(
            "zoo.online: expected river, which is not installed; pip install 'keras-compression-zoo[online]' (Python"
            " 3.11 or newer)"
        )
    folder = RunFolder(options.output or base.path.with_name(f"{base.path.resolve().name}-online"))
    told = {"run": str(base.path), "model_sha256": base.read_metrics()["model_sha256"]}
    settings = of_run(options, given, stored["config"], folder, told, resume=options.resume)
    config = configuration(stored["config"], settings, given, folder)
    check_source(config)
    found = streams.set_of(options.stream)
    named = of_set(config, found[0]) if found else None
    if named:
        check_source(named)
    backend.start()
    from zoo.online import run as online_run
    from zoo.runs.inference import load_like

    source = online_run.StreamSource(
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
    """Raise a `UsageError` if the stream cannot be read, or not with these options."""
    if options.stream is None:
        raise UsageError("--stream: expected a file, - or tfds:NAME/SPLIT, received none")
    file = options.file
    if options.follow and file is None:
        raise UsageError(f"--follow: expected with a file, received --stream {options.stream}")
    if options.idle is not None and not options.endless:
        raise UsageError("--idle: expected with --follow or --stream -, received with a finite stream")
    if file is not None and not file.is_file():
        what = "a folder" if file.is_dir() else "none"
        raise UsageError(f"--stream {file}: expected a file, found {what}")


def show(result: Mapping[str, Any]) -> None:
    """Print the results, the next command, and last the run folder."""
    from zoo import tasks

    found = result["prequential"]
    print(
        f"{found['examples']:,} examples, {found['learnt']:,} learnt, {found['held_out']:,} held out,"
        f" {found['rejected']:,} lines rejected"
    )
    print(
        f"prequential accuracy {found['accuracy']:.2%}, last {found['window']:,}: {found['windowed']:.2%};"
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
    description="Continue training a classifier on a stream. Each example is predicted first, then learnt.",
)


if __name__ == "__main__":
    sys.exit(main())
