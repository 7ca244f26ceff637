# SPDX-License-Identifier: MIT
"""The steps of the demonstration. Each acts, then yields, then checks what it promised.

        client ───────── lan0 router wan0 ───────── server
      a home network       fw on wan0         the Internet

The router is protected by fw, on its outer interface. It also offers a service of its own on port 8080.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO

from tests.lab import traffic
from tests.lab.host import ANY4, ANY6, Done, Host, execute
from tests.lab.lab import RouterLab

PORT = 8080
ECHO_PORT = 7
SERVICE = f"allow in tcp to port {PORT}"
OUTWARD = "allow forward on lan0 via wan0"

Kind = Literal["tcp", "udp", "ping"]
KINDS: tuple[Kind, ...] = ("tcp", "udp", "ping")


class StepFailed(Exception):
    """Something was not as the step says."""


class Demo:
    """The lab, what runs in it, and the paper on which the story is written."""

    def __init__(self, lab: RouterLab, out: TextIO) -> None:
        self.lab = lab
        self.out = out
        self.running: list[tuple[traffic.Stream, traffic.Stream]] = []
        for host in lab.hosts:
            for address in (ANY4, ANY6):
                host.listen(ECHO_PORT, address)
                host.udp(ECHO_PORT, address, echo=True)
        self.service = {address: lab.router.listen(PORT, address, mode="hold") for address in (ANY4, ANY6)}

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def fw(self, words: str, *, shown: int = 40, exit_code: int = 0) -> Done:
        """Run fw on the router, showing the command and the first lines of what it says."""
        self.say(f"   router# fw {words}")
        done = self.lab.router.fw(*words.split(), check=False, way="netns")
        lines = (done.stdout + done.stderr).splitlines()
        for line in lines[:shown]:
            self.say(f"   | {line}".rstrip())
        if len(lines) > shown:
            self.say(f"   | ... {len(lines) - shown} more lines")
        self.check(done.returncode == exit_code, f"fw {words} ended with {done.returncode}, not {exit_code}")
        return done

    def json(self, words: str) -> Any:
        """What `fw WORDS --json` says; not shown."""
        done = self.lab.router.fw(*words.split(), "--json", check=False, way="netns")
        self.check(done.returncode == 0, f"fw {words} --json ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def check(self, truth: object, otherwise: str) -> None:
        if not truth:
            raise StepFailed(otherwise)

    def tries(self, host: Host, kind: Kind, to: Host, *, port: int = ECHO_PORT, answered: bool) -> None:
        """Traffic of both families, which must be answered or must not."""
        for address in (to.v4, to.v6):
            patience_s = traffic.PATIENCE_S if answered else traffic.SILENCE_S
            if kind == "tcp":
                was = traffic.reaches(host, address, port, patience_s)
            elif kind == "udp":
                was = traffic.asks(host, address, port, patience_s)
            else:
                was = traffic.pings(host, address, patience_s)
            end = address if kind == "ping" else f"{address} port {port}"
            self.say(f"   {host.name} → {to.name}  {kind:4}  {end:26} {'answered' if was else 'no answer'}")
            self.check(was == answered, f"{kind} to {end} was {'' if was else 'not '}answered")

    def flows(self) -> set[tuple[str, str, str, int]]:
        """(protocol, source, destination, port) of the flows with packets in both directions."""
        return {
            (flow["proto"], flow["src"], flow["dst"], flow["dport"])
            for flow in self.json("flow list")["flows"]
            if flow["packets"] and flow["reply_packets"]
        }

    def drops(self) -> int:
        """Packets dropped so far because no rule allows them."""
        return int(self.json("status")["reasons"]["default_drop"])

    def open_service(self, family: str) -> tuple[traffic.Stream, traffic.Stream]:
        """A connection from the server to the router's port 8080: its two sides."""
        address, to = (ANY4, self.lab.router.v4) if family == "ipv4" else (ANY6, self.lab.router.v6)
        outside = self.lab.server.connect(to, PORT)
        inside = self.service[address].accepted(outside.local)
        return outside, inside


Step = Iterator[None]


