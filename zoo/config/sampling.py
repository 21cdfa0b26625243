"""Options for choosing the next token of a text: sampling and beam search. Standard library only."""

from dataclasses import dataclass

from zoo.console.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """Sampling of the next token.

    Args:
        temperature: Divisor of the logits, greater than 0.
        top_k: Number of most probable tokens to sample from; 0: all (Fan et al., 2018).
        top_p: Share of the probability that the most probable tokens to sample from have together; 1: all tokens
            (Holtzman et al., 2020).
        seed: Random seed.

    Raises:
        UsageError: A value outside its range.
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
    """Beam search.

    Args:
        beams: Number of partial texts that are kept at each step.
        length_penalty: Exponent alpha in ((5 + length) / 6) ** alpha, by which log-probabilities are divided (Wu et
            al., 2016); 0 prefers short texts.

    Raises:
        UsageError: Fewer beams than one, or a negative penalty.
    """

    beams: int = 4
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise UsageError(f"--beams {self.beams}: expected 1 or more")
        if self.length_penalty < 0:
            raise UsageError(f"--length-penalty {self.length_penalty}: expected 0 or more")
