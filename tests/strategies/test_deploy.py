"""The files of deploy/ start the intended commands, as far as can be tested without a cluster."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from strategies import cluster
from tests.conftest import ROOT
from zoo import train
from zoo.config.train_config import TrainConfig
from zoo.console import cli

# Values that the operator's definition of a TFJob allows for the fields used here (kubeflow.org/v1).
REPLICA_TYPES = {"Chief", "Master", "Worker", "PS", "Evaluator"}
RESTART_POLICIES = {"Always", "OnFailure", "Never", "ExitCode"}
RUN_POLICY = {"cleanPodPolicy", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "suspend",
              "schedulingPolicy", "managedBy"}  # fmt: skip


def configured(words, monkeypatch, environment, folder):
    """Return the configuration of a zoo.train command run as one worker of a cluster."""
    assert words[:3] == ["python", "-m", "zoo.train"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    given = cli.parse(TrainConfig, words[3:], prog="zoo.train", description="")
    return train.configure({name: value for name, value in given.items() if name not in cli.FRAME})


def test_the_tfjob_is_one_and_its_command_trains(monkeypatch, tmp_path):
    job = yaml.safe_load((ROOT / "deploy" / "tfjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert set(job["spec"]) <= {"runPolicy", "tfReplicaSpecs", "successPolicy", "enableDynamicWorker"}
    assert set(job["spec"]["runPolicy"]) <= RUN_POLICY
    replicas = job["spec"]["tfReplicaSpecs"]
    assert set(replicas) <= REPLICA_TYPES
    for kind, replica in replicas.items():
        assert replica["restartPolicy"] in RESTART_POLICIES and replica["replicas"] > 0
        pod = replica["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == "tensorflow" and container["image"] and kind == "Worker"
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        # The operator names its pods like this and adds the environment.
        names = [f"{job['metadata']['name']}-worker-{i}.default.svc:2222" for i in range(replica["replicas"])]
        for index in range(replica["replicas"]):
            task = {"cluster": {"worker": names}, "task": {"type": "worker", "index": index}, "environment": "cloud"}
            config = configured(container["command"], monkeypatch, {"TF_CONFIG": json.dumps(task)}, tmp_path)
            assert (config.strategy, config.model) == ("multi_worker", "cnn")
            assert cluster.from_environment().index == index


SRUN = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words.pop(0)
children = []
for task in range({tasks}):
    step = dict(SLURM_JOB_ID="4711", SLURM_PROCID=str(task), SLURM_STEP_NUM_TASKS="{tasks}",
                SLURM_STEP_NODELIST="{nodes}", SLURM_STEP_TASKS_PER_NODE="{each}")
    words = [sys.executable if word == "python" else word for word in words]
    {act}
sys.exit(max(child.wait() for child in children) if children else 0)
"""


def with_srun(tmp_path, act, **settings):
    """Run deploy/slurm.sh with a stand-in for srun that executes `act` for every task."""
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"
    srun.write_text(SRUN.format(python=sys.executable, act=act, **settings))
    srun.chmod(0o755)
    environment = os.environ | {"PATH": f"{srun.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    words = ["bash", ROOT / "deploy" / "slurm.sh", "--epochs", "2"]
    return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)


def test_the_slurm_script_starts_a_worker_a_node(monkeypatch, tmp_path):
    text = (ROOT / "deploy" / "slurm.sh").read_text()
    assert "#SBATCH --nodes=4" in text and "#SBATCH --ntasks-per-node=1" in text
    done = with_srun(tmp_path, "print(json.dumps([step, words]))", tasks=4, nodes="node[1-4]", each="1(x4)")
    assert done.returncode == 0, done.stderr
    for index, line in enumerate(done.stdout.splitlines()):
        step, words = json.loads(line)
        config = configured(["python", *words[1:]], monkeypatch, step, tmp_path)
        assert (config.strategy, config.epochs) == ("multi_worker", 2)
        found = cluster.from_environment()
        assert found.index == index and found.workers[index] == f"node{index + 1}:24711"


@pytest.mark.slow
def test_the_slurm_script_trains(tmp_path):
    """Run two tasks on this machine, as on one node."""
    act = "children.append(subprocess.Popen(words, env=os.environ | step))"
    done = with_srun(tmp_path, act, tasks=2, nodes="localhost", each="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "runs/zoo-cnn"
    assert (tmp_path / "runs" / "zoo-cnn" / "metrics.json").is_file()
