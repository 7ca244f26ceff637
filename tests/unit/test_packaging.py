# SPDX-License-Identifier: MIT
"""The manual page, the completions and the boot unit name what fw has, neither more nor less."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from firewall import errors
from firewall.__main__ import INTERRUPTED
from firewall.clauses import CLAUSES
from firewall.cli.app import app
from firewall.flowstate import STATES
from firewall.options import OPTIONS
from firewall.words import ANSWERS

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
MAN = PACKAGING / "man" / "fw.8"
UNITS = PACKAGING / "systemd"
COMPLETIONS = [PACKAGING / "completions" / name for name in ("fw.bash", "_fw", "fw.fish")]


def commands() -> dict[str, set[str]]:
    """Every command and "noun verb" of fw → its options in the long form."""
    found: dict[str, set[str]] = {}

    def visit(path: str, command: typer.core.TyperCommand | typer.core.TyperGroup) -> None:
        context = typer.Context(command)
        options = {flag for one in command.get_params(context) for flag in one.opts if flag.startswith("--")}
        if path:
            found[path] = options
        if isinstance(command, typer.core.TyperGroup):
            for name in command.list_commands(context):
                if (inner := command.get_command(context, name)) is not None:
                    visit(f"{path} {name}".strip(), inner)  # type: ignore[arg-type]

    visit("", typer.main.get_command(app))  # type: ignore[arg-type]
    return found


def test_commands_are_found() -> None:
    found = commands()
    assert {"load", "rule add", "flow list", "log"} <= found.keys()
    assert "--observe" in found["load"]


def test_manual_names_each_command() -> None:
    text = MAN.read_text().replace("\\-", "-").replace('"', "")
    plain = re.sub(r"\\f[A-Z]", "", text)
    groups = {name.split()[0] for name in commands() if " " in name}
    missing = [name for name in commands() if name not in groups and not re.search(rf"\bfw {name}\b", plain)]
    assert not missing, f"fw.8 does not mention: {', '.join(missing)}"


def test_manual_is_well_formed() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(MAN)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize(
    ("path", "begin", "end", "row"),
    [
        (MAN, ".SH EXIT STATUS", ".TE", r"^(\d+);"),
        (PACKAGING.parent / "docs" / "rules.md", "| exit code |", "\n\n", r"^\| (\d+) \|"),
    ],
    ids=["manual", "reference"],
)
def test_every_exit_status_is_told(path: Path, begin: str, end: str, row: str) -> None:
    table = path.read_text().partition(begin)[2].partition(end)[0]
    kinds = [
        one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.FwError)
    ]
    told = [int(code) for code in re.findall(row, table, re.MULTILINE)]
    assert told == sorted({0, INTERRUPTED, *(kind.exit_code for kind in kinds)})


@pytest.mark.parametrize("path", COMPLETIONS, ids=lambda path: path.name)
def test_completions_know_each_word(path: Path) -> None:
    words = set(re.findall(r"[a-z0-9][a-z0-9._-]*", path.read_text()))
    wanted = {word for name in commands() for word in name.split()} | set(OPTIONS) | set(STATES)
    wanted |= CLAUSES.keys() | set(ANSWERS) - {"port"}
    wanted |= {flag.removeprefix("--") for flags in commands().values() for flag in flags} - {"option"}
    assert wanted <= words, f"{path.name} does not know: {', '.join(sorted(wanted - words))}"


def complete(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fw; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-uc", script, COMPLETIONS[0], *words], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completion() -> None:
    assert complete("fw", "lo") == {"load", "log"}
    assert complete("fw", "load", "--attach", "") == {"auto", "tcx", "clsact"}
    assert complete("fw", "--netns", "x", "rule", "add", "al") == {"allow"}
    assert complete("fw", "flows", "--state", "est") == {"established"}
    assert "lo" in complete("fw", "unload", "")


def directives(unit: str) -> dict[str, set[str]]:
    """What a unit says: "[Section] Name" → its values."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(f"{section} {name}", set()).add(value)
    return found


def test_stopping_the_boot_unit_opens_nothing() -> None:
    said = directives("fw.service")
    assert not [name for name in said if "ExecStop" in name]
    assert "network-pre.target" in " ".join(said["[Unit] Before"]).split()


@pytest.mark.parametrize("unit", ["fw.service", "fw-attach@.service"])
def test_what_boot_protects_does_not_depend_on_who_is_connected(unit: str) -> None:
    """A connection to the ssh server that the policy does not allow must not keep an interface open."""
    assert directives(unit)["[Service] ExecStart"] == {"/usr/local/bin/fw load --yes"}
    assert "--yes" in commands()["load"]


def test_a_reload_asks_before_it_cuts() -> None:
    """Nothing is open when it is refused: the policy before stays in force."""
    assert directives("fw.service")["[Service] ExecReload"] == {"/usr/local/bin/fw apply"}


def test_the_times_of_rules_are_counted_again() -> None:
    """When the clock or the zone is set and each hour, as docs/rules.md says; also where nothing is loaded."""
    timer = directives("fw-refresh.timer")
    assert {name: values for name, values in timer.items() if name.startswith("[Timer] On")} == {
        "[Timer] OnClockChange": {"yes"},
        "[Timer] OnTimezoneChange": {"yes"},
        "[Timer] OnCalendar": {"hourly"},
    }
    assert "[Timer] Unit" not in timer, "what it starts is the service of its own name"
    assert timer["[Install] WantedBy"] == {"timers.target"}
    assert directives("fw.service")["[Install] Also"] == {"fw-refresh.timer"}
    service = directives("fw-refresh.service")
    assert service["[Service] Type"] == {"oneshot"}
    assert service["[Service] ExecStart"] == {"/usr/local/bin/fw refresh"} and "refresh" in commands()
    assert service["[Service] SuccessExitStatus"] == {str(errors.NotLoaded.exit_code)}
    assert service["[Unit] After"] == {"fw.service"}
