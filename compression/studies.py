"""The search itself: an Optuna study of recipes, kept in SQLite beside the files that it made.

Every process that opens the same folder takes part in the same study; what a killed one was doing is done again.
"""

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression import recipes
from compression.plan import Plan
from compression.screening import not_worth_training
from compression.space import Range, Space
from zoo.errors import Diverged, Failed, Interrupted, UsageError

DATABASE, SQLITE = "search.db", b"SQLite format 3\0"
HEARTBEAT, GRACE = 10, 30  # seconds between signs of life of a trial, and after which one without them is repeated
RETRIES = 3
STARTUP = 6  # trials, the beginnings among them, after which TPE draws by what it has seen
MOST_REPEATED = 30  # known trials one after the other, after which a search ends
FAILURES = (UsageError, Failed, Diverged)  # of a trial, which end it and not the search


def check_file(folder: Path) -> None:
    """Raise UsageError for a file in place of the folder, or of the database, before anything is imported."""
    file = folder / DATABASE
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder, this is a file")
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as content:
        if content.read(len(SQLITE)) != SQLITE:
            raise UsageError(f"{file}: expected the SQLite storage of a search, this is something else")


def opened(plan: Plan, folder: Path, facts: Mapping[str, str], number: int = 0) -> Any:
    """Return the optuna.Study of a plan, a new one or as it was left.

    Args:
        plan: what is searched.
        folder: holds the database.
        facts: of the model and the data; those of every study in the file must be these.
        number: of this process among those of a search, by which its sampler draws otherwise.

    Raises:
        UsageError: the file holds the search of another run, or no search at all.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / DATABASE
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{file}",
            engine_kwargs={"connect_args": {"timeout": 100}},
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )
        known = optuna.study.get_all_study_summaries(storage)
    except Exception as error:  # SQLAlchemy's, of a file that is no database of Optuna's
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
    study.sampler = _sampler(plan, 1000 * number + len(study.trials))
    for name, value in facts.items():
        study.set_user_attr(name, value)
    return study


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


def _sampler(plan: Plan, done: int) -> Any:
    """Return a sampler whose draws depend on the seed and on how many trials there are, so that none comes twice."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = plan.seed * 100_003 + done
    if plan.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(
        n_startup_trials=STARTUP,
        multivariate=True,
        constant_liar=True,  # trials of other processes that are not finished count as bad ones
        seed=seed,
    )


