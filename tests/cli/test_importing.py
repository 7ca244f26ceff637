# SPDX-License-Identifier: MIT
"""`fw import`: the policy on stdout, what is missing from it on stderr, and nothing but with --partial."""

from __future__ import annotations

import io

import pytest

from tests.cli.conftest import Fw

SAVED = (
    "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m state --state ESTABLISHED -j ACCEPT\n"
    "-A INPUT -s 192.0.2.7 -j ACCEPT\n"
)
LIMITED = SAVED + "-A INPUT -p tcp --dport 22 -m limit --limit 1/s -j ACCEPT\nCOMMIT\n"
POLICY = "default in drop\ndefault forward allow\ndefault out allow\nallow in from 192.0.2.7\n"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LIMITED.encode())))


def test_a_policy(fw: Fw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SAVED.encode())))
    done = fw("import iptables -")
    assert (done.status, done.out) == (0, POLICY)
    assert "line 3: the loopback interface is never filtered: -A INPUT -i lo -j ACCEPT\n" in done.err
    assert "warning" not in done.err


def test_nothing_without_what_is_missing(fw: Fw, typed: None) -> None:
    done = fw("import iptables -")
    assert (done.status, done.out) == (1, "")
    assert "warning: standard input, line 6: fw does not carry limits over: -A INPUT -p tcp" in done.err
    assert "fw: 1 line of standard input cannot be carried over\nhint: --partial prints" in done.err


def test_partial(fw: Fw, typed: None) -> None:
    done = fw("import iptables - --partial")
    assert (done.status, done.out) == (0, POLICY)
    assert "line 6: fw does not carry limits over" in done.err


def test_wrong_words(fw: Fw) -> None:
    done = fw("import iptable -")
    assert done.status == 2 and "did you mean 'iptables'?" in done.err
    assert fw("import nft /nonexistent").status == 1
