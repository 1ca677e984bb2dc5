"""Compiles the native library into wheels and editable installs if there is a C compiler; bsbatch runs without it."""

import os
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOM = Path("engine/bsbatch/native")
_LIBRARY = _ROOM / "libviews.so"


class CompiledPart(BuildHookInterface):
    """Build hook; ``BSBATCH_NATIVE=0`` leaves the library out, with ``BSBATCH_NATIVE=1`` a build without it fails."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the interface's
        """Compile the library and set the platform of the wheel, or warn why not.

        Raises
        ------
        RuntimeError
            It cannot be compiled, and ``BSBATCH_NATIVE=1``.
        """
        library = Path(self.root) / _LIBRARY
        library.unlink(missing_ok=True)  # from an earlier build
        wanted, problem = os.environ.get("BSBATCH_NATIVE"), "BSBATCH_NATIVE=0"
        if wanted != "0":
            problem = runpy.run_path(str(Path(self.root) / _ROOM / "build.py"))["compile_views"](library)
        if problem and wanted == "1":
            raise RuntimeError(f"bsbatch: no compiled part: {problem}")
        if problem:
            self.app.display_warning(f"bsbatch: no compiled part, numpy replaces it: {problem}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(_LIBRARY.as_posix())
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
