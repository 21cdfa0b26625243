"""Additions to the plain training loop."""

from dataclasses import dataclass

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("capabilities")
class Capabilities:
    """Additions to the plain training loop, off by default; see `zoo.training.capabilities`."""

    unfreeze_every: int = option(
        "gradual unfreezing: train only the last layer at first, and one more layer after every so many epochs (Howard"
        " & Ruder, 2018). Frozen layers, including batch-norm statistics, do not change (0: train all layers)",
        0,
        within=(0, 1_000_000),
    )
    adversarial: str | None = option(
        "adversarial training: attack every batch with pgd(eps=0.1, steps=7) or fgsm(eps=0.1); eps is the largest"
        " change of an input value, where pixels range from 0 to 1; further arguments are step=X and start=clean",
        metavar="ATTACK",
    )
    private: str | None = option(
        "train with differential privacy (DP-SGD): dp(epsilon=3, delta=1e-5, clip=1), or noise=1.1 instead of epsilon;"
        " see docs/guides/privacy.md",
        metavar="dp(...)",
    )
    average: str | None = option(
        "average the weights: ema(0.999) is an exponential moving average over steps, swa(0.75) the mean over the"
        " epochs after that share of the training (Izmailov et al., 2018; use --schedule constant)",
        metavar="ema(X)|swa(X)",
    )
    snapshots: int = option(
        "number of cosine cycles of the learning rate; the weights at the end of each cycle are saved for zoo.ensemble"
        " (Huang et al., 2017; 0: one cycle, no snapshots)",
        0,
        within=(0, 1_000),
    )
