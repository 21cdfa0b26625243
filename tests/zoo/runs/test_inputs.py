import pytest
from PIL import Image

from tests.conftest import run_module
from zoo.console.errors import UsageError
from zoo.runs import inputs


def test_files_are_checked_by_the_kind_of_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (4, 4)).save("good.png")
    (tmp_path / "bad.png").write_text("text")
    (tmp_path / "x.npz").touch()
    inputs.check_files(["good.png", "x.npz"], {"kind": "image"})
    inputs.check_files(["absent.png"], {"kind": "tokens"})  # a text
    for kind, name, sentence in (
        ("image", "absent.png", "expected a file, found none"),
        ("image", ".", "expected a file, found a folder"),
        ("image", "bad.png", "cannot be read"),
        ("vector", "good.png", "takes vector inputs, which come in an .npz file"),
    ):
        with pytest.raises(UsageError, match=sentence):
            inputs.check_files([name], {"kind": kind})


def test_a_missing_file_is_reported_before_keras_is_imported(tmp_path):
    code = (
        "import sys; from zoo.predict import main; status = main(['cnn-digits', 'absent.png'])\n"
        "assert 'keras' not in sys.modules; sys.exit(status)"
    )
    done = run_module("-c", code, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == "zoo.predict: INPUT absent.png: expected a file, found none\n"


def test_the_path_of_a_file_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "review.txt").write_text("such a dull film")
    (tmp_path / "films.csv").write_text("text\nsuch a dull film\n")
    inputs.check_files(["films.csv", "a review of films.csv", "review", "x" * 5000], {"kind": "tokens"})
    for kind, name, sentence in (
        ("tokens", "review.txt", r'received the path of a file; "\$\(cat review.txt\)" is its text'),
        ("pairs", "review.txt", "expected a text, or a file that ends in .csv, .tsv, .jsonl, .npz, received"),
        ("tokens", "absent.csv", "found no such file"),
    ):
        with pytest.raises(UsageError, match=sentence):
            inputs.check_files([name], {"kind": kind})
    inputs.check_text("absent.csv")  # a text to continue
    with pytest.raises(UsageError, match="expected a text, received the path of a file"):
        inputs.check_text("films.csv")
