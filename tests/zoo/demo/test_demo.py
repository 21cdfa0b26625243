"""The command zoo.demo: serving, exporting, refused input, and fetching LiteRT.js."""

import base64
import contextlib
import hashlib
import http.client
import io
import itertools
import json
import re
import shutil
import socket
import sys
import tarfile
import threading
import time

import pytest

from tests.conftest import ROOT
from zoo import stock
from zoo.demo import __main__ as demo
from zoo.demo import runtime as demo_runtime
from zoo.demo import server as demo_server

# A small int4 LeNet with metadata and receipt, used as an arbitrary file.
LENET = ROOT / "benchmarks" / "results" / "lenet5-5936.tflite"
MOST_PAGE_BYTES = 300_000


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Return a folder of stand-ins for the packages of LiteRT.js, and pin their hashes."""
    folder = tmp_path / "packages"
    folder.mkdir()
    pinned = demo_runtime.pinned()
    for package in pinned["packages"]:
        with tarfile.open(folder / package["file"], "w:gz") as archive:
            for member in package["takes"]:
                content = f'{member}: import "@litertjs/wasm-utils"'.encode()
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        digest = hashlib.sha512((folder / package["file"]).read_bytes()).digest()
        package["integrity"] = f"sha512-{base64.b64encode(digest).decode()}"
    file = tmp_path / "pinned.json"
    file.write_text(json.dumps(pinned))
    monkeypatch.setattr(demo_runtime, "PINNED_FILE", file)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def model(tmp_path):
    """Return a .tflite file without a receipt."""
    path = tmp_path / "model.tflite"
    shutil.copyfile(LENET, path)
    return path


@pytest.fixture
def served(model, packages):
    """Yield the port of a server of the file's page."""
    server = demo_server.bound(demo.page("title", [model], packages), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response, response.read()


def test_the_page_its_model_and_its_runtime_are_served(served, model):
    response, body = get(served, "/")
    assert response.status == 200 and b"<!doctype html>" in body
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    response, body = get(served, "/models/model.tflite")
    assert body == model.read_bytes()
    response, body = get(served, "/litert/litert_wasm_internal.wasm", method="HEAD")
    assert (response.headers["Content-Type"], body) == ("application/wasm", b"")
    assert b'"./wasm-utils.js"' in get(served, "/litert/index.js")[1]


@pytest.mark.parametrize(
    "path",
    ["/absent", "/models/", "/litert", "/../demo.py", "/%2e%2e/demo.py", "//etc/passwd", "/models/../../pinned.json",
     "/litert.json"],
)  # fmt: skip
def test_nothing_else_is_served(served, path):
    assert get(served, path)[0].status == 404


def test_another_name_of_this_machine_reads_nothing(served):
    assert get(served, "/", Host=f"elsewhere.example:{served}")[0].status == 403
    assert get(served, "/", Host=f"localhost:{served}")[0].status == 200


def test_every_answer_forbids_frames_and_other_hosts(served):
    meta = re.search(r'Content-Security-Policy"\s+content="([^"]+)"', (demo.PAGE / "index.html").read_text())[1]
    for path, status in (("/", 200), ("/models.json", 200), ("/absent", 404)):
        response, _ = get(served, path)
        assert response.status == status
        assert response.headers.get_all("Content-Security-Policy") == [f"{meta}; frame-ancestors 'none'"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_deleted_file_is_not_found(served, model, capfd):
    model.unlink()
    assert get(served, "/models/model.tflite")[0].status == 404
    assert "Traceback" not in capfd.readouterr().err


def test_uploads_are_refused_in_a_sentence(served):
    for method, headers in (("POST", {}), ("PUT", {}), ("GET", {"Content-Length": "999999999"})):
        connection = http.client.HTTPConnection("127.0.0.1", served, timeout=10)
        connection.request(method, "/models/model.tflite", body=bytes(300_000), headers=headers)
        response = connection.getresponse()
        assert response.status == 413 and b"This server takes no uploads" in response.read()
    assert get(served, "/", method="DELETE")[0].status == 405


def test_a_slow_client_is_cut_off_and_holds_nobody(model, packages, monkeypatch, capfd):
    monkeypatch.setattr(demo_server, "SECONDS", 1.0)
    server = demo_server.bound(demo.page("title", [model], packages), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, began = server.server_address[1], time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as slow, contextlib.suppress(ConnectionError):
        for letter in itertools.cycle(b"GET / HTTP/1.1"):  # one byte at a time, each within the time of a read
            assert time.monotonic() - began < 10
            slow.sendall(bytes([letter]))
            time.sleep(0.1)
            assert get(port, "/")[0].status == 200
    server.shutdown()
    server.server_close()
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_replaced_and_reported(model, packages, capsys):
    servers = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = demo.run(servers, {"source": model, "runtime": packages, "port": port})
    (server,) = servers
    server.server_close()
    assert server.server_address[0] == "127.0.0.1"
    other = server.server_address[1]
    assert other != port and found["url"] == f"http://127.0.0.1:{other}/"
    assert f"--port {port} is in use, using {other} instead" in capsys.readouterr().err


def test_an_export_holds_what_is_served(model, packages, tmp_path, capsys):
    words = [str(model), "--runtime", str(packages), "--export", str(tmp_path / "site")]
    assert demo.main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "site")
    found = {p.relative_to(tmp_path / "site").as_posix(): p.read_bytes() for p in (tmp_path / "site").rglob("*.*")}
    site = demo.page("model.tflite", [model], packages)
    assert found == {name: c if isinstance(c, bytes) else c.read_bytes() for name, c in site.items()}
    assert demo.main(words) == 2
    assert "expected a new or empty folder, this one is not empty" in capsys.readouterr().err


def test_a_file_says_what_it_is_and_one_that_does_not_is_shown_as_tensors(model, packages):
    def listed(path):
        (facts,) = json.loads(demo.page("t", [path], packages)["models.json"])["files"]
        return facts

    known, bare = listed(LENET), listed(model)
    receipt = json.loads(LENET.with_suffix(".receipt.json").read_text())
    assert known["about"] == receipt["about"]
    assert known["measured"]["accuracy"] == receipt["test"]["litert"]["accuracy"]
    assert (bare["about"], bare["measured"], bare["data"]) == ({}, {}, "")  # this file was made with --bare
    assert bare["signatures"] == known["signatures"]
    assert bare["sha256"] == receipt["sha256"]


def test_a_damaged_file_is_one_sentence(model, packages, capsys):
    words = [str(model), "--runtime", str(packages)]
    whole = model.read_bytes()
    model.write_bytes(whole[:3000])
    assert demo.main(words) == 2
    assert "a TFLite flatbuffer that is cut short or altered" in capsys.readouterr().err
    model.write_bytes(b"text, and more of it")
    assert demo.main(words) == 2
    assert "expected a TFLite flatbuffer" in capsys.readouterr().err
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shutil.copyfile(LENET.with_suffix(".receipt.json"), model.with_suffix(".receipt.json"))
    assert demo.main(words) == 2
    assert "its SHA-256 is not the one of its receipt" in capsys.readouterr().err


@pytest.fixture
def finished(tmp_path):
    """Return the folder of a finished run without .tflite files."""
    folder = tmp_path / "run"
    (folder / "artifacts").mkdir(parents=True)
    for name in ("config.json", "metrics.json"):
        shutil.copyfile(stock.FOLDER / "cnn-digits" / name, folder / name)
    return folder


def test_of_a_run_float32_comes_first_then_int8(finished, packages, tmp_path, capsys):
    for name in ("dynamic", "int8", "prune-0.8-int8", "float32"):
        shutil.copyfile(LENET, finished / "artifacts" / f"{name}.tflite")
    words = [str(finished), "--runtime", str(packages), "--export", str(tmp_path / "site"), "--json"]
    assert demo.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == ["float32.tflite", "int8.tflite", "dynamic.tflite", "prune-0.8-int8.tflite"]


def test_files_that_are_not_there_are_made_and_dynamic_where_int8_is_refused(
    finished, packages, tmp_path, monkeypatch, capsys
):
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'for recipe in "$@"; do :; done\n'
        'if [ $recipe = int8 ]; then echo "compress: int8 is refused here" >&2; exit 2; fi\n'
        f"cp {LENET} {finished}/artifacts/$recipe.tflite\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    words = [str(finished), "--runtime", str(packages), "--export", str(tmp_path / "site")]
    assert demo.main(words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "float32.tflite, dynamic.tflite"
    assert "no int8 file: compress: int8 is refused here" in err
    python.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (finished / "artifacts" / "float32.tflite").unlink()
    assert demo.main(words) == 1
    assert f"{finished} could not be compressed to float32: broken" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("absent", "absent: expected the folder of a run, found no such folder"),
        ("absent.tflite", "absent.tflite: expected a .tflite file or the folder of a run, found none"),
        ("absent --port 70000", "--port 70000: expected a value from 0 to 65535"),
        ("absent --runtime there", "--runtime there: expected a folder, found none"),
    ],
)
def test_mistakes(words, sentence, capsys):
    assert demo.main(words.split()) == 2
    assert capsys.readouterr().err == f"zoo.demo: {sentence}\n"


def test_packages_other_than_the_pinned_are_refused(model, packages, capsys):
    words = [str(model), "--runtime", str(packages)]
    core, utilities = (packages / package["file"] for package in demo_runtime.pinned()["packages"])
    content = utilities.read_bytes()
    utilities.write_bytes(content + b"\0")
    assert demo.main(words) == 2
    assert "expected the pinned @litertjs/wasm-utils, its SHA-512 differs" in capsys.readouterr().err
    utilities.write_bytes(content)
    core.unlink()
    assert demo.main(words) == 2
    assert f"--runtime {packages}: expected {core.name} in it, found none" in capsys.readouterr().err


def test_npm_fetches_the_runtime_once(packages, tmp_path, monkeypatch, capsys):
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    (tools / "npm").write_text(f'#!/bin/sh\necho "$@" >> {log}\n/bin/cp {packages}/* .\n')
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    found = [demo_runtime.files(tmp_path / "cache") for _ in range(2)]
    assert found[0] == found[1] and all(path.is_file() for path in found[0].values())
    version = demo_runtime.pinned()["version"]
    (line,) = log.read_text().splitlines()
    assert line.endswith(f"@litertjs/core@{version} @litertjs/wasm-utils@{version}")


@pytest.mark.parametrize(
    "script, sentence",
    [
        (None, "by npm, which is not installed; run `npm pack @litertjs/core@"),
        ("echo no network >&2; exit 1", "npm could not fetch LiteRT.js (no network); run `npm pack @litertjs/core@"),
    ],
)
def test_without_npm_or_network_a_sentence_says_what_to_do(
    script, sentence, model, packages, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "npm").chmod(0o755)
    assert demo.main([str(model)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line and "with --runtime" in line


def test_the_page_is_small_and_asks_no_other_host():
    files = demo.parts()
    assert sum(path.stat().st_size for path in files) < MOST_PAGE_BYTES
    assert not [path for path in files if "://" in path.read_text()]
