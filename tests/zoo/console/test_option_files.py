"""Options in TOML and YAML files, and the file that --print-config writes."""

import tomllib

import pytest

from compression import compress
from tests.compression.test_commands import said
from zoo import train
from zoo.config.train_config import TrainConfig
from zoo.console import cli, option_files
from zoo.sizing import adaptation


def parsed(*words):
    return cli.parse(adaptation.Options, [str(word) for word in words], prog="zoo.train", description="")


TOML = """
model = "lstm"
epochs = 7
learning-rate = 2e-3
skip_bad = true
new_head = false
data = "a folder/reviews.csv"

[set]
units = [64, 32]
dropout = 0.25
"""
YAML = """
model: lstm
epochs: 7
learning-rate: 2e-3
skip_bad: true
data: a folder/reviews.csv
set:
  units: [64, 32]
  dropout: 0.25
"""


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("yaml", YAML)])
def test_a_file_gives_what_the_same_words_give(tmp_path, suffix, text):
    file = tmp_path / f"run.{suffix}"
    file.write_text(text)
    words = (
        "--model",
        "lstm",
        "--epochs",
        7,
        "--learning-rate",
        "2e-3",
        "--skip-bad",
        "--data",
        "a folder/reviews.csv",
    )
    words += ("--set", "units=64,32", "--set", "dropout=0.25")
    assert parsed("--config", file) == parsed(*words) == parsed(f"--config={file}")


def test_what_is_typed_wins_wherever_it_stands(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(TOML)
    for words in (("--config", file, "--epochs", 2), ("--epochs", 2, "--config", file)):
        assert parsed(*words)["epochs"] == 2 and parsed(*words)["model"] == "lstm"
    assert parsed("--config", file, "--set", "dropout=0.5")["settings"] == {"units": "64,32", "dropout": "0.5"}


def test_the_printed_file_gives_the_same_configuration(tmp_path, capsys):
    words = ("--model", "cnn", "--set", "filters=16,32", "--epochs", 3, "--early-stopping", 2)
    status, out, error = said(capsys, train, *words, "--print-config")
    assert status == 0, error
    file = tmp_path / "printed.toml"
    file.write_text(out)
    assert tomllib.loads(out)["set"]["filters"] == [16, 32]
    given, again = (
        {k: v for k, v in parsed(*w).items() if k in TrainConfig.__dataclass_fields__}
        for w in (words, ("--config", file))
    )
    assert TrainConfig(**given).resolved() == TrainConfig(**again).resolved()
    assert {f"# {name}" in out for name in ("data_dir =", 'strategy = "none"')} == {True}


def test_other_commands_take_files_too(tmp_path, capsys):
    file = tmp_path / "small.toml"
    file.write_text('recipe = "int9"\n')
    status, _, error = said(capsys, compress, tmp_path, "--config", file)
    assert status == 2 and "int9" in error and "did you mean 'int8'" in error


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.toml", "epoch = 3", "'epoch' is no option of this command; did you mean 'epochs'?"),
        ("a.toml", "epochs = ", "expected TOML, it cannot be read"),
        ("a.yaml", "epochs: [1", "expected YAML, it cannot be read"),
        ("a.yaml", "- epochs", "expected a table of values by name, received list"),
        (
            "a.toml",
            "epochs = 2020-01-01",
            "epochs: expected text, a number, true or false, a list or a table, received date",
        ),
        ("a.toml", 'epochs = "x"', "--epochs: expected an integer, received 'x'"),
        ("a.toml", f"epochs = 0x{'f' * 5000}", "epochs: expected a number of at most 64 bits, received a larger one"),
        ("a.toml", None, "expected a TOML or YAML file, found none"),
        ("a.toml", "[epochs]\na = 1", "--epochs"),
    ],
)
def test_mistakes_name_the_file_or_the_option(tmp_path, capsys, name, text, sentence):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    status, _, error = said(capsys, train, "--config", file)
    assert status == 2 and sentence in error and error.count("\n") == 1


def test_numbers_and_texts_come_back_as_they_were():
    values = {"a": 1e-7, "b": 'quote " and \\ back', "c": [1, 2], "d": True, "e": 3, "f": {"x y": "ü"}}
    assert tomllib.loads(option_files.written(values, dict.fromkeys(values))) == values
