"""Run a search as an Optuna study of recipes, stored in an SQLite file next to the exported files.

All processes that open the same folder share the study. A trial of a killed process is taken up again. One process
alone tries the same recipes whether it is killed or not.
"""

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.recipes import language
from compression.searching.plan import SearchPlan
from compression.searching.screening import stop_reason
from compression.searching.space import Range, Space
from zoo.console.errors import Diverged, Failed, UsageError
from zoo.console.figures import duration

DATABASE, SQLITE = "search.db", b"SQLite format 3\0"
MOST_REPEATED = 30  # number of consecutive repeated trials after which the space counts as exhausted
FAILURES = (UsageError, Failed, Diverged)  # errors that end a trial but not the search


def check_file(folder: Path) -> None:
    """Raise UsageError if the folder is a file or its database is not SQLite, before Optuna is imported."""
    file = folder / DATABASE
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder, found a file")
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as content:
        if content.read(len(SQLITE)) != SQLITE:
            raise UsageError(f"{file}: expected the SQLite storage of a search, found another kind of file")


def open_or_create(plan: SearchPlan, folder: Path, facts: Mapping[str, str]) -> Any:
    """Open the optuna.Study of a plan, or create it.

    Args:
        plan: Plan of the search.
        folder: Folder with the database.
        facts: Identifiers of the model and the data, which must match those of every study in the file.

    Raises:
        UsageError: The file belongs to the search of another run, or cannot be read.
    """
    import optuna
    from filelock import FileLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{DATABASE}.lock"):  # two processes may begin at once
        return _opened(plan, folder / DATABASE, facts)


def _opened(plan: SearchPlan, file: Path, facts: Mapping[str, str]) -> Any:
    """Return the study of a plan in a database, which only this process opens now."""
    import optuna

    from compression.searching.sampling import NumberedSampler

    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 100}})
        known = optuna.study.get_all_study_summaries(storage)
    except Exception as error:  # SQLAlchemy errors for a file that is not an Optuna database
        raise UsageError(f"{file}: expected the storage of a search, it cannot be read: {_first_line(error)}") from None
    for summary in known:
        theirs = {name: summary.user_attrs.get(name, value) for name, value in facts.items()}
        if others := [
            f"{name} {theirs[name]} (here {value})" for name, value in facts.items() if theirs[name] != value
        ]:
            raise UsageError(f"{file}: holds the search of another run: {', '.join(others)}; choose another --output")
    study = optuna.create_study(
        storage=storage,
        study_name=plan.name,
        directions=[*("minimize" for _ in plan.costs), "maximize"],
        load_if_exists=True,
    )
    study.sampler = NumberedSampler(plan.sampler, plan.seed)
    for name, value in facts.items():
        study.set_user_attr(name, value)
    return study


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


