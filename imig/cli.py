"""The `imig` script: finds the command in imig/commands/, runs it, prints what ends it.

Exit codes: 0 all is well; 1 the data or the run is at fault; 2 the call is; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from imig import __version__
from imig.commands import (
    adapter,
    build,
    encode,
    generate,
    merge,
    models,
    preview,
    prompts,
    recipes,
    refilter,
    split,
    stats,
    train,
    validate,
)
from imig.errors import ImigError
from imig.threads import wait_passively

STOPPED = 130
"""128 + SIGINT, as shells have it."""

_EXAMPLES = """\
examples:
  imig build demo                                    the embedded default: offline, on a CPU
  imig build photos --set source.path=~/photos       photographs, full-size checkpoints
  imig validate shards/
  imig preview basic-00000042 --shards shards/
  imig stats shards/ --out stats.png
  imig train --shards shards/                        the tiny model, on a CPU, in minutes
  imig generate layout.json --adapter runs/train-tiny/adapter.safetensors --output pictures/

`imig COMMAND --help` has more of each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `imig` script; returns the exit code."""
    options = _make_parser().parse_args(arguments)
    wait_passively()  # before the command imports torch; its worker processes inherit it
    return run_command(options.command, lambda: options.run(options))


def run_command(name: str, command: Callable[[], int]) -> int:
    """Run a command; print what ends it as people want to read it, and return the exit code.

    Exceptions that are no `ImigError` are faults of imig: they keep their traceback.
    """
    try:
        code = command()
        sys.stdout.flush()
    except ImigError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.cure:
            print(f"  {error.cure}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        # Nothing is left to stop: one more Ctrl-C would only print a traceback over the ending.
        with suppress(ValueError):  # not in the main thread: a program of others calls us
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        continues = "; the same command continues" if name in ("build", "encode", "prompts") else ""
        print(f"stopped{continues}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        # The reader (`head`, `less`) has gone; nothing is wrong. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imig",
        description="Build multi-instance, identity-annotated image datasets, and train on them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"imig {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # In the order in which `imig --help` lists them.
    for command in (
        prompts,
        build,
        validate,
        preview,
        stats,
        refilter,
        split,
        merge,
        encode,
        train,
        generate,
        adapter,
        models,
        recipes,
    ):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
