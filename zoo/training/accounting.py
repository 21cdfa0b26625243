"""What steps of DP-SGD cost in privacy, by the accountant of Google's dp-accounting."""

from typing import Any

from zoo.config.privacy import DP

# Of the grid of privacy losses (Koskela et al., 2020), which are rounded up: with tenths of it epsilon was up to 1.5 %
# smaller, and took ten times as long.
INTERVAL = 1e-3
# Noise is found to so much.
TOLERANCE = 1e-3


def spent(noise: float, rate: float, steps: int, delta: float) -> float:
    """Return epsilon of so many steps, where adding or removing one example is what must not show.

    Args:
        noise: standard deviation of the noise in units of the clipping norm.
        rate: probability that an example is in a step, of each independently (Poisson sampling).
        steps: how many.
        delta: how likely the promise may fail.
    """
    return _accountant().compose(_steps(noise, rate, steps)).get_epsilon(delta)


def noise_of(promise: DP, rate: float, steps: int) -> float:
    """Return the noise of a promise: its own, or the least with which all steps come to its epsilon."""
    if promise.noise is not None:
        return promise.noise
    import dp_accounting

    return float(
        dp_accounting.calibrate_dp_mechanism(
            _accountant, lambda noise: _steps(noise, rate, steps), promise.epsilon, promise.delta, tol=TOLERANCE
        )
    )


def _accountant() -> Any:
    from dp_accounting import pld

    return pld.PLDAccountant(value_discretization_interval=INTERVAL)


def _steps(noise: float, rate: float, steps: int) -> Any:
    import dp_accounting

    step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    return dp_accounting.SelfComposedDpEvent(step, steps)
