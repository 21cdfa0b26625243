"""What is published of a run: a folder that is a run itself, with a card in the form of Hugging Face.

Left out are checkpoints and files that show examples of the data. Paths in config.json are reduced to their last part.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from zoo.config.task_facts import TaskFacts
from zoo.runs.folder import MOVING, RunFolder
from zoo.system.files import write_json, write_text

CARD = "README.md"
# Files that a run cannot be used or judged without, as far as it has them.
_PLAIN = ("metrics_file", "history_file", "model_file", "vocabulary_file", "target_vocabulary_file", "groups_file")
# Files that show examples of the data.
SHOWING = ("report_file", "examples_file", "samples")
# What Hugging Face calls what a run does, by its task and the kind of its inputs.
PIPELINES = {
    ("classification", "image"): "image-classification",
    ("classification", "tokens"): "text-classification",
    ("classification", "sound"): "audio-classification",
    ("classification", "columns"): "tabular-classification",
    ("regression", "columns"): "tabular-regression",
    ("translation", "pairs"): "translation",
    ("language_model", "tokens"): "text-generation",
    ("generation", "image"): "unconditional-image-generation",
    ("contrastive", "image"): "zero-shot-image-classification",
    ("detection", "image"): "object-detection",
    ("segmentation", "image"): "image-segmentation",
    ("forecasting", "series"): "time-series-forecasting",
}


def write(run: RunFolder, folder: Path, card: str, *, license: str | None, report: bool, facts: TaskFacts) -> list[str]:
    """Write what is published into an empty folder, and return the names of the files that were left out.

    Args:
        run: Finished run.
        folder: Folder to write into.
        card: Model card, in Markdown.
        license: Name of a license as Hugging Face has it, such as apache-2.0.
        report: Whether the report, which shows examples of the data, is published too.
        facts: Row of the run's task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PLAIN:
        path = getattr(run, name)
        if path.is_file():
            shutil.copy(path, folder)
    if report and run.report_file.is_file():
        shutil.copy(run.report_file, folder)
    artifacts = run.path / "artifacts"
    if artifacts.is_dir():
        for path in sorted(artifacts.iterdir()):
            if path.is_file():
                (folder / artifacts.name).mkdir(exist_ok=True)
                shutil.copy(path, folder / artifacts.name)
    write_json(folder / run.config_file.name, _without_places(json.loads(run.config_file.read_text(encoding="utf-8"))))
    write_text(folder / CARD, f"---\n{metadata(run, license, facts)}\n---\n\n{card}")
    shown = SHOWING[1:] if report else SHOWING
    return [path.name for name in shown if (path := getattr(run, name)).exists()]


def _without_places(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the content of config.json with the last parts of paths, which may be edited, in place of the paths."""
    places = {
        name: PurePath(value).name for name, value in stored["config"].items() if name in MOVING and value is not None
    }
    return stored | {"config": stored["config"] | places}


def metadata(run: RunFolder, license: str | None, facts: TaskFacts) -> str:
    """Return the YAML that Hugging Face reads at the top of a card: what the model is for, and its scores.

    Args:
        run: Finished run.
        license: Name of its license; None leaves it out.
        facts: Row of the run's task.
    """
    from huggingface_hub import EvalResult, ModelCardData

    stored, test = run.read_config(), run.read_metrics().get("test", {})
    spec = stored["data"]
    pipeline = PIPELINES.get((run.task, spec["kind"]))
    results = [
        EvalResult(
            task_type=pipeline or run.task.replace("_", "-"),
            dataset_type=PurePath(spec["name"]).name,
            dataset_name=PurePath(spec["name"]).name,
            dataset_split="test",
            metric_type=name,
            metric_value=round(test[name], 6),
        )
        for name in facts.figures
        if _is_number(test, name)
    ]
    known = {"license": license} if license else {}
    return ModelCardData(
        library_name="keras",
        pipeline_tag=pipeline,
        tags=["keras", "tflite", "litert", stored["config"].model],
        model_name=run.path.name if results else None,
        eval_results=results or None,
        **known,
    ).to_yaml()


def _is_number(test: Mapping[str, Any], name: str) -> bool:
    return isinstance(test.get(name), int | float) and not isinstance(test[name], bool)
