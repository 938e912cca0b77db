"""Whose a log line is."""

import asyncio
import re

import pytest

from penstock.telemetry.activity import CURRENT, PROCESS, Activity, acting, add_activity, request_id


def test_a_line_says_whose_it_is_and_its_own_words_go_first():
    activity = Activity("r1", None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    activity.tenant, activity.process = "t", "of the path"
    with acting(activity):
        assert add_activity(None, "info", {"event": "e"}) == {
            "event": "e",
            "request_id": "r1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "tenant": "t",
            "process": "of the path",
        }
        before = PROCESS.set("of the step")
        assert add_activity(None, "info", {})["process"] == "of the step"
        assert add_activity(None, "info", {"process": "its own"})["process"] == "its own"
        PROCESS.reset(before)
    assert add_activity(None, "info", {"event": "e"}) == {"event": "e"}
    assert CURRENT.get() is None


def test_a_trace_that_cannot_be_read_is_not_told():
    assert dict(Activity("r", None, "garbage").fields()) == {"request_id": "r"}


def test_tasks_at_the_same_time_keep_apart():
    async def one(name):
        with acting(Activity(name)):
            await asyncio.sleep(0)
            return add_activity(None, "info", {})["request_id"]

    async def all_of_them():
        return await asyncio.gather(*(one(f"r{n}") for n in range(20)))

    assert asyncio.run(all_of_them()) == [f"r{n}" for n in range(20)]


@pytest.mark.parametrize("good", ["a", "A-Z.0_9:/+=", "x" * 128])
def test_a_callers_id_is_kept(good):
    assert request_id(good) == good


@pytest.mark.parametrize("bad", [None, "", "x" * 129, "a b", "a\n", "a\x00", "ä", '"'])
def test_another_gets_one_of_ours(bad):
    assert re.fullmatch("[0-9a-f]{16}", request_id(bad))
    assert request_id(bad) != request_id(bad)
