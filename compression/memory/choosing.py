"""Give a file the order, the patches and the plan with which it takes least memory in TFLite Micro."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from compression.devices import arena, cortex_m
from compression.flatbuffers import arena_plan, flatbuffer
from compression.flatbuffers.layers import layers_of
from compression.flatbuffers.lifetimes import peak
from compression.memory import greedy, ordering, patching, planning
from compression.memory.patching import Stage
from compression.recipes.language import Patches, Recipe
from zoo.console.errors import UsageError
from zoo.system import temporary

# Numbers of patches that are tried unless the recipe has one.
PATCHES = tuple(number for number in get_args(Patches) if number not in ("auto", 1))
# Files that are laid out, of those that promise to take least, and of these files that are measured.
LAID_OUT, MEASURED = 24, 4
# Bytes of the structures of TFLite Micro on a 64-bit machine: for an operator, a tensor, and a channel of weights.
_OPERATOR, _TENSOR, _CHANNEL = 200, 24, 8


@dataclass(frozen=True)
class Memory:
    """What was done to a file so that it takes less memory.

    Args:
        patches: Number of patches that the first operators are computed in; 1 for none.
        operators: Number of operators that are computed in patches.
        layers: The layers of these operators.
        plan: Whether the file has a plan of the arena.
        arena_bytes: Arena in TFLite Micro before and after.
        multiply_adds: Multiply-adds before and after.
    """

    patches: int
    operators: int
    layers: tuple[str, ...]
    plan: bool
    arena_bytes: tuple[int, int]
    multiply_adds: tuple[int, int]

    def told(self) -> str:
        """Return what was done in a sentence."""
        (before, after), (begun, ended) = self.arena_bytes, self.multiply_adds
        how = f"the first {self.operators} operators in {self.patches} patches" if self.patches > 1 else "no patches"
        more = f", {ended / begun - 1:.0%} more multiply-adds" if ended > begun else ""
        plan = " and a plan of the arena" if self.plan else ""
        return f"{how}{plan}: an arena of {after:,} bytes instead of {before:,}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class _Trial:
    patches: int
    stage: Stage
    model: Any


def arrange(path: Path) -> bool:
    """Order the operators and tensors of a .tflite file if it takes less memory then, and return whether it does."""
    model = flatbuffer.read(path)
    if changed := ordering.arrange(model):
        flatbuffer.write(model, path)
    return changed


def fit(path: Path, recipe: Recipe) -> Memory:
    """Compute the first operators of a .tflite file in patches, and plan its arena, as a recipe says.

    Of all depths, and of all numbers of patches if the recipe has none, those are chosen whose file takes the smallest
    arena, which TFLite Micro measures, and which add no more multiply-adds than the recipe allows.

    Args:
        path: Path of the file, which is changed.
        recipe: Recipe with patches or a plan.

    Raises:
        UsageError: No patches are possible, or TFLite Micro cannot run the file.
    """
    model = flatbuffer.read(path)
    ordering.arrange(model)
    trials = [] if recipe.patches == 1 else [*_trials(model, recipe)]
    if recipe.patches != 1 and not trials:
        raise UsageError(f"--recipe {recipe}: patches: {_why_not(model, recipe)}")
    trials.sort(key=lambda trial: _promised(trial.model, recipe))
    laid_out = [dataclasses.replace(each, model=_laid_out(each.model, recipe)) for each in trials[:LAID_OUT]]
    laid_out.sort(key=lambda trial: _bytes(trial.model) + _structures(trial.model))
    whole = [] if recipe.patches not in (1, "auto") else [_Trial(1, Stage(-1, (), {}), model)]
    again = [
        dataclasses.replace(each, model=_laid_out(each.model, recipe, True)) for each in (*whole, *laid_out[:MEASURED])
    ]
    before, sizes, measured = _arena(path, recipe), [], [*again, *laid_out[:MEASURED]]
    with temporary.folder() as folder:
        for trial in measured:
            flatbuffer.write(trial.model, folder / "trial.tflite")
            sizes.append(_arena(folder / "trial.tflite", recipe))
    best = measured[sizes.index(min(sizes))]
    flatbuffer.write(best.model, path)
    return Memory(
        patches=best.patches,
        operators=len(best.stage.operators),
        layers=tuple(_layers(model, best.stage)),
        plan=arena_plan.bytes_taken(best.model) is not None,
        arena_bytes=(before, min(sizes)),
        multiply_adds=(cortex_m.multiply_adds(model), cortex_m.multiply_adds(best.model)),
    )


def _trials(model: Any, recipe: Recipe) -> Iterator[_Trial]:
    """Yield the files with each stage in each number of patches that the recipe allows."""
    most, usual = cortex_m.multiply_adds(model) * (1 + recipe.recompute), greedy.bytes_taken(model)
    for stage in patching.stages(model):
        added = _structures(model, stage.operators)  # by each patch
        for patches in (p for p in PATCHES if p * added < usual) if recipe.patches == "auto" else (recipe.patches,):
            ways = itertools.product((True, False), repeat=2) if patches <= min(stage.outputs.values()) else ()
            for cut, upwards in ways:
                trial = copied(model)
                patching.patch(trial, stage, patches, cut, upwards)
                if cortex_m.multiply_adds(trial) <= most:
                    yield _Trial(patches, stage, trial)


def _why_not(model: Any, recipe: Recipe) -> str:
    found = patching.stages(model)
    if not found:
        return "expected a file that begins with convolutions or pooling of pictures, in one graph with one input"
    if recipe.patches != "auto" and recipe.patches > (most := max(min(s.outputs.values()) for s in found)):
        return f"expected at most {most}, the rows of the first layer's output, received {recipe.patches}"
    return (
        f"expected patches that add at most {recipe.recompute:.0%} multiply-adds (recompute={recipe.recompute:g}), all"
        " add more"
    )


def copied(model: Any) -> Any:
    """Return a copy of a file, which shares the content of its buffers."""
    return copy.deepcopy(model, {id(buffer): buffer for buffer in model.buffers})


def _laid_out(model: Any, recipe: Recipe, ordered: bool = False) -> Any:
    """Return a file with the tensors and the plan that take least; with its operators in the best order, if asked."""
    model = copied(model)
    if ordered:
        ordering.arrange(model)
    elif not ordering.fixed(model):
        ordering.place(model)
    if recipe.plan:
        planning.plan(model)
    return model


def _promised(model: Any, recipe: Recipe) -> int:
    """Return about the arena of a file that is not laid out yet."""
    return (planning.least(model) if recipe.plan else peak(model)) + _structures(model)


def _bytes(model: Any) -> int:
    return arena_plan.bytes_taken(model) or greedy.bytes_taken(model)


def _structures(model: Any, operators: Iterable[int] | None = None) -> int:
    """Return about how many bytes the structures of TFLite Micro take, of all operators or of some."""
    graph, nodes = model.subgraphs[0], flatbuffer.nodes(model)[0]
    names = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    chosen = nodes if operators is None else [nodes[number] for number in operators]
    channels = sum(int(graph.tensors[outputs[0]].shape[-1]) for name, _, outputs in chosen if name in names)
    tensors = len(graph.tensors) if operators is None else len(chosen)
    return _OPERATOR * len(chosen) + _TENSOR * tensors + _CHANNEL * channels


def _layers(model: Any, stage: Stage) -> list[str]:
    """Return the layers of the operators of a stage."""
    tensors = flatbuffer.tensors(model)[0]
    names = layers_of([tensors[outputs[0]]["name"] for _, _, outputs in flatbuffer.nodes(model)[0]])
    return list(dict.fromkeys(names[number] for number in stage.operators))


def _arena(path: Path, recipe: Recipe) -> int:
    found: Mapping[str, Any] = arena.measure(path)
    if reason := found.get("refused"):
        raise UsageError(f"--recipe {recipe}: memory is saved for TFLite Micro; {reason}")
    return found["arena_bytes"]
