"""The plan of a search: space, budget, number of trials and sampler. Standard library only."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from compression.searching.budget import LIMITS, Budget
from compression.searching.space import Space

Sampler = Literal["tpe", "random"]


@dataclass(frozen=True)
class SearchPlan:
    """Settings of a search.

    Args:
        space: Search space.
        budget: Limits of the file.
        trials: Total number of trials, including those stopped early and excluding repeated ones.
        seconds: Time after which no further trial starts; None for no limit.
        sampler: Sampler, tpe (Bergstra et al., 2011; Ozaki et al., 2020) or random.
        seed: Random seed of the sampler.
    """

    space: Space
    budget: Budget
    trials: int = 50
    seconds: float | None = None
    sampler: Sampler = "tpe"
    seed: int = 0

    @property
    def costs(self) -> list[str]:
        """Measurements to minimise: those with an upper limit in the budget, or bytes."""
        return [key for limit, (key, above) in LIMITS.items() if above and limit in self.budget.limits] or ["bytes"]

    @property
    def name(self) -> str:
        """Name of the study; every combination of budget, space and sampler has its own study in the same file."""
        space = json.dumps(self.space.to_json(), sort_keys=True)
        digest = hashlib.sha256(space.encode()).hexdigest()[:8]
        return f"{self.budget} in {digest} by {self.sampler} {self.seed}"
