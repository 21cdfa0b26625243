"""Stop unpromising trials of a search before training, by estimates from untrained files. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from compression.searching.plan import SearchPlan

# A trial is stopped if its untrained file exceeds a limit by more than this share. Training changes how well a file
# compresses, with gzip and in a compiled file, and latencies are noisy.
SLACK = {
    "max_bytes": 0.0,
    "max_gzip_bytes": 0.15,
    "max_latency_ms": 0.25,
    "max_arena": 0.0,
    "max_flash": 0.05,
    "max_cycles": 0.05,
}
# A trial is also stopped if at least BETTER finished files that are no larger had an estimate better by MARGIN. This
# requires LEAST_FINISHED files whose estimates correlate with their final accuracies by at least LEAST_CORRELATION.
MARGIN, BETTER, LEAST_CORRELATION, LEAST_FINISHED = 0.1, 3, 0.4, 8


def stop_reason(guess: Mapping[str, Any], plan: SearchPlan, ended: Sequence[Mapping[str, Any]]) -> str:
    """Return the reason to stop a trial after its estimate, or an empty string to train it.

    Args:
        guess: bytes, gzip_bytes, latency_ms and accuracy of the untrained file.
        plan: Plan of the search.
        ended: Rows of finished trials, as returned by `studies.file_rows`.
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
    return f"estimate {guess['accuracy']:.1%}, and {len(better)} files that are no larger had a better estimate"


def rank_correlation(ended: Sequence[Mapping[str, Any]]) -> float | None:
    """Return Spearman's rank correlation of estimated and final accuracies; None if there are too few or all are equal.

    Args:
        ended: Rows of finished trials, as returned by `studies.file_rows`.
    """
    from scipy.stats import spearmanr

    pairs = [(row["estimate"], row["accuracy"]) for row in ended]
    if len(pairs) < LEAST_FINISHED or any(len(set(column)) == 1 for column in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
