"""Every command of the README and of docs/ parses; those of the README and the guides run, in the order of a page."""

import argparse
import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from compression.recipes import language
from compression.searching import automatic
from tests.conftest import ROOT
from tests.docs import inputs
from zoo.__main__ import VERBS

PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
PAGES |= {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")}
GUIDES = sorted(name for name in PAGES if name == "README.md" or name.startswith("docs/guides/"))
# What the test of a page leaves to the parsers, and why.
PARSED_ONLY = {
    r"TFDS_DIR|/mnist\b|tiny_shakespeare|--dataset cifar10": "reads a set of TFDS, which may have to be downloaded",
    r"--pretrained |zoo\.fetch": "reads weights that have to be downloaded",
    r"gs://": "reads a bucket, which has to be reached; tests/zoo/data/test_records.py reads one in memory",
    r"hub_": "reads a preset of KerasHub, which may have to be downloaded",
    r"tpu_check": "needs the TPU's compiler, the extra `tpu-check`",
    r"zoo\.demo": "serves until Ctrl-C, and npm fetches LiteRT.js; tests/docs/test_tutorial.py starts it",
    r"--stream -( |$)": "reads the output of another program",
    r"--sign(ed-by)? ": "needs a key, which OpenSSL makes; tests/compression/receipts/test_signing.py has one",
    r"--trials 50": "takes half an hour",
    r"python -m benchmarks": "measures for hours",
}
# The tutorial draws its own pictures between its commands: tests/docs/test_tutorial.py runs it.
WITH_A_TEST_OF_ITS_OWN = "docs/guides/tutorial.md"
# What needs no TensorFlow and no file that another command makes, and is therefore run by the quick tests.
QUICK = re.compile(r"python -m (zoo\.list|compression|compression\.inspect cnn-digits|\S+ --help)( |$)")


def commands(text, inline=False):
    """Return the commands in the blocks of a page, and with `inline` those within its sentences, without comments."""
    blocks = re.findall(r"^```\w*[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    lines = [line for line in lines if re.match(r"(\w+ \| )?(python -m|zoo) ", line)]
    if inline:
        lines += re.findall(r"`(python -m [^`]+)`", text)
    return [_as_module(re.sub(r"\s+#( .*)?$", "", " ".join(line.split()))) for line in lines]


def _as_module(command):
    """Return `zoo VERB ...` as the module that it runs."""
    if not command.startswith("zoo "):
        return command
    verb, *rest = command.removeprefix("zoo ").split(" ", 1)
    return " ".join([f"python -m {VERBS[verb]}", *rest])


ALL = sorted({(command, page) for page, text in PAGES.items() for command in commands(text, inline=True)})


class Parsed(BaseException):
    """Ends a command of argparse when its words have been read."""


@pytest.mark.parametrize(("command", "page"), ALL)
def test_commands_parse(command, page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # pretrained runs that a command writes into are copied
    name, *words = shlex.split(command.partition("python -m ")[2])
    if "--" in words:  # strategies.launch, and the command of its workers
        words, inner = words[: words.index("--") + 2], words[words.index("--") + 3 :]
        parse(inner[0], inner[1:], monkeypatch, capsys)
    parse(name, words, monkeypatch, capsys)


def parse(name, words, monkeypatch, capsys):
    """Let a command read its words, and check what it would be given."""
    spec = importlib.util.find_spec(name)
    assert spec, f"no module {name}"
    module = importlib.import_module(f"{name}.__main__" if spec.submodule_search_locations else name)
    main = getattr(module, "main", None)
    if "--help" in words or main is None:  # benchmarks.readme takes no options
        assert words in ([], ["--help"])
        return
    if hasattr(module, "Options") or isinstance(main, functools.partial):
        command = main if isinstance(main, functools.partial) else importlib.import_module("zoo.list").main
        options = command.args[0] if command is main else module.Options
        given = []
        status = command.func(options, given.append, lambda _: None, words, prog=name, description="")
        assert status == 0, capsys.readouterr().err
        if "--print-config" in words:  # nothing else is done
            return
        options(**given[0])  # its own checks
        if "recipe" in given[0] and automatic.parse(given[0]["recipe"]) is None:
            language.parse(given[0]["recipe"])
        return
    read = argparse.ArgumentParser.parse_known_args

    def reads(self, *args, **kwargs):
        known, rest = read(self, *args, **kwargs)
        if rest:
            self.error(f"unrecognized arguments: {rest}")
        raise Parsed

    with monkeypatch.context() as patched, pytest.raises(Parsed):
        patched.setattr(argparse.ArgumentParser, "parse_known_args", reads)
        main(words)


def run(command, folder):
    """Run a command in a folder as a shell would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def left_out(command):
    """Return why a command is not run here, or None."""
    return next((reason for pattern, reason in PARSED_ONLY.items() if re.search(pattern, command)), None)


@pytest.mark.parametrize("command", sorted({command for command, _ in ALL if QUICK.match(command)}))
def test_commands_without_tensorflow_run(command, tmp_path):
    run(command, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [name for name in GUIDES if name != WITH_A_TEST_OF_ITS_OWN])
def test_commands_of_a_page_run_in_its_order(page, tmp_path):
    inputs.make(tmp_path)
    if "mine.keras" in PAGES[page]:
        inputs.own_model(tmp_path)
    for command in commands(PAGES[page]):
        if not left_out(command):
            run(command, tmp_path)
    if page == "README.md":
        file = tmp_path / "runs" / "cnn-photos" / "artifacts" / "channels-0.5-int8.tflite"
        assert file.stat().st_size < 40_000


def test_the_readme_is_short_and_names_every_guide():
    text = PAGES["README.md"]
    assert len(text.splitlines()) <= 200
    assert {name for name in GUIDES if name != "README.md"} <= set(re.findall(r"\((docs/guides/\w+\.md)\)", text))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target
