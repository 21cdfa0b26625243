import json
import subprocess
import sys

import pytest

import zoo
from tests.conftest import ROOT, run_module
from zoo.__main__ import PURPOSES, VERBS, main

# Runs every verb in one process; argparse ends each --help with SystemExit.
EVERY_HELP = """
import contextlib, io, json, sys
from zoo.__main__ import VERBS, main

found = {}
for verb in VERBS:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main([verb, "--help"])
    except SystemExit as end:
        found[verb] = [end.code, said.getvalue()]
heavy = sorted({"tensorflow", "keras", "jax", "torch"} & set(sys.modules))
print(json.dumps({"found": found, "heavy": heavy}))
"""


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_lists_every_command_by_purpose(words, capsys):
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if line.endswith(":")] == list(PURPOSES)
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(VERBS)


def test_the_list_imports_nothing_but_these_packages_and_the_standard_library():
    code = "import sys, zoo.__main__ as m; m.main([]); print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split()) - set(sys.stdlib_module_names) - {"__main__"}
    assert loaded == {"zoo", "strategies"}


def test_every_verb_answers_help_without_an_engine():
    done = json.loads(run_module("-c", EVERY_HELP, cwd=ROOT, check=0).stdout)
    assert list(done["found"]) == list(VERBS)
    for verb, (status, said) in done["found"].items():
        assert not status and "usage:" in said and VERBS[verb] in said, verb
    assert not done["heavy"]


@pytest.mark.parametrize(("verb", "meant"), [("trian", "train"), ("to_c", "to-c"), ("verfy", "verify")])
def test_an_unknown_verb_is_exit_2_and_names_the_nearest(verb, meant, capsys):
    assert main([verb]) == 2
    assert capsys.readouterr().err == (
        f"zoo: unknown command {verb!r}: expected one that `zoo --help` lists; did you mean {meant!r}?\n"
    )


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == zoo.__version__


def test_a_verb_is_the_command_that_python_m_runs(tmp_path):
    """The arguments, the output and the exit status are those of the module, a file or a package."""
    for verb, module, *words in (("list", "zoo.list", "models"), ("recipe-words", "compression", "--json")):
        assert run_module("zoo", verb, *words, cwd=tmp_path, check=0).stdout == (
            run_module(module, *words, cwd=tmp_path, check=0).stdout
        )
    short = run_module("zoo", "train", "--model", "nothing", cwd=tmp_path, check=2)
    long = run_module("zoo.train", "--model", "nothing", cwd=tmp_path, check=2)
    assert short.stderr == long.stderr and "nothing" in short.stderr


def test_a_missing_picture_is_found_without_an_engine(tmp_path):
    """Importing TensorFlow takes seconds, which a mistyped name need not cost."""
    code = (
        "import sys; from zoo.predict import main; from zoo.explain.__main__ import main as explain;"
        " print(*(command(['cnn-digits', f'{name}.png']) for command, name in"
        " ((main, 'none'), (explain, 'none'), (explain, 'a'))),"
        " {'tensorflow', 'keras', 'jax'} & set(sys.modules) or 'none')"
    )
    (tmp_path / "a.png").write_bytes(b"no picture")
    done = run_module("-c", code, cwd=tmp_path, check=0)
    assert done.stdout == "2 2 2 none\n"
    assert "INPUT none.png: expected a file, found none" in done.stderr
    assert "INPUT a.png: expected an image or an .npz file, and it cannot be read" in done.stderr
