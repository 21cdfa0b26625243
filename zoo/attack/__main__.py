"""`python -m zoo.attack`: measure the accuracy of a trained run on adversarial examples."""

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strategies import backend
from zoo.config import attacks
from zoo.config.catalogue import check_source
from zoo.config.options import SEEDS, option
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs import sealed
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing, sha256

EPS = (0.025, 0.05, 0.1, 0.2, 0.3)
STEPS = 40  # PGD steps that Madry et al. (2018) use on MNIST


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.attack`."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    attack: Literal["fgsm", "pgd"] = option(
        "attack: fgsm takes one gradient step, pgd several from random starts", "pgd"
    )
    eps: tuple[float, ...] | None = option(
        "maximum change of each input value (L-infinity norm), or several separated by commas; pixels range from 0 to 1"
        f" (default: {','.join(f'{eps:g}' for eps in EPS)})",
        metavar="X,...",
    )
    steps: int | None = option(f"number of PGD steps (default: {STEPS})")
    restarts: int | None = option("number of random starts of PGD, of which the worst counts (default: 1)")
    examples: int = option("maximum number of test examples to attack, chosen at random", 1000)
    seed: int = option("random seed for the choice of examples and the random starts", 0, within=SEEDS)
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 1), ("examples", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"--{name}: expected at least {least}, received {value}")
            if self.attack == "fgsm" and name in ("steps", "restarts") and value is not None:
                raise UsageError(f"--{name} {value}: expected with --attack pgd; fgsm takes one step from the example")
        if self.eps is None:
            object.__setattr__(self, "eps", EPS)
        if not self.eps or min(self.eps) < 0:
            raise UsageError(f"--eps: expected one or more numbers from 0, received {','.join(map(str, self.eps))}")

    @property
    def starts(self) -> int:
        return self.restarts or 1

    def of(self, eps: float) -> attacks.Attack:
        """Return the attack that changes input values by at most eps."""
        if self.attack == "fgsm":
            return attacks.FGSM(eps, start="clean")
        return attacks.PGD(eps, steps=self.steps or STEPS)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Attack the run, write accuracies and adversarial examples into its folder, and return the accuracies."""
    options = Options(**given)
    folder = RunFolder(options.run)
    stored = folder.read_config()
    data = stored["data"]
    attacks.check_inputs(str(options.run), folder.task, data["kind"], data["per_step"])
    attacks.check_range("--eps", max(options.eps), data["kind"])
    folder.check_model_file()
    config = dataclasses.replace(stored["config"], **{k: given[k] for k in ("data_dir",) if k in given})
    check_source(config)
    backend.start()
    from zoo.attack import robustness
    from zoo.runs.inference import load_like, logits_of

    dataset = load_like(folder, config)
    examples = robustness.chosen(dataset.test, options.examples, options.seed)
    model, curve, changed = folder.load_model(), {}, []
    for eps in sorted({0.0, *options.eps}):
        again = {"restarts": options.starts, "seed": options.seed}
        found = robustness.worst(model, dataset.spec, examples, options.of(eps), **again) if eps else examples
        curve[eps] = robustness.accuracy(logits_of(model, found), found.y)
        changed.append(found.x)
        cli.say(f"eps {eps:g}: accuracy {curve[eps]:.2%}")
    return _written(options, folder, dataset.spec.name, curve, changed, examples.y)


def _written(
    options: Options, folder: RunFolder, data: str, curve: Mapping[float, float], changed: Sequence[Any], y: Any
) -> dict[str, Any]:
    """Write the adversarial examples, a table and a plot of the accuracies, and a JSON summary; return the summary."""
    import numpy as np

    from zoo.attack import robustness

    place = folder.attacks / options.attack
    place.parent.mkdir(exist_ok=True)
    with replacing(place.with_suffix(".npz")) as temporary:
        np.savez(temporary, x=np.stack(changed), y=y)
    result = {
        "run": str(folder.path),
        "data": data,
        "attack": options.attack,
        **({"steps": options.steps or STEPS, "restarts": options.starts} if options.attack == "pgd" else {}),
        "examples": len(y),
        "seed": options.seed,
        "eps": list(curve),
        "accuracy": {"keras": list(curve.values())},
        "model_sha256": folder.read_metrics()["model_sha256"],
        "examples_sha256": sha256(place.with_suffix(".npz")),
    }
    robustness.write_table(place.with_suffix(".csv"), result["eps"], result["accuracy"])
    robustness.draw(place.with_suffix(".png"), robustness.title(result), result["eps"], result["accuracy"])
    sealed.write(place.with_suffix(".json"), result)
    return result | {"path": str(folder.attacks)}


def show(result: Mapping[str, Any]) -> None:
    """Print the accuracy for each eps, the next command, and last the folder."""
    from zoo.attack import robustness

    print(robustness.title(result))
    robustness.show_table(result)
    print(f"picture: {result['path']}/{result['attack']}.png")
    if any((Path(result["run"]) / "artifacts").glob("*.tflite")):
        print(f"next:    {command_line('compression.attack', result['run'], '--attack', result['attack'])}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.attack",
    description="Measure the accuracy of a trained run on adversarial examples. `python -m compression.attack` measures"
    " compressed files on the same examples.",
)


if __name__ == "__main__":
    sys.exit(main())
