"""Output on the terminal: no text moves its cursor, and a run goes on if it closes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text
from typer import Context
from typer.core import TyperGroup

from bsbatch.errors import UsageError

_ESCAPES = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES |= {number: f"\\x{number - 0xDC00:02x}" for number in range(0xDC80, 0xDD00)}
_ESCAPES |= {number: f"\\u{number:04x}" for number in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))}
"""Control characters of ISO/IEC 6429, undecodable bytes (PEP 383), and characters that turn the direction of text."""
_NO_ARGUMENTS = "NoArgsIsHelpError"
"""Click's error that shows the help."""
_IN_LINES = {number: text for number, text in _ESCAPES.items() if chr(number) not in "\n\t"}


def printable(text: str) -> str:
    r"""Return one line with its control characters as escapes, ``\x1b``: a path or a manifest may hold them."""
    return text.translate(_ESCAPES)


class Terminal(Console):
    """A rich console without emoji codes. Control characters in texts become escapes; the console's own stay.

    Output that nobody reads any more is dropped: the rows of a run matter more.
    """

    def __init__(self, *, stderr: bool = False, highlight: bool = True, soft_wrap: bool = False) -> None:
        stream = _Stream(sys.stderr if stderr else sys.stdout)
        super().__init__(file=cast("IO[str]", stream), highlight=highlight, soft_wrap=soft_wrap, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a text, which all texts and cells of tables pass through."""
        return super().render_str(text.translate(_IN_LINES), **options)


class _Stream:
    """A text stream that leads nowhere once it cannot be written to."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError:
            self._close()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._close()

    def _close(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class CommandGroup(TyperGroup):
    """The commands; errors in arguments are ours, with the same exit code."""

    def make_context(self, *arguments: Any, **options: Any) -> Context:
        """Parse the arguments before the command."""
        with _map_errors():
            return cast("Context", super().make_context(*arguments, **options))

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's arguments and run it."""
        with _map_errors():
            return super().invoke(ctx)


@contextmanager
def _map_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # click's errors, of click or of typer's copy of it, have a context and an exit code
        context = getattr(error, "ctx", None)
        if context is None or not hasattr(error, "exit_code") or type(error).__name__ == _NO_ARGUMENTS:
            raise
        raise UsageError(_describe(cast("Any", error), context)) from error


def _describe(error: Any, context: Context) -> str:
    """Describe an error in arguments: an argument given as an option is one that people try."""
    option = str(getattr(error, "option_name", ""))
    arguments = [item.name for item in context.command.params if item.param_type_name == "argument"]
    name = option.lstrip("-").replace("-", "_")
    if name in arguments:
        return f"{option} is an argument, not an option: {context.command_path} {name.upper()} ..."
    text = str(error.format_message()).replace("Value error, ", "").rstrip(".")
    return f"{text[:1].lower()}{text[1:]}. See {context.command_path} --help"


def open_closed_streams() -> None:
    """Let closed standard streams lead nowhere: else files of a run get their numbers, and C libraries write there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor > number and _is_closed(number):
                os.dup2(descriptor, number)
            setattr(sys, name, open(descriptor, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False
