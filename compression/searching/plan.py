"""What is searched, and how long. Standard library only."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from compression.searching.budget import LIMITS, Budget
from compression.searching.space import Space

Sampler = Literal["tpe", "random"]


@dataclass(frozen=True)
class Plan:
    """What is searched, and how long.

    Args:
        space: what there is to choose.
        budget: what the file may cost.
        trials: how many there are to be in the end, with those that stopped early, without those known before.
        seconds: after which no further one begins; None, no limit.
        sampler: tpe (Bergstra et al., 2011; Ozaki et al., 2020) or random.
        seed: of it.
    """

    space: Space
    budget: Budget
    trials: int = 50
    seconds: float | None = None
    sampler: Sampler = "tpe"
    seed: int = 0

    @property
    def costs(self) -> list[str]:
        """What is to be small: what the budget bounds, or the bytes."""
        return [key for limit, (key, above) in LIMITS.items() if above and limit in self.budget.limits] or ["bytes"]

    @property
    def name(self) -> str:
        """Of the study: another budget, space or sampler is another study in the same file."""
        space = json.dumps(self.space.to_json(), sort_keys=True)
        digest = hashlib.sha256(space.encode()).hexdigest()[:8]
        return f"{self.budget} in {digest} by {self.sampler} {self.seed}"
