"""Training step of translation: target tokens per second of zoo.models.Transformer and PyTorch's nn.Transformer.

Both networks are equal: layers, width, heads, feed-forward width and dropout of the Multi30k recipe, pre-norm, one
embedding table for source, target and output, and sinusoidal positions. Both train on a batch of random ids without
padding, with AdamW, gradients clipped by norm, and cross-entropy with label smoothing. PyTorch runs eagerly, as
nn.Transformer is intended to. Each side has a separate process on all cores. They alternate, and the fastest median of
the rounds counts.

Needs the extra `peers`.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SIDES = ("zoo", "PyTorch")
PRECISIONS = ("float32", "bfloat16")
VOCABULARY, BATCH, TIME = 6_000, 128, 16
HEADS, RATE, CLIP, SMOOTHING = 4, 1e-3, 1.0, 0.1
ROUNDS, WARM_UP, STEPS = 3, 3, 12


def measure(data_dir: object) -> dict[str, Any]:
    """Return a row for each side and precision.

    Args:
        data_dir: Unused, because the batch is random.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for _ in range(ROUNDS):
        for precision in PRECISIONS:
            for side in SIDES:
                command = [sys.executable, "-m", "benchmarks.transformer_step", side, precision]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                row = {"side": side, "precision": precision, "parameters": found["parameters"], "medians": []}
                rows.setdefault((side, precision), row)["medians"].append(found["median"])
                print(rows[side, precision], file=sys.stderr, flush=True)
    return {
        "rows": [{**row, "tokens_per_second": BATCH * TIME / min(row["medians"])} for row in rows.values()],
        "settings": _settings(),
    }


def _settings() -> dict[str, Any]:
    from zoo.config.defaults import seq2seq_multi30k

    return seq2seq_multi30k()["settings"]


def _seconds(step: Callable[[], Any]) -> float:
    """Return the median seconds of a step."""
    times = []
    for _ in range(WARM_UP + STEPS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UP:])


def _zoo(precision: str) -> dict[str, Any]:
    from strategies import backend

    backend.start()
    import keras
    import numpy as np

    from zoo import models

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    model = models.Transformer(VOCABULARY, VOCABULARY, num_heads=HEADS, shared_vocabulary=True, **_settings())
    model.build([(None, TIME), (None, TIME)])
    model.compile(keras.optimizers.AdamW(RATE, global_clipnorm=CLIP), models.CrossEntropy(SMOOTHING))
    rng = np.random.default_rng(0)
    source, target, labels = (rng.integers(1, VOCABULARY, (BATCH, TIME), np.int32) for _ in range(3))
    median = _seconds(lambda: model.train_on_batch((source, target), labels))
    return {"median": median, "parameters": model.count_params()}


def _pytorch(precision: str) -> dict[str, Any]:
    import torch
    from torch import nn

    sizes = _settings()
    width = sizes["model_dim"]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(VOCABULARY, width)
            nn.init.normal_(self.table.weight, std=width**-0.5)
            rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
            angles = torch.arange(TIME)[:, None] * rates
            self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))
            self.drop = nn.Dropout(sizes["dropout"])
            self.net = nn.Transformer(
                width, HEADS, sizes["num_layers"], sizes["num_layers"], sizes["ff_dim"], sizes["dropout"],
                batch_first=True, norm_first=True,
            )  # fmt: skip
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(TIME))

        def embedded(self, ids: torch.Tensor) -> torch.Tensor:
            return self.drop(self.table(ids) * width**0.5 + self.positions)

        def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            hidden = self.net(
                self.embedded(source),
                self.embedded(target),
                tgt_mask=self.mask,
                src_key_padding_mask=source == 0,
                memory_key_padding_mask=source == 0,
                tgt_is_causal=True,
            )
            return hidden @ self.table.weight.T

    net = Net().train()
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    cross_entropy = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    source, target, labels = (torch.randint(1, VOCABULARY, (BATCH, TIME)) for _ in range(3))

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = net(source, target)
        loss = cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return {"median": _seconds(step), "parameters": sum(p.numel() for p in net.parameters())}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = ["| training step, translation | zoo, target tokens/s | PyTorch | ratio |", "| --- | --- | --- | --- |"]
    found = {(row["side"], row["precision"]): row["tokens_per_second"] for row in result["rows"]}
    for precision in dict.fromkeys(precision for _, precision in found):
        ours, theirs = (found[side, precision] for side in SIDES)
        lines.append(f"| {precision} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    each = [
        f"- {row['side']}, {row['precision']}: {row['parameters']:,} parameters, milliseconds per step in each round"
        f" {', '.join(f'{1000 * median:.0f}' for median in row['medians'])}"
        for row in result["rows"]
    ]
    return "\n".join([*table(result), "", *each])


if __name__ == "__main__":
    print(json.dumps((_zoo if sys.argv[1] == "zoo" else _pytorch)(sys.argv[2])))