def enqueue_first(study: Any, plan: SearchPlan, first: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Enqueue the first trials of a study: finished trials of other studies in the file, then initial choices.

    A process that was killed here may have enqueued some of them.

    Args:
        study: Study of the plan.
        plan: Plan of the search.
        first: Function that returns the initial choices; called only if no trial has begun, and with the TPE sampler.
    """
    from optuna.trial import TrialState

    begun = any(t.state != TrialState.WAITING for t in study.trials)
    if begun or plan.sampler == "random":
        return
    names = set(plan.space.choices)
    remembered = [t.params for t in finished_trials(_all_trials(study)) if set(t.params) == names]
    for chosen in [*(p for p in remembered if _inside(p, plan.space)), *first()]:
        study.enqueue_trial(dict(chosen), skip_if_exists=True)


def _inside(chosen: Mapping[str, Any], space: Space) -> bool:
    return all(
        v.low <= chosen[name] <= v.high if isinstance(v, Range) else chosen[name] in v
        for name, v in space.choices.items()
    )


def _all_trials(study: Any) -> list[Any]:
    """Return the trials of all studies in the file."""
    import optuna

    names = optuna.study.get_all_study_names(study._storage)
    return [t for n in names for t in optuna.load_study(study_name=n, storage=study._storage).trials]


def finished_trials(trials: Sequence[Any]) -> list[Any]:
    """Return the complete trials with a trained and measured file."""
    from optuna.trial import TrialState

    return [t for t in trials if t.state == TrialState.COMPLETE and "file" in t.user_attrs]


def rows(study: Any) -> list[dict[str, Any]]:
    """Return a row for every ended trial: choices, recipe, estimate, file, and the reason if it stopped or failed."""
    from optuna.trial import TrialState

    kept = ("recipe", "estimate", "file", "stopped", "failed", "repeated")
    return [
        {"number": t.number, "choices": t.params, **{k: t.user_attrs[k] for k in kept if k in t.user_attrs}}
        for t in study.get_trials(deepcopy=False)
        if t.state == TrialState.COMPLETE or (t.state == TrialState.FAIL and "failed" in t.user_attrs)
    ]


def new_rows(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of trials that do not repeat an earlier one."""
    return [row for row in found if "repeated" not in row]


def _enough(study: Any, plan: SearchPlan) -> bool:
    """Return whether the study has all planned trials, or its space is exhausted, so that only repeated trials come."""
    from optuna.trial import TrialState

    ended = rows(study)
    if len(new_rows(ended)) >= plan.trials:
        return True
    exhausted = len(ended) > MOST_REPEATED and not new_rows(ended[-MOST_REPEATED:])
    return exhausted and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def file_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a flat row for each distinct recipe with a file: number, recipe, estimate and the file's measurements."""
    once = {row["recipe"]: row for row in reversed(found) if "file" in row}
    return [
        {"number": row["number"], "recipe": row["recipe"], "estimate": row["estimate"]["accuracy"], **row["file"]}
        for row in sorted(once.values(), key=lambda row: row["number"])
    ]


def baselines(study: Any, measured: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the baselines of a study, which are measured once.

    Args:
        study: Study of a search.
        measured: Function that measures them.
    """
    if "baselines" not in study.user_attrs:
        study.set_user_attr("baselines", measured())
    return study.user_attrs["baselines"]


def run(
    study: Any,
    claims: Any,
    plan: SearchPlan,
    estimate: Callable[[language.Recipe], dict[str, Any]],
    finished: Callable[[language.Recipe], dict[str, Any]],
    say: Callable[[str], None],
    progress: Callable[[int, float | None], None] = lambda done, left: None,
) -> None:
    """Run trials of a study until all planned trials are done or time is up.

    Args:
        study: Study of the plan.
        claims: The `claims.Claims` of the study.
        plan: Plan of the search.
        estimate: Function that measures the file of a recipe without training.
        finished: Function that trains a recipe and measures its file.
        say: Function that receives a message about each trial.
        progress: Function that receives the number of ended trials, and about how many seconds the others will take.

    Raises:
        Interrupted: A signal interrupted a trial; the next search takes it up again.
    """
    from optuna.trial import TrialState

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing warnings: every trial has another function
    began, before = time.monotonic(), len(new_rows(rows(study)))

    def told(trial: Any, guess: Mapping[str, Any]) -> None:
        numbers = ", ".join(number(cost, guess[cost]) for cost in plan.costs)
        say(f"[trial {trial.number}] estimate without training: {numbers}, accuracy {guess['accuracy']:.2%}; carrying"
            f" out {trial.user_attrs['recipe']}")  # fmt: skip

    while not _enough(study, plan):
        with claims.next() as trial:
            try:
                study.tell(trial, _objectives(study, plan, trial, estimate, finished, told))
            except FAILURES as error:
                trial.set_user_attr("failed", str(error))
                study.tell(trial, state=TrialState.FAIL)
        ended = len(new_rows(rows(study)))
        left = _left(ended - before, plan.trials - ended, time.monotonic() - began, plan.seconds)
        progress(ended, left)
        say(_sentence(study.trials[trial.number], ended, plan) + (f"; about {duration(left)} left" if left else ""))
        if plan.seconds is not None and not _in_time(study, plan.seconds - (time.monotonic() - began)):
            break


def _left(ended: int, missing: int, passed: float, limit: float | None) -> float | None:
    """Return about how many seconds the missing trials will take, of all processes; None if nothing tells.

    Args:
        ended: Number of trials that ended since the start of this process.
        missing: Number of trials that have not ended.
        passed: Seconds since the start.
        limit: Seconds after which no trial begins; None if there is no limit.
    """
    if ended < 1:
        return None
    left = missing * passed / ended
    return left if limit is None else max(min(left, limit - passed), 0.0)


def _in_time(study: Any, left: float) -> bool:
    """Return whether the seconds that are left are enough for a trial of the usual length."""
    lasted = [row["file"]["seconds"] for row in new_rows(rows(study)) if "file" in row]
    return left > (statistics.median(lasted) if lasted else 0)


def _objectives(study: Any, plan: SearchPlan, trial: Any, estimate: Any, finished: Any, told: Any) -> list[float]:
    """Run a trial, and return its costs and its accuracy."""
    recipe = plan.space.recipe({name: _suggested(trial, name, values) for name, values in plan.space.choices.items()})
    trial.set_user_attr("recipe", str(recipe))
    row = _measured(study, plan, trial, recipe, estimate, finished, told)
    for limit, excess in plan.budget.excesses(row).items():
        trial.set_constraint(limit, excess)
    return [*(row[cost] for cost in plan.costs), row["accuracy"]]


def _suggested(trial: Any, name: str, values: Any) -> Any:
    if isinstance(values, Range):
        return trial.suggest_int(name, values.low, values.high, log=True)
    return trial.suggest_categorical(name, values)


def _measured(
    study: Any, plan: SearchPlan, trial: Any, recipe: language.Recipe, estimate: Any, finished: Any, told: Any
) -> dict[str, Any]:
    """Return the measurements of a trial's final file, or of its estimate if the trial is stopped early."""
    everywhere = finished_trials(_all_trials(study))
    before = next((t for t in everywhere if t.user_attrs["recipe"] == str(recipe)), None)
    if before is not None:
        for name in ("estimate", "file"):
            trial.set_user_attr(name, before.user_attrs[name])
        trial.set_user_attr("repeated", before.number)
        return before.user_attrs["file"]
    guess = estimate(recipe)
    trial.set_user_attr("estimate", guess)
    if why := stop_reason(guess, plan, file_rows(rows(study))):
        trial.set_user_attr("stopped", why)
        return guess
    told(trial, guess)
    row = finished(recipe)
    trial.set_user_attr("file", row)
    return row


def importances(study: Any, plan: SearchPlan) -> dict[str, dict[str, float]]:
    """Return the share of variance that each choice explains, for each measurement (fANOVA; Hutter et al., 2014).

    Costs use all trials, as files have their final size without training; accuracy uses finished trials only.
    """
    import optuna

    found: dict[str, dict[str, float]] = {}
    for index, name in enumerate([*plan.costs, "accuracy"]):
        part = optuna.create_study(direction="maximize")
        wanted = [t for t in study.trials if t.values and ("file" in t.user_attrs or name != "accuracy")]
        part.add_trials(
            [
                optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=t.values[index])
                for t in wanted
            ]
        )
        if len({t.value for t in part.trials}) < 3:
            continue
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=plan.seed)
        found[name] = dict(optuna.importance.get_param_importances(part, evaluator=evaluator))
    return found


def _sentence(trial: Any, done: int, plan: SearchPlan) -> str:
    attributes = trial.user_attrs
    row = attributes.get("file") or attributes.get("estimate", {})
    numbers = ", ".join(number(cost, row[cost]) for cost in plan.costs) if row else "no file"
    if "failed" in attributes:
        end = f"failed: {attributes['failed']}"
    elif "stopped" in attributes:
        end = f"stopped: {attributes['stopped']}"
    elif "repeated" in attributes:
        end = f"validation accuracy {row['accuracy']:.2%}, known from trial {attributes['repeated']}"
    else:
        guess = attributes["estimate"]["accuracy"]
        end = f"validation accuracy {row['accuracy']:.2%} (estimate without training {guess:.2%})"
    return f"[{done}/{plan.trials}] {numbers}: {end}; {attributes.get('recipe', '')}"


def number(name: str, value: float) -> str:
    """Return a cost of a file with its unit."""
    ends = {"bytes": "bytes", "gzip_bytes": "bytes gzipped", "arena_bytes": "bytes of arena", "flash_bytes": "of flash"}
    return f"{value:.3f} ms" if name == "latency_ms" else f"{value:,} {ends.get(name, name)}"
