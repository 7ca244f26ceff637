# SPDX-License-Identifier: MIT
"""The table of options is consistent, and values are read with their units and limits."""

import pytest

from firewall.errors import UsageError
from firewall.options import OPTIONS, check, effective, find


def test_the_table() -> None:
    defaults = effective({})
    assert list(defaults) == list(OPTIONS)
    for name, option in OPTIONS.items():
        assert option.name == name
        assert option.kind in ("int", "time", "bool", "word")
        assert bool(option.words) == (option.kind == "word")
        assert option.minimum <= defaults[name] <= option.maximum
        assert check(name, option.default) == option.default
        assert option.help and "\n" not in option.help


def test_floors_of_the_rfcs() -> None:
    assert OPTIONS["timeout.tcp-established"].minimum == 7440  # RFC 5382, REQ-5
    assert OPTIONS["timeout.udp"].minimum == 120  # RFC 4787, REQ-5
    assert OPTIONS["timeout.icmp"].minimum == 60  # RFC 5508, REQ-2
    defaults = effective({})
    for state in ("syn-sent", "syn-recv", "fin-wait", "last-ack", "time-wait", "closed"):
        assert defaults[f"timeout.tcp-{state}"] >= 240  # RFC 5382, REQ-5; RFC 7857, sections 2.1 and 2.2
    assert defaults["timeout.udp-one-way"] >= 120  # RFC 4787, REQ-5


@pytest.mark.parametrize(
    ("name", "value", "kept", "amount"),
    [
        ("timeout.udp", "120s", "120s", 120),
        ("timeout.udp", "0120s", "120s", 120),
        ("timeout.udp", "5m", "5m", 300),
        ("timeout.tcp-established", "3h", "3h", 10800),
        ("timeout.tcp-established", "14d", "14d", 1209600),
        ("load.grace", "0s", "0s", 0),
        ("flows.max", "0131072", "131072", 131072),
        ("reject.rate", "0", "0", 0),
        ("builtin.stp", "off", "off", 0),
        ("builtin.stp", "on", "on", 1),
        ("ip.options", "drop", "drop", 0),
        ("ip.options", "pass", "pass", 1),
        ("flows.embryonic", "2048", "2048", 2048),
        ("tcp.pickup", "off", "off", 0),
        ("tcp.pickup", "outbound", "outbound", 1),
        ("tcp.pickup", "any", "any", 2),
    ],
)
def test_values(name: str, value: str, kept: str, amount: int) -> None:
    assert check(name, value) == kept
    assert effective({name: kept})[name] == amount


@pytest.mark.parametrize(
    ("most", "embryonic"), [("1024", 1024), ("4096", 1024), ("65536", 16384), ("16777216", 1 << 22)]
)
def test_embryonic_follows_the_table(most: str, embryonic: int) -> None:
    assert effective({"flows.max": most})["flows.embryonic"] == embryonic
    assert effective({"flows.max": most, "flows.embryonic": "auto"})["flows.embryonic"] == embryonic


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("timeout.udp", "120", "a time with its unit", "did you mean '120s'?"),
        ("timeout.udp", "5", "a time with its unit", "it goes from 120s to 1209600s"),
        ("timeout.udp", "", "a time with its unit", "as in 90s"),
        ("timeout.udp", "119s", "from 120s to 1209600s", None),
        ("timeout.udp", "-120s", "a time with its unit", "as in 90s"),
        ("timeout.udp", "\u0661s", "a time with its unit", "as in 90s"),
        ("flows.max", "1023", "from 1024 to 16777216", None),
        ("flows.max", "auto", "a whole number, not", None),
        ("flows.max", "1e6", "a whole number, not", None),
        ("flows.embryonic", "some", "or 'auto', not 'some'", None),
        ("builtin.nd", "1", "'on' or 'off'", None),
        ("tcp.pickup", "1", "'off', 'outbound' or 'any', not '1'", None),
        ("tcp.pickup", "outbond", "not 'outbond'", "did you mean 'outbound'?"),
        ("ip.options", "on", "is 'drop' or 'pass', not 'on'", None),
        ("timout.udp", "120s", "there is no option 'timout.udp'", "did you mean 'timeout.udp'?"),
        ("qqq", "1", "there is no option 'qqq'", "'fw option' lists them all"),
    ],
)
def test_refused(name: str, value: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        check(name, value)
    assert message in caught.value.message
    assert (caught.value.hint or "").startswith(hint or "")
    assert bool(caught.value.hint) == bool(hint)


def test_find() -> None:
    assert find("flows.max") is OPTIONS["flows.max"]
