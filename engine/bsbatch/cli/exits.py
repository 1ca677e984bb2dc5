"""Exit codes, and errors as one message on the terminal; for ``bsbatch`` and ``bsbatch-build``."""

import sys
from collections.abc import Callable

from rich.markup import escape

from bsbatch.cli.terminal import Terminal, open_closed_streams, printable
from bsbatch.errors import MachineError, RunError, UsageError
from bsbatch.host.interruption import interrupt_after_imports

DONE, USAGE, TOO_MANY_FAILED, STOPPED, INTERRUPTED = 0, 2, 3, 4, 130


def call(command: Callable[[], object]) -> None:
    """Run a command line; exit with 0 done, 2 usage, 3 too many failed, 4 stopped or 130 interrupted."""
    open_closed_streams()
    try:
        with interrupt_after_imports():
            command()
    except UsageError as error:
        _exit("[bold red]error:[/]", str(error), USAGE)
    except RunError as error:
        _exit("[bold red]stopped:[/]", str(error), STOPPED)
    except (MemoryError, OSError, RuntimeError) as error:
        machine = MachineError.of(error)
        if machine is None:
            raise
        _exit("[bold red]stopped:[/]", str(machine), STOPPED)
    except KeyboardInterrupt:
        _exit("[bold yellow]interrupted[/]", "", INTERRUPTED)


def _exit(label: str, message: str, code: int) -> None:
    Terminal(stderr=True, highlight=False, soft_wrap=True).print(f"{label} {escape(printable(message))}")
    sys.exit(code)
