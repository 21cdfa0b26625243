"""Exception of the strategies. Standard library only."""


class StrategyError(ValueError):
    """The strategy does not exist or cannot run on this machine; the message says why."""
