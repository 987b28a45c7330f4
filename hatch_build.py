"""Builds the compiled helper of the media workers into the package, where there is a C compiler."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FastPathHook(BuildHookInterface[Any]):
    """Calls connector/media/fastpath_build.py, which stands alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and makes the wheel one of this platform if there is something compiled in it."""
        path = Path(self.root) / "connector" / "media" / "fastpath_build.py"
        spec = importlib.util.spec_from_file_location("fastpath_build", path)
        assert spec is not None
        assert spec.loader is not None
        builder = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(builder)
        missing = builder.build()
        if missing:
            self.app.display_warning(f"the media workers' fast path is left out: {missing}")
            return
        if self.target_name == "wheel":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{self._platform()}"
            build_data["artifacts"].append(str(builder.LIBRARY.relative_to(self.root)))

    @staticmethod
    def _platform() -> str:
        import sysconfig

        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