def begin(study: Any, plan: Plan, first: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Give a new study what it tries first: what others in the file have finished, then the beginnings.

    Args:
        study: of the plan.
        plan: what is searched.
        first: returns choices; asked where the study is new and does not draw at random.
    """
    if study.trials or plan.sampler == "random":
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
    """Return the trials of every study in the file."""
    import optuna

    names = optuna.study.get_all_study_names(study._storage)
    return [t for n in names for t in optuna.load_study(study_name=n, storage=study._storage).trials]


def finished_trials(trials: Sequence[Any]) -> list[Any]:
    """Return those that were carried out to the end."""
    return [t for t in trials if "file" in t.user_attrs]


def rows(study: Any) -> list[dict[str, Any]]:
    """Return what is known of every trial that ended: recipe, choices, estimate, file, or why it stopped or failed."""
    from optuna.trial import TrialState

    kept = ("recipe", "estimate", "file", "stopped", "failed", "repeated")
    return [
        {"number": t.number, "choices": t.params, **{k: t.user_attrs[k] for k in kept if k in t.user_attrs}}
        for t in study.get_trials(deepcopy=False)
        if t.state == TrialState.COMPLETE or "failed" in t.user_attrs
    ]


def fresh(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of trials that told something new."""
    return [row for row in found if "repeated" not in row]


def _enough(study: Any, plan: Plan) -> bool:
    """Whether there are as many new trials as planned, or only known ones come: then the space is exhausted."""
    from optuna.trial import TrialState

    ended = rows(study)
    if len(fresh(ended)) >= plan.trials:
        return True
    exhausted = len(ended) > MOST_REPEATED and not fresh(ended[-MOST_REPEATED:])
    return exhausted and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def unique(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a flat row for each recipe that was carried out: number, recipe, estimate and the numbers of its file."""
    once = {row["recipe"]: row for row in reversed(found) if "file" in row}
    return [
        {"number": row["number"], "recipe": row["recipe"], "estimate": row["estimate"]["accuracy"], **row["file"]}
        for row in sorted(once.values(), key=lambda row: row["number"])
    ]


def run(
    study: Any,
    plan: Plan,
    estimate: Callable[[recipes.Recipe], dict[str, Any]],
    finished: Callable[[recipes.Recipe], dict[str, Any]],
    say: Callable[[str], None],
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Take part in a study until it has its trials, or time is up.

    Args:
        study: of the plan.
        plan: what is searched.
        estimate: measures the file of a recipe without training.
        finished: carries a recipe out, and measures its file.
        say: told of each trial.
        told: how many have ended.

    Raises:
        Interrupted: a signal came in a trial; the study takes it up again.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # that every trial traces another function is no mistake
    began = time.monotonic()

    def objective(trial: Any) -> list[float]:
        chosen = {name: _suggested(trial, name, values) for name, values in plan.space.choices.items()}
        recipe = plan.space.recipe(chosen)
        trial.set_user_attr("recipe", str(recipe))
        try:
            row = _measured(study, plan, trial, recipe, estimate, finished)
        except (Interrupted, KeyboardInterrupt):
            study.enqueue_trial(trial.params)
            raise
        except FAILURES as error:
            trial.set_user_attr("failed", str(error))
            raise
        for limit, excess in plan.budget.excesses(row).items():
            trial.set_constraint(limit, excess)
        return [*(row[cost] for cost in plan.costs), row["accuracy"]]

    def after(study: Any, trial: Any) -> None:
        ended = rows(study)
        told(len(fresh(ended)))
        say(_sentence(trial, len(fresh(ended)), plan))
        if _enough(study, plan):
            study.stop()
        left = None if plan.seconds is None else plan.seconds - (time.monotonic() - began)
        lasted = [row["file"]["seconds"] for row in ended if "file" in row and "repeated" not in row]
        if left is not None and left < (statistics.median(lasted) if lasted else 0):
            study.stop()

    if not _enough(study, plan):
        study.optimize(objective, timeout=plan.seconds, callbacks=[after], catch=FAILURES)


def _suggested(trial: Any, name: str, values: Any) -> Any:
    if isinstance(values, Range):
        return trial.suggest_int(name, values.low, values.high, log=True)
    return trial.suggest_categorical(name, values)


def _measured(study: Any, plan: Plan, trial: Any, recipe: recipes.Recipe, estimate: Any, finished: Any) -> dict:
    """Return what is measured of a trial: of the file at the end, or where it is not worth that, of the estimate."""
    everywhere = finished_trials(_all_trials(study))
    before = next((t for t in everywhere if t.user_attrs["recipe"] == str(recipe)), None)
    if before is not None:
        for name in ("estimate", "file"):
            trial.set_user_attr(name, before.user_attrs[name])
        trial.set_user_attr("repeated", before.number)
        return before.user_attrs["file"]
    guess = estimate(recipe)
    trial.set_user_attr("estimate", guess)
    if why := not_worth_training(guess, plan, unique(rows(study))):
        trial.set_user_attr("stopped", why)
        return guess
    row = finished(recipe)
    trial.set_user_attr("file", row)
    return row


def importances(study: Any, plan: Plan) -> dict[str, dict[str, float]]:
    """Return the share of the variance that each choice explains, by what is measured (fANOVA; Hutter et al., 2014).

    Costs are of every trial, as files have their size without training; the accuracy is of those carried out.
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


def _sentence(trial: Any, done: int, plan: Plan) -> str:
    attributes = trial.user_attrs
    if not attributes.keys() & {"file", "estimate", "failed"}:
        return f"trial {trial.number} was not finished"
    row = attributes.get("file") or attributes.get("estimate", {})
    numbers = ", ".join(_number(cost, row[cost]) for cost in plan.costs) if row else "no file"
    if "failed" in attributes:
        end = f"failed: {attributes['failed']}"
    elif "stopped" in attributes:
        end = f"stopped: {attributes['stopped']}"
    elif "repeated" in attributes:
        end = f"{row['accuracy']:.2%}, known from trial {attributes['repeated']}"
    else:
        end = f"{row['accuracy']:.2%} of validation (untrained {attributes['estimate']['accuracy']:.2%})"
    return f"[{done}/{plan.trials}] {numbers}: {end}; {attributes.get('recipe', '')}"


def _number(name: str, value: float) -> str:
    return f"{value:.3f} ms" if name == "latency_ms" else f"{value:,} bytes{' gzipped' if 'gzip' in name else ''}"
