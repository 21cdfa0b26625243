"""Which fields of a receipt were measured again, which were checked against the run, and which are told.

Standard library only.
"""

from collections.abc import Mapping
from typing import Any

# Measurements that depend on the machine.
_ON_A_MACHINE = ("latency", "processor", "versions")
# Fields that `compression.pipeline.origin` and `compression.pipeline.pipeline.verify` compare with the run.
_OF_THE_RUN = (
    *("made.recipe", "made.task", "made.model", "made.data", "made.training_seed"),
    *("made.model_sha256", "made.weights_sha256", "made.stages_folder", "made.stages_sha256", "made.privacy"),
    *("interface", "about", "beside"),
)
_SEAL = ("digest", "signed")


def groups(receipt: Mapping[str, Any], measured: Mapping[str, Any], *, run: bool) -> dict[str, list[str]]:
    """Return the names of a receipt's fields by how they were confirmed: `measured`, `checked` and `told`.

    Args:
        receipt: Content of the receipt.
        measured: What was measured again.
        run: Whether the run was there to check against.
    """
    made = [f"made.{name}" for name in receipt["made"]]
    found: dict[str, list[str]] = {"measured": [], "checked": [], "told": []}
    for name in (*made, *(name for name in receipt if name not in ("made", *_SEAL))):
        if name in measured and name not in _ON_A_MACHINE:
            found["measured"].append(name)
        else:
            found["checked" if run and name in _OF_THE_RUN else "told"].append(name)
    if run and not {"made.model_sha256", "made.weights_sha256"} & set(made):
        found["told"].append("that the file was made from this run")
    if "sha256" in receipt.get("test", {}) and "sha256" not in (measured.get("test") or {"sha256": ""}):
        found["told"].append("test.sha256")  # of images that Keras drew, which depend on the processor
    return found


def in_words(result: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return a title and the names of each group of fields, for the result of `compression.verify`.

    Args:
        result: Has `groups`, and `run` and `digest`, which are None where there are none.
    """
    covered = "covered by the digest" if result["digest"] else "not checked, as the receipt has no digest"
    titles = {
        "measured": "measured again" if result["run"] else "checked by SHA-256",
        "checked": f"checked against the run {result['run']}",
        "told": f"told, {covered}" if result["run"] else f"not measured without the run, {covered}",
    }
    return [(titles[group], names) for group, names in result["groups"].items() if names]
