"""`imig prompts`: a file of prompts, by the writer of a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from imig.commands.common import Commands, add_flag, add_overrides, console, new_command, positive
from imig.errors import UsageError
from imig.paths import output_path

_EXAMPLES = """\
examples:
  imig prompts --recipe basic --set models=tiny --count 1000       by rules, offline
  imig prompts --recipe flexible --count 200000 --output /data/prompts.jsonl \\
      --set source.writer.endpoint.url=http://localhost:8000/v1 \\
      --set source.writer.endpoint.model=Qwen/Qwen3-32B
  imig build basic --set source.path=prompts.jsonl

A run that was stopped or killed goes on where it was when the same command is given again. The key
of a hosted endpoint is read from the environment variable that the recipe names
(source.writer.endpoint.key_variable, default OPENAI_API_KEY), and is never stored.
"""


def add_parser(commands: Commands) -> None:
    command = new_command(
        commands, "prompts", summary="write prompts for a build's targets", examples=_EXAMPLES
    )
    command.add_argument(
        "--recipe",
        required=True,
        metavar="RECIPE",
        help="of the build: a YAML file, or a name: `imig recipes`; its source is prompts",
    )
    add_overrides(
        command,
        explanation="override a key of the recipe, for example --set source.writer.realistic=0.9",
    )
    command.add_argument(
        "--count", type=positive, metavar="N", help="how many (default: the recipe's source.count)"
    )
    command.add_argument(
        "--output",
        type=output_path,
        default=Path("prompts.jsonl"),
        metavar="FILE",
        help="file to write (default: %(default)s)",
    )
    add_flag(command, "--overwrite", "write anew what is in the file already")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from imig.console.interrupt import interrupt_once
    from imig.prompts.config import PromptsSource
    from imig.prompts.writing import write_prompts
    from imig.recipe.file import load_recipe

    loaded = load_recipe(options.recipe, overrides=options.overrides)
    source = loaded.recipe.source
    if not isinstance(source, PromptsSource):
        raise UsageError(
            f"{loaded.where('source.kind')}: the source of this recipe is {source.kind}, which "
            "needs no prompts",
            cure="take a recipe whose source is prompts, for example --recipe basic",
        )
    count = options.count or source.count
    if count is None:
        raise UsageError("how many prompts?", cure="say it with --count N")
    with interrupt_once():
        write_prompts(
            loaded.recipe,
            count=count,
            output=options.output,
            console=console(),
            overwrite=options.overwrite,
        )
    return 0
