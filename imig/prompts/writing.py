"""Write a file of prompts, or go on where an earlier run stopped: `imig prompts`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from imig.console.lines import say
from imig.console.live_line import LiveLine
from imig.endpoint.endpoint import Endpoint, Usage
from imig.paths import output_path
from imig.prompts.config import GrammarWriter, LanguageModelWriter, PromptsSource
from imig.prompts.grammar import write_grammar_prompt
from imig.prompts.output import PromptsOutput, count_written, open_output
from imig.prompts.progress import REDRAW_SECONDS, Figures, figures_to_text
from imig.recipe.identity import without_means
from imig.recipe.root import Recipe

WRITER_KEY = "source.writer.endpoint"
"""The endpoint's block in a recipe."""


def write_prompts(
    recipe: Recipe, *, count: int, output: Path, console: Console, overwrite: bool = False
) -> None:
    """Write `count` prompts with the writer of the recipe's source.

    Raises
    ------
    UsageError
        The file holds something else, or the endpoint's URL, key or model is wrong.
    DataError
        The endpoint fails again and again, or its answers cannot be used; what is written is kept.
    KeyboardInterrupt
        Ctrl-C; what is written is kept.
    """
    output = output_path(output)
    source = recipe.source
    assert isinstance(source, PromptsSource)
    identity = prompts_identity(recipe)
    there = 0 if overwrite else count_written(output, identity=identity)
    if there >= count:
        say(
            console,
            f"{output} holds {there} prompts already, {count} are wanted: nothing to do; "
            "--overwrite writes them anew",
        )
        return
    say(
        console,
        f"writing {count} prompts -> {output}" + (f" ({there} by an earlier run)" if there else ""),
    )
    started = time.monotonic()
    with open_output(output, identity=identity, overwrite=overwrite) as opened:
        figures = Figures(wanted=count, done=len(opened), before=len(opened))
        match source.writer:
            case GrammarWriter():
                _write_by_grammar(opened, recipe, source, count)
                figures.done, usage, cost = count, Usage(), None
            case LanguageModelWriter():
                from imig.prompts.dialogue import Dialogue

                endpoint = Endpoint(source.writer.endpoint, name=WRITER_KEY)
                dialogue = Dialogue(recipe, source.writer, endpoint, opened, figures)
                with LiveLine(console, redraw_seconds=REDRAW_SECONDS) as line:
                    dialogue.run(line)
                for note in endpoint.notes:
                    say(console, note)
                usage = dialogue.whole_usage()
                cost = usage.cost(source.writer.endpoint)
        opened.finish()
        seconds = time.monotonic() - started
        say(console, "wrote " + figures_to_text(figures, usage, cost=cost, seconds=seconds))


def prompts_identity(recipe: Recipe) -> Mapping[str, Any]:
    """What makes two runs write the same file, as JSON values; their count does not."""
    source = recipe.source
    assert isinstance(source, PromptsSource)
    return {
        "writer": without_means(source.writer.model_dump(mode="json")),
        "instances": list(source.instances),
        "subset": recipe.subset,
        "seed": recipe.seed,
    }


def _write_by_grammar(
    output: PromptsOutput, recipe: Recipe, source: PromptsSource, count: int
) -> None:
    numbers: Iterable[int] = range(len(output), count)
    for number in numbers:
        output.append(
            write_grammar_prompt(
                number,
                recipe_seed=recipe.seed,
                instances=source.instances,
                subset=recipe.subset,
            )
        )
