# SPDX-License-Identifier: MIT
"""The wheel carries the compiled object beside the package's modules, where firewall.paths looks first."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ObjectHook(BuildHookInterface[Any]):
    """Puts build/fw.bpf.o into the wheel as firewall/fw.bpf.o; an editable install runs the tree's own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        compiled = Path(self.root, "build", "fw.bpf.o")
        if not compiled.is_file():
            raise FileNotFoundError(f"{compiled} does not exist: run `make` before building a wheel")
        build_data["force_include"][str(compiled)] = "firewall/fw.bpf.o"
