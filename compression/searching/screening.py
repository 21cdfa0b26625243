"""Which trials of a search are not worth training, by the estimate of their file without training. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from compression.searching.plan import Plan

# A trial whose file, untrained, is beyond a limit by this share is not trained; training changes how a file zips, and
# a latency is noisy.
SLACK = {"max_bytes": 0.0, "max_gzip_bytes": 0.15, "max_latency_ms": 0.25}
# A trial is not trained either where files that are no larger began better by MARGIN, and this many of them; only as
# long as the estimate ranks finished trials so well.
MARGIN, BETTER, LEAST_CORRELATION, LEAST_FINISHED = 0.1, 3, 0.4, 8


def not_worth_training(guess: Mapping[str, Any], plan: Plan, ended: Sequence[Mapping[str, Any]]) -> str:
    """Return why a trial is stopped after its estimate, or an empty text.

    Args:
        guess: bytes, gzip_bytes, latency_ms and accuracy of its file, untrained.
        plan: what is searched.
        ended: flat rows of trials that were carried out.
    """
    excesses = plan.budget.excesses(guess)
    beyond = [name for name, slack in SLACK.items() if excesses.get(name, 0) > slack]
    if beyond:
        return f"beyond {', '.join(beyond).replace('_', ' ')}"
    rho = rank_correlation(ended)
    if rho is None or rho < LEAST_CORRELATION:
        return ""
    cost = plan.costs[0]
    better = [row for row in ended if row[cost] <= guess[cost] and row["estimate"] > guess["accuracy"] + MARGIN]
    if len(better) < BETTER:
        return ""
    return f"estimate {guess['accuracy']:.1%}, while {len(better)} files that are no larger began better"


def rank_correlation(ended: Sequence[Mapping[str, Any]]) -> float | None:
    """Return Spearman's rank correlation of the estimates with the final accuracies; None of too few, or of equal ones.

    Args:
        ended: flat rows of trials that were carried out.
    """
    from scipy.stats import spearmanr

    pairs = [(row["estimate"], row["accuracy"]) for row in ended]
    if len(pairs) < LEAST_FINISHED or any(len(set(column)) == 1 for column in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
