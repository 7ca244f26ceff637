# SPDX-License-Identifier: MIT
"""Imports that wait until they are used, for the sake of commands that must answer at once.

`import typer` loads a quarter of its weight for features that fw never asks of it (UUID and date options,
reading source code, opening browsers, installing completions). While `deferred(...)` is in force, importing
one of the named modules gives a stand-in whose names load the real module when they are called, subclassed,
compared or looked into. So nothing is left out, it only comes later; what is imported after the block gets
the real module as always.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Later:
    """A value that is found when something is done with it; `find` is called each time."""

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._find()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def __eq__(self, other: object) -> bool:
        return bool(self._find() == other)

    def __hash__(self) -> int:
        return hash(self._find())

    # Unions are annotations, which mostly nobody looks at.
    def __or__(self, other: Any) -> Any:
        return _Later(lambda: self._find() | other)

    def __ror__(self, other: Any) -> Any:
        return _Later(lambda: other | self._find())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._find(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._find())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._find())


class _StandIn(ModuleType):
    """What `import module` gives meanwhile. When the block is over its names are the module's own."""

    waits = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.waits:
            return _Later(lambda: getattr(_real(self.__name__), name))
        return getattr(_real(self.__name__), name)


def _real(name: str) -> ModuleType:
    if isinstance(sys.modules.get(name), _StandIn):
        del sys.modules[name]
    return import_module(name)


@contextmanager
def deferred(*modules: str) -> Iterator[None]:
    """Within the block, imports of `modules` that are not loaded yet wait until they are used."""
    stand_ins = {name: _StandIn(name) for name in modules if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            stand_in.waits = False
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@contextmanager
def bare(package: str) -> Iterator[None]:
    """Within the block, modules of `package` are imported without its own `__init__`, which may import them all.

    Raises ModuleNotFoundError if there is no such package.
    """
    if package in sys.modules:
        yield
        return
    from importlib.util import find_spec, module_from_spec

    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)
    shell = sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        if sys.modules.get(package) is shell:
            del sys.modules[package]
