# SPDX-License-Identifier: MIT
"""What holds for all tests: which need root, and what they cannot do without.

Tests in tests/packet, tests/lab and tests/vm get the mark `root`. When such tests are asked for and something
essential is missing, one line says so and nothing runs: a suite that skips its point would look like a pass.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Other tests run beside these: no time can be asked of one example. Where it finds a CI service, Hypothesis would
# have the same examples in each run.
settings.register_profile("fw", deadline=None, derandomize=False)
settings.load_profile("fw")

HERE = Path(__file__).parent
NEEDS_ROOT = tuple(HERE / name for name in ("packet", "lab", "vm"))
EXIT_MISSING = 4


def missing_essential() -> str | None:
    """What keeps the tests with root from running, and what to do; None when all is there."""
    if os.geteuid() != 0:
        return "not root: run it as root, or `make test-fast` for the tests that need no root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF (/sys/kernel/btf/vmlinux): boot one built with CONFIG_DEBUG_INFO_BTF"
    if "\tbpf\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no bpffs: boot one built with CONFIG_BPF_SYSCALL"
    if not (HERE.parent / "build" / "fw.bpf.o").exists():
        return "build/fw.bpf.o is missing: run `make`"
    return None


def _asks_for_root(config: pytest.Config) -> bool:
    """Whether any path of the command line holds tests with root."""
    if "not root" in str(config.getoption("markexpr")):
        return False
    asked = [Path(config.invocation_params.dir, word.split("::")[0]).resolve() for word in config.args]
    return any(
        path == root or root in path.parents or path in root.parents for path in asked for root in NEEDS_ROOT
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or config.option.collectonly or not _asks_for_root(config):
        return
    if (missing := missing_essential()) is not None:
        pytest.exit(f"tests cannot run: {missing}", returncode=EXIT_MISSING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(root in item.path.parents for root in NEEDS_ROOT):
            item.add_marker("root")
