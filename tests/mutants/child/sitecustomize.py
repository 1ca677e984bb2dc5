"""Runs first in each Python process that a test starts in a trial, such as a worker: its folder is in ``PYTHONPATH``.

Appends the functions that the process reaches to the file ``BSBATCH_REACHED``, a line for each as soon as it is called,
because workers are killed. Or changes the module in the file ``BSBATCH_MUTANT`` when it is imported.
"""

import marshal
import os
import sys
import threading
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType

_ENGINE = str(Path(__file__).parents[3] / "engine/bsbatch")


def _watch(reached: str) -> None:
    seen: set[CodeType] = set()
    file = os.open(reached, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code not in seen:
            seen.add(code)
            if code.co_filename.startswith(_ENGINE):
                os.write(file, f"{code.co_filename}\t{code.co_qualname.split('.<locals>')[0]}\n".encode())

    threading.setprofile(note)
    sys.setprofile(note)


def _change(path: str, changed: CodeType) -> None:
    unchanged = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        return changed if self.path == path else unchanged(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


if "BSBATCH_MUTANT" in os.environ:
    _change(*marshal.loads(Path(os.environ["BSBATCH_MUTANT"]).read_bytes()))
elif "BSBATCH_REACHED" in os.environ:
    _watch(os.environ["BSBATCH_REACHED"])
