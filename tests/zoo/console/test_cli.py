"""The frame of every command: quick help, one clear sentence for a mistake, the right exit status."""

import dataclasses
import errno
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zoo import train
from zoo.config import catalogue
from zoo.config import train_config as config
from zoo.config.options import option
from zoo.console import cli, values
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.system.files import write_json

MISTAKES = {
    "--model cn": "unknown model 'cn': expected one of \\d+ names; did you mean 'cnn'",
    "--model cmn": "unknown model 'cmn': .* did you mean 'cnn'",
    "--dataset minst": "unknown dataset 'minst': .* did you mean 'mnist'",
    "--dataset mnist --data x.npz": "--dataset and --data: expected one of them, received both",
    "--strategy mirored": "unknown strategy 'mirored': .* did you mean 'mirrored'",
    "--strategy tpu": "strategy 'tpu': expected a TPU, found none; looked for /dev/accel",
    "--strategy parameter_server": "strategy 'parameter_server' cannot be used: .* not supported by fit of Keras 3",
    "--strategy multi_worker": "expected a cluster in the environment, TF_CONFIG or the variables of a SLURM step",
    "--strategy mirrored --virtual-devices 2 --batch-size 33":
        "--batch-size 33: expected a multiple of the 2 replicas, such as 32 or 34",
    "--set filtrs=3": "--set filtrs: model 'cnn' has no such argument: .* did you mean 'filters'",
    "--set filters=many": "--set filters: expected an integer, received 'many'",
    "--set dropout=1e400": "--set dropout: expected a number that is finite and has at most 64 bits, received '1e400'",
    "--set filters=nan": "--set filters: expected an integer, received 'nan'",
    "--seed 1180591620717411303424": "--seed: expected an integer that is finite and has at most 64 bits, received",
    "--seed 4294967296": "--seed: expected a value from 0 to 4.29497e.09, received 4294967296",
    "--learning-rate nan": "--learning-rate: expected a number that is finite and has at most 64 bits, received 'nan'",
    "--set batch_norm=perhaps": "--set batch_norm: expected true or false, received 'perhaps'",
    "--model lstm --set cell=lsmt":
        "--set cell: expected one of lstm, gru, simple, received 'lsmt'; did you mean 'lstm'",
    "--model lstm --set vocabulary_size=9": "--set vocabulary_size: this is taken from the data",
    "--set filters": "--set: expected NAME=VALUE, received 'filters'",
    "--epochs many": "--epochs: expected an integer, received 'many'",
    "--epochs 0": "--epochs 0: expected together with --pretrained or --init-from, received without them",
    "--learning-rate fast": "--learning-rate: expected a number, received 'fast'",
    "--optimizer adam": "--optimizer: expected one of adamw, sgd, adagrad, received 'adam'; did you mean 'adamw'",
    "--epoch 3": "unexpected argument '--epoch'; did you mean '--epochs'",
    "surplus": "unexpected argument 'surplus'",
    "--epochs": "argument --epochs: expected one argument",
    "--data absent": "--data absent: expected a file or a folder, found none",
    "--data {file}": "expected a folder of images by class, or a file that ends in .npz, .csv, .tsv, .jsonl",
    "--data {file} --task translation": "--data .*: expected a table of pairs that ends in .csv, .tsv, .jsonl",
    "--data {file} --task language_model": "--data .*: expected a .txt file or a folder of them",
    "--task translate": "--task: expected one of classification, .* did you mean 'translation'",
    "--task translation --dataset digits": "--dataset digits: expected a set for translation, this one is for cl",
    "--tokens words": "--tokens: expected one of word, character, subword, received 'words'; did you mean 'word'",
    "--source de --target de": "--source and --target: expected two different names, received 'de' twice",
    "--source de": "--source de: expected with --task translation, received for classification of digits",
    "--dataset addition --target en": "--target: expected none for addition, which has one direction",
    "--test-split-name test2": "--test-split-name test2: expected with a TFDS set, received without one",
    "--data-dir absent --dataset mnist": "--data-dir absent: expected a folder, found none",
    "--init-from absent": "--init-from: absent: expected the folder of a run, found no such folder",
    "--init-from {folder}": "--init-from: .*: expected the folder of a run, found no config.json in it",
    "--freeze conv_1,conv_[23]": r"--freeze conv_1,conv_\[23\]: expected together with --init-from RUN, because",
    "--new-head": "--new-head: expected together with --init-from RUN; without it, every head is new",
    "--unfreeze-every 2": "--unfreeze-every 2: expected together with --init-from RUN, because",
    "--unfreeze-every 3 --epochs 3": "--unfreeze-every 3: expected less than the number of epochs, 3",
    "--layer-decay 1.5": "--layer-decay: expected a value from 0.01 to 1, received 1.5",
    "--model gan --layer-decay 0.8": "--layer-decay: expected a model whose layers .*; gan has two networks that",
    "--model cross_modal --new-head": "--new-head: expected a model whose layers .*; cross_modal has two towers",
    "--model transformer_lm --new-head": "--new-head: expected --set tied=false: with tied weights transformer_lm",
    "--model hub_classifier": "--model hub_classifier: expected --set preset=PATH_OR_NAME, .* received none",
    "--classifier runs/x": "--classifier: expected a model that draws images, cnn learns classification",
    "--model gan --classifier absent": "--classifier: absent: expected the folder of a run, found no such folder",
    "--model gan --set loss=hing": "--set loss: expected one of non_saturating, hinge, wasserstein, received 'hing'",
    "--target-params 20q": "--target-params: expected a number such as 50000, 50k, 1.2M or 3G, received '20q'",
    "--target-flops 0": "--target-flops: expected 1 or more, received 0",
    "--target-params 5k --target-flops 5M": "--target-params and --target-flops: expected one of them, received both",
    "--model hub_classifier --set preset=x --target-params 5k":
        "--target-params: expected a model whose widths can be scaled, hub_classifier has none",
    "--model cnn_12 --set filters=3 --set units=4 --target-params 5k":
        "--target-params: expected a free width of cnn_12, --set fixes all of them \\(filters, units\\)",
    "--auto-batch --batch-size 32": "--auto-batch and --batch-size: expected one of them, received both",
    "--auto-batch --strategy multi_worker": "--auto-batch: expected a single-process strategy, received multi_worker",
    "--beta-1 1": "--beta-1: expected a value from 0 to 0.9999, received 1.0",
    "--adversarial pgm(0.1)": "unknown attack 'pgm': expected one of fgsm, pgd; did you mean 'pgd'",
    "--adversarial pgd(8)": "--adversarial pgd: eps: expected at most 1, .* received 8; 8 of 255 levels is 0.0314",
    "--adversarial pgd(0.1,steps=0)": "--adversarial pgd: steps: expected at least 1, received 0",
    "--model gan --adversarial fgsm(0.1)": "--adversarial with --model gan: expected a classifier of images or vectors",
    "--private pd(3)": "unknown kind of privacy 'pd': expected one of dp",
    "--private dp": "--private dp: expected one of epsilon and noise, received neither",
    "--private dp(3,delta=2)": "--private dp: delta: expected a number between 0 and 1, received 2",
    "--model gan --private dp(3)": "--private with --model gan: expected a classifier of images or vectors",
    "--private dp(3) --set dropout=0.5": "--private: expected --set dropout=0, received 0.5: its random numbers",
    "--private dp(3) --set batch_norm=true": "--private: expected --set batch_norm=0, received True: .* mixes",
    "--private dp(3) --class-weights balanced": "--private: expected --class-weights none, received --class",
    "--private dp(3) --adversarial fgsm(0.1)": "--private: expected no --adversarial, received --adversarial fgsm",
    "--private dp(3) --strategy mirrored --virtual-devices 2 --batch-size 32":
        "--private: expected --strategy none, received --strategy mirrored: noise is added once",
    "--model ensemble": "--model ensemble: expected a model to train, but this model is made from trained runs",
    "--average ema": r"--average: expected ema\(X\) or swa\(X\) with 0 <= X < 1, received 'ema'",
    "--average swa(1.0)": r"--average: expected ema\(X\) or .* X < 1, received 'swa\(1.0\)'",
    "--average swa(0.5) --early-stopping 2": r"--average swa\(0.5\): expected --early-stopping 0, received 2",
    "--model gan --average ema(0.9)": "--average .*: gan has a moving average of its own; .* --set average_decay=X",
    "--snapshots 3 --epochs 4": "--snapshots 3: expected a divisor of the number of epochs, 4",
    "--snapshots 2 --epochs 4 --schedule constant": "--snapshots 2: expected --schedule cosine, received constant",
    "--snapshots 2 --epochs 4 --warmup 0.1": "--snapshots 2: expected --warmup 0.0, received 0.1",
    "--snapshots 2 --epochs 4 --early-stopping 1": "--snapshots 2: expected --early-stopping 0, received 1",
    "--output {folder}": "--output .*: expected a new or empty folder, this one is not empty",
    "--output {file}": "--output .*: expected a folder, received a file",
    "--resume --output absent": "absent: expected the folder of a run, found no such folder",
    "--resume": "--resume: expected an unfinished run of this model and data under runs/, found none",
}  # fmt: skip


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Return a function that fills the names of a folder and a file into a command line."""
    monkeypatch.chdir(tmp_path)
    folder, file = tmp_path / "folder", tmp_path / "file.dat"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    file.write_text("text")
    return lambda text: text.format(folder=folder, file=file).split()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_sentence_with_status_2(mistake, words, capsys):
    assert train.main(words(mistake)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("zoo.train: ")
    assert re.search(MISTAKES[mistake], err), err


_NO_BACKEND = """
import sys
from zoo import calibrate, card, evaluate, generate, list, predict, train
from zoo.attack import __main__ as attack
from zoo.demo import __main__ as demo
from zoo.ensemble import __main__ as ensemble
from zoo.explain import __main__ as explain
from zoo.online import __main__ as online
from zoo.sweep import __main__ as sweep
for words in sys.argv[1:]:
    assert train.main(words.split()) == 2, words
