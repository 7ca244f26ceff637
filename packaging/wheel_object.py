# SPDX-License-Identifier: MIT
"""The wheel carries what `make` compiles beside the package's modules, where firewall.paths looks first."""

from pathlib import Path
from sysconfig import get_platform
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = ("fw.bpf.o", "libfwtree.so")


class ObjectHook(BuildHookInterface[Any]):
    """Puts the object and the library into the wheel; an editable install runs the tree's own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        for name in BUILT:
            compiled = Path(self.root, "build", name)
            if not compiled.is_file():
                raise FileNotFoundError(f"{compiled} does not exist: run `make` before building a wheel")
            build_data["force_include"][str(compiled)] = f"firewall/{name}"
        # of any Python 3, and of this machine alone
        machine = get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{machine}"
