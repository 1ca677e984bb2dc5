"""Puts the compiled part into wheels and editable installs where there is a C compiler; nothing needs it."""

import os
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOM = Path("engine/bsbatch/native")
_LIBRARY = _ROOM / "libviews.so"


class CompiledPart(BuildHookInterface):
    """``BSBATCH_NATIVE=0`` leaves it out."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the interface's
        """Compile, and name the wheel after the platform; or say why not."""
        library = Path(self.root) / _LIBRARY
        library.unlink(missing_ok=True)  # of another version, or of a compiler that is no longer wanted
        problem = "BSBATCH_NATIVE=0"
        if os.environ.get("BSBATCH_NATIVE") != "0":
            problem = runpy.run_path(str(Path(self.root) / _ROOM / "build.py"))["compile_views"](library)
        if problem:
            self.app.display_warning(f"bsbatch: without the compiled part, numpy does its work: {problem}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(_LIBRARY.as_posix())
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
