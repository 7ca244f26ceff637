# SPDX-License-Identifier: MIT
"""`fw doctor` and `fw version`: the machine and the program itself."""

import os
from typing import Any

import typer

from firewall import __version__, render
from firewall.cli.base import Report, new_app, session_of
from firewall.errors import FwError

app = new_app()


@app.command(cls=Report, epilog="fw doctor\nfw doctor --json\n")
def doctor(ctx: typer.Context) -> None:
    """Check this machine, and what may stand in fw's way.

    Exits with 0 if fw can run here, with 5 if the kernel lacks what fw cannot do without.
    """
    from firewall.doctor import BAD, examine

    session = session_of(ctx)
    findings = examine()
    if session.json:
        keys = ("check", "verdict", "text", "advice")
        session.print_json(findings=[{key: getattr(finding, key) for key in keys} for finding in findings])
    else:
        rows = []
        for finding in findings:
            rows.append((finding.verdict, finding.check, finding.text))
            if finding.advice and finding.verdict != "ok":
                rows.append(("", "", f"-> {finding.advice}"))
        session.print(*render.columns(rows))
    broken = next((finding for finding in findings if finding.verdict == BAD), None)
    if broken:
        kind = broken.error or FwError
        raise kind(f"fw cannot run here: {broken.check}: {broken.text}", broken.advice or None)


@app.command(cls=Report, epilog="fw version\nfw version --json\n")
def version(ctx: typer.Context) -> None:
    """Show the versions of fw, libbpf and the kernel."""
    from firewall import abi, bpfprog
    from firewall.paths import find_pin_dir
    from firewall.pins import layout_of

    session = session_of(ctx)
    try:
        libbpf = bpfprog.libbpf_version()
    except FwError:
        libbpf = None
    try:
        pins = find_pin_dir()
        loaded = pins is not None
        unknown = ""
    except FwError as error:
        pins = loaded = None
        unknown = error.message
    facts: dict[str, Any] = {
        "fw": __version__,
        "layout": int(abi.Layout.LAYOUT_VERSION),
        "loaded": loaded,
        "loaded_layout": layout_of(pins) if pins else None,
        "libbpf": libbpf,
        "kernel": os.uname().release,
    }
    if session.json:
        session.print_json(**facts)
    else:
        session.print(
            f"fw {facts['fw']}",
            f"layout {facts['layout']}, {_said_loaded(loaded, facts['loaded_layout'], unknown)}",
            f"libbpf {libbpf or 'not found'}",
            f"Linux {facts['kernel']}",
        )


def _said_loaded(loaded: bool | None, layout: int | None, unknown: str) -> str:
    if loaded is None:
        return f"loaded: not known, {unknown}"
    return f"loaded: {layout or 'unknown'}" if loaded else "nothing loaded"
