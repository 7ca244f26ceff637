# SPDX-License-Identifier: MIT
"""Imports that wait: nothing is loaded before it is used, and then it is the real thing."""

import subprocess
import sys


def run(code: str) -> str:
    """What a fresh interpreter prints that has run `code`."""
    script = f"import sys\nfrom firewall.deferred import deferred\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_is_loaded_until_it_is_used() -> None:
    assert (
        run(
            "with deferred('colorsys'):\n"
            "    import colorsys\n"
            "    from colorsys import rgb_to_hsv\n"
            "print('colorsys' in sys.modules, rgb_to_hsv(0, 0, 1), 'colorsys' in sys.modules)\n"
            "print(colorsys.hsv_to_rgb(0, 0, 1))"
        )
        == "False (0.6666666666666666, 1.0, 1) True\n(1, 1, 1)"
    )


def test_an_import_after_the_block_gets_the_real_module() -> None:
    assert (
        run(
            "with deferred('colorsys'):\n"
            "    import colorsys as early\n"
            "import colorsys\n"
            "print(colorsys is early, colorsys.rgb_to_yiq(0, 0, 0))"
        )
        == "False (0.0, 0.0, 0.0)"
    )


def test_names_stand_for_classes_wherever_those_can_stand() -> None:
    assert (
        run(
            "with deferred('uuid'):\n"
            "    from uuid import UUID\n"
            "    class Mine(UUID): pass\n"
            "import uuid\n"
            "one = uuid.uuid4()\n"
            "print(isinstance(one, UUID), isinstance(1, UUID), issubclass(Mine, UUID), Mine.__mro__[1] is uuid.UUID)\n"
            "print(UUID == uuid.UUID, uuid.UUID == UUID, str is UUID, {UUID: 1}[uuid.UUID])\n"
            "print(isinstance(one, UUID | None))"
        )
        == "True False True True\nTrue True False 1\nTrue"
    )


def test_an_annotation_loads_nothing() -> None:
    assert (
        run(
            "with deferred('colorsys'):\n"
            "    from colorsys import Colour, Shade\n"
            "    def mix(one: Colour | None, other: 'int' | Shade | None) -> int | Colour: return 0\n"
            "print('colorsys' in sys.modules)"
        )
        == "False"
    )


def test_the_standard_library_works_with_what_was_put_off_under_it() -> None:
    assert (
        run(
            "import firewall.cli.app, inspect, pathlib\n"
            "def source(): pass\n"
            "print(pathlib.Path('/a b').as_uri(), inspect.getsource(pathlib.PurePath.as_uri).split('(')[0])"
        )
        == "file:///a%20b     def as_uri"
    )


def test_use_within_the_block_loads_the_real_module() -> None:
    assert (
        run(
            "with deferred('colorsys'):\n"
            "    import colorsys\n"
            "    print(colorsys.rgb_to_yiq(0, 0, 0))\n"
            "print('colorsys' in sys.modules)"
        )
        == "(0.0, 0.0, 0.0)\nTrue"
    )


def test_what_is_loaded_already_stays() -> None:
    assert (
        run("import json\nwith deferred('json'):\n    import json as again\nprint(again is json)") == "True"
    )


def test_typer_still_does_what_was_put_off() -> None:
    """The features that fw defers typer's imports for work all the same."""
    assert (
        run(
            "import firewall.cli.app, typer, uuid\n"
            "from typer.testing import CliRunner\n"
            "app = typer.Typer(rich_markup_mode=None)\n"
            "@app.command()\n"
            "def show(what: uuid.UUID) -> None: print(type(what).__name__)\n"
            "print(CliRunner().invoke(app, ['12345678123456781234567812345678']).stdout.split()[0])\n"
            "print(CliRunner().invoke(app, ['--show-completion', 'bash']).exit_code in (0, 1))"
        )
        == "UUID\nTrue"
    )


def test_a_bare_package_has_its_modules_without_its_front() -> None:
    assert (
        run(
            "from firewall.deferred import bare\n"
            "with bare('unittest'):\n"
            "    from unittest.util import strclass\n"
            "print(strclass(int), 'unittest' in sys.modules, 'unittest.case' in sys.modules)\n"
            "import unittest\n"
            "print(unittest.TestCase.__name__)\n"
            "with bare('unittest'):\n"
            "    import unittest as again\n"
            "print(again is unittest, sys.modules['unittest'] is unittest)"
        )
        == "builtins.int False False\nTestCase\nTrue True"
    )


def test_a_bare_package_that_is_not_there() -> None:
    assert (
        run(
            "from firewall.deferred import bare\n"
            "try:\n"
            "    with bare('nowhere'): pass\n"
            "except ModuleNotFoundError as error: print(error.name)"
        )
        == "nowhere"
    )
