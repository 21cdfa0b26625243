"""Search for the recipe whose file fits a budget, with all numbers measured on exported files.

Recipes are selected on validation examples; the test examples are used once, for the files on the Pareto front.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from compression import tasks
from compression.recipes import language
from compression.recipes.language import Kernel
from compression.recipes.passes import Pass
from compression.searching import pareto, screening, space, studies
from compression.searching import report as search_report
from compression.searching.budget import LIMITS, ON_A_DEVICE, Budget
from compression.searching.plan import Sampler, SearchPlan
from compression.searching.trials import (
    SearchSubject,
    baselines,
    estimate,
    initial_choices,
    least_on_device,
    memory_choices,
    receipt_on_test,
    smallest,
    train_and_measure,
)
from compression.surgery.copying import weights_sha256
from zoo.config.train_config import TrainConfig, flag
from zoo.console.errors import Failed, UsageError
from zoo.console.figures import form_of
from zoo.data.dataset import from_tf_data
from zoo.runs import sealed
from zoo.system import temporary
from zoo.system.files import write_json
from zoo.system.machine import cores

# Without a budget: accuracy that the smallest file may lose compared with the model.
LOSS = 0.005
TESTED = "tested.json"
FILES = "files"
OWN = "model"  # name of the model as teacher of its smaller versions


@dataclass(frozen=True)
class SearchOutcome:
    """Result of a search.

    Args:
        folder: Folder of the search; its files are in the subfolder `files`.
        winner: Row of the best file within the budget, or None.
        closest: Row of the file closest to the budget if none is within it, otherwise None.
        front: Rows of the Pareto front, cheapest first, with `test_accuracy`.
        result: Content of search.json.
    """

    folder: Path
    winner: dict[str, Any] | None
    closest: dict[str, Any] | None
    front: list[dict[str, Any]]
    result: dict[str, Any]


def search(
    model: keras.Model,
    train: Iterable,
    validation: Iterable,
    *,
    budget: Budget,
    folder: Path,
    training: TrainConfig,
    test: Iterable = (),
    class_names: list[str] | None = None,
    teachers: Mapping[str, Callable[[], keras.Model]] | None = None,
    narrowing: Mapping[str, str] | None = None,
    trials: int = 50,
    seconds: float | None = None,
    sampler: Sampler = "tpe",
    seed: int = 0,
    kernel: Kernel = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> SearchOutcome:
    """Search for the recipe whose file fits a budget, for any classifier and data.

    Args:
        model: Built Keras model with class logits as output. It also serves as teacher, under the name `model`.
        train: Finite, batched `tf.data` set, or another iterable of batches, of (x, y); see `zoo.data.from_tf_data`.
        validation: Data like `train`, on which recipes are selected.
        budget: Limits of the file.
        folder: Folder for the study, the files and the report.
        training: Epochs, batch size and learning rate with which the model was trained.
        test: Data like `train`, used once for the files on the front. Without it they have no test accuracy.
        class_names: Names of the classes in the order of their indices.
        teachers: Functions that return further teacher models, by name.
        narrowing: Values that replace default choices; see `compression.searching.space.narrowed`.
        trials: Number of trials.
        seconds: Time after which no further trial starts.
        sampler: Sampler, tpe or random.
        seed: Random seed of the sampler.
        kernel: Export form of recurrent layers.
        say: Function that receives progress messages.

    Raises:
        UsageError: The budget is below the smallest file, or data and options do not fit together.
        zoo.console.errors.Interrupted: A signal interrupted the search; the next call resumes it.
    """
    held_out, unseen = list(validation), list(test)
    data = from_tf_data(model.name, train, unseen or held_out, held_out, class_names)
    if not unseen:
        data = dataclasses.replace(data, test=data.test.take(slice(0)))
    known = {OWN: lambda: model, **(teachers or {})}
    subject = SearchSubject(
        model, data, training, known, folder / FILES, threads=budget.threads, target=budget.device, kernel=kernel
    )
    plan = make_plan(subject, budget, narrowing, trials=trials, seconds=seconds, sampler=sampler, seed=seed)
    study = open_study(subject, plan, folder, say)
    run_trials(subject, plan, study, say)
    return finish_search(subject, plan, study, folder, say)


def make_plan(
    subject: SearchSubject, budget: Budget, narrowing: Mapping[str, str] | None = None, **options: Any
) -> SearchPlan:
    """Check the settings of a search, and return its plan.

    Args:
        subject: Model and data of the search.
        budget: Limits of the file.
        narrowing: Values that replace default choices.
        options: Fields trials, seconds, sampler and seed of the plan.

    Raises:
        UsageError: There are no validation examples, the number of threads is not supported, or a choice does not
            exist.
    """
    subject.form.class_indices(subject.data.train)
    if not len(subject.data.validation):
        raise UsageError(
            f"{subject.data.spec.name}: expected a validation split, on which recipes are selected, found none; a run"
            " has one with --validation-split above 0, and an .npz file with x_validation and y_validation"
        )
    if budget.threads not in (1, cores()):
        raise UsageError(f"--threads {budget.threads}: expected 1 or {cores()}, the cores of this process")
    if not budget.limits:
        own = estimate(subject, language.parse("float32"))["accuracy"]
        budget = dataclasses.replace(budget, min_accuracy=round(own - LOSS, 4))
    usual_epochs, usual_rate = Pass.USUAL  # of a model that was trained elsewhere
    found = space.default(
        subject.widths,
        epochs=subject.training.epochs or usual_epochs,
        learning_rate=subject.training.learning_rate or usual_rate,
        teachers=list(subject.teachers),
        gzipped=budget.max_gzip_bytes is not None,
        timed=budget.max_latency_ms is not None,
        numbers=tasks.entry(subject.data.spec.task).limits.numbers,
        memory=memory_choices(subject) if budget.max_arena is not None else (),
    )
    found = space.narrowed(found, narrowing or {})
    if unknown := [t for t in found.choices["distill"] if t not in (*subject.teachers, space.NO_TEACHER)]:
        raise UsageError(
            f"--space distill: expected none or one of {', '.join(subject.teachers)}, received {unknown[0]}"
        )
    if budget.device:
        found = _for_device(subject, found, budget)
    return SearchPlan(found, budget, **options)


def open_study(subject: SearchSubject, plan: SearchPlan, folder: Path, say: Callable[[str], None]) -> Any:
    """Open or create the study of a plan, describe the space, and check the budget against its smallest file.

    Raises:
        UsageError: The budget is below the smallest file, or the folder has the search of another model.
    """
    study = studies.open_or_create(plan, folder, facts(subject))
    for place in [p for p in (folder / FILES).rglob("*") if p.is_dir()]:  # of trials that were killed
        temporary.sweep(place)
    least = check_smallest(subject, plan)
    if (score := subject.form.selected_by) != "accuracy":
        say(f"the accuracy of a file is its {form_of(score)[0]}")
    say(f"budget: {plan.budget}; the smallest file in the search space has {least['bytes']:,} bytes")
    for line in plan.space.lines():
        say(f"  {line}")
    for row in studies.baselines(study, lambda: baselines(subject)):
        numbers = ", ".join(studies.number(cost, row[cost]) for cost in plan.costs)
        say(f"{row['name']} without a search: {numbers}, validation accuracy {row['accuracy']:.2%}")
    studies.enqueue_first(study, plan, lambda: initial_choices(subject, plan.space, plan.budget))
    return study


def check_smallest(subject: SearchSubject, plan: SearchPlan) -> dict[str, Any]:
    """Return bytes, gzip_bytes and recipe of the smallest file of a plan's space.

    Raises:
        UsageError: The budget is below it.
    """
    least = smallest(subject, plan.space)
    for name, key in (("max_bytes", "bytes"), ("max_gzip_bytes", "gzip_bytes")):
        limit = plan.budget.limits.get(name)
        if limit is not None and limit < least[key]:
            raise UsageError(
                f"{flag(name)} {limit:,}: expected at least {least[key]:,}, the smallest file of this model in the"
                f" search space ({least['recipe']})"
            )
    return least


def _for_device(subject: SearchSubject, found: space.Space, budget: Budget) -> space.Space:
    """Return a space with the precisions that the device of a budget can run.

    Raises:
        UsageError: It can run none, or not even the narrowest network keeps a limit.
    """
    rows, refused = least_on_device(subject, found)
    if not rows:
        why = "; ".join(f"{precision}: {reason}" for precision, reason in refused.items())
        raise UsageError(f"--target {budget.device}: expected a device that can run the network: {why}")
    for name in ON_A_DEVICE:
        limit, cost = budget.limits.get(name), LIMITS[name][0]
        least = min(row[cost] for row in rows.values() if cost in row) if limit is not None else 0
        if limit is not None and limit < least:
            raise UsageError(
                f"{flag(name)} {limit:,}: expected at least {least:,}, which the narrowest network of the search space"
                f" takes on {budget.device}"
            )
    return dataclasses.replace(found, choices={**found.choices, "precision": tuple(rows)})


def facts(subject: SearchSubject) -> dict[str, str]:
    """Return identifiers of the model and the data of a search."""
    return {"model": weights_sha256(subject.model)[:16], "data": subject.data.spec.name}


def run_trials(
    subject: SearchSubject,
    plan: SearchPlan,
    study: Any,
    say: Callable[[str], None],
    progress: Callable[[int, float | None], None] = lambda done, left: None,
) -> None:
    """Run trials until all planned trials are done or time is up.

    Args:
        subject: Model and data of the search.
        plan: Plan of the search.
        study: Study of the plan.
        say: Function that receives a message about each trial.
        progress: Function that receives the number of ended trials, and about how many seconds the others will take.
    """
    from compression.searching.claims import Claims

    subject.folder.mkdir(parents=True, exist_ok=True)
    measures = (lambda r: estimate(subject, r), lambda r: train_and_measure(subject, r))
    studies.run(study, Claims(study, subject.folder), plan, *measures, say, progress)


def finish_search(
    subject: SearchSubject, plan: SearchPlan, study: Any, folder: Path, say: Callable[[str], None]
) -> SearchOutcome:
    """Measure the files of the front on the test examples, write the report, and return the result."""
    everything = studies.rows(study)
    ended = studies.file_rows(everything)
    best = pareto.front(ended, plan.costs)
    winner = pareto.winner(ended, plan.budget, plan.costs)
    closest = None if winner else pareto.closest(ended, plan.budget)
    shown = [*best, *(row for row in (winner, closest) if row and row not in best)]
    scores = _tested(subject, shown, folder / TESTED, say)
    for row in ended:
        row["test_accuracy"] = scores.get(row["recipe"], {}).get(subject.form.selected_by)
        row["on_front"] = row in best
        if subject.command:
            row["command"] = subject.command(row["recipe"])
    result = {
        "subject": {"model": subject.model.name, "data": subject.data.spec.name, **subject.provenance},
        "budget": dataclasses.asdict(plan.budget),
        "costs": plan.costs,
        "score": subject.form.selected_by,  # what is called the accuracy of a file
        "space": plan.space.to_json(),
        "sampler": plan.sampler,
        "seed": plan.seed,
        "trials": len(studies.new_rows(everything)),
        "stopped_early": sum("stopped" in row for row in everything),
        "failed": [row["failed"] for row in everything if "failed" in row],
        "repeated": sum("repeated" in row for row in everything),
        "smallest_seen": min((row["estimate"]["bytes"] for row in everything if "estimate" in row), default=None),
        "rank_correlation": screening.rank_correlation(ended),
        "importances": studies.importances(study, plan),
        "validation_examples": len(subject.data.validation),
        "test_examples": len(subject.data.test),
        "baselines": studies.baselines(study, lambda: baselines(subject)),
        "winner": winner,
        "closest": closest,
        "excesses": plan.budget.excesses(closest) if closest else {},
        "front": best,
        "files": ended,
        "folder": str(subject.folder),
        "report": str(folder / search_report.PAGE),
    }
    write_json(folder / "search.json", result)
    search_report.write(result, folder)
    return SearchOutcome(folder, winner, closest, best, result)


def _tested(
    subject: SearchSubject, rows: list[dict[str, Any]], file: Path, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return the test scores of files by recipe, measuring only files without stored scores."""
    scores, seal = sealed.read(file) if file.is_file() else ({}, {})
    sealed.check(file, seal, scores)
    for number, row in enumerate(rows, 1):
        if row["recipe"] in scores or not len(subject.data.test):
            continue
        say(f"measuring {number} of {len(rows)} on {len(subject.data.test):,} test examples: {row['path']}")
        receipt = receipt_on_test(subject, language.parse(row["recipe"]))
        if receipt["sha256"] != row["sha256"]:
            raise Failed(
                f"{row['path']}: expected the same file when exported again, received another SHA-256; the search used"
                " other versions of the libraries"
            )
        scores[row["recipe"]] = {"sha256": row["sha256"], **receipt["test"]["litert"]}
        sealed.write(file, scores)
    return scores