commands = train, attack, evaluate, predict, generate, explain, ensemble, calibrate, card, demo, online, list, sweep
for command in commands:
    try:
        command.main(["--help"])
    except SystemExit as ended:
        assert ended.code == 0
list.main(["models"])
evaluate.main(["absent"])
predict.main(["absent", "x.png"])
generate.main(["absent", "a text"])
explain.main(["absent", "x.png"])
attack.main(["absent"])
attack.main(["absent", "--attack", "pgm"])
ensemble.main(["absent", "there"])
calibrate.main(["absent"])
card.main(["absent"])
card.main(["whole"])
evaluate.main(["whole", "--groups", "absent.csv"])
online.main(["absent", "--stream", "-"])
online.main(["absent", "--stream", "absent.jsonl", "--idle", "soon"])
demo.main(["absent"])
heavy = {"tensorflow", "keras", "jax", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_and_mistakes_import_no_backend(tmp_path):
    run = RunFolder(tmp_path / "whole")
    spec = {"name": "digits", "kind": "image", "input_shape": [8, 8, 1], "class_names": ["a", "b"], "per_step": False}
    run.write_config(config.TrainConfig().resolved(), spec, [])
    scores = {"test": {"accuracy": 0.9, "examples": 10}, "epoch": 1, "epochs": 1, "seconds": 1.0, "parameters": 5}
    write_json(run.metrics_file, scores | {"model_sha256": "0" * 64})
    plain = [words for words in MISTAKES if "{" not in words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _NO_BACKEND, *plain], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert run.card_file.is_file()  # written without a backend


def run(action, words=()):
    return cli.command(
        config.TrainConfig, action, lambda result: None, prog="python -m zoo.try", description="", argv=words
    )


def raising(error):
    def action(given):
        raise error

    return action


@pytest.mark.parametrize(("error", "status", "text"), [
    (UsageError("wrong"), 2, "zoo.try: wrong\n"),
    (RuntimeError("deep\n inside"), 1, "zoo.try: RuntimeError: deep inside (--debug shows where)\n"),
    (KeyboardInterrupt(), 130, "zoo.try: interrupted\n"),
    (OSError(errno.ENOSPC, "No space left on device", "runs/x/model.keras"), 2,
     "zoo.try: disk full while writing runs/x/model.keras: free some space there and in TMPDIR, then go on"
     " with --resume or by the same command\n"),
    (OSError("282240 requested and 48096 written"), 2,
     "zoo.try: disk full: free some space there and in TMPDIR, then go on with --resume or by the same command\n"),
    (RuntimeError("variables; No space left on device [Op:SaveV2]"), 2,
     "zoo.try: disk full: free some space there and in TMPDIR, then go on with --resume or by the same command\n"),
    (PermissionError(errno.EACCES, "Permission denied", "runs"), 2,
     "zoo.try: no permission for runs (Permission denied): choose another path\n"),
    (OSError(errno.EROFS, "Read-only file system", "runs"), 2,
     "zoo.try: no permission for runs (Read-only file system): choose another path\n"),
    (OSError(errno.EMFILE, "Too many open files"), 2,
     "zoo.try: too many open files: raise the limit, as by `ulimit -n 1024`\n"),
    (RuntimeError("can't start new thread"), 2,
     "zoo.try: the limit of processes and threads is reached: raise it, as by `ulimit -u 4096`\n"),
    (ConnectionError("refused"), 1, "zoo.try: ConnectionError: refused\n"),
])  # fmt: skip
def test_errors_become_one_line_and_a_status(error, status, text, capsys):
    assert run(raising(error)) == status
    assert capsys.readouterr().err == text


def test_debug_shows_the_traceback(capsys):
    assert run(raising(RuntimeError("deep")), ["--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_options_arrive_typed_and_only_those_given():
    words = [
        "--epochs",
        "3",
        "--learning-rate",
        "1e-2",
        "--skip-bad",
        "--output",
        "a/b",
        "--set",
        "units=3,4",
        "--set",
        "activation=tanh",
    ]
    given = cli.parse(config.TrainConfig, words, prog="", description="")
    assert {k: v for k, v in given.items() if k not in cli.FRAME} == {
        "epochs": 3,
        "learning_rate": 0.01,
        "skip_bad": True,
        "output": Path("a/b"),
        "settings": {"units": "3,4", "activation": "tanh"},
    }


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Options without a heading."""

    path: Path = option("file to read", positional=True)
    words: tuple[str, ...] = option("words", (), positional=True, optional=True)
    depth: int = option("depth", 3)


def help_of(options, capsys, **arguments):
    with pytest.raises(SystemExit):
        cli.parse(options, ["--help"], prog="zoo.try", description="Try it.", **arguments)
    return capsys.readouterr().out


def test_help_lists_options_under_the_headings_of_their_groups(capsys):
    shown = help_of(config.TrainConfig, capsys)
    sections = dict(re.findall(r"^([a-z]+):\n((?:  .*\n|\n)+)", shown, re.MULTILINE))
    assert list(sections) == [
        "options",
        "model",
        "data",
        "columns",
        "sound",
        "optimisation",
        "capabilities",
        "strategy",
        "output",
    ]
    for title, flag in (("model", "--set"), ("optimisation", "--learning-rate"), ("capabilities", "--private"),
                        ("strategy", "--strategy"), ("output", "--resume"), ("options", "--json")):  # fmt: skip
        assert [name for name, body in sections.items() if f"\n  {flag} " in f"\n{body}"] == [title]
    assert shown.startswith("usage: zoo.try [options]\n")


def test_help_of_options_without_groups_has_one_list_and_the_whole_usage(capsys):
    shown = help_of(Plain, capsys)
    words = (
        "usage: zoo.try [-h] [--depth N] [--config FILE] [--print-config] [--json] [--debug] PATH [WORDS ...] Try it."
    )
    assert " ".join(shown.split()).startswith(words)
    assert "examples:" not in shown


def test_a_usage_line_of_groups_names_positional_arguments(capsys):
    @dataclass(frozen=True, kw_only=True)
    class Grouped(Plain):
        speed: float = option("speed", 1.0, group="machine")

    shown = help_of(Grouped, capsys, examples=("zoo.try a.png --speed 2", "zoo.try b.png"))
    assert shown.startswith("usage: zoo.try PATH [WORDS ...] [options]\n")
    assert "\nmachine:\n  --speed X" in shown
    assert shown.endswith("\nexamples:\n  zoo.try a.png --speed 2\n  zoo.try b.png\n")


@pytest.mark.parametrize("name", [
    *(f"zoo.{name}" for name in ("train", "sweep.__main__", "online.__main__", "generate", "evaluate")),
    *(f"compression.{name}" for name in ("compress", "search")),
])  # fmt: skip
def test_commands_with_many_options_have_two_examples_that_parse(name):
    main = importlib.import_module(name).main
    assert len(main.keywords["examples"]) in (2, 3)
    for line in main.keywords["examples"]:
        assert line.startswith(f"{main.keywords['prog']} ")
        cli.parse(main.args[0], shlex.split(line)[3:], prog=name, description="")


def test_every_option_is_read_flat_and_in_its_group():
    whole = config.TrainConfig(model="cnn", learning_rate=0.1, average="ema(0.9)", settings={"units": "9"})
    groups = [whole.model_options, whole.data_options, whole.column_options, whole.sound_options,
              whole.sensor_options,
              whole.optimisation, whole.capabilities,
              whole.strategy_options, whole.output_options]  # fmt: skip
    names = [field.name for group in groups for field in dataclasses.fields(group)]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(config.TrainConfig))
    assert len(set(names)) == len(names)
    for group in groups:
        assert isinstance(whole, type(group))
        assert all(getattr(group, f.name) == getattr(whole, f.name) for f in dataclasses.fields(group))
    assert whole.optimisation.learning_rate == 0.1 and whole.capabilities.average == "ema(0.9)"
    assert dataclasses.replace(whole, learning_rate=0.2).optimisation.learning_rate == 0.2


@pytest.mark.parametrize(("text", "annotation", "value"), [
    ("3", int, 3), ("none", int | None, None), ("7", int | None, 7), ("1e-3", float, 1e-3), ("Yes", bool, True),
    ("off", bool, False), ("32,64", tuple[int, ...], (32, 64)), ("(32, 64)", tuple[int, ...], (32, 64)),
])  # fmt: skip
def test_values_are_parsed_by_their_annotation(text, annotation, value):
    assert values.parse("x", text, annotation) == value


def test_configuration_survives_json(tmp_path):
    original = config.TrainConfig(model="cnn_128", settings={"units": "9"}, data=tmp_path, seed=3).resolved()
    assert original.settings == {"filters": (32, 64, 128), "pools": 3, "units": 9}
    assert config.TrainConfig.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_default_settings_fill_only_what_is_left_open():
    resolved = config.TrainConfig(model="cnn", dataset="mnist", epochs=2, settings={"dropout": "0.9"}).resolved()
    assert (resolved.epochs, resolved.batch_size, resolved.settings["dropout"]) == (2, 128, 0.9)


def test_all_default_settings_state_their_result_and_fill_every_open_option():
    from zoo.config import defaults, registry

    open_options = {"epochs", "batch_size", "optimizer", "learning_rate", "schedule", "warmup", "weight_decay",
                    "clip_norm", "label_smoothing"}  # fmt: skip
    further = {"settings", "vocabulary_size", "beta_1", "image_size", "fit", "augment"}
    for (model, dataset), settings in defaults.DEFAULTS.items():
        stated = ("%", "BLEU", "MRR", "nats", "MSE", "RMSE", "no result is claimed")
        assert any(words in settings.__doc__ for words in stated), settings
        assert set(settings()) - further == open_options
        registry.parse_settings(model, settings().get("settings", {}))
        assert config.TrainConfig(model=model, dataset=dataset).resolved().epochs == settings()["epochs"]


def test_default_settings_of_transfer_fill_every_open_option():
    from zoo.config import defaults

    for model in ("efficientnet_lite", "mobilenet"):
        resolved = config.TrainConfig(model=model, pretrained="imagenet").resolved()
        assert resolved.probe and resolved.freeze == ("norm",) and resolved.epochs == 4
        assert "flowers" in defaults.TRANSFERS["efficientnet_lite"].__doc__
    assert config.TrainConfig(model="efficientnet_lite", pretrained="imagenet").resolved().image_size == 224
    assert config.TrainConfig(model="mobilenet", pretrained="imagenet", epochs=0).resolved().freeze is None
    assert not config.TrainConfig(model="mobilenet", pretrained="imagenet", probe=False).resolved().probe


def test_catalogue_knows_tfds_without_importing_it():
    names = catalogue.tfds_names()
    assert {"mnist", "fashion_mnist", "cifar10", "imdb_reviews", "ag_news_subset", "wordnet"} <= set(names)
    import tensorflow_datasets as tfds

    missing = {n for n in tfds.list_builders(with_community_datasets=False) if ":" not in n} - set(names)
    # Sets that are made by functions are not found: robot trajectories, which are not for classification.
    assert {tfds.builder_cls(name).__module__.split(".")[1] for name in missing} <= {"robotics", "rlds"}
