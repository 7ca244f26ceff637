# SPDX-License-Identifier: MIT
"""Where a run of fw begins and ends: the only place that prints errors and chooses exit codes."""

import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TextIO

from firewall.errors import FwError

INTERRUPTED = 130  # as shells report a process that SIGINT ended: 128 + 2


def main(argv: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Runs one command line, by default that of this process, and gives its exit status.

    What the user asked for goes to `out`, all other talk to `err`: by default the process's own streams.
    Nothing is raised. FW_DEBUG=1 in the environment adds the traceback of an unexpected error.
    """
    if argv is None:
        # A large policy is a million objects, none of them garbage, and commands end before they leave any: to look
        # for it would take a third of the time. Those that go on for ever do look (`firewall.cli.interrupt`).
        gc.disable()
    _open_what_is_closed()
    words = sys.argv[1:] if argv is None else argv
    out, err = out or sys.stdout, err or sys.stderr
    _show_what_is_no_text(out)
    try:
        from firewall.cli.app import run

        status = run(words, out, err)
        out.flush()
        return status
    except BrokenPipeError:
        _give_up(out)  # the reader has left, as `head` does when it has enough
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except FwError as error:
        _flush(out)
        _say(err, error)
        return error.exit_code
    except ModuleNotFoundError as error:
        _say(err, FwError(f"fw needs the Python module '{error.name}'", "install it, or run 'make'"))
        return FwError.exit_code
    except Exception as error:
        if not _flush(out) and isinstance(error, OSError):
            _say(err, FwError(f"cannot write standard output: {error.strerror}"))
            return FwError.exit_code
        return _unexpected(err, error)


def _open_what_is_closed() -> None:
    """Where the caller has closed a standard stream, no file that is opened later takes its number.

    To write to that output is an error then, as if it were closed still; what is said to nobody is not.
    """
    for name, mode, access in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, access), mode))


def _show_what_is_no_text(stream: TextIO) -> None:
    """A byte of an interface's name that is no UTF-8 is printed as \\udcXX, which is JSON too."""
    if isinstance(stream, TextIOWrapper) and stream.encoding == "utf-8":
        stream.reconfigure(errors="backslashreplace")


def _say(err: TextIO, error: FwError) -> None:
    # What is wrong with a file begins with its name and line, as compilers do it.
    problems = getattr(error, "problems", ())
    prefix = "" if problems and problems[0].name else "fw: "
    print(f"{prefix}{error.message}", file=err)
    if error.hint:
        print(f"hint: {error.hint}", file=err)


def _unexpected(err: TextIO, error: Exception) -> int:
    """A fault of ours, or of the machine, that nobody foresaw: still one line."""
    if os.environ.get("FW_DEBUG") == "1":
        import traceback

        traceback.print_exc(file=err)
    what = " ".join(str(error).split())
    if isinstance(error, OSError):
        print(f"fw: {what}", file=err)
    else:
        print(f"fw: unexpected {type(error).__name__}: {what}", file=err)
    print("hint: run it again with FW_DEBUG=1 and report what that prints to the maintainers of fw", file=err)
    return FwError.exit_code


def _flush(stream: TextIO) -> bool:
    """What was printed before a failure still comes out before it, if anyone reads it; whether it did."""
    try:
        stream.flush()
    except OSError:
        _give_up(stream)
        return False
    return True


def _give_up(stream: TextIO) -> None:
    """What cannot be written must not be tried again by the interpreter at its end, which has its own exit code."""
    if stream is sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
