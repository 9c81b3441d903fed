"""Prompts in place of pictures: the stage `draw` makes the pictures."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from imig.endpoint.endpoint import endpoint_record
from imig.errors import UsageError
from imig.paths import input_path
from imig.prompts.config import LanguageModelWriter, PromptsSource
from imig.prompts.file import PromptsFile, list_prompts
from imig.prompts.grammar import write_grammar_prompt
from imig.prompts.record import PromptRecord
from imig.sample import Sample
from imig.schema import ModelRecord, Source
from imig.stages.base import BuildContext, Word
from imig.stages.sources.base import BLANK_PHRASE, STAGE, SourceKind, fill_text, printable_path
from imig.text import to_stored

WRITTEN_NAME = "prompts.jsonl"
"""Below the dataset's folder: prompts that a language model wrote for the build."""

MIN_SUBJECTS = 2
"""Of a prompt in the flexible subset: one subject alone needs no composing."""


class Prompts(SourceKind):
    """Prompts from a file, or made by rules as they are needed.

    A language model's are a file too, which the engine has written before the build runs.
    """

    def __init__(self, config: PromptsSource, context: BuildContext) -> None:
        self._config = config
        self._recipe_seed = context.recipe_seed
        self._subset = context.subset
        self._path = _path(config, context)

    @property
    def writes(self) -> frozenset[Word]:
        written: set[Word] = {"caption"}
        looked_at = [] if self._is_written_first or self._path is None else self._file.first()
        if not looked_at or any(record.nouns for record in looked_at):
            written.add("nouns")
        if self._subset == "flexible":
            written.add("subjects")
        return frozenset(written)

    def count(self) -> int:
        wanted = self._config.count
        if self._path is None or self._is_written_first:
            return wanted or 0  # the recipe's own check makes sure that there is a count
        there = len(self._file)
        if wanted is not None and there < wanted:
            raise UsageError(
                f"{self._path} holds {there} prompts, fewer than source.count ({wanted})",
                cure=f"lower it: --set source.count={there}; or write more: `imig prompts`",
            )
        return there if wanted is None else wanted

    def record(self, number: int, *, seed: int) -> Source:
        name = None if self._path is None else printable_path(self._path.name)
        return Source(kind="prompt", path=name, seed=seed)

    def files(self) -> list[Path]:
        return [] if self._path is None or self._is_written_first else [self._path]

    def fingerprint(self) -> str:
        if self._path is None:
            return "grammar"  # its prompts follow from the recipe, which is compared anyway
        if self._is_written_first and not self._path.is_file():
            return "unwritten"
        return self._file.sha256

    def models(self) -> list[ModelRecord]:
        if not self._is_written_first:
            return []
        assert isinstance(self._config.writer, LanguageModelWriter)
        return [endpoint_record(self._config.writer.endpoint)]

    def fill(self, sample: Sample, number: int) -> None:
        record = self.prompt(number)
        scene = sample.scene
        fill_text(sample, caption=record.prompt, nouns=record.nouns)
        if not scene.caption:
            figures = {"prompt": ascii(record.prompt)[:60]}
            sample.turn_down(stage=STAGE, reason="prompt that shows nothing", figures=figures)
            return
        scene.source.prompt = record.prompt
        scene.style = record.style
        if self._subset != "flexible":
            return
        for subject in record.subjects:
            if all(map(to_stored, (subject.phrase, subject.noun, subject.prompt))):
                scene.subjects.append(subject)
            else:
                sample.note_oddity(BLANK_PHRASE, ascii(subject.phrase)[:60])
        if len(scene.subjects) < MIN_SUBJECTS:
            sample.turn_down(
                stage=STAGE,
                reason="too few subjects",
                figures={"subjects": len(scene.subjects), "wanted": MIN_SUBJECTS},
            )

    def prompt(self, number: int) -> PromptRecord:
        """The prompt of that number. Raises DataError when its line is wrong."""
        if self._path is not None:
            return self._file.read(number)
        return write_grammar_prompt(
            number,
            recipe_seed=self._recipe_seed,
            instances=self._config.instances,
            subset=self._subset,
        )

    @property
    def _is_written_first(self) -> bool:
        return self._config.path is None and self._path is not None

    @cached_property
    def _file(self) -> PromptsFile:
        """Listed once, on the driver: workers get the listing."""
        assert self._path is not None
        return list_prompts(self._path)


def _path(config: PromptsSource, context: BuildContext) -> Path | None:
    """The file that holds the prompts, or will; None for rules."""
    if config.path is not None:
        path = input_path(config.path)
        if not path.is_file():
            raise UsageError(
                f"{path} is not a file",
                cure="give a file of prompts, as `imig prompts` writes it, or "
                "--set source.path=null to have them written",
            )
        return path
    if not isinstance(config.writer, LanguageModelWriter):
        return None
    if context.output is None:
        raise UsageError(
            "a language model's prompts need a file",
            cure="write them first, `imig prompts`, and give the file as source.path",
        )
    return context.output / WRITTEN_NAME
