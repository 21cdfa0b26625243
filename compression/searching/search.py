"""`search`: from a trained model and a budget to the file that fits it, every number measured on exported files.

Recipes are chosen by the validation examples; the test examples are looked at once, for the files on the front.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from compression.recipes import language
from compression.recipes.language import Kernel
from compression.searching import pareto, screening, space, studies
from compression.searching import report as search_report
from compression.searching.budget import Budget
from compression.searching.plan import Plan, Sampler
from compression.searching.trials import Subject, beginnings, estimate, finished, smallest, tested
from compression.surgery.copying import weights_sha256
from zoo.config.train_config import TrainConfig, flag
from zoo.console.errors import Failed, UsageError
from zoo.data.dataset import from_tf_data
from zoo.system.files import write_json
from zoo.system.machine import cores

# Where no budget is given: the smallest file that loses at most this of the model's own accuracy.
LOSS = 0.005
TESTED = "tested.json"
FILES = "files"
OWN = "model"  # the name under which a model teaches its own smaller forms


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Args:
        folder: of the search; its files are in `files`.
        winner: the row to ship; None where no file is within the budget.
        closest: the row that is least beyond it, then.
        front: rows of the files that no other beats, cheapest first, with `test_accuracy`.
        result: all of it as plain values, as search.json has it.
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
) -> Found:
    """Search the recipes whose file fits a budget, for a model and data of one's own.

    Args:
        model: built; gives logits for classes. It teaches its own smaller forms, under the name `model`.
        train: finite, batched `tf.data` sets (or any iterables of batches) of (x, y), see `zoo.data.from_tf_data`.
        validation: the same; recipes are chosen by it.
        budget: what the file may cost, and must be worth.
        folder: gets the study, the files and the report.
        training: epochs, batch size and learning rate that the model was trained with.
        test: as train; looked at once, for the files on the front. Without it they have no test accuracy.
        class_names: in the order of the class indices.
        teachers: further models to learn from, by name, as functions that return them.
        narrowing: values in place of the default ones, see `compression.searching.space.narrowed`.
        trials: how many there are to be.
        seconds: after which no further one begins.
        sampler: tpe or random.
        seed: of the sampler.
        kernel: of recurrent layers.
        say: told what is being done.

    Raises:
        UsageError: a budget below the smallest file, or data and options that do not fit together.
        zoo.console.errors.Interrupted: a signal came; called again, it goes on.
    """
    held_out, unseen = list(validation), list(test)
    data = from_tf_data(model.name, train, unseen or held_out, held_out, class_names)
    if not unseen:
        data = dataclasses.replace(data, test=data.test.take(slice(0)))
    known = {OWN: lambda: model, **(teachers or {})}
    subject = Subject(model, data, training, known, folder / FILES, threads=budget.threads, kernel=kernel)
    plan = planned(subject, budget, narrowing, trials=trials, seconds=seconds, sampler=sampler, seed=seed)
    study = begun(subject, plan, folder, say)
    took_part(subject, plan, study, say)
    return answered(subject, plan, study, folder, say)


def planned(subject: Subject, budget: Budget, narrowing: Mapping[str, str] | None = None, **options: Any) -> Plan:
    """Return what is searched, after what cannot be was refused.

    Args:
        subject: what is compressed.
        budget: what its file may cost.
        narrowing: of the space.
        options: trials, seconds, sampler and seed of the plan.

    Raises:
        UsageError: no validation examples, threads that are not measured, a choice that does not exist.
    """
    if not len(subject.data.validation):
        raise UsageError(
            "RUN: expected a validation split, by which recipes are chosen; this run has none (--validation-split 0)"
        )
    if budget.threads not in (1, cores()):
        raise UsageError(f"--threads {budget.threads}: expected 1 or {cores()}, the cores of this process")
    if not budget.limits:
        own = estimate(subject, language.parse("float32"))["accuracy"]
        budget = dataclasses.replace(budget, min_accuracy=round(own - LOSS, 4))
    found = space.default(
        subject.widths,
        epochs=subject.training.epochs,
        learning_rate=subject.training.learning_rate,
        teachers=list(subject.teachers),
        gzipped=budget.max_gzip_bytes is not None,
        timed=budget.max_latency_ms is not None,
    )
    found = space.narrowed(found, narrowing or {})
    if unknown := [t for t in found.choices["distill"] if t not in (*subject.teachers, space.NO_TEACHER)]:
        raise UsageError(
            f"--space distill: expected none or one of {', '.join(subject.teachers)}, received {unknown[0]}"
        )
    return Plan(found, budget, **options)


def begun(subject: Subject, plan: Plan, folder: Path, say: Callable[[str], None]) -> Any:
    """Return the study of a plan, new or as it was left, after the space was told and the budget compared with it.

    Raises:
        UsageError: a budget below the smallest file of the space, or a folder with the search of another model.
    """
    study = studies.opened(plan, folder, facts(subject))
    least = smallest(subject, plan.space)
    for name, key in (("max_bytes", "bytes"), ("max_gzip_bytes", "gzip_bytes")):
        limit = plan.budget.limits.get(name)
        if limit is not None and limit < least[key]:
            raise UsageError(
                f"{flag(name)} {limit:,}: expected at least {least[key]:,}, the smallest file that this space has of"
                f" this model ({least['recipe']})"
            )
    say(f"budget: {plan.budget}; the smallest file of this space has {least['bytes']:,} bytes")
    for line in plan.space.lines():
        say(f"  {line}")
    studies.begin(study, plan, lambda: beginnings(subject, plan.space, plan.budget))
    return study


def facts(subject: Subject) -> dict[str, str]:
    """Return what tells the search of one model from that of another."""
    return {"model": weights_sha256(subject.model)[:16], "data": subject.data.spec.name}


def took_part(
    subject: Subject,
    plan: Plan,
    study: Any,
    say: Callable[[str], None],
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Carry out trials until the study has as many as planned, or time is up."""
    subject.folder.mkdir(parents=True, exist_ok=True)
    studies.run(study, plan, lambda r: estimate(subject, r), lambda r: finished(subject, r), say, told)


