"""A killed search tries the recipes that it would have tried, and every trial has one process."""

import hashlib
import multiprocessing
import os
import signal

import pytest

from compression.searching import studies
from compression.searching.budget import Budget
from compression.searching.plan import SearchPlan
from compression.searching.space import Range, Space
from zoo.console.errors import Failed, Interrupted

TRIALS = 9  # more than TPE draws without its model
CHOICES = {
    "width.first": Range(4, 64),
    "width.second": Range(4, 64),
    "precision": ("int8", "int4"),
    "sparsity": (0.0, 0.5, 0.8),
    "clusters": (0,),
    "qat": (True, False),
    "epochs": (1,),
    "rate": (0.5, 1.0, 2.0),
    "distill": ("none",),
    "per_tensor": (True,),
    "init": ("own",),
}
SPACE = Space(CHOICES, {"first": 64, "second": 64}, epochs=4, learning_rate=1e-3)
MOMENTS = ("enqueue", "choose", "estimate", "file", "told")


def measured(recipe):
    """Return measurements that depend on the recipe alone; one recipe in eight fails."""
    digest = hashlib.sha256(str(recipe).encode()).digest()
    if digest[0] < 32:
        raise Failed("a recipe that cannot be trained")
    return {"bytes": 1000 + digest[1], "accuracy": digest[2] / 255, "seconds": 1.0, "path": "x.tflite"}


def searched(folder, sampler, moment="", at=0):
    """Run trials, and kill this process when something happens for the `at`-th time."""
    from compression.searching.claims import Claims

    plan = SearchPlan(SPACE, Budget(max_bytes=1200), trials=TRIALS, sampler=sampler)
    study = studies.open_or_create(plan, folder, {"model": "m"})
    counts = dict.fromkeys(MOMENTS, 0)

    def dying(name, function):
        def called(*arguments, **options):
            counts[name] += 1
            result = function(*arguments, **options)
            if name == moment and counts[name] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    for name, place in (("enqueue", "enqueue_trial"), ("told", "tell")):
        setattr(study, place, dying(name, getattr(study, place)))
    suggested = studies._suggested
    studies._suggested = dying("choose", suggested)
    first = [{name: values.low if isinstance(values, Range) else values[-1] for name, values in CHOICES.items()}]
    first.append(first[0] | {"width.first": 64})
    try:
        studies.enqueue_first(study, plan, lambda: first)
        estimate, file = dying("estimate", measured), dying("file", measured)
        studies.run(study, Claims(study, folder), plan, estimate, file, lambda text: None)
    finally:
        studies._suggested = suggested
    return studies.rows(study)


def killed(folder, sampler, moment, at):
    child = multiprocessing.get_context("fork").Process(target=searched, args=(folder, sampler, moment, at))
    child.start()
    child.join()
    return child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("sampler", [pytest.param("tpe", marks=pytest.mark.slow), "random"])
def test_a_search_that_is_killed_five_times_tries_what_an_undisturbed_one_tries(tmp_path, sampler):
    whole = searched(tmp_path / "whole", sampler)
    assert len(studies.new_rows(whole)) == TRIALS and len({row["recipe"] for row in whole}) > TRIALS / 2
    moments = [("enqueue", 1), ("choose", 4), ("estimate", 1), ("file", 3), ("told", 1), ("choose", 19)]
    wanted = moments if sampler == "tpe" else moments[1:]
    assert [killed(tmp_path / "killed", sampler, *moment) for moment in wanted] == [True] * len(wanted)
    assert searched(tmp_path / "killed", sampler) == whole
    assert not list((tmp_path / "killed").glob(".trial-*-*.lock"))


def test_other_seeds_try_other_recipes(tmp_path):
    from optuna.distributions import IntDistribution
    from optuna.trial import create_trial

    from compression.searching.sampling import NumberedSampler

    space = IntDistribution(0, 10**6)
    trial = create_trial(value=1.0)
    drawn = {NumberedSampler("random", seed).sample_independent(None, trial, "x", space) for seed in range(5)}
    assert len(drawn) == 5


def test_a_trial_that_is_interrupted_waits_and_one_that_ends_its_process_four_times_fails(tmp_path):
    from optuna.trial import TrialState

    from compression.searching import claims

    plan = SearchPlan(SPACE, Budget(max_bytes=1200), trials=TRIALS)
    study = studies.open_or_create(plan, tmp_path, {})
    owner = claims.Claims(study, tmp_path)
    with pytest.raises(Interrupted), owner.next() as trial:
        trial.suggest_int("x", 0, 9)
        raise Interrupted(signal.SIGTERM)
    assert study.trials[0].state == TrialState.WAITING
    for kills in range(claims.RETRIES + 1):
        with owner.next() as trial:
            assert trial.number == 0 and study.trials[0].user_attrs.get("kills", 0) == kills
            with claims.Claims(study, tmp_path).next() as other:  # the first is not taken from its process
                assert other.number == kills + 1
                study.tell(other, state=TrialState.FAIL)
            study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            owner._set = lambda trial, state: None  # as if the process were killed
        del owner._set
    with owner.next() as trial:
        assert trial.number == claims.RETRIES + 2
    assert "killed 4 times" in next(row["failed"] for row in studies.rows(study))


def test_two_processes_share_a_study_and_run_every_trial_once(tmp_path):
    children = [
        multiprocessing.get_context("fork").Process(target=searched, args=(tmp_path, "random")) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    plan = SearchPlan(SPACE, Budget(max_bytes=1200), trials=TRIALS, sampler="random")
    study = studies.open_or_create(plan, tmp_path, {"model": "m"})
    assert all(trial.state.is_finished() and "kills" not in trial.user_attrs for trial in study.trials)
    assert len(studies.new_rows(studies.rows(study))) in (TRIALS, TRIALS + 1)  # both may begin the last one
