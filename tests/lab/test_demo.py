# SPDX-License-Identifier: MIT
"""The demonstration tells the truth: each step works, and fails when its rule or program is taken away."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from scripts import demo_steps
from scripts.demo_steps import STEPS, Demo, StepFailed
from tests.lab.attachment import detach
from tests.lab.lab import RouterLab

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def demo(lab: RouterLab) -> Iterator[Demo]:
    yield Demo(lab, io.StringIO())


def play_before(demo: Demo, name: str) -> int:
    """Play the steps before the one named; returns its number."""
    number = [step.__name__ for step in STEPS].index(name)
    for earlier in range(number):
        demo_steps.perform(demo, earlier)
    return number


def test_the_whole_demo_ends_well() -> None:
    paper = io.StringIO()
    assert demo_steps.play(paper) == 0, paper.getvalue()
    story = paper.getvalue()
    for words in (
        "fw load wan0",
        "fw rule add allow in tcp to port 8080",
        "fw flow list",
        "fw status",
        "fw log",
    ):
        assert f"router# {words}" in story
    assert story.splitlines()[-1].startswith(f"fw demo: all {len(STEPS)} steps did what they say")


@pytest.mark.parametrize("name", ["load", "out", "unasked", "forward", "opened", "closed", "watch"])
def test_a_step_fails_without_the_program(demo: Demo, name: str) -> None:
    """The programs are detached behind fw's back: maps, pins and the CLI are still there."""
    number = play_before(demo, name)
    with pytest.raises(StepFailed):
        demo_steps.perform(demo, number, before_check=lambda: detach(demo.lab.router, "wan0"))


SABOTAGE = {
    "load": "rule add allow in tcp, udp to port 7",
    "out": "default out drop",
    "unasked": "default in allow",
    "forward": f"rule delete {demo_steps.OUTWARD}",
    "opened": f"rule delete {demo_steps.SERVICE}",
    "closed": f"rule add {demo_steps.SERVICE}",
    "watch": "rule insert 1 allow in icmp, icmp6",
    "unload": "load wan0",
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_step_fails_without_its_rule(demo: Demo, name: str) -> None:
    """What the step's command has done is undone, or its contrary done, before the step looks."""
    number = play_before(demo, name)
    with pytest.raises(StepFailed):
        demo_steps.perform(demo, number, before_check=lambda: demo.lab.router.fw(SABOTAGE[name]))
