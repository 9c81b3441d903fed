"""The `imig` script: finds the command in imig/commands/, runs it, prints what ends it.

Exit codes: 0 all is well; 1 the data or the run is at fault, or `imig diff` has found a difference;
2 the call is; 130 stopped by Ctrl-C;
141 work cut off because the reader of the output has gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from traceback import format_exc

from imig import __version__
from imig.commands import (
    adapter,
    bench,
    build,
    card,
    diff,
    encode,
    evaluate,
    export_format,
    formats,
    generate,
    import_format,
    merge,
    models,
    preview,
    prompts,
    push,
    recipes,
    refilter,
    remove,
    split,
    stats,
    train,
    validate,
)
from imig.console.json_log import JsonLog
from imig.console.logged import warnings_told_to
from imig.errors import DataError, ImigError, UsageError
from imig.printable import to_printable
from imig.threads import wait_passively

STOPPED = 130
"""128 + SIGINT, as shells have it."""
NO_READER = 141
"""128 + SIGPIPE: work was cut off because what reads the output has gone."""

_MAKING = (
    "bench", "build", "card", "encode", "evaluate", "export", "generate", "import", "merge",
    "prompts", "push", "refilter", "remove", "split", "train",
)  # fmt: skip
"""Commands that are there for what they write, not for what they print."""
_CONTINUING = (
    "bench", "build", "encode", "evaluate", "export", "import", "prompts", "push", "remove",
)  # fmt: skip
"""Those of them that go on where they were stopped."""

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
    _prepare_streams()
    try:
        options = _make_parser().parse_args(arguments)
    except ImigError as error:
        return _explain(error)
    except SystemExit:
        _flush()  # of --help, whose reader may have gone
        raise
    wait_passively()  # before the command imports torch; its worker processes inherit it
    log = JsonLog(sys.stderr) if getattr(options, "log", "text") == "json" else None
    return run_command(options.command, lambda: _run(options), log=log)


def run_command(name: str, command: Callable[[], int], *, log: JsonLog | None = None) -> int:
    """Run a command; print what ends it as people want to read it, and return the exit code.

    Exceptions that are neither `ImigError` nor of the system (a full disk, a folder that cannot be
    written) are faults of imig: they keep their traceback. With a `log` whatever ends the command
    is its last event instead, `error` or `stopped`.
    """
    try:
        with warnings_told_to(partial(_warn, log)):
            code = command()
        sys.stdout.flush()
    except ImigError as error:
        return _explain(error, log)
    except KeyboardInterrupt:
        # Nothing is left to stop: one more Ctrl-C would only print a traceback over the ending.
        with suppress(ValueError):  # not in the main thread: a program of others calls us
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _stopped(f"stopped{_continues(name)}", STOPPED, log)
    except BrokenPipeError:
        _close_output()
        if name not in _MAKING:
            return 0  # what `head` and `less` have no need of is no loss
        message = f"stopped: the reader of the output has gone{_continues(name)}"
        return _stopped(message, NO_READER, log)
    except OSError as error:
        _close_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        cure = "is there space on the disk, and the right to read and write there?"
        return _explain(DataError(f"{where}{error.strerror or error}", cure=cure), log)
    except Exception as error:
        if log is None:
            raise
        message = f"{type(error).__name__}: {error}"
        log.write("error", message=message, cure="", exit_code=1, traceback=format_exc())
        return 1
    return code


def _run(options: argparse.Namespace) -> int:
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            "the folder that you are in is not there any more", cure="go into another: cd"
        ) from error
    code: int = options.run(options)
    return code


def _warn(log: JsonLog | None, message: str) -> None:
    if log is not None:
        log.write("warning", message=message)
    else:
        print(to_printable(message, lines=True), file=sys.stderr)


def _explain(error: ImigError, log: JsonLog | None = None) -> int:
    if log is not None:
        log.write("error", message=error.message, cure=error.cure, exit_code=error.exit_code)
        return error.exit_code
    print(f"error: {to_printable(error.message, lines=True)}", file=sys.stderr)
    if error.cure:
        print(f"  {to_printable(error.cure, lines=True)}", file=sys.stderr)
    return error.exit_code


def _stopped(message: str, code: int, log: JsonLog | None) -> int:
    if log is not None:
        log.write("stopped", message=message, exit_code=code)
    else:
        print(message, file=sys.stderr)
    return code


def _continues(name: str) -> str:
    return "; the same command continues" if name in _CONTINUING else ""


def _prepare_streams() -> None:
    """Whatever is printed can be printed, and nothing else is printed into.

    A stream that the caller has closed leaves its number to the next file that is opened. What an
    encoding lacks (`LC_ALL=C`; names of files that are no text) is printed as an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good
            setattr(sys, name, nowhere)
        elif getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with suppress(AttributeError, OSError, ValueError):  # a stream of another program's
                stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _close_output()


def _close_output() -> None:
    """Nothing more can be written; Python would complain when it flushes at the end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # no file behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        diff,
        refilter,
        split,
        merge,
        remove,
        import_format,
        export_format,
        formats,
        card,
        push,
        encode,
        train,
        generate,
        bench,
        evaluate,
        adapter,
        models,
        recipes,
    ):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
