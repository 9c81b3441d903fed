"""What several commands share: defaults, kinds of arguments, printing, writing."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from imig.errors import UsageError
from imig.stores.path import OutputPath

if TYPE_CHECKING:
    from rich.console import Console

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEFAULT_SHARDS = Path("shards")


def new_command(
    commands: Commands, name: str, *, summary: str, examples: str
) -> argparse.ArgumentParser:
    """A command whose help ends in examples, printed as they are."""
    return commands.add_parser(
        name,
        help=summary,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_overrides(command: argparse.ArgumentParser, *, explanation: str) -> None:
    """`--set A.B=VALUE`, any number of them, as `overrides`."""
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="A.B=VALUE",
        help=explanation,
    )


def add_flag(command: argparse.ArgumentParser, name: str, explanation: str) -> None:
    """An option that is there or not."""
    command.add_argument(name, action="store_true", help=explanation)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def host_and_port(text: str) -> tuple[str, int]:
    """`9400`, `0.0.0.0:9400` or `[::1]:9400`; without a host this machine alone."""
    host, colon, port = text.rpartition(":")
    if (
        not port.isascii()
        or not port.isdecimal()
        or not 0 < int(port) < 65536
        or (colon and not host)
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, nor HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def console() -> Console:
    """The screen. Names of files are no emoji, and a reader that goes away ends the command."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "the reader of the output has gone")

    return Screen(emoji=False)


def print_line(text: str) -> None:
    """A line on the screen, as it is."""
    from imig.console.lines import say

    say(console(), text)


def say_finished(
    output: OutputPath, folders: Mapping[str, OutputPath], *, verb: str, as_json: bool
) -> None:
    """A run of the same command has made these datasets before, and nothing was done.

    Parameters
    ----------
    folders:
        The datasets' folders, by the names that their counts have in the JSON; of one dataset "".
    verb:
        What `--overwrite` would do: "merges".
    """
    from imig.shards.manifest import MANIFEST_NAME, read_manifest

    manifests = {name: read_manifest(one / MANIFEST_NAME) for name, one in folders.items()}
    if as_json:
        counts = {name: one.counts.model_dump() for name, one in manifests.items()}
        shown = counts.get("", counts)
        print_json({"output": str(output), "counts": shown, "finished_already": True})
        return
    for name, manifest in manifests.items():
        print_line(
            f"{folders[name]} is finished already: {manifest.counts.written} scenes in "
            f"{len(manifest.shards)} shards; --overwrite {verb} them anew"
        )


def print_json(value: object) -> None:
    import json

    # What cannot be written as it is, JSON has escapes for.
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, indent=1, ensure_ascii=plain))


def beside(folder: Path, ending: str) -> Path:
    """``shards`` -> ``shards-split``: the default output of what is made of a folder."""
    # normpath: `.` and `shards/..` have no name to add to
    path = Path(os.path.normpath(folder))
    if path.name in ("", ".."):
        path = path.resolve()
    return path.with_name(f"{path.name}-{ending}")


def write_file(path: Path, write: Callable[[Path], object], *, option: str = "--out") -> None:
    """Call `write` with the path, its folder made; an error names the option to change."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except (OSError, ValueError) as error:
        # PIL raises ValueError for a suffix that it does not know.
        raise UsageError(f"cannot write {path}: {error}", cure=f"give another {option}") from error
