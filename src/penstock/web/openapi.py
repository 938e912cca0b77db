"""A door's OpenAPI 3.1 document, made from the table of routes that serves it, and the page that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from penstock import errors
from penstock.web import page as pages
from penstock.web.examples import Examples, problem
from penstock.web.files import ANY, MULTIPART, OCTETS, PART
from penstock.web.parsing import Parameters
from penstock.web.routing import JSON, Auth, Call, Door, Raw, Route

_REF = "#/components/schemas/{name}"
_ANYWHERE = (errors.Invalid, errors.Unavailable)
_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_SCHEME = "bearer"

Json = dict[str, Any]


def describe(
    door: Door[Any], at: str = "", *, words: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
) -> None:
    """Adds `/openapi.json` and `/docs` to a door, below its prefix and `at`. The document is made when first asked for.

    `words`: what stands in examples (`web.examples`); `tags`: topics of the routes, with what they are about.
    """
    made: list[bytes] = []

    async def document(_: Call[Any]) -> Raw:
        if not made:
            made.append(json.dumps(openapi(door, words or {}, tags or {}), ensure_ascii=False, indent=1).encode())
        return Raw(made[0], JSON, headers={"cache-control": "no-cache"})

    shown: Json = {"auth": Auth.NONE, "hidden": True}
    door.add(
        Route(
            method="GET", path=f"{at}/openapi.json", operation="openapi", summary="This door's OpenAPI document",
            handler=document, **shown,
        ),
        *(
            Route(
                method="GET", path=f"{at}{path}", operation=f"docs{path}",
                summary="This door's routes, for people to try", handler=handler, **shown,
            )
            for path, handler in pages.FILES.items()
        ),
    )  # fmt: skip


def openapi(door: Door[Any], words: Mapping[str, Any], tags: Mapping[str, str]) -> Json:
    """The document."""
    shown = [route for route in door.routes if not route.hidden]
    schemas = _Schemas(door, shown)
    examples = Examples(words)
    paths: dict[str, Json] = {}
    for route in shown:
        template = door.prefix + _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(template, {})[route.method.lower()] = _operation(door, route, schemas, examples)
    used = dict.fromkeys(route.tag for route in shown if route.tag)
    document: Json = {
        "openapi": "3.1.0",
        "info": {"title": door.title, "version": door.version},
        "servers": [{"url": "/", "description": "The server that answered this"}],
        "tags": [{"name": tag, **({"description": tags[tag]} if tag in tags else {})} for tag in used],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }
    if door.description:
        document["info"]["description"] = door.description
    if any(route.auth is Auth.REQUIRED for route in shown):
        document["components"]["securitySchemes"] = {_SCHEME: _BEARER, **_cookie(door)}
    return document


class _Schemas:
    """Every schema of a door; Structs are components, and named once."""

    def __init__(self, door: Door[Any], routes: list[Route[Any]]) -> None:
        kinds: list[Any] = [door.errors.schema]
        for route in routes:
            kinds += [kind for kind in (route.request, route.response) if kind not in {None, bytes}]
        kinds = [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
        made, components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self.components: dict[str, Json] = dict(components)
        self._kinds = list(zip(kinds, made, strict=True))

    def of(self, kind: Any) -> Json:
        """The schema to put in a place."""
        if kind is bytes:
            return {}
        return next(schema for known, schema in self._kinds if known == kind)

    def query(self, kind: type[msgspec.Struct], examples: Examples) -> Iterator[Json]:
        """The parameters a query Struct stands for."""
        (made,), components = msgspec.json.schema_components([kind], ref_template=_REF)
        own = components.pop(made["$ref"].rpartition("/")[2])
        self.components.update(components)
        maps = Parameters(kind).maps
        for name, schema in own["properties"].items():
            parameter: Json = {
                "name": name,
                "in": "query",
                "required": name in own.get("required", ()),
                "schema": schema,
            }
            if name in maps:
                parameter["name"] = f"{name}.NAME"
                parameter["schema"] = schema.get("additionalProperties", {})
                parameter["description"] = f"NAME is any name under `{name}`; may be given for several."
            if text := schema.pop("description", ""):
                parameter["description"] = text
            kinds = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
            if name not in maps and (word := examples.word(name, kinds[name])) is not msgspec.UNSET:
                parameter["example"] = word
            yield parameter


def _operation(door: Door[Any], route: Route[Any], schemas: _Schemas, examples: Examples) -> Json:
    operation: Json = {"operationId": route.operation, "summary": route.summary}
    if route.description:
        operation["description"] = route.description
    if route.tag:
        operation["tags"] = [route.tag]
    parameters: list[Json] = [_path_parameter(name, kind, examples) for name, kind in _PARAMETER.findall(route.path)]
    if route.query is not None:
        parameters += schemas.query(route.query, examples)
    if route.method in {"POST", "PUT", "PATCH", "DELETE"} and route.auth is Auth.REQUIRED and route.keyed:
        parameters.append(_IDEMPOTENCY)
    parameters += [_header(name, text) for name, text in route.request_headers.items()]
    if route.revised:
        parameters.append(_IF_NONE_MATCH if route.method == "GET" else _IF_MATCH)
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        operation["requestBody"] = _file() if route.stream else _request(route, schemas, examples)
    operation["responses"] = _responses(door, route, schemas, examples)
    known = [_SCHEME, *_cookie(door)] if route.auth is Auth.REQUIRED else []
    operation["security"] = [{scheme: []} for scheme in known]
    return operation


def _path_parameter(name: str, kind: str, examples: Examples) -> Json:
    made: Json = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    if kind == "int":
        made["schema"] = {"type": "integer"}
    word = examples.word(name, int if kind == "int" else str)
    return made if word is msgspec.UNSET else {**made, "example": word}


def _header(name: str, text: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}


def _request(route: Route[Any], schemas: _Schemas, examples: Examples) -> Json:
    media: Json = {"schema": schemas.of(route.request)}
    if route.examples:
        media["examples"] = {name: {"value": value} for name, value in route.examples.items()}
    elif route.request is not bytes:
        media["example"] = examples.request(route.request)
    fields = msgspec.structs.fields(route.request) if isinstance(route.request, type(msgspec.Struct)) else None
    required = fields is None or any(field.required for field in fields)
    return {"required": required, "content": dict.fromkeys(route.content_types, media)}


def _file() -> Json:
    """A file by itself, or as the one part of a form."""
    file = {"type": "string", "contentMediaType": OCTETS}
    form = {"type": "object", "required": [PART], "properties": {PART: file}}
    return {"required": True, "content": {MULTIPART: {"schema": form}, ANY: {"schema": {}}}}


def _responses(door: Door[Any], route: Route[Any], schemas: _Schemas, examples: Examples) -> dict[str, Json]:
    found = _successes(route, schemas, examples)
    for status, codes in sorted(_codes(door, route).items()):
        media = {
            "schema": schemas.of(door.errors.schema),
            "examples": {code or "error": {"value": problem(door.errors, kind)} for code, kind in codes.items()},
        }
        found[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "content": {door.errors.content_type: media},
        }
    return found


def _successes(route: Route[Any], schemas: _Schemas, examples: Examples) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for status in (route.status, *route.also):
        answer = found[str(status)] = {"description": HTTPStatus(status).phrase}
        if route.response is bytes and status != 304:
            answer["content"] = {ANY: {"schema": {}}}
        elif route.response not in {None, bytes}:
            example = route.answer if route.answer is not msgspec.UNSET else examples.answer(route.response)
            answer["content"] = {route.media: {"schema": schemas.of(route.response), "example": example}}
        headers = {
            name: {"schema": {"type": "string"}, "description": text} for name, text in route.answer_headers.items()
        }
        if route.revised and route.response is not None:
            headers["ETag"] = _ETAG
        if headers:
            answer["headers"] = headers
    if route.revised and route.method == "GET":
        found["304"] = {"description": "Not Modified: the caller has it", "headers": {"ETag": _ETAG}}
    return found


def _codes(door: Door[Any], route: Route[Any]) -> dict[int, dict[str, type[errors.PenstockError]]]:
    """The errors of a route: status -> code -> what it is."""
    kinds: list[type[errors.PenstockError]] = [*_ANYWHERE, *route.errors]
    if route.revised and route.method != "GET":
        kinds.append(errors.Stale)
    if route.auth is Auth.REQUIRED:
        kinds += [errors.Unauthenticated, errors.LimitExceeded]
        if door.session_cookie is not None and route.method != "GET":
            kinds.append(errors.Forbidden)
    if route.request is not None:
        kinds += [errors.TooLarge, errors.UnsupportedMediaType]
    found: dict[int, dict[str, type[errors.PenstockError]]] = {}
    for kind in kinds:
        shape = door.errors.shape(kind)
        found.setdefault(shape.status, {}).setdefault(str(shape.code), kind)
    return found


_BEARER: Json = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer TOKEN`.",
}


def _cookie(door: Door[Any]) -> dict[str, Json]:
    """The scheme of a door that takes a browser's session."""
    if door.session_cookie is None:
        return {}
    told = (
        "A browser's session; over https its name begins with `__Host-`. A change needs its `csrf` in `X-CSRF-Token`."
    )
    return {"session": {"type": "apiKey", "in": "cookie", "name": door.session_cookie, "description": told}}


_IDEMPOTENCY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "The same key with the same request gets the first answer again.",
}

_ETAG: Json = {"schema": {"type": "string"}, "description": "The revision, in quotes: a strong tag."}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 1000},
    "description": "The ETag that was read: 412 when the thing has changed since. Without it the last word counts.",
}
_IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 1000},
    "description": "The ETag that is known: 304 and no body when it is still so.",
}
