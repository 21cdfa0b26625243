"""Publishing: what is published, what is not, and the real client of Hugging Face against a server on this machine."""

import base64
import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

import numpy as np
import pytest
import yaml

from tests.compression.test_commands import said
from zoo import stock
from zoo.api import load
from zoo.console.errors import UsageError
from zoo.publish import __main__ as publish
from zoo.publish import places
from zoo.runs.folder import RunFolder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def run(tmp_path):
    """Return a run that was trained on digits, with a file and its receipt, at a place of its own."""
    folder = tmp_path / "at home" / "digits"
    shutil.copytree(stock.FOLDER / "simplenet-mnist", folder)
    return folder


def tag(content):
    """Return what identifies a content."""
    return hashlib.sha1(content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """The part of the interface of Hugging Face's hub that its client uses to upload and download a repository."""

    def log_message(self, *words):
        pass

    def answer(self, content, status=200, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (("Content-Length", len(body)), *headers):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(size)
        files, path = self.server.files, self.path.partition("?")[0]
        if path == "/api/repos/create":
            self.server.made = json.loads(body)
            return self.answer({"url": f"{self.server.address}/me/digits"})
        if path.endswith("/preupload/main"):
            names = [row["path"] for row in json.loads(body)["files"]]
            return self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        if path.endswith("/commit/main"):
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            url = f"{self.server.address}/me/digits/commit/{COMMIT}"
            return self.answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        if path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        return self.answer({"error": path}, 404)

    def do_GET(self):
        files, path = self.server.files, self.path.partition("?")[0]
        about = {"_id": "1", "id": "me/digits", "modelId": "me/digits", "sha": COMMIT, "private": False, "tags": []}
        if path in ("/api/models/me/digits", "/api/models/me/digits/revision/main"):
            return self.answer(about | {"siblings": [{"rfilename": name} for name in files]})
        if path.startswith("/api/models/me/digits/tree/"):
            rows = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            return self.answer(rows)
        name = path.removeprefix(f"/me/digits/resolve/{COMMIT}/")
        if name in files:
            return self.answer(files[name], headers=(("ETag", f'"{tag(files[name])}"'), ("X-Repo-Commit", COMMIT)))
        return self.answer({"error": path}, 404, headers=(("X-Error-Code", "RepoNotFound"),))

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve an empty repository on this machine, and point the client of Hugging Face there."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.address = {}, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_0")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def published(run, tmp_path, *words):
    result = publish.run({"run": run, "to": f"folder:{tmp_path / 'out'}", **dict(words)})
    return tmp_path / "out", result


def test_a_folder_is_a_run_with_a_card(run, tmp_path):
    out, result = published(run, tmp_path, ("license", "apache-2.0"))
    x = np.random.default_rng(0).random((3, 28, 28, 1), "float32")
    np.testing.assert_array_equal(load(out)(x), load(run)(x))
    assert RunFolder(out).read_metrics() == RunFolder(run).read_metrics()
    assert result["files"].keys() == {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    head, body = (out / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    about = yaml.safe_load(head)
    assert about["license"] == "apache-2.0" and about["pipeline_tag"] == "image-classification"
    (entry,) = about["model-index"]
    scores = {m["type"]: m["value"] for r in entry["results"] for m in r["metrics"]}
    assert scores["accuracy"] == pytest.approx(RunFolder(run).read_metrics()["test"]["accuracy"], abs=1e-6)
    assert body.lstrip().startswith("# ")


def test_files_that_show_data_and_places_stay_at_home(run, tmp_path):
    (run / "report.html").write_text("<p>a face</p>")
    np.savez(run / "examples.npz", x=[1])
    (run / "checkpoints").mkdir(exist_ok=True)
    file = run / "config.json"
    stored = json.loads(file.read_text())
    stored["config"]["data_dir"] = "/secret/place/sets"
    file.write_text(json.dumps(stored))
    out, result = published(run, tmp_path)
    assert set(result["left_out"]) == {"report.html", "examples.npz"}
    assert not {"report.html", "examples.npz", "checkpoints"} & {p.name for p in out.iterdir()}
    assert "secret" not in (out / "config.json").read_text() and RunFolder(out).read_config()
    assert "report.html" in publish.run({"run": run, "to": f"folder:{tmp_path / 'two'}", "report": True})["files"]


def test_files_and_receipts_come_along_and_can_be_verified(tmp_path, run):
    from compression.receipts.artifacts import read_receipt

    out, _ = published(run, tmp_path)
    files = list((out / "artifacts").glob("*.tflite"))
    assert files and all(read_receipt(file)["bytes"] == file.stat().st_size for file in files)


def test_hugging_face_keeps_a_run_that_load_reads(run, tmp_path, hub):
    result = publish.run({"run": run, "to": "hf:me/digits", "private": True})
    assert hub.made["name"] == "digits" and hub.made["organization"] == "me" and hub.made["visibility"] == "private"
    assert set(hub.files) == set(result["files"]) and COMMIT in result["path"]
    assert all(len(hub.files[name]) == size for name, size in result["files"].items())
    x = np.random.default_rng(0).random((3, 28, 28, 1), "float32")
    np.testing.assert_array_equal(load("hf:me/digits")(x), load(run)(x))
    hub.files["model.keras"] = b"another model"
    hub.files = {name: content for name, content in hub.files.items() if PurePosixPath(name).suffix != ".csv"}
    with pytest.raises(UsageError, match="hf:me/none: expected a published run"):
        load("hf:me/none")


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("hf", "expected folder:PATH, hf:USER/NAME or kaggle:"),
        ("hg:me/digits", "received 'hg'; did you mean 'hf'?"),
        ("hf:digits", "expected hf:USER/NAME, received 'digits'"),
        ("kaggle:me/digits", "expected kaggle:USER/MODEL/FRAMEWORK/VARIATION, received 'me/digits'"),
        ("folder:.", "expected a new or empty folder, found something in it"),
    ],
)
def test_mistakes_are_sentences(run, capsys, monkeypatch, to, sentence):
    monkeypatch.chdir(run)
    status, _, error = said(capsys, publish, run, "--to", to)
    assert status == 2 and sentence in error


def test_a_license_that_the_hub_does_not_know_is_told_and_private_is_for_the_hub(run, tmp_path, capsys):
    published(run, tmp_path, ("license", "apache-2"))
    said_to = capsys.readouterr().err
    assert "--license apache-2 is written as it is, and is not among" in said_to and "mean 'apache-2.0'" in said_to
    published(run, tmp_path / "second", ("license", "other"))
    assert "--license" not in capsys.readouterr().err
    with pytest.raises(UsageError, match="--private: expected with --to hf:USER/NAME, received with --to folder:"):
        published(run, tmp_path / "third", ("private", True))


def test_kaggle_gets_the_same_folder(run, monkeypatch):
    kagglehub = pytest.importorskip("kagglehub")
    seen = {}

    def upload(handle, folder):
        seen[handle] = {path.name for path in places.Path(folder).iterdir()}

    monkeypatch.setattr(kagglehub, "model_upload", upload)
    publish.run({"run": run, "to": "kaggle:me/digits/keras/int8"})
    assert {"README.md", "config.json", "metrics.json", "model.keras"} <= seen["me/digits/keras/int8"]