def load(demo: Demo) -> Step:
    """`fw load wan0` protects the router."""
    lab = demo.lab
    for kind in KINDS:
        demo.tries(lab.server, kind, lab.router, answered=True)
    demo.say("   The router's services are open to everyone. Then:")
    demo.fw("load wan0")
    yield
    interfaces = {i["name"]: i["attach"] for i in demo.json("status")["interfaces"]}
    demo.check(interfaces.get("wan0") in ("tcx", "clsact"), f"wan0 is not protected: {interfaces}")
    for kind in KINDS:
        demo.tries(lab.server, kind, lab.router, answered=False)


def out(demo: Demo) -> Step:
    """What goes out is answered."""
    lab = demo.lab
    yield
    for kind in KINDS:
        demo.tries(lab.router, kind, lab.server, answered=True)
    demo.fw("flow list")
    seen = {(proto, dst) for proto, _src, dst, _port in demo.flows()}
    for proto in ("tcp", "udp"):
        for address in (lab.server.v4, lab.server.v6):
            demo.check((proto, address) in seen, f"no {proto} flow to {address} in the list")
    demo.check(("icmp", lab.server.v4) in seen, "no icmp flow in the list")
    demo.check(("icmp6", lab.server.v6) in seen, "no icmp6 flow in the list")


def unasked(demo: Demo) -> Step:
    """What comes in unasked is dropped, and fw says why."""
    lab = demo.lab
    before = demo.drops()
    yield
    for kind in KINDS:
        demo.tries(lab.server, kind, lab.router, answered=False)
    demo.tries(lab.server, "tcp", lab.client, answered=False)
    demo.fw("log -n 8")
    dropped = demo.drops() - before
    demo.check(dropped >= 8, f"only {dropped} drops were counted")
    logged = {(d["dst"], d["dport"], d["reason"]) for d in demo.json("log")["events"]}
    for to in (lab.router, lab.client):
        for address in (to.v4, to.v6):
            demo.check(
                (address, ECHO_PORT, "default_drop") in logged,
                f"the log does not say why {address} was silent",
            )


def forward(demo: Demo) -> Step:
    """A rule lets the network behind the router out, and the answers in."""
    lab = demo.lab
    demo.tries(lab.client, "tcp", lab.server, answered=False)
    demo.fw(f"rule add {OUTWARD}")
    yield
    for kind in KINDS:
        demo.tries(lab.client, kind, lab.server, answered=True)
    demo.tries(lab.server, "tcp", lab.client, answered=False)
    seen = demo.flows()
    for proto in ("tcp", "udp"):
        for mine, theirs in ((lab.client.v4, lab.server.v4), (lab.client.v6, lab.server.v6)):
            demo.check((proto, mine, theirs, ECHO_PORT) in seen, f"no {proto} flow from {mine} in the list")


def opened(demo: Demo) -> Step:
    """A rule opens a port."""
    demo.fw(f"rule add {SERVICE}")
    yield
    for family in ("ipv4", "ipv6", "ipv4", "ipv6"):
        try:
            outside, inside = demo.open_service(family)
        except TimeoutError:
            raise StepFailed(f"the server cannot connect to port {PORT} with {family}") from None
        outside.send(b"hello")
        demo.check(inside.recv(5) == b"hello", "the service did not hear the server")
        inside.send(b"welcome")
        demo.check(outside.recv(7) == b"welcome", "the server did not hear the service")
        demo.running.append((outside, inside))
        demo.say(f"   server → router  tcp   {outside.peer[0]} port {PORT}: hello, welcome")
    demo.fw("rule list")
    packets = [rule["packets"] for rule in demo.json("rule list")["rules"] if rule["text"] == SERVICE]
    demo.check(len(packets) == 1 and packets[0] > 0, f"the rule counted no packets: {packets}")


