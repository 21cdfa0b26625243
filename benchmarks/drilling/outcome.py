"""What a drill reports."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Result of one drill.

    Args:
        drill: What was done, in words.
        expected: What must be true after each attempt, in words.
        attempts: Number of attempts.
        faults: One sentence for each attempt that ended otherwise, with what is needed to repeat it.
        seconds: Seconds that all attempts took.
        facts: Further figures, by name.
    """

    drill: str
    expected: str
    attempts: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the outcome as a JSON-serializable row of a report."""
        return asdict(self)
