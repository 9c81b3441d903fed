"""A language model asked until there are enough good prompts.

Prompts are judged and written in the order of their numbers, whatever the order of the answers: the
same answers give the same file. What is asked depends on seed, number and attempt alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from imig.console.live_line import LiveLine
from imig.endpoint.endpoint import Endpoint, Usage
from imig.endpoint.errors import RequestRefused
from imig.errors import DataError
from imig.prompts.asked import Answer, Requests, requests_under_way
from imig.prompts.asking import (
    Brief,
    InvalidAnswer,
    answer_schema,
    answer_to_records,
    briefs_to_messages,
)
from imig.prompts.config import LanguageModelWriter, PromptsSource
from imig.prompts.output import PromptsOutput
from imig.prompts.progress import Figures, figures_to_text
from imig.prompts.record import PromptRecord
from imig.prompts.similarity import NearDuplicates
from imig.prompts.templates import draw_template
from imig.recipe.root import Recipe

AHEAD = 4
"""Requests a thread, so far ahead of the first number that is still missing."""
STATE_SECONDS = 5.0
"""Between two writings of what all has cost."""


class Dialogue:
    """One run of asking.

    Parameters
    ----------
    output:
        The files; prompts that are there are taken as they are.
    figures:
        Kept up to date, for whoever shows them.
    """

    def __init__(
        self,
        recipe: Recipe,
        writer: LanguageModelWriter,
        endpoint: Endpoint,
        output: PromptsOutput,
        figures: Figures,
    ) -> None:
        assert isinstance(recipe.source, PromptsSource)
        self._recipe, self._source = recipe, recipe.source
        self._writer = writer
        self._endpoint = endpoint
        self._output = output
        self._figures = figures
        self._alone = recipe.subset == "flexible"
        self._schema = answer_schema(alone=self._alone)
        self._waiting: dict[int, tuple[int, PromptRecord]] = {}
        """Number -> attempt and record of good answers whose turn has not come."""
        self._next_request = 0
        self._invalid_in_a_row = 0
        self._duplicates_in_a_row = 0
        self._saved = self._started = time.monotonic()
        self._similar = NearDuplicates(
            writer.max_similarity, read=lambda number: output.read(number).prompt
        )

    def run(self, line: LiveLine) -> None:
        """Ask until the file has as many prompts as are wanted; raises as `write_prompts`."""
        for number in range(len(self._output)):
            self._similar.add(number, self._output.read(number).prompt)
            line.show_line(lambda: f"reading {len(self._output)} prompts of earlier runs")
        for number, attempt, record in self._output.kept():
            if attempt >= self._output.attempts.get(number, 0):
                self._waiting[number] = (attempt, record)
        threads = self._writer.endpoint.concurrency
        self._started = time.monotonic()
        try:
            with requests_under_way(self._ask, threads=threads) as requests:
                try:
                    self._write_turns(requests)
                    while len(self._output) < self._figures.wanted:
                        self._send(requests, limit=2 * threads)
                        answer = requests.take(seconds=0.25)
                        if answer is not None:
                            self._hear(answer, requests)
                        self._show(line)
                finally:
                    # What has come is paid for.
                    for answer in requests.take_what_is_there():
                        if answer.error is None:
                            self._keep_good(answer)
        finally:
            self._output.save_state(self.whole_usage())

    def whole_usage(self) -> Usage:
        """Of this and earlier runs."""
        usage = replace(self._output.usage)
        usage.add(self._endpoint.usage)
        return usage

    def _ask(self, briefs: Sequence[Brief]) -> str:
        messages = briefs_to_messages(briefs, alone=self._alone)
        return self._endpoint.ask(messages, schema=self._schema)

    def _send(self, requests: Requests, *, limit: int) -> None:
        """Keep the threads busy, but not too far ahead of the first missing number."""
        size, wanted = self._writer.prompts_per_request, self._figures.wanted
        horizon = len(self._output) + AHEAD * size * limit
        while requests.outstanding < limit:
            start = self._next_request * size
            if start >= min(wanted, horizon):
                return
            self._next_request += 1
            for briefs in self._grouped(range(start, min(start + size, wanted))):
                requests.send(briefs)

    def _grouped(self, numbers: range) -> Iterator[list[Brief]]:
        """Numbers asked for the first time together; again, each by itself."""
        missing = [n for n in numbers if n >= len(self._output) and n not in self._waiting]
        first = [self._brief(n, 0) for n in missing if n not in self._output.attempts]
        if first:
            yield first
        for number in missing:
            if number in self._output.attempts:
                yield [self._brief(number, self._output.attempts[number])]

    def _brief(self, number: int, attempt: int) -> Brief:
        template = draw_template(
            number,
            attempt=attempt,
            recipe_seed=self._recipe.seed,
            subset=self._recipe.subset,
            instances=self._source.instances,
            writer=self._writer,
        )
        return Brief(number, attempt, template)

    def _hear(self, answer: Answer, requests: Requests) -> None:
        if isinstance(answer.error, RequestRefused):
            # A content filter, perhaps: other words may pass.
            for brief in answer.briefs:
                self._refuse(brief, answer.error.message, None, requests)
        elif answer.error is not None:
            raise answer.error
        else:
            for brief, error in self._keep_good(answer):
                self._refuse(brief, str(error), answer.text, requests)
        self._write_turns(requests)

    def _keep_good(self, answer: Answer) -> list[tuple[Brief, InvalidAnswer]]:
        """Keep the good records of an answer, also over a kill; returns what is not good."""
        wrong = []
        judged = answer_to_records(
            answer.text, answer.briefs, alone=self._alone, writer=self._writer.endpoint.model
        )
        for brief, record in judged:
            if isinstance(record, InvalidAnswer):
                wrong.append((brief, record))
            else:
                self._output.keep(brief.number, brief.attempt, record)
                self._waiting[brief.number] = (brief.attempt, record)
                self._invalid_in_a_row = 0
        return wrong

    def _write_turns(self, requests: Requests) -> None:
        """Write the prompts whose turn it is, except those that were there before."""
        while (number := len(self._output)) in self._waiting:
            if number >= self._figures.wanted:
                return
            attempt, record = self._waiting.pop(number)
            twin = self._similar.find(record.prompt)
            if twin is not None:
                self._figures.duplicates += 1
                self._duplicates_in_a_row += 1
                reason = f"like prompt {twin[0]} (similarity {twin[1]:.2f})"
                brief = self._brief(number, attempt)
                self._ask_again(brief, reason, record.model_dump(), requests)
                return
            self._similar.add(number, record.prompt)
            self._output.append(record)
            self._duplicates_in_a_row = 0
            self._figures.done = len(self._output)
        if not self._waiting:
            self._output.forget_kept()

    def _refuse(self, brief: Brief, reason: str, answer: object, requests: Requests) -> None:
        self._figures.invalid += 1
        self._invalid_in_a_row += 1
        self._ask_again(brief, reason, answer, requests)

    def _ask_again(self, brief: Brief, reason: str, answer: object, requests: Requests) -> None:
        self._output.quarantine(brief.number, brief.attempt, reason=reason, answer=answer)
        self._output.attempts[brief.number] = brief.attempt + 1
        in_a_row = max(self._invalid_in_a_row, self._duplicates_in_a_row)
        if in_a_row >= self._writer.max_invalid:
            raise DataError(
                f"{in_a_row} answers in a row could not be used, the last one: {reason}",
                cure=f"they are in {self._output.paths.quarantine}; take another model, a higher "
                "temperature, fewer source.writer.prompts_per_request or fewer source.instances",
            )
        requests.send([self._brief(brief.number, brief.attempt + 1)])

    def _show(self, line: LiveLine) -> None:
        now = time.monotonic()
        if now - self._saved > STATE_SECONDS:
            self._saved = now
            self._output.save_state(self.whole_usage())
        usage = self.whole_usage()
        cost = usage.cost(self._writer.endpoint)
        seconds = now - self._started
        line.show_line(lambda: figures_to_text(self._figures, usage, cost=cost, seconds=seconds))
