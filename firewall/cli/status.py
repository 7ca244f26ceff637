# SPDX-License-Identifier: MIT
"""`fw status`: what is protected, whether it works, and why packets passed or did not."""

from typing import Any

import typer

from firewall import render
from firewall.cli.base import Report, Session, new_app, session_of

app = new_app()

_EXAMPLES = """
fw                       the same
fw status --json
fw --netns blue status   in another network namespace
"""

_WIDTH = len("unprotected") + len(render.GAP)


@app.command(cls=Report, epilog=_EXAMPLES)
def status(ctx: typer.Context) -> None:
    """Show mode, interfaces, flows, and why packets were dropped."""
    from firewall import links, state
    from firewall.flows import Table
    from firewall.occupancy import occupancy

    session = session_of(ctx)
    with state.read() as running:
        interfaces = running.interfaces()
        present = links.list_links()
        filtered = {interface.ifindex for interface in interfaces}
        known = {interface.name for interface in interfaces}
        names_now = {link.ifindex: link.name for link in present}
        counts = Table(running.pins).counts()
        table = occupancy(running.pins, running.generation, counts.embryonic_entries)
        facts: dict[str, Any] = {
            "mode": running.mode,
            "generation": running.generation,
            "spares": running.spares,
            "rules": running.document.size,
            "differs": running.differs(),
            "interfaces": [
                {
                    "name": i.name,
                    "name_now": names_now.get(i.ifindex),
                    "ifindex": i.ifindex,
                    "attach": i.attach,
                }
                for i in interfaces
            ],
            "unprotected": [
                link.name
                for link in present
                if link.ifindex not in filtered
                and (link.up or link.name in known)
                and not links.why_not_loadable(link, present)
            ],
            "flows": {
                "confirmed": counts.confirmed,
                "embryonic": counts.embryonic,
                **table._asdict(),
                "busiest": [{"source": source, "flows": flows} for source, flows in table.busiest],
            },
            "reasons": {name: counter.packets for name, counter in running.reasons().items()},
        }
    if session.json:
        session.print_json(**facts)
    else:
        _show(session, facts)


def _show(session: Session, facts: dict[str, Any]) -> None:
    from firewall.paths import policy_path

    observing = facts["mode"] == "observe"
    rows = [("mode", "observe: judges and counts, drops nothing" if observing else "enforce")]
    saved = "differs from the saved" if facts["differs"] else "as saved in"
    rules = render.counted(facts["rules"], "rule")
    rows.append(("policy", f"generation {facts['generation']}, {rules}, {saved} {policy_path()}"))
    if facts["spares"] is not None:
        rows.append(("", "spares flows that were open before it (--keep-flows); 'fw apply' judges them"))
    for i, interface in enumerate(facts["interfaces"]):
        rows.append(("" if i else "protected", _interface(interface, facts)))
    if not facts["interfaces"]:
        rows.append(("protected", "no interface"))
    if facts["unprotected"]:
        rows.append(("unprotected", ", ".join(facts["unprotected"])))
    rows += [("" if i else "flows", text) for i, text in enumerate(_flows(facts["flows"]))]
    session.print(*(f"{name:{_WIDTH}}{text}" for name, text in rows))
    _show_reasons(session, facts["reasons"], "would be dropped" if observing else "dropped")


def _flows(flows: dict[str, Any]) -> list[str]:
    """How full the tables are; what is out of the ordinary on lines of its own."""
    number = {name: render.count(value) for name, value in flows.items() if isinstance(value, int)}
    full = f"{number['used']} of {number['max']} places used"
    lines = [f"{number['confirmed']} confirmed, {number['embryonic']} embryonic; {full}"]
    if flows["timeout_percent"] < 100:
        lines.append(f"the table fills: idle flows are given {flows['timeout_percent']} % of their timeouts")
    gone = [("displaced", "embryonic"), ("evicted", "confirmed"), ("lost", "confirmed")]
    said = [f"{number[what]} {kind} {what}" for what, kind in gone if flows[what]]
    if said:
        lines.append(f"{', '.join(said)} since loading")
    busiest = flows["busiest"]
    if busiest and busiest[0]["flows"] * 2 > flows["per_source"]:
        first, limit = busiest[0], number["per_source"]
        lines.append(
            f"{first['source']} has opened {render.count(first['flows'])} of the {limit} that it may"
        )
    return lines


def _interface(interface: dict[str, Any], facts: dict[str, Any]) -> str:
    width = max(len(other["name"]) for other in facts["interfaces"])
    name, now = interface["name"], interface["name_now"]
    gone = "the interface has vanished"
    if name in facts["unprotected"]:
        gone = "another interface has the name, not filtered; 'fw load' protects it"
    attach = {
        "gone": f"GONE: {gone}",
        "detached": "DETACHED: not filtered, our programs were removed; 'fw load' puts them back",
    }.get(interface["attach"], interface["attach"])
    renamed = f", now called {now}" if now not in (name, None) else ""
    return f"{name:{width}}{render.GAP}{attach}{renamed}"


def _show_reasons(session: Session, packets: dict[str, int], dropped: str) -> None:
    """Two tables in one pair of columns: drops, then what passed; most frequent first."""
    from firewall.reasons import DROPS, REASONS

    counted = sorted((name for name in REASONS if packets[name]), key=lambda name: -packets[name])
    parts = [
        (dropped, [name for name in counted if name in DROPS]),
        ("passed", [name for name in counted if name not in DROPS]),
    ]
    rows = []
    for title, part in parts:
        if part:
            rows += [("", "", ""), (title, "packets", "because")]
            rows += [(f"  {name}", render.count(packets[name]), REASONS[name]) for name in part]
    session.print(*render.columns(rows, right=[1]))
