"""The name of a file, as a request gives it."""

from __future__ import annotations

import asyncio

import pytest

from penstock.errors import Invalid
from penstock.web import files


async def _nothing():
    for chunk in ():
        yield chunk


def name_of(disposition: str) -> str:
    return asyncio.run(files.incoming({"content-disposition": disposition}, _nothing())).name


@pytest.mark.parametrize(
    "disposition",
    [
        "attachment; filename*0*=idna''%ff",
        "attachment; filename*=idna''%ff",
        "attachment; filename*=utf-16''%ff",
        "attachment; filename*=\x00''a",
    ],
)
def test_a_name_that_cannot_be_read_is_no_name(disposition):
    with pytest.raises(Invalid):
        name_of(disposition)


def test_a_name_in_parts_is_read():
    assert name_of("attachment; filename*0*=utf-8''a%20; filename*1=b.txt") == "a b.txt"
