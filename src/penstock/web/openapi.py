"""A door's OpenAPI 3.1 document, and a page for people, made from the table of routes that serves it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from penstock import errors
from penstock.web.parsing import Parameters
from penstock.web.routing import JSON, Auth, Call, Door, Raw, Route

_REF = "#/components/schemas/{name}"
_ANYWHERE = (errors.Invalid, errors.Unavailable)
_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_SCHEME = "bearer"

Json = dict[str, Any]


def describe(door: Door[Any]) -> None:
    """Adds `/openapi.json` and `/docs` to a door. The document is made when first asked for."""
    made: dict[str, bytes] = {}

    async def document(_: Call[Any]) -> Raw:
        if "json" not in made:
            made["json"] = json.dumps(openapi(door), ensure_ascii=False, indent=1).encode()
        return Raw(made["json"], JSON)

    async def page(_: Call[Any]) -> Raw:
        if "html" not in made:
            made["html"] = docs_page(openapi(door)).encode()
        return Raw(made["html"], "text/html; charset=utf-8", headers=_PAGE_HEADERS)

    door.add(
        Route(
            method="GET", path="/openapi.json", operation="openapi", summary="This door's OpenAPI document",
            handler=document, auth=Auth.NONE, hidden=True,
        ),
        Route(
            method="GET", path="/docs", operation="docs", summary="This door's routes, for people",
            handler=page, auth=Auth.NONE, hidden=True,
        ),
    )  # fmt: skip


def openapi(door: Door[Any]) -> Json:
    """The document."""
    shown = [route for route in door.routes if not route.hidden]
    schemas = _Schemas(door, shown)
    paths: dict[str, Json] = {}
    for route in shown:
        template = door.prefix + _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(template, {})[route.method.lower()] = _operation(door, route, schemas)
    document: Json = {
        "openapi": "3.1.0",
        "info": {"title": door.title, "version": door.version},
        "paths": paths,
        "components": {"schemas": schemas.components},
    }
    if door.description:
        document["info"]["description"] = door.description
    if any(route.auth is Auth.REQUIRED for route in shown):
        document["components"]["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}
    return document


class _Schemas:
    """Every schema of a door; Structs are components, and named once."""

    def __init__(self, door: Door[Any], routes: list[Route[Any]]) -> None:
        kinds: list[Any] = [door.errors.schema]
        for route in routes:
            kinds += [kind for kind in (route.request, route.response) if kind is not None and kind is not bytes]
        kinds = [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
        made, components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self.components: dict[str, Json] = dict(components)
        self._kinds = list(zip(kinds, made, strict=True))

    def of(self, kind: Any) -> Json:
        """The schema to put in a place."""
        if kind is bytes:
            return {}
        return next(schema for known, schema in self._kinds if known == kind)

    def query(self, kind: type[msgspec.Struct]) -> Iterator[Json]:
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
            yield parameter


def _operation(door: Door[Any], route: Route[Any], schemas: _Schemas) -> Json:
    operation: Json = {"operationId": route.operation, "summary": route.summary}
    if route.description:
        operation["description"] = route.description
    if route.tag:
        operation["tags"] = [route.tag]
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if kind == "int" else "string"}}
        for name, kind in _PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        parameters += schemas.query(route.query)
    if route.method in {"POST", "PUT", "PATCH", "DELETE"} and route.auth is Auth.REQUIRED and route.keyed:
        parameters.append(_IDEMPOTENCY)
    if route.revised:
        parameters.append(_IF_NONE_MATCH if route.method == "GET" else _IF_MATCH)
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        operation["requestBody"] = _request(route, schemas)
    operation["responses"] = _responses(door, route, schemas)
    operation["security"] = [{_SCHEME: []}] if route.auth is Auth.REQUIRED else []
    return operation


def _request(route: Route[Any], schemas: _Schemas) -> Json:
    media: Json = {"schema": schemas.of(route.request)}
    if route.examples:
        media["examples"] = {name: {"value": value} for name, value in route.examples.items()}
    fields = msgspec.structs.fields(route.request) if isinstance(route.request, type(msgspec.Struct)) else None
    required = fields is None or any(field.required for field in fields)
    return {"required": required, "content": dict.fromkeys(route.content_types, media)}


def _responses(door: Door[Any], route: Route[Any], schemas: _Schemas) -> dict[str, Json]:
    found = _successes(route, schemas)
    for status, words in sorted(_codes(door, route).items()):
        found[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(str(word) for word in words)}",
            "content": {door.errors.content_type: {"schema": schemas.of(door.errors.schema)}},
        }
    return found


def _successes(route: Route[Any], schemas: _Schemas) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for status in (route.status, *route.also):
        found[str(status)] = {"description": HTTPStatus(status).phrase}
        if route.response is not None:
            found[str(status)]["content"] = {JSON: {"schema": schemas.of(route.response)}}
        if route.revised and route.response is not None:
            found[str(status)]["headers"] = {"ETag": _ETAG}
    if route.revised and route.method == "GET":
        found["304"] = {"description": "Not Modified: the caller has it", "headers": {"ETag": _ETAG}}
    return found


def _codes(door: Door[Any], route: Route[Any]) -> dict[int, list[str]]:
    """The errors of a route: status -> codes."""
    kinds: list[type[errors.PenstockError]] = [*_ANYWHERE, *route.errors]
    if route.revised and route.method != "GET":
        kinds.append(errors.Stale)
    if route.auth is Auth.REQUIRED:
        kinds.append(errors.Unauthenticated)
    if route.request is not None:
        kinds += [errors.TooLarge, errors.UnsupportedMediaType]
    codes: dict[int, list[str]] = {}
    for kind in kinds:
        shape = door.errors.shape(kind)
        if shape.code not in codes.setdefault(shape.status, []):
            codes[shape.status].append(shape.code)
    return codes


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

# ---------------------------------------------------------------------------------------------------------------- page

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
details{border:1px solid #8885;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}summary{cursor:pointer}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{overflow:auto;background:#8881;padding:.6rem;border-radius:4px}
b.m{display:inline-block;min-width:4.2rem;font-family:ui-monospace,monospace}table{border-collapse:collapse}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}.s{opacity:.75}
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """The same as one HTML page: no script, nothing from elsewhere."""
    info = document["info"]
    title = html.escape(f"{info['title']} {info['version']}")
    body = [f"<h1>{title}</h1>", f"<p>{html.escape(info.get('description', ''))}</p>"]
    last = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or [""])[0]
            if tag != last:
                body.append(f"<h2>{html.escape(tag)}</h2>")
                last = tag
            body.append(_section(path, method, operation))
    body.append("<h2>Schemas</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        body.append(f"<details id='{html.escape(name)}'><summary>{html.escape(name)}</summary>{_pre(schema)}</details>")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{html.escape(item['name'])}</code><td>{item['in']}<td>{html.escape(item.get('description', ''))}"
        for item in operation.get("parameters", ())
    ]
    parts = [f"<p>{html.escape(operation.get('description', ''))}</p>"]
    if rows:
        parts.append(f"<table><tr><th>parameter<th>in<th>{''.join(rows)}</table>")
    if "requestBody" in operation:
        parts.append(f"<p>Body</p>{_pre(operation['requestBody']['content'])}")
    answers = "".join(
        f"<tr><td>{status}<td>{html.escape(answer['description'])}" for status, answer in operation["responses"].items()
    )
    parts.append(f"<table><tr><th>status<th>{answers}</table>")
    return (
        f"<details><summary><b class='m'>{method.upper()}</b><code>{html.escape(path)}</code> "
        f"<span class='s'>{html.escape(operation['summary'])}</span></summary>{''.join(parts)}</details>"
    )


def _pre(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"
