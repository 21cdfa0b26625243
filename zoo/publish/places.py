"""Places where runs are published, as `folder:PATH`, `hf:USER/NAME` or `kaggle:USER/MODEL/FRAMEWORK/VARIATION`."""

import importlib
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.config.train_config import command_line
from zoo.console.errors import Failed, UsageError, nearest

_NAME = r"[A-Za-z0-9][\w.-]*"
_HUGGING_FACE = re.compile(rf"({_NAME}/{_NAME})(?:@([\w./-]+))?")
_KAGGLE = re.compile(rf"{_NAME}(?:/{_NAME}){{3}}")


@dataclass(frozen=True)
class Place:
    """A place that was named.

    Args:
        kind: A key of `KINDS`.
        name: What follows the colon.
    """

    kind: str
    name: str

    def used_by(self, command: Sequence[str]) -> str:
        """Return the command, or the line of Python, that uses what was published.

        Args:
            command: Command that uses such a run, and placeholders for its inputs.
        """
        if self.kind == "folder":
            return command_line(command[0], self.name, *command[1:])
        if self.kind == "hf":
            return f"from zoo.api import load; model = load({str(self)!r})"
        return f"kagglehub.model_download({self.name!r})"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse(text: str) -> Place:
    """Return the place that a text names.

    Raises:
        UsageError: It names none.
    """
    kind, colon, name = text.partition(":")
    if not colon or kind not in KINDS:
        raise UsageError(
            f"--to {text}: expected folder:PATH, hf:USER/NAME or kaggle:USER/MODEL/FRAMEWORK/VARIATION, received"
            f" {kind!r}{nearest(kind, KINDS)}"
        )
    pattern, form, _ = KINDS[kind]
    if not name or (pattern is not None and not pattern.fullmatch(name)):
        raise UsageError(f"--to {text}: expected {kind}:{form}, received {name!r}")
    return Place(kind, name)


def send(made: Path, place: Place, *, private: bool) -> str:
    """Publish a folder, and return its address.

    Args:
        made: Folder with everything.
        place: Where to.
        private: Whether a repository that is made for it can be seen by its owner alone.

    Raises:
        UsageError: The package of the place is not installed, or the folder is not empty.
        Failed: The place refused.
    """
    return KINDS[place.kind][2](made, place.name, private)


def fetched(text: str) -> Path:
    """Return the local copy of a run that was published as `hf:USER/NAME` or `hf:USER/NAME@REVISION`.

    Raises:
        UsageError: Another form, or there is no such run.
    """
    name = text.partition(":")[2]
    found = _HUGGING_FACE.fullmatch(name)
    if found is None:
        raise UsageError(f"{text}: expected hf:USER/NAME or hf:USER/NAME@REVISION, received {name!r}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(found[1], revision=found[2]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{text}: expected a published run, which cannot be read: {reason}") from None


def _to_folder(made: Path, name: str, private: bool) -> str:
    path = Path(name)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"--to folder:{path}: expected a new or empty folder, found something in it")
    shutil.copytree(made, path, dirs_exist_ok=True)
    return str(path)


def _to_hugging_face(made: Path, name: str, private: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=made, commit_message="Publish a run with its receipts")
    except LocalTokenNotFoundError:
        raise UsageError(f"--to hf:{name}: expected a token of Hugging Face in HF_TOKEN, or `hf auth login`") from None
    except (HfHubHTTPError, OSError) as error:
        raise Failed(f"--to hf:{name}: {' '.join(str(error).split())[:300]}") from None
    return commit.commit_url


def _to_kaggle(made: Path, name: str, private: bool) -> str:
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ModuleNotFoundError:
        raise UsageError(f"--to kaggle:{name}: expected the package kagglehub; pip install kagglehub") from None
    try:
        kagglehub.model_upload(name, str(made))
    except Exception as error:  # its errors have no common class
        raise Failed(f"--to kaggle:{name}: {' '.join(str(error).split())[:300]}") from None
    return f"https://www.kaggle.com/models/{name.rsplit('/', 2)[0]}"


# Form of the name and function that publishes, by what stands before the colon.
KINDS: dict[str, tuple[re.Pattern | None, str, Callable[[Path, str, bool], str]]] = {
    "folder": (None, "PATH", _to_folder),
    "hf": (re.compile(f"{_NAME}/{_NAME}"), "USER/NAME", _to_hugging_face),
    "kaggle": (_KAGGLE, "USER/MODEL/FRAMEWORK/VARIATION", _to_kaggle),
}
