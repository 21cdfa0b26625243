"""Labels and formats of metrics and their 95 % confidence intervals. Standard library only."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

# Label and format of each metric of every task, in order of importance.
FIGURES = {
    "accuracy": ("accuracy", ".2%"),
    "zero_shot_accuracy": ("zero-shot accuracy", ".2%"),
    "f1": ("macro F1", ".2%"),
    "precision": ("macro precision", ".2%"),
    "recall": ("macro recall", ".2%"),
    "top_5_accuracy": ("top-5 accuracy", ".2%"),
    "recording_accuracy": ("accuracy of recordings, by vote", ".2%"),
    "bleu": ("BLEU", ".2f"),
    "chrf": ("chrF", ".2f"),
    "exact_match": ("exactly right", ".2%"),
    "mrr": ("filtered MRR", ".4f"),
    "hits_at_1": ("hits at 1", ".2%"),
    "hits_at_3": ("hits at 3", ".2%"),
    "hits_at_10": ("hits at 10", ".2%"),
    "caption_to_image_recall_at_1": ("caption to image, recall at 1", ".2%"),
    "caption_to_image_recall_at_5": ("caption to image, recall at 5", ".2%"),
    "caption_to_image_recall_at_10": ("caption to image, recall at 10", ".2%"),
    "image_to_caption_recall_at_1": ("image to caption, recall at 1", ".2%"),
    "image_to_caption_recall_at_5": ("image to caption, recall at 5", ".2%"),
    "image_to_caption_recall_at_10": ("image to caption, recall at 10", ".2%"),
    "frechet_distance": ("Frechet distance", ".3f"),
    "density": ("density", ".2f"),
    "coverage": ("coverage", ".2%"),
    "recognised": ("recognised", ".2%"),
    "as_asked": ("of the requested class", ".2%"),
    "rarest_class": ("rarest class", ".2%"),
    "psnr": ("peak signal-to-noise ratio, dB", ".2f"),
    "map_50": ("mAP at IoU 0.5", ".2%"),
    "map": ("mAP at IoU 0.5 to 0.95", ".2%"),
    "map_75": ("mAP at IoU 0.75", ".2%"),
    "detection_recall": ("recall, IoU 0.5 to 0.95", ".2%"),
    "map_small": ("mAP of small objects", ".2%"),
    "map_medium": ("mAP of medium objects", ".2%"),
    "map_large": ("mAP of large objects", ".2%"),
    "micro_f1": ("micro F1", ".2%"),
    "macro_f1": ("macro F1", ".2%"),
    "mean_ap": ("mean average precision", ".4f"),
    "auc": ("AUC", ".4f"),
    "partial_auc": ("partial AUC, to 10 % false alarms", ".4f"),
    "detected": ("anomalies detected", ".2%"),
    "false_alarms": ("false alarms", ".2%"),
    "threshold": ("threshold", ".4g"),
    "mse": ("MSE", ".4g"),
    "rmse": ("RMSE", ",.5g"),
    "mae": ("MAE", ",.5g"),
    "r2": ("R2", ".4f"),
    "rank_error": ("mean distance in ranks", ".4f"),
    "kappa": ("quadratic weighted kappa", ".4f"),
    "miou": ("mean IoU", ".2%"),
    "pixel_accuracy": ("pixel accuracy", ".2%"),
    "boundary_f1": ("border F1", ".2%"),
    "mase": ("MASE", ".4f"),
    "quantile_loss": ("quantile loss", ",.5g"),
    "inside": ("inside the outer quantiles", ".2%"),
    "recall_at_5": ("recall@5", ".2%"),
    "recall_at_10": ("recall@10", ".2%"),
    "recall_at_20": ("recall@20", ".2%"),
    "ndcg_at_5": ("NDCG@5", ".4f"),
    "ndcg_at_10": ("NDCG@10", ".4f"),
    "ndcg_at_20": ("NDCG@20", ".4f"),
    "reciprocal_rank": ("mean reciprocal rank", ".4f"),
    "popularity_recall_at_10": ("recall@10, popularity", ".2%"),
    "popularity_ndcg_at_10": ("NDCG@10, popularity", ".4f"),
    "naive_mse": ("MSE, seasonal naive", ".4g"),
    "naive_mae": ("MAE, seasonal naive", ".4g"),
    "naive_mase": ("MASE, seasonal naive", ".4f"),
    "loss": ("loss", ".4f"),
    "perplexity": ("perplexity", ".2f"),
}

# Figures of which less is better.
ERRORS = frozenset(
    {
        "mse",
        "rmse",
        "mae",
        "rank_error",
        "mase",
        "quantile_loss",
        "loss",
        "false_alarms",
        "perplexity",
        "frechet_distance",
    }
)

Intervals = Mapping[str, Sequence[float]]


def form_of(name: str) -> tuple[str, str]:
    """Return the label and the format of a figure. A figure without a row has its own name and four decimals."""
    return FIGURES.get(name, (name.replace("_", " "), ".4f"))


def label(name: str, scores: Container[str]) -> str:
    """Return the label of a metric, which differs for scores of tokens, of generated images and of yes or no.

    Args:
        name: Name of the metric, `OUTPUT.METRIC` if a model has several outputs.
        scores: Names of all metrics beside it.
    """
    before, dot, plain = name.rpartition(".")
    if "tokens" in scores:
        return {"accuracy": "next-token accuracy", "loss": "loss, nats a token"}.get(name, form_of(name)[0])
    one = "frechet_distance" in scores or (plain == "f1" and f"{before}{dot}precision" not in scores)
    return f"{f'{before} ' if dot else ''}{form_of(plain)[0].removeprefix('macro ' if one else '')}"


def by_output(scores: Iterable[str], names: Iterable[str] = FIGURES) -> list[str]:
    """Return the names of scores that are figures of a task, output by output if a model has several.

    Args:
        scores: Names of values, `OUTPUT.FIGURE` if there are several outputs; others than figures are left out.
        names: Figures in the order of their importance.
    """
    parts = {name: (name.rpartition(".")[0], name.rpartition(".")[2]) for name in scores}
    outputs, figures = list(dict.fromkeys(output for output, _ in parts.values())), list(names)
    found = [name for name, (_, figure) in parts.items() if figure in figures]
    return sorted(found, key=lambda name: (outputs.index(parts[name][0]), figures.index(parts[name][1])))


def written(scores: Mapping[str, Any], name: str, intervals: Intervals) -> str:
    """Return a formatted metric, followed by its interval if it has one: 99.10% (98.90 to 99.30).

    Args:
        scores: Scores of a split, by metric name.
        name: Name of the metric.
        intervals: Confidence intervals (low, high), by metric name.
    """
    form = form_of(name)[1]
    text = format(scores[name], form)
    return f"{text} ({ends(intervals[name], form)})" if name in intervals else text


def ends(interval: Sequence[float], form: str) -> str:
    """Return the ends of an interval without percent signs: 98.90 to 99.30."""
    return " to ".join(format(end, form).rstrip("%") for end in interval)


def tiles(scores: Mapping[str, Any], names: Sequence[str], intervals: Intervals) -> list[tuple[str, str]]:
    """Return the given metrics that are among the scores as pairs of formatted number and HTML label, for a report."""
    return [
        (format(scores[name], form_of(name)[1]), form_of(name)[0] + below(name, intervals))
        for name in names
        if name in scores
    ]


def size(count: float) -> str:
    """Return a number of bytes in words: 27.6 GB."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = max(0, min(len(units) - 1, (len(f"{count:.0f}") - 1) // 3))
    number = count / 1000**power
    return f"{number:,.0f} {units[power]}" if power == 0 or number >= 100 else f"{number:.1f} {units[power]}"


def many(count: int) -> str:
    """Return a large number with three digits in words: 4.81 million."""
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:,}"


def duration(seconds: float) -> str:
    """Return a time in words: 40 s, 12 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def below(name: str, intervals: Intervals) -> str:
    """Return the line below a metric in a report: its interval as HTML, or an empty string."""
    return f"<br>95 %: {ends(intervals[name], form_of(name)[1])}" if name in intervals else ""
