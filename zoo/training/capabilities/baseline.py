"""A simple method beside the network, where the task knows one."""

from collections.abc import Mapping
from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.console.figures import by_output, form_of
from zoo.training.capabilities.base import Capability


class Baseline(Capability):
    """Measure the method of `zoo.tasks.base.Task.beside` on the same split."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return True

    def record(self) -> dict[str, Any]:
        first, *others = self.training.task.beside(self.training.data) or [{}]
        return {"baseline": first | ({"also": others} if others else {})} if first else {}

    def sections(self, found: Mapping[str, Any]) -> list[str]:
        if "baseline" not in found:
            return []
        rows = [found["baseline"], *found["baseline"].get("also", [])]
        return [f"<section><h2>A simple method beside it</h2><p>{'<br>'.join(map(_sentence, rows))}</p></section>"]


def _sentence(row: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{form_of(name)[0]} {row[name]:{form_of(name)[1]}}" for name in by_output(row))
    return (
        f"{row['name']} on {row['on']} (scikit-learn, default settings): {scores} on the same test split, in"
        f" {row['seconds']:,.1f} s on the processor."
    )
