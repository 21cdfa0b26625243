"""What the files of a task can have, checked before work starts. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from compression.recipes.language import Recipe
from compression.recipes.options import ExportOptions
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the files of a task can have, and the reasons against what they cannot.

    Args:
        run: Name of a run of the task in messages, such as "a run on triples".
        does: What such a run does, such as "completes triples".
        by_output: Whether the outputs of a file are compared with those of its model one by one, see
            `compression.tasks.base.OutputForm`. --uint8-input, --skip-worst and the commands sensitivity, search and
            export require it.
        beam_search: Whether outputs are found by beam search.
        batch: Reason why a file takes one example at a time; empty if it takes batches.
        argmax: Whether a file can give classes in place of scores.
        nms: Whether a file gives boxes, which it can decode and suppress.
        numbers: Whether a student learns the outputs of its teacher as numbers. They are logits of classes otherwise.
        skip: Reason why no layer can stay in float32; empty if layers can.
        words: Reasons against recipe words. A key is a word, or a training word and a precision: "qat + int8".
    """

    run: str
    does: str
    by_output: bool = False
    beam_search: bool = False
    batch: str = ""
    argmax: bool = False
    nms: bool = False
    numbers: bool = False
    skip: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    def check(self, recipe: Recipe, export: ExportOptions, *, beam: Beam | None = None, skip_worst: int = 0) -> None:
        """Refuse what a file of this task cannot have.

        Args:
            recipe: Parsed recipe.
            export: Options of the file.
            beam: Beam search that was asked for, None if none was.
            skip_worst: Number of layers to be left in float32.

        Raises:
            UsageError: An option or a word of the recipe is not possible. The message gives the reason.
        """
        if (export.uint8 or export.input_size) and not self.by_output:
            raise UsageError(f"--uint8-input: expected a run that classifies images, this one {self.does}")
        if export.batch != 1 and self.batch:
            raise UsageError(f"--batch {export.batch}: {self.batch}; expected 1")
        if export.argmax and not self.argmax:
            raise UsageError(f"--argmax: expected a run that gives masks, this one {self.does}")
        if export.nms == "file" and not self.nms:
            raise UsageError(f"--nms file: expected a run that gives objects, this one {self.does}")
        if export.nms == "file" and export.batch != 1:
            raise UsageError(f"--nms file: expected --batch 1, as one picture is decoded; received {export.batch}")
        if beam is not None and not self.beam_search:
            raise UsageError(f"--beams: expected a run that translates, this one {self.does}")
        if skip_worst and not self.by_output:
            raise UsageError(f"--skip-worst: expected a run that gives classes, this one {self.does}")
        if recipe.skip and self.skip:
            raise UsageError(f"--recipe {recipe}: skip: {self.skip}; leave skip out")
        training = [stage.word for stage in (*recipe.stages, *([recipe.distill] if recipe.distill else []))]
        for word in (recipe.precision, *training):
            reason = self.words.get(word) or self.words.get(f"{word} + {recipe.precision}")
            if reason:
                raise UsageError(f"--recipe {recipe}: {word} of {self.run}: {reason}")
