"""Type and place of an unexpected error: the line of our own code that it comes from, without any value."""

from traceback import walk_tb

_MARK = "bsbatch: "
"""Begins the note of an error that crosses the border of a process, where its traceback is lost."""
_PACKAGE = "bsbatch."


def describe(error: BaseException) -> str:
    """Return type and place: ``ValueError at imaging.quality:221``. The error's message is left out: it may quote."""
    kind = type(error)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__} at {place_of(error)}"


def place_of(error: BaseException) -> str:
    """Return module and line of the innermost frame of bsbatch; in the worker process for an error from there."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith(_MARK):
            return str(note).removeprefix(_MARK)
    modules = ((str(frame.f_globals.get("__name__")), line) for frame, line in walk_tb(error.__traceback__))
    ours = [f"{module.removeprefix(_PACKAGE)}:{line}" for module, line in modules if module.startswith(_PACKAGE)]
    return ours[-1] if ours else "an unknown line"


def note_place(error: BaseException) -> None:
    """Note the place of an error before it is pickled for another process."""
    error.add_note(_MARK + place_of(error))