def answered(subject: Subject, plan: Plan, study: Any, folder: Path, say: Callable[[str], None]) -> Found:
    """Measure the files of the front on the test examples, write the report, and return what was found."""
    everything = studies.rows(study)
    ended = studies.unique(everything)
    best = pareto.front(ended, plan.costs)
    winner = pareto.winner(ended, plan.budget, plan.costs)
    closest = None if winner else pareto.closest(ended, plan.budget)
    shown = [*best, *(row for row in (winner, closest) if row and row not in best)]
    scores = _tested(subject, shown, folder / TESTED, say)
    for row in ended:
        row["test_accuracy"] = scores.get(row["recipe"], {}).get("accuracy")
        row["on_front"] = row in best
        if subject.command:
            row["command"] = subject.command(row["recipe"])
    result = {
        "subject": {"model": subject.model.name, "data": subject.data.spec.name, **subject.provenance},
        "budget": dataclasses.asdict(plan.budget),
        "costs": plan.costs,
        "space": plan.space.to_json(),
        "sampler": plan.sampler,
        "seed": plan.seed,
        "trials": len(studies.fresh(everything)),
        "stopped_early": sum("stopped" in row for row in everything),
        "failed": [row["failed"] for row in everything if "failed" in row],
        "repeated": sum("repeated" in row for row in everything),
        "smallest_seen": min((row["estimate"]["bytes"] for row in everything if "estimate" in row), default=None),
        "rank_correlation": screening.rank_correlation(ended),
        "importances": studies.importances(study, plan),
        "validation_examples": len(subject.data.validation),
        "test_examples": len(subject.data.test),
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
    return Found(folder, winner, closest, best, result)


def _tested(
    subject: Subject, rows: list[dict[str, Any]], file: Path, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return the test scores of files by recipe: those measured before as they were, and of the others now."""
    scores = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for number, row in enumerate(rows, 1):
        if row["recipe"] in scores or not len(subject.data.test):
            continue
        say(f"measuring {number} of {len(rows)} on {len(subject.data.test):,} test examples: {row['path']}")
        receipt = tested(subject, language.parse(row["recipe"]))
        if receipt["sha256"] != row["sha256"]:
            raise Failed(f"{row['path']}: exported again, it became another file; it was measured with other versions")
        scores[row["recipe"]] = {"sha256": row["sha256"], **receipt["test"]["litert"]}
        write_json(file, scores)
    return scores
