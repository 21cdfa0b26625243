"""Vision networks of the zoo in PyTorch, for `python -m benchmarks vision_throughput`. Needs the extra `peers`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.models.efficientnet_lite import BLOCKS as LITE
from zoo.models.mobilenet_v2 import BLOCKS as V2
from zoo.models.parts.convolutions import divisible


def network(case: Any) -> nn.Module:
    """Return the network of a case of `benchmarks.vision_throughput`."""
    return NETWORKS[case.model](case)


def _normed(
    channels: int,
    filters: int,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
    padding: Any = None,
) -> nn.Sequential:
    """Return a convolution, its normalisation and its activation."""
    padding = kernel // 2 if padding is None else padding
    convolution = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
    parts = [convolution, nn.BatchNorm2d(filters, eps=1e-3)]
    return nn.Sequential(*parts, *([activation()] if activation else []))


class Sum(nn.Module):
    """Two branches whose results are added.

    Args:
        branch: First branch.
        shortcut: Second branch.
        activation: Module that is applied to the sum.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module):
        super().__init__()
        self.branch, self.shortcut, self.activation = branch, shortcut, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation of the sum."""
        return self.activation(self.branch(x) + self.shortcut(x))


def _classifier(body: Sequence[nn.Module], channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def _resnet(case: Any) -> nn.Module:
    body, channels = [_normed(case.shape[-1], 16, 3)], 16
    for stage, filters in enumerate((16, 32, 64)):
        stride = 2 if stage else 1
        branch = nn.Sequential(_normed(channels, filters, 3, stride), _normed(filters, filters, 3, activation=None))
        shortcut = nn.Conv2d(channels, filters, 1, stride) if stage else nn.Identity()
        body.append(Sum(branch, shortcut, nn.ReLU()))
        channels = filters
    return _classifier(body, channels, case.classes)


def _inverted(case: Any, stem: int, rows: Sequence[tuple[int, int, int, int]], last: int) -> nn.Module:
    """Return inverted residuals between two convolutions.

    Args:
        case: Case of the benchmark.
        stem: Channels of the first convolution.
        rows: Kernel size, expansion, channels and stride of each block.
        last: Channels of the last convolution.
    """
    body, channels = [_normed(case.shape[-1], stem, 3, 2, activation=nn.ReLU6)], stem
    for kernel, factor, filters, stride in rows:
        wide = factor * channels
        parts = [_normed(channels, wide, activation=nn.ReLU6)] if factor > 1 else []
        parts += [
            _normed(wide, wide, kernel, stride, groups=wide, activation=nn.ReLU6),
            _normed(wide, filters, activation=None),
        ]
        branch = nn.Sequential(*parts)
        body.append(Sum(branch, nn.Identity(), nn.Identity()) if (stride, channels) == (1, filters) else branch)
        channels = filters
    return _classifier([*body, _normed(channels, last, activation=nn.ReLU6)], last, case.classes)


def _mobilenet_v2(case: Any) -> nn.Module:
    alpha = case.settings["alpha"]
    rows = [(3, t, divisible(int(c * alpha)), s if i == 0 else 1) for t, c, n, s in V2 for i in range(n)]
    return _inverted(case, divisible(32 * alpha), rows, 1280)


def _efficientnet_lite(case: Any) -> nn.Module:
    rows = [(kernel, t, c, s if i == 0 else 1) for kernel, t, c, n, s in LITE for i in range(n)]
    return _inverted(case, 32, rows, 1280)


def _ds_cnn(case: Any) -> nn.Module:
    body = [_normed(case.shape[-1], 64, (10, 4), 2, padding=(4, 1))]
    for _ in range(4):
        body += [_normed(64, 64, 3, groups=64), _normed(64, 64)]
    return _classifier(body, 64, case.classes)


class UNet(nn.Module):
    """A U-Net with 16 filters that halves the size four times.

    Args:
        channels: Channels of the pictures.
        classes: Number of classes.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        widths = [16 * 2**i for i in range(5)]
        self.down = nn.ModuleList()
        for width in widths:
            self.down.append(nn.Sequential(_normed(channels, width, 3), _normed(width, width, 3)))
            channels = width
        self.rise, self.up = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.rise.append(nn.ConvTranspose2d(channels, width, 2, 2))
            self.up.append(nn.Sequential(_normed(2 * width, width, 3), _normed(width, width, 3)))
            channels = width
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of every pixel, (batch, classes, height, width)."""
        skips = []
        for part in self.down:
            x = part(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for rise, up, skip in zip(self.rise, self.up, reversed(skips[:-1]), strict=True):
            x = up(torch.cat([skip, rise(x)], 1))
        return self.head(x)


NETWORKS = {
    "resnet": _resnet,
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet_lite": _efficientnet_lite,
    "ds_cnn": _ds_cnn,
    "unet": lambda case: UNet(case.shape[-1], case.classes),
}
