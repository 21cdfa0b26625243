"""How commands say what a receipt holds. Standard library only."""

from collections.abc import Mapping
from typing import Any


def scored(scores: Mapping[str, Any]) -> str:
    """Return what matters of the scores of a file: of translations, a text's tokens, triples, or classes."""
    if "bleu" in scores:
        return f"BLEU {scores['bleu']:.2f}, chrF {scores['chrf']:.2f}, exact {scores['exact_match']:.2%}"
    if "tokens" in scores:
        return f"{scores['loss']:.4f} nats a token, {scores['accuracy']:.2%} of next tokens"
    if "mrr" in scores:
        return f"filtered MRR {scores['mrr']:.4f}, hits at 10 {scores['hits_at_10']:.2%}"
    return f"accuracy {scores['accuracy']:.2%}"


def compared(test: Mapping[str, Any]) -> str:
    """Return what matters of the scores of a file beside Keras' own."""
    litert, keras = test["litert"], test["keras"]
    if "mrr" in litert:
        return f"test {scored(litert)}; Keras {scored(keras)}"
    if "tokens" not in litert:
        points = (litert["accuracy"] - keras["accuracy"]) * 100
        return f"test {scored(litert)}, Keras {keras['accuracy']:.2%}, difference {points:+.2f} points"
    how = f", by beam search of {test['decoding']['beams']}" if "decoding" in test else ""
    return f"test {scored(litert)}; Keras {scored(keras)}{how}"


def called(row: Mapping[str, Any]) -> str:
    """Return what a latency is of: the signature, where a file has several, and the threads."""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return f"{row['signature']}, {threads}" if "signature" in row else threads
