import shutil

import pytest

from zoo.console.errors import UsageError
from zoo.runs import space


def test_folders_that_cannot_be_written_to_are_refused(tmp_path):
    space.check(tmp_path / "new" / "folder", 1000)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="--output .*: expected a folder that can be written to, .*file cannot"):
        space.check(file / "below", 0)


def test_too_little_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000_000}))
    space.check(tmp_path, 1e6)
    with pytest.raises(UsageError, match="TMPDIR .*: disk full: this writes about 2.0 MB, 1.0 MB are free"):
        space.check(tmp_path, 2e6, "TMPDIR")
