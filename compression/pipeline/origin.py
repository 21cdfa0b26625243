"""Checks of a receipt against the run that it names, before anything is measured. Standard library only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from compression.flatbuffers import interface
from compression.pipeline.source import OpenedRun
from compression.receipts.artifacts import file_name, receipt_path
from compression.recipes import language
from compression.recipes.language import Kernel, Recipe
from zoo.config import privacy
from zoo.console.errors import UsageError
from zoo.guests.model import IN_MEMORY, OpenedModel
from zoo.system.files import sha256

KERNELS = get_args(Kernel)


def check_recipe(path: Path, receipt: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a file, after checking that its name, its stages and its calibration agree with it.

    Raises:
        UsageError: A field of the receipt contradicts another.
    """
    made, file = receipt["made"], receipt_path(path)
    try:
        recipe = language.parse(made["recipe"])
    except UsageError as error:
        raise UsageError(f"{file}: made.recipe: {error}") from None

    def expect(name: str, expected: Any, received: Any) -> None:
        if received != expected:
            raise UsageError(f"{file}: {name}: expected {expected!r}, received {received!r}")

    expect("file", path.name, receipt["file"])
    if made["lstm_kernel"] not in KERNELS:
        raise UsageError(
            f"{file}: made.lstm_kernel: expected one of {', '.join(KERNELS)}, received {made['lstm_kernel']!r}"
        )
    ends = interface.from_json(receipt["interface"])
    names = [f"{file_name(recipe, ends, made['lstm_kernel'], bare)}.tflite" for bare in (False, True)]
    if path.name not in names:
        raise UsageError(
            f"{file}: made.recipe: a file of {made['recipe']!r} has the name {names[0]} or {names[1]}, received"
            f" {path.name}"
        )
    expect("made.stages_folder", f"{recipe.training_name}.stages" if recipe.stages else None, made.get("stages_folder"))
    used = made["calibration_examples"] > 0
    if (recipe.calibrated and not used) or (used and not recipe.takes_examples):
        expected = "at least 1 example" if recipe.calibrated else "0, as nothing is calibrated"
        raise UsageError(
            f"{file}: made.calibration_examples: expected {expected}, received {made['calibration_examples']}"
        )
    if "stages" in receipt and "not_run" not in receipt:
        rows = [row.get("stage") for row in receipt["stages"]]
        expect("stages", ["start", *map(str, recipe.stages)], rows)
    return recipe


def check_run(path: Path, receipt: Mapping[str, Any], chosen: OpenedRun | OpenedModel) -> None:
    """Check that a run is the one that a receipt names.

    Raises:
        UsageError: The run has another model, or the receipt says otherwise of its data, seed, task or privacy.
    """
    made, file, model = receipt["made"], receipt_path(path), chosen.model_file
    if model is not None and "model_sha256" in made and (found := sha256(model)) != made["model_sha256"]:
        raise UsageError(
            f"{chosen.place}: expected the model that {path.name} was made from: {file.name} names the model with the"
            f" SHA-256 {made['model_sha256']} (made.model_sha256), {model} has {found}"
        )
    given = chosen.provenance()
    # Names that say nothing: the weights and the examples are compared themselves.
    told = {"run", "model_sha256"} | ({"data"} if IN_MEMORY in (given["data"], made.get("data")) else set())
    told |= set() if model is not None and ("model_file" in made or "run" in made) else {"model"}
    for name, expected in {"task": chosen.task, **given}.items():
        if name not in told and name in made and made[name] != expected:
            raise UsageError(f"{file}: made.{name}: the receipt says {made[name]!r}, {chosen.place} {expected!r}")
    promises = [privacy.of_file(chosen.config.private, calibrated) for calibrated in (False, True)]
    if "privacy" in made and made["privacy"] not in promises:
        raise UsageError(f"{file}: made.privacy: the receipt says {made['privacy']!r}, {chosen.place} {promises[0]!r}")
