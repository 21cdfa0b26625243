"""Pipelines: what a file may say, which steps are carried out again, and the whole road."""

import json

import pytest

from tests.conftest import run_module
from zoo.console.errors import Interrupted, UsageError
from zoo.console.verbs import VERBS
from zoo.pipeline import __main__ as pipeline
from zoo.pipeline import steps

SHRINK = """
[[step]]
do = "train"
model = "cnn"
epochs = 1
output = "runs/digits"
set = {units = 8}

[[step]]
do = "compress"
run = "{train}"
recipe = "int8"

[[step]]
do = "verify"
file = "{compress}"
run = "{train}"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shrink.toml"
    path.write_text(SHRINK)
    return path


@pytest.fixture
def carried_out(monkeypatch):
    """Take the place of commands: note their words, and write what each would have written."""
    calls = []

    def carry_out(module, *words, typed, again):
        calls.append((module, *words))
        if carry_out.interrupted == module:
            raise Interrupted(f"{typed}: interrupted; {again}")
        return f"told\n{carry_out.paths[module]}\n"

    carry_out.interrupted, carry_out.paths = None, {}
    monkeypatch.setattr(pipeline, "carry_out", carry_out)
    return carry_out, calls


@pytest.fixture
def written(tmp_path, carried_out):
    """Let every command write a file, and return the paths by module."""
    paths = {
        module: tmp_path / f"{module}.out" for module in ("zoo.train", "compression.compress", "compression.verify")
    }
    for path in paths.values():
        path.touch()
    carried_out[0].paths = paths
    return paths


def modules(calls):
    return [call[0].rpartition(".")[2] for call in calls]


def test_a_file_becomes_words_of_commands(file):
    train, compress, verify = steps.read(file, VERBS)
    assert train.words == ("--model=cnn", "--epochs=1", "--output=runs/digits", "--set", "units=8") and train.resumed
    assert compress.words == ("{train}", "--recipe=int8") and not compress.resumed
    paths = {"train": "runs/a b", "compress": "x.tflite"}
    assert verify.filled(paths) == ("x.tflite", "runs/a b")


def test_yaml_says_the_same(file, tmp_path):
    import tomllib

    import yaml

    other = tmp_path / "shrink.yaml"
    other.write_text(yaml.safe_dump(tomllib.loads(SHRINK), sort_keys=False))
    assert steps.read(other, VERBS) == steps.read(file, VERBS)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("units = 8", "unitz = 8", "step 1, train: --set unitz: model 'cnn' has no such argument"),
        ('"int8"', '"int9"', "step 2, compress: unknown recipe word 'int9'"),
        ("{train}", "{trian}", "step 2: {trian}: expected an earlier step among train; did you mean 'train'?"),
        (
            '"verify"',
            '"verfy"',
            "step 3: do: expected a command that `zoo --help` lists, received 'verfy'; did you mean",
        ),
        ("epochs = 1", "epoch = 1", "step 1: 'epoch' is no option of this command; did you mean 'epochs'?"),
        ('output = "runs/digits"\n', "", "step 1, train: expected output = FOLDER, so that it can be resumed"),
        ('do = "verify"', 'do = "compress"', "step 3: expected a name of its own, received 'compress' again"),
        ('do = "verify"', 'do = "demo"', "step 3: do = 'demo': this command cannot be a step"),
        ('file = "{compress}"\n', 'file = [1, "a"]\n', "step 3, verify: "),
        ("[[step]]", "[[steps]]", "expected a list named step, received 'steps'"),
        ('do = "verify"\nfile', 'do = "verify"\nname = "a b"\nfile', "step 3: name: expected letters, digits, - and _"),
    ],
)
def test_mistakes_are_found_before_anything_is_carried_out(file, carried_out, old, new, sentence):
    assert old in SHRINK
    file.write_text(SHRINK.replace(old, new))
    with pytest.raises(UsageError, match=r".") as error:
        pipeline.run({"pipeline": file})
    assert sentence in str(error.value) and not carried_out[1]


def test_paths_are_handed_on_and_finished_steps_are_kept(file, carried_out, written):
    result = pipeline.run({"pipeline": file})
    calls = carried_out[1]
    assert calls[1] == ("compression.compress", str(written["zoo.train"]), "--recipe=int8")
    assert calls[2] == ("compression.verify", str(written["compression.compress"]), str(written["zoo.train"]))
    assert result["path"] == str(written["compression.verify"])
    assert pipeline.run({"pipeline": file})["steps"] == result["steps"] and len(calls) == 3
    pipeline.run({"pipeline": file, "again": True})
    assert len(calls) == 6


def test_a_changed_step_and_all_after_it_are_carried_out_again(file, carried_out, written):
    pipeline.run({"pipeline": file})
    calls = carried_out[1]
    calls.clear()
    file.write_text(SHRINK.replace('"int8"', '"dynamic"'))
    pipeline.run({"pipeline": file})
    assert modules(calls) == ["compress", "verify"]
    calls.clear()
    written["compression.compress"].unlink()
    carried_out[0].paths = written
    pipeline.run({"pipeline": file})
    assert modules(calls) == ["compress", "verify"]


def test_an_interrupted_training_is_resumed_and_another_one_is_not(file, carried_out, written):
    carry_out, calls = carried_out
    carry_out.interrupted = "zoo.train"
    with pytest.raises(Interrupted, match="the same zoo.pipeline goes on"):
        pipeline.run({"pipeline": file})
    assert "--resume" not in calls[-1]
    with pytest.raises(Interrupted):
        pipeline.run({"pipeline": file})
    assert calls[-1][-1] == "--resume"
    file.write_text(SHRINK.replace("epochs = 1", "epochs = 2"))
    carry_out.interrupted = None
    pipeline.run({"pipeline": file})
    assert "--resume" not in calls[-3]


def test_an_interrupted_step_keeps_those_before_it(file, carried_out, written):
    carry_out, calls = carried_out
    carry_out.interrupted = "compression.verify"
    with pytest.raises(Interrupted):
        pipeline.run({"pipeline": file})
    carry_out.interrupted = None
    calls.clear()
    pipeline.run({"pipeline": file})
    assert modules(calls) == ["verify"]


def test_other_files_are_no_notes(file, tmp_path):
    notes = tmp_path / "notes.json"
    for content in ("[1]", '{"steps": [1]}', "{"):
        notes.write_text(content)
        with pytest.raises(UsageError, match="notes.json: expected"):
            pipeline.run({"pipeline": file, "notes": notes})


def test_a_dry_run_prints_commands(file, carried_out, capsys):
    assert pipeline.main([str(file), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("python -m zoo.train --model=cnn") and len(lines) == 3 and not carried_out[1]


@pytest.mark.slow
def test_the_whole_road_from_one_file(file, tmp_path):
    done = run_module("zoo.pipeline", file, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert [step["name"] for step in result["steps"]] == ["train", "compress", "verify"]
    assert (tmp_path / result["path"]).is_file() and "reproduced" in done.stderr
    again = run_module("zoo.pipeline", file, cwd=tmp_path)
    assert again.stderr.count("finished before") == 3
