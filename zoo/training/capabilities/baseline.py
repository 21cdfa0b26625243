"""A simple method beside the network: words counted and a linear model, for texts with a class each."""

from collections.abc import Mapping
from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.scores import text_baseline
from zoo.training.capabilities.base import Capability


class Baseline(Capability):
    """Measure `zoo.scores.text_baseline` on the same split, if the data are texts that were just read."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return True

    def record(self) -> dict[str, Any]:
        data = self.training.data
        if not data.texts:
            return {}
        found = text_baseline.measured(data.texts["train"], data.train.y, data.texts["test"], data.test.y)
        return {"baseline": found} if found else {}

    def sections(self, found: Mapping[str, Any]) -> list[str]:
        if "baseline" not in found:
            return []
        beside = found["baseline"]
        return [
            f"<section><h2>A simple method beside it</h2><p>{beside['name']} on the whole texts (scikit-learn, default"
            f" settings): accuracy {beside['accuracy']:.2%} on the same test split, in {beside['seconds']:,.1f} s on"
            " the processor.</p></section>"
        ]
