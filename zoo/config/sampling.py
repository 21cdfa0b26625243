"""How the next tokens of a text are chosen: records of options, which import the standard library only."""

from dataclasses import dataclass

from zoo.console.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from its distribution.

    Args:
        temperature: what logits are divided by, more than 0.
        top_k: draw among this many most probable tokens, 0: all (Fan et al., 2018).
        top_p: draw among the most probable tokens that have this share of the probability together, 1: all (Holtzman
            et al., 2020).
        seed: of the draws.

    Raises:
        UsageError: values outside their ranges.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UsageError(f"--temperature {self.temperature}: expected more than 0")
        if self.top_k < 0:
            raise UsageError(f"--top-k {self.top_k}: expected 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p {self.top_p}: expected more than 0, and at most 1")


@dataclass(frozen=True)
class Beam:
    """A search that keeps the best beginnings.

    Args:
        beams: beginnings of each text that are gone on with.
        length_penalty: alpha of ((5 + length) / 6) ** alpha, which log-probabilities are divided by (Wu et al., 2016);
            0 prefers short texts.

    Raises:
        UsageError: fewer beams than one, or a negative penalty.
    """

    beams: int = 4
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise UsageError(f"--beams {self.beams}: expected 1 or more")
        if self.length_penalty < 0:
            raise UsageError(f"--length-penalty {self.length_penalty}: expected 0 or more")
