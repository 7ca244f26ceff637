# SPDX-License-Identifier: MIT
"""A host of the lab: a network namespace, the commands that run in it, the agent that holds its sockets."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from tests.lab import traffic
from tests.lab.wait import until

ROOT = Path(__file__).resolve().parents[2]
FW = ROOT / ".venv" / "bin" / "fw"
AGENT = Path(__file__).with_name("agent.py")

ANY4, ANY6 = "0.0.0.0", "::"

Command = str | Sequence[str]
Done = subprocess.CompletedProcess[str]
Way = Literal["exec", "netns", "nsenter"]


class CommandFailed(Exception):
    """A command of the lab ended otherwise than it was expected to."""

    def __init__(self, done: Done) -> None:
        words = shlex.join(done.args)
        super().__init__(f"`{words}` ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        self.done = done


def execute(cmd: Command, *, check: bool = True, timeout_s: float = 60, input: str | None = None) -> Done:
    """Run a command to its end; what it printed is text. With `check`, CommandFailed if not with 0."""
    words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, input=input, check=False)
    if check and done.returncode:
        raise CommandFailed(done)
    return done


class Host:
    """A network namespace named `netns`. `v4` and `v6` are its first addresses, set when the lab wires it."""

    def __init__(self, name: str, netns: str) -> None:
        self.name = name
        self.netns = netns
        self.v4 = self.v6 = ""
        self.macs: dict[str, str] = {}
        self.used_fw = False
        self.processes: list[subprocess.Popen[str]] = []
        execute(["ip", "netns", "add", netns])
        ours, theirs = socket.socketpair()
        with theirs:
            self.agent = subprocess.Popen(
                [*self.enter("nsenter"), sys.executable, "-I", "-S", str(AGENT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.control = Connection(ours.detach())
        self.call("sysctl", QUIET)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # Commands

    def enter(self, way: Way = "exec") -> list[str]:
        """The words that make what follows run in this namespace."""
        return (
            ["nsenter", f"--net=/run/netns/{self.netns}"]
            if way == "nsenter"
            else ["ip", "netns", "exec", self.netns]
        )

    def run(
        self, cmd: Command, *, check: bool = True, timeout_s: float = 60, input: str | None = None
    ) -> Done:
        """Run a command in this namespace, to its end."""
        words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
        return execute([*self.enter(), *words], check=check, timeout_s=timeout_s, input=input)

    def popen(self, cmd: Command, **options: Any) -> subprocess.Popen[str]:
        """Start a command in this namespace, to be killed when the lab closes. `options`: those of Popen."""
        words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }
        process: subprocess.Popen[str] = subprocess.Popen([*self.enter(), *words], **{**streams, **options})
        self.processes.append(process)
        return process

    def python(self, code: str) -> str:
        """What a few lines of Python print in this namespace."""
        return self.run([sys.executable, "-c", code]).stdout

    def fw_words(self, *args: str, way: Way = "exec") -> list[str]:
        """The whole command line of `fw ARGS` in this namespace: entered, or named by `--netns`."""
        self.used_fw = True
        return (
            [str(FW), "--netns", self.netns, *args] if way == "netns" else [*self.enter(way), str(FW), *args]
        )

    def fw(
        self,
        *args: str,
        check: bool = True,
        way: Way = "exec",
        timeout_s: float = 300,  # where the machine is emulated, so is the verifier
        input: str | None = None,
    ) -> Done:
        """Run fw here. One argument with spaces is split as a shell would: fw("rule add allow in icmp")."""
        words = shlex.split(args[0]) if len(args) == 1 else list(args)
        return execute(self.fw_words(*words, way=way), check=check, timeout_s=timeout_s, input=input)

    def fw_json(self, *args: str) -> Any:
        """What `fw ARGS --json` says."""
        words = shlex.split(args[0]) if len(args) == 1 else list(args)
        return json.loads(self.fw(*words, "--json").stdout)

    @property
    def policy_file(self) -> Path:
        """The saved policy of this namespace."""
        return Path("/etc/netns") / self.netns / "fw" / "rules.fw"

    def save_policy(self, text: str) -> None:
        """Write the policy that the next `fw load` or `fw apply` finds."""
        self.policy_file.parent.mkdir(parents=True, exist_ok=True)
        self.policy_file.write_text(text)

    # Links

    def ip(self, *commands: str) -> None:
        """Several `ip` commands at once: ip("link set eth0 up", "route add default via 10.0.0.1")."""
        execute(["ip", "-n", self.netns, "-batch", "-"], input="\n".join(commands) + "\n")

    def ip_json(self, command: str) -> Any:
        return json.loads(execute(["ip", "-n", self.netns, "-json", "-s", *command.split()]).stdout or "[]")

    def link_local(self, interface: str) -> str:
        """The interface's IPv6 link-local address, made from its MAC (RFC 4291 appendix A)."""
        octets = bytes.fromhex(self.macs[interface].replace(":", ""))
        host_part = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
        return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + host_part))

    def counters(self, interface: str) -> tuple[int, int, int, int]:
        """The interface's own (packets received, bytes received, packets sent, bytes sent)."""
        stats = self.ip_json(f"link show dev {interface}")[0]["stats64"]
        return stats["rx"]["packets"], stats["rx"]["bytes"], stats["tx"]["packets"], stats["tx"]["bytes"]

    def await_links(self) -> None:
        """Until every interface that is up has its carrier and no address is tentative any more."""

        def settled() -> bool:
            links = self.ip_json("addr show")
            up = [link for link in links if "UP" in link["flags"] and link["ifname"] != "lo"]
            return all(
                link["operstate"] in ("UP", "UNKNOWN")
                and not any(a.get("tentative") for a in link["addr_info"])
                for link in up
            )

        until(settled, what=f"links of {self.name} up")

    def sysctl(self, name: str, value: str | int) -> None:
        """A setting below /proc/sys, with slashes: net/ipv4/ip_forward."""
        self.call("sysctl", {name: str(value)})

    # Sockets: all of them belong to the agent

    def call(self, name: str, *args: object, **kwargs: object) -> Any:
        self.control.send((name, args, kwargs))
        if not self.control.poll(600):
            raise TimeoutError(f"the agent of {self.name} does not answer {name}")
        good, result = self.control.recv()
        if not good:
            raise result
        return result

    def listen(
        self, port: int = 0, address: str = ANY4, *, mode: traffic.Mode = "echo", device: str | None = None
    ) -> traffic.Listener:
        """Accept TCP connections; each then echoes, swallows ("sink"), or waits to be told ("hold")."""
        number, port = self.call("tcp_listen", address, port, mode, device)
        return traffic.Listener(self, number, address, port)

    def connect(
        self,
        address: str,
        port: int,
        *,
        timeout_s: float = traffic.PATIENCE_S,
        source: str | None = None,
        sport: int = 0,
        device: str | None = None,
    ) -> traffic.Stream:
        """Open a TCP connection. TimeoutError if nothing answers; ConnectionRefusedError and its like."""
        number, local = self.call("tcp_connect", address, port, timeout_s, source, sport, device)
        return traffic.Stream(self, number, local, (address, port))

    def udp(
        self, port: int = 0, address: str = ANY4, *, echo: bool = False, device: str | None = None
    ) -> traffic.Datagrams:
        """A bound UDP socket; `echo` sends back whatever comes."""
        number, port = self.call("udp_bind", address, port, echo, device)
        return traffic.Datagrams(self, number, (address, port))

    def ping(
        self,
        address: str,
        *,
        timeout_s: float = traffic.PATIENCE_S,
        size: int = 16,
        device: str | None = None,
    ) -> float:
        """Seconds to the answer of one echo request. TimeoutError without; an ICMP error as its OSError."""
        seconds: float = self.call("ping", address, timeout_s, size, device)
        return seconds

    def wire(self, interface: str) -> traffic.Wire:
        """An AF_PACKET socket on the interface: sends frames built by hand, catches what passes."""
        return traffic.Wire(self, self.call("packet_open", interface), interface)

    # The end

    def close(self) -> None:
        """Take away everything of this host: processes, what fw loaded and saved, the namespace."""
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr, process.stdin):
                if stream is not None:
                    stream.close()
        if self.used_fw and FW.exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.fw("unload", "--all", check=False, timeout_s=30)
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.agent.wait(5)
        self.agent.kill()
        self.agent.wait()
        remove(self.netns)


QUIET = {
    # Addresses are usable at once, nothing is said that no test asked for, and ICMP errors are not rationed.
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}


def remove(netns: str) -> None:
    """Delete a namespace of the lab with all that is of it: processes, what fw pinned, /etc/netns/NAME."""
    try:
        inode = os.stat(f"/run/netns/{netns}").st_ino
    except FileNotFoundError:
        return  # another lab has swept it away meanwhile
    ours = [Path(directory).glob(f"{inode}*") for directory in ("/run/fw", "/run/fw/bpf")]
    left = [str(path) for found in ours for path in found]
    for pid in execute(["ip", "netns", "pids", netns], check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    execute(["ip", "netns", "del", netns], check=False)
    if left:  # fw's locks, and pins that it could not remove
        execute(["rm", "-rf", *left], check=False)
    directory = Path("/etc/netns") / netns
    if directory.exists():
        execute(["umount", "--quiet", "--recursive", str(directory / "fw")], check=False)
        execute(["rm", "-rf", str(directory)], check=False)
    with contextlib.suppress(OSError):  # others' directories may be in it
        directory.parent.rmdir()
