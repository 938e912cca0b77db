"""A list that reads too much ends, and says what to add."""

import pytest

from penstock.core.requests import Filter
from penstock.errors import LimitExceeded
from penstock.operations import reading

LINE = {
    "code": "line",
    "driver": "graph",
    "nodes": {"w": {"kind": "job", "topic": "w"}},
    "flows": [],
}


def test_a_list_that_takes_too_long_says_what_to_add(play, monkeypatch):
    async def journey(stage):
        await stage.deploy(LINE)
        await stage.start("line")
        monkeypatch.setattr(reading, "LIST_SECONDS", 0.0)
        with pytest.raises(LimitExceeded, match="add a filter") as refused:
            await reading.listed(stage.ctx, stage.actor, Filter(sort="modified"), None, 50)
        assert refused.value.details["retry_after"] > 0
        monkeypatch.undo()
        page = await reading.listed(stage.ctx, stage.actor, Filter(sort="modified"), None, 50)
        assert len(page.items) == 1

    play(journey)
