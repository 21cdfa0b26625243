"""What others find around the code: workflow, container, citation, and a wheel that holds everything it needs."""

import json
import subprocess
import sys
import zipfile

import pytest
import yaml

from tests.conftest import ROOT
from zoo.system.machine import VERSION


def test_the_workflow_runs_the_projects_own_commands_on_every_supported_python():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    classifiers = (ROOT / "pyproject.toml").read_text()
    assert all(f"Programming Language :: Python :: {version}" in classifiers for version in pythons)
    commands = [step["run"] for step in jobs["test"]["steps"] if "run" in step]
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    assert commands == ["make lint", "make test"] and {"lint", "test"} <= targets


def test_versions_agree():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_the_container_copies_what_the_wheel_needs_and_starts_the_command():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in copied) and {"zoo", "strategies", "compression"} <= copied
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert 'ENTRYPOINT ["zoo"]' in lines and 'zoo = "zoo.__main__:main"' in (ROOT / "pyproject.toml").read_text()


def test_templates_and_the_devcontainer_can_be_read():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert form["name"] and all("label" in part["attributes"] for part in form["body"])
    assert json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["postCreateCommand"] == "make setup"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_builds_passes_twine_and_has_the_packages_data(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], check=True, capture_output=True)
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in (
        "compression/comparison/parts/page.js",
        "compression/mcu/snippet_templates/CMakeLists.txt",
        "zoo/py.typed",
    ):
        assert part in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