def closed(demo: Demo) -> Step:
    """Deleting the rule closes it, for running connections too, at their next packet from either side."""
    demo.fw(f"rule delete {SERVICE}")
    yield
    demo.check(len(demo.running) == 4, "the connections of the step before are missing")
    for number, (outside, inside) in enumerate(demo.running):
        speaker, listener = (outside, inside) if number < 2 else (inside, outside)
        name = speaker.host.name
        speaker.send(b"still there?")
        heard = traffic.answered(partial(listener.recv, 1, traffic.SILENCE_S))
        demo.say(f"   the {name} says something on its connection with {outside.peer[0]}: it does not arrive")
        demo.check(not heard, f"what the {name} said still arrived")
    for to in (demo.lab.router.v4, demo.lab.router.v6):
        was = traffic.answered(partial(demo.lab.server.connect, to, PORT, timeout_s=traffic.SILENCE_S))
        demo.check(not was, f"port {PORT} is still open at {to}")
    demo.fw("log --reason revoked -n 4")
    logged = {(d["src"], d["dst"]) for d in demo.json("log --reason revoked")["events"]}
    for mine, theirs in ((demo.lab.router.v4, demo.lab.server.v4), (demo.lab.router.v6, demo.lab.server.v6)):
        demo.check(
            (mine, theirs) in logged and (theirs, mine) in logged, f"the log does not tell of {theirs}"
        )


def watch(demo: Demo) -> Step:
    """Flows, counters, reasons and the last drops can be read at any time."""
    before = demo.json("status")["reasons"]
    yield
    demo.tries(demo.lab.router, "ping", demo.lab.server, answered=True)
    demo.tries(demo.lab.server, "ping", demo.lab.router, answered=False)
    after = demo.json("status")["reasons"]
    for reason in ("flow", "default_allow", "default_drop"):
        more = after[reason] - before[reason]
        demo.check(more >= 2, f"two pings later, the counter of {reason} went up by {more}")
    for words in ("status", "flow list", "log -n 3"):
        demo.fw(words)


def unload(demo: Demo) -> Step:
    """`fw unload --all` leaves nothing behind."""
    demo.fw("unload --all")
    yield
    demo.fw("status", exit_code=3)
    for kind in KINDS:
        demo.tries(demo.lab.server, kind, demo.lab.router, answered=True)
    left = pins(demo.lab.router)
    demo.check(not left, f"pins are left: {left}")
    for direction in ("ingress", "egress"):
        filters = demo.lab.router.run(f"tc filter show dev wan0 {direction}").stdout
        demo.check(not filters, f"a filter is left: {filters}")


STEPS: tuple[Callable[[Demo], Step], ...] = (load, out, unasked, forward, opened, closed, watch, unload)


def pins(host: Host) -> list[str]:
    """What fw has pinned for a host's namespace; the directory's name begins with the namespace's inode."""
    inode = os.stat(f"/run/netns/{host.netns}").st_ino
    root = Path("/run/fw/bpf")
    return [str(path) for path in root.glob(f"{inode}*")] if root.is_dir() else []


def perform(demo: Demo, number: int, before_check: Callable[[], object] = lambda: None) -> None:
    """Play one step (from 0): StepFailed if it did not do what it says."""
    step = STEPS[number]
    demo.say(f"\n{number + 1}. {step.__doc__}\n")
    running = step(demo)
    next(running)
    before_check()
    if next(running, "over") != "over":
        raise RuntimeError(f"{step.__name__} yields twice")


def play(paper: TextIO) -> int:
    """Play all steps in a fresh lab; the exit status."""
    began_s = time.monotonic()
    done, failure = 0, ""
    print(__doc__.partition("\n\n")[2].rstrip() if __doc__ else "", file=paper)
    try:
        with RouterLab() as lab:
            demo = Demo(lab, paper)
            for number in range(len(STEPS)):
                perform(demo, number)
                done += 1
    except StepFailed as error:
        failure = str(error)
    left = [name for name in execute("ip netns list").stdout.split() if any(name == h for h in lab.names)]
    if left:
        failure = failure or f"namespaces are left: {left}"
    took = f"{time.monotonic() - began_s:.0f} s"
    if failure:
        print(f"\nfw demo: step {done + 1} failed: {failure} ({took})", file=paper)
        return 1
    print(f"\nfw demo: all {done} steps did what they say; nothing is left behind ({took})", file=paper)
    return 0
