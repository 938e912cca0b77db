"""Every example of every door's OpenAPI document is of the shape its schema asks for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from penstock.api import routes as native
from penstock.dialects.executions import routes as executions
from penstock.web.examples import Examples
from penstock.web.routing import Door

LIMIT = 1024 * 1024
NOBODY: Any = SimpleNamespace(credentials=None, sessions=None, cookies=None)
DOORS = {"native": native.door(NOBODY, LIMIT), "executions": executions.door(NOBODY, LIMIT)}


def document(door: Door[Any]) -> dict[str, Any]:
    import asyncio

    (route,) = [each for each in door.routes if each.operation == "openapi"]
    return dict(msgspec.json.decode(asyncio.run(route.handler(None)).content))


def media_types(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, media in operation.get("requestBody", {"content": {}})["content"].items():
        yield f"request {kind}", media
    for status, answer in operation["responses"].items():
        for kind, media in answer.get("content", {}).items():
            yield f"{status} {kind}", media


def examples_of(media: dict[str, Any]) -> list[Any]:
    found = [each["value"] for each in media.get("examples", {}).values()]
    return [*found, media["example"]] if "example" in media else found


@pytest.mark.parametrize("name", DOORS)
def test_every_example_fits_its_schema(name: str):
    told = document(DOORS[name])
    OpenAPIV31SpecValidator(told).validate()
    count = 0
    for methods in told["paths"].values():
        for operation in methods.values():
            for where, media in media_types(operation):
                validator = jsonschema_rs.validator_for({**media["schema"], "components": told["components"]})
                for example in examples_of(media):
                    count += 1
                    problems = [error.message for error in validator.iter_errors(example)]
                    assert not problems, (operation["operationId"], where, example, problems)
            for parameter in operation.get("parameters", ()):
                if "example" in parameter:
                    whole = {**parameter["schema"], "components": told["components"]}
                    jsonschema_rs.validator_for(whole).validate(parameter["example"])
    assert count > len(told["paths"])


@pytest.mark.parametrize("name", DOORS)
def test_every_request_and_answer_has_an_example(name: str):
    for methods in document(DOORS[name])["paths"].values():
        for operation in methods.values():
            assert operation["tags"], operation["operationId"]
            for where, media in media_types(operation):
                if media["schema"] and "multipart" not in where:
                    assert examples_of(media), (operation["operationId"], where)


def test_topics_are_told():
    told = document(DOORS["native"])
    assert [tag["name"] for tag in told["tags"] if not tag.get("description")] == []


class Inner(msgspec.Struct):
    code: str
    again: Inner | None = None


class Outer(msgspec.Struct):
    code: int
    inner: list[Inner]
    left: str | None = None
    number: float | None = None


def test_words_are_taken_where_they_fit():
    examples = Examples({"code": "text", "Inner.code": "inner", "left": "here"})
    request = examples.request(Outer)
    assert request == {"code": 1, "inner": [{"code": "inner"}], "left": "here"}
    assert examples.answer(Outer)["number"] == 1.0
    msgspec.convert(examples.answer(Outer), Outer)
