"""How a strategy is refused. Standard library only."""


class StrategyError(ValueError):
    """A strategy that does not exist, or that cannot run here; the message says why."""
