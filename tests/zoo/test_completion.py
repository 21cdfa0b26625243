"""Completion: what the parser of all commands knows, and what bash makes of its script."""

import shutil
import subprocess

import pytest

from zoo import completion
from zoo.console.verbs import VERBS


def under(parser, verb):
    return parser._subparsers._group_actions[0].choices[verb]


def test_every_command_is_known_with_its_options():
    whole = completion.parser()
    assert list(whole._subparsers._group_actions[0].choices) == list(VERBS)
    actions = {action.dest: action for action in under(whole, "train")._actions}
    assert "cnn" in actions["model"].choices and "mirrored" in actions["strategy"].choices
    assert actions["precision"].choices == ["float32", "bfloat16", "float64"]
    assert actions["output"].complete and actions["config"].complete and not hasattr(actions["epochs"], "complete")


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh", "powershell"])
def test_scripts_name_commands(shell):
    script = completion.run({"shell": shell})["script"]
    assert "zoo" in script and "compress" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ("comp", {"compress", "compare", "completion"}),
        ("train --mod", {"--model", "--model-devices"}),
        ("train --strategy mir", {"mirrored"}),
        ("compress --reci", {"--recipe"}),
    ],
)
def test_bash_completes(tmp_path, typed, answers):
    script = tmp_path / "zoo.bash"
    script.write_text(completion.run({"shell": "bash"})["script"])
    ask = """
        source "$1"; shift
        function=$(complete -p zoo | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(zoo "$@"); COMP_CWORD=$#; COMPREPLY=()
        $function; printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", ask, "ask", str(script), *typed.split()], capture_output=True, text=True)
    assert set(done.stdout.split()) == answers, done.stderr
