"""A sampler of Optuna that draws by the number of a trial, so that a killed search tries what it would have tried."""

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from compression.searching.plan import Sampler

STARTUP = 6  # number of finished trials, including the initial ones, before TPE uses its model


class NumberedSampler(BaseSampler):
    """Draws that depend on the seed, the trial's number, the choice's name and the trials of the study alone.

    Optuna's samplers go on from their last draw. After a kill that draw is unknown, and a trial may have some of its
    choices already.

    Args:
        kind: Sampler, tpe or random.
        seed: Random seed.
    """

    def __init__(self, kind: Sampler, seed: int):
        self._kind, self._seed = kind, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        """Return a new sampler of Optuna, seeded for a trial and the choice with this name, or for all choices."""
        digest = hashlib.sha256(f"{self._seed} {trial.number} {name}".encode()).digest()
        seed = int.from_bytes(digest[:4], "little")
        if self._kind == "random":
            return RandomSampler(seed=seed)
        return TPESampler(
            n_startup_trials=STARTUP,
            multivariate=True,
            constant_liar=True,  # unfinished trials of other processes count as bad ones
            seed=seed,
        )
