"""How commands say what a receipt holds. Standard library only."""

from collections.abc import Mapping
from typing import Any

from zoo.console.figures import Intervals, written


def scored(scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
    """Return what matters of the scores of a file, whatever its task, with their intervals where there are any."""

    def of(name: str) -> str:
        return written(scores, name, intervals or {})

    if "psnr" in scores:
        text, real = f"{scores['psnr']:.2f} dB to the run's own images", scores.get("against_real")
        if real is None:
            return text
        return f"{text}, Frechet distance {real['frechet_distance']:.3f}, coverage {real['coverage']:.2%}"
    if "bleu" in scores:
        return f"BLEU {of('bleu')}, chrF {of('chrf')}, exact {of('exact_match')}"
    if "tokens" in scores:
        return f"{of('loss')} nats a token, {of('accuracy')} of next tokens"
    if "caption_to_image_recall_at_1" in scores:
        ways = (("caption to image", "caption_to_image"), ("image to caption", "image_to_caption"))
        recalls = [
            f"{title} recall@1/10 {of(f'{name}_recall_at_1')} / {of(f'{name}_recall_at_10')}" for title, name in ways
        ]
        classes = [f"zero-shot accuracy {of('zero_shot_accuracy')}"] if "zero_shot_accuracy" in scores else []
        return ", ".join([*classes, *recalls])
    if "mrr" in scores:
        return f"filtered MRR {of('mrr')}, hits at 10 {of('hits_at_10')}"
    return f"accuracy {of('accuracy')}"


def compared(test: Mapping[str, Any]) -> str:
    """Return what matters of the scores of a file beside Keras' own."""
    litert, keras = test["litert"], test["keras"]
    file = scored(litert, test.get("intervals"))
    if "psnr" in litert:
        return f"{file}; Keras {scored(keras)}, in {litert['against_real']['compared_in']}"
    if "mrr" in litert:
        return f"test {file}; Keras {scored(keras)}"
    if "accuracy" in litert and "tokens" not in litert:
        points = (litert["accuracy"] - keras["accuracy"]) * 100
        return f"test {file}, Keras {keras['accuracy']:.2%}, difference {points:+.2f} points"
    how = f", by beam search of {test['decoding']['beams']}" if "decoding" in test else ""
    return f"test {file}; Keras {scored(keras)}{how}"


def parted(parity: Mapping[str, Any]) -> str:
    """Return how far a file is from Keras."""
    if "largest_cosine_difference" in parity:
        difference = parity["largest_cosine_difference"]
        return f"largest difference from Keras {difference:.1e} (one minus the cosine of both embeddings)"
    return f"largest difference in probability from Keras {parity['largest_difference']:.1e}"


def called(row: Mapping[str, Any]) -> str:
    """Return what a latency is of: the signature, where a file has several, and the threads."""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return f"{row['signature']}, {threads}" if "signature" in row else threads


def searched(result: Mapping[str, Any]) -> str:
    """Return what a search came to, in a sentence."""
    limits = {name: value for name, value in result["budget"].items() if value is not None and name != "threads"}
    budget = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in limits.items())
    row = result["winner"] or result["closest"]
    if row is None:
        return (
            f"no file within {budget}: every one of {result['trials']} trials stopped after its estimate, the smallest"
            f" of them with {result['smallest_seen']:,} bytes"
        )
    test = "" if row["test_accuracy"] is None else f", {row['test_accuracy']:.2%} of test"
    numbers = f"{row['bytes']:,} bytes (gzip {row['gzip_bytes']:,}), {row['latency_ms']:.3f} ms"
    numbers += f", {row['accuracy']:.2%} of validation{test}"
    if result["winner"]:
        return f"within {budget}: {numbers}"
    beyond = ", ".join(
        f"{name.replace('_', ' ')} by {excess:.1%}{' of the error' * (name == 'min_accuracy')}"
        for name, excess in result["excesses"].items()
        if excess > 0
    )
    return f"no file within {budget} among {result['trials']} trials; the closest has {numbers}, beyond {beyond}"
