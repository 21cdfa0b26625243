"""A side of `python -m benchmarks gpu`: the networks of the zoo written in PyTorch, eager or compiled.

Needs the extra `peers`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.gpu_sizes import BLOCKS, EXPANSION, RATE, Network
from benchmarks.timing import peak_memory, timed
from zoo.console.errors import Failed


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure training steps; runs in the side's process.

    Args:
        job: Network, whether to compile the step, and whether it has to run on a GPU.

    Raises:
        Failed: PyTorch sees no GPU, and it has to.
    """
    on_gpu, network = job["on_gpu"], Network(**job["network"])
    if on_gpu and not torch.cuda.is_available():
        raise Failed(f"PyTorch {torch.__version__} sees no GPU")
    # TF32 is off in float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = network.precision != "float32"
    torch.backends.cudnn.benchmark = True
    device = "cuda" if on_gpu else "cpu"
    net, x, y = _example(network, device)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.0, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x).flatten(0, -2).float(), y.flatten())

    loss_of: Callable[..., torch.Tensor] = torch.compile(loss_of) if job["compiled"] else loss_of

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=network.precision == "bfloat16"):
            loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    return {
        **timed(step),
        "memory": torch.cuda.max_memory_allocated() if on_gpu else peak_memory(),
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "framework": f"torch {torch.__version__}",
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def _example(network: Network, device: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return the network, and a batch of random numbers, on the device."""
    torch.manual_seed(0)
    net = NETWORKS[network.model](network).to(device).train()
    if network.model == "transformer_lm":
        x, y = (torch.randint(1, network.classes, (network.batch, *network.shape)) for _ in range(2))
        return net, x.to(device), y.to(device)
    height, width, channels = network.shape
    x, y = torch.rand(network.batch, channels, height, width), torch.randint(1, network.classes, (network.batch,))
    net = net.to(memory_format=torch.channels_last)
    return net, x.to(device, memory_format=torch.channels_last), y.to(device)


def _cnn(network: Network) -> nn.Module:
    a, b, c = network.settings["filters"]
    units, side = network.settings["units"], ((network.shape[0] - 2) // 2 - 2) // 2 - 2
    return nn.Sequential(
        *(nn.Conv2d(network.shape[-1], a, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(a, b, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(b, c, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(c * side**2, units), nn.ReLU(), nn.Linear(units, network.classes)),
    )


def _normed(channels: int, filters: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its normalisation."""
    convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(filters, eps=1.001e-5, momentum=0.1)]


class Bottleneck(nn.Module):
    """A residual block of three convolutions; the first has the stride, as in the zoo.

    Args:
        channels: Channels of the input.
        filters: Channels of the bottleneck.
        stride: Stride of the first convolution.
        projected: Whether the shortcut is a convolution.
    """

    def __init__(self, channels: int, filters: int, stride: int, projected: bool):
        super().__init__()
        wide = EXPANSION * filters
        first, second = _normed(channels, filters, 1, stride), _normed(filters, filters, 3)
        self.branch = nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU(), *_normed(filters, wide, 1))
        self.shortcut = nn.Sequential(*_normed(channels, wide, 1, stride)) if projected else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(branch(x) + shortcut(x))."""
        return F.relu(self.branch(x) + self.shortcut(x))


def _resnet(network: Network) -> nn.Module:
    filters = channels = int(64 * network.settings["alpha"])
    body = [*_normed(network.shape[-1], filters, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            body.append(Bottleneck(channels, filters, 2 if stage and not block else 1, block == 0))
            channels = EXPANSION * filters
        filters *= 2
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, network.classes))


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after a normalisation.

    Args:
        width: Width of every time step.
        heads: Number of attention heads.
        inner: Width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output (batch, time, width)."""
        parts = self.projection(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.feed_norm(x))


class LanguageModel(nn.Module):
    """A decoder-only transformer whose embedding is also its output layer.

    Args:
        network: Sizes.
    """

    def __init__(self, network: Network):
        super().__init__()
        (time,), sizes = network.shape, network.settings
        width = sizes["model_dim"]
        self.scale = width**0.5
        self.table = nn.Embedding(network.classes, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        angles = torch.arange(time)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))
        made = (Block(width, sizes["num_heads"], sizes["ff_dim"]) for _ in range(sizes["num_layers"]))
        self.blocks, self.last_norm = nn.Sequential(*made), nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, time, tokens)."""
        x = self.last_norm(self.blocks(self.table(ids) * self.scale + self.positions))
        return x @ self.table.weight.T


NETWORKS = {"cnn": _cnn, "resnet": _resnet, "transformer_lm": LanguageModel}
