import json

import pytest
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver

from strategies import StrategyError, cluster


def tf_config(jobs, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


def test_workers_of_tf_config():
    found = cluster.from_environment(tf_config({"worker": ["a:1", "b:65535"]}, index=1))
    assert found == cluster.Cluster(("a:1", "b:65535"), 1)
    assert (found.is_chief, found.port, found.name(0)) == (False, 65535, "worker 0 (a:1)")


def test_a_chief_named_apart_is_the_first_worker():
    """Read TF_CONFIG as Kubeflow's TFJob writes it, with its additions."""
    jobs = {"chief": ["job-chief-0.ns.svc:2222"], "worker": ["job-worker-0.ns.svc:2222", "job-worker-1.ns.svc:2222"]}
    text = json.loads(tf_config(jobs, "worker", "1")["TF_CONFIG"]) | {"environment": "cloud"}
    found = cluster.from_environment({"TF_CONFIG": json.dumps(text)})
    assert found.workers == (*jobs["chief"], *jobs["worker"]) and found.index == 2
    assert cluster.from_environment(tf_config(jobs, "chief")).is_chief


@pytest.mark.parametrize(("environment", "message"), [
    ({}, "found neither; `python -m strategies.launch"),
    ({"TF_CONFIG": "{"}, r'JSON of the form .*"worker": \["HOST:PORT"'),
    ({"TF_CONFIG": "[]"}, "JSON of the form"),
    ({"TF_CONFIG": '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}'}, "JSON of the form"),
    ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "JSON of the form"),
    (tf_config({"worker": []}), "expected at least one worker"),
    (tf_config({"worker": ["a:1"]}, index=1), "a task index from 0 to 0"),
    (tf_config({"worker": ["a:1"]}, index=-1), "a task index from 0 to 0"),
    (tf_config({"worker": ["a:1"]}, kind="boss"), "a task type among worker"),
    (tf_config({"worker": ["a"]}), "HOST:PORT with a port from 1 to 65535 instead of 'a'"),
    (tf_config({"worker": ["a:70000"]}), "instead of 'a:70000'"),
    (tf_config({"worker": ["a:1", "a:1"]}), "a different address for each worker"),
    (tf_config({"chief": ["a:1", "b:1"], "worker": ["c:1"]}), "at most one chief"),
    (tf_config({"worker": ["a:1"], "ps": ["b:1"]}), "no ps"),
    ({"SLURM_STEP_NODELIST": "n1"}, "SLURM_STEP_TASKS_PER_NODE: expected numbers such as"),
    ({"SLURM_STEP_NODELIST": "n1", "SLURM_STEP_TASKS_PER_NODE": "2"}, "SLURM_PROCID: expected an integer"),
])  # fmt: skip
def test_an_invalid_cluster_is_refused_with_the_expectation(environment, message):
    with pytest.raises(StrategyError, match=message):
        cluster.from_environment(environment)


def slurm(**changes):
    return {
        "SLURM_STEP_NODELIST": "n[08-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
        "SLURM_STEP_NUM_TASKS": "5",
        "SLURM_PROCID": "3",
        "SLURM_JOB_ID": "123456",
    } | changes


def test_workers_of_a_slurm_step():
    found = cluster.from_environment(slurm())
    assert found.workers == ("n08:23456", "n08:23457", "n09:23456", "n09:23457", "n10:23456")
    assert found.index == 3


@pytest.mark.parametrize(
    "changes", [{"SLURM_PROCID": "5"}, {"SLURM_STEP_NUM_TASKS": "4"}, {"SLURM_STEP_NODELIST": "n1"}]
)
def test_a_slurm_step_that_does_not_add_up_is_refused(changes):
    with pytest.raises(StrategyError, match="SLURM: expected . tasks on . nodes"):
        cluster.from_environment(slurm(**changes))


@pytest.mark.parametrize("text", ["n1", "n1,m2", "n[1-3]", "n[01-12],m5,o[3-4,6,007-9]", "a-b[1]", "gpu[099-101]"])
def test_host_lists_are_read_as_tensorflow_reads_them(text):
    assert cluster.expand_hosts(text) == slurm_cluster_resolver.expand_hostlist(text)


@pytest.mark.parametrize("text", ["n[1-", "n[a-b]", "[", "n]1", "n[]"])
def test_what_is_no_host_list_is_refused(text):
    with pytest.raises(StrategyError, match="expected names such as"):
        cluster.expand_hosts(text)
