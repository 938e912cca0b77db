"""The OpenAPI document and its page are made from the table that serves; docs/api/ tells the same."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from openapi_spec_validator import OpenAPIV31SpecValidator

from support.server import PREFIX, Api, Server

DOCS = sorted((Path(__file__).parents[2] / "docs/api").glob("*.md"))


def test_the_document_is_valid_openapi(server: Server):
    OpenAPIV31SpecValidator(server.contract.document).validate()
    assert len(server.contract.operations) > 40


def test_the_document_and_the_page_need_no_credential(server: Server, nobody: Api):
    with httpx.Client(trust_env=False) as http:
        document = http.get(server.url + PREFIX + "/openapi.json")
        files = {name: http.get(server.url + PREFIX + "/docs" + name) for name in ("", "/page.js", "/page.css")}
        again = http.get(
            server.url + PREFIX + "/docs/page.js", headers={"if-none-match": files["/page.js"].headers["etag"]}
        )
    assert document.json() == server.contract.document
    assert (again.status_code, again.content) == (304, b"")
    for name, kind in (("", "html"), ("/page.js", "javascript"), ("/page.css", "css")):
        assert files[name].status_code == 200
        assert files[name].headers["content-type"] == f"text/{kind}; charset=utf-8"
        policy = files[name].headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in files[name].text.replace("http://www.w3.org", "")  # nothing comes from elsewhere
    assert sum(len(each.content) for each in files.values()) < 32_000


def test_health_and_readiness_need_no_credential(server: Server):
    with httpx.Client(trust_env=False) as http:
        assert http.get(server.url + "/healthz").json()["status"] == "ok"
        assert http.get(server.url + "/readyz").json()["status"] == "ready"
        assert http.get(server.url + "/").json()["doors"]["native"]["path"] == PREFIX
        assert http.get(server.url + "/nothing").status_code == 404


def documented() -> set[tuple[str, str]]:
    """(METHOD, path) of every call docs/api/ names; parameters are `{}`."""
    found = set()
    lines = [line for page in DOCS for line in page.read_text().splitlines() if line.startswith("| `")]
    for line in lines:
        cell = line.split(" | ")[0]
        paths = re.findall(r"`(?:(GET|POST|PUT|PATCH|DELETE) )?(?:/api/v1)?([/…][^`?]*)[^`]*`", cell)
        methods = re.findall(r"GET|POST|PUT|PATCH|DELETE", cell)
        base = ""
        for method, path in paths:
            if path.startswith("…"):
                owners = ("/processes/{}", "/definitions/{}")
                full = [owner + path.removeprefix("…") for owner in owners]
            elif path.count("/") == 1 and base:
                full = [base.rpartition("/")[0] + path]
            else:
                full, base = [path], path
            for one in full:
                clean = re.sub(r"{\w+}", "{}", one)
                found |= {(each, clean) for each in ([method] if path[0] == "/" and method else methods)}
    return found


def test_docs_and_document_name_the_same_calls(server: Server):
    served = {(m, re.sub(r"{\w+}", "{}", path.removeprefix(PREFIX))) for m, path in server.contract.operations.values()}
    assert documented() == served


def test_an_idempotency_key_is_documented_where_it_does_something(server: Server):
    told = set()
    for methods in server.contract.document["paths"].values():
        for operation in methods.values():
            if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ())):
                told.add(operation["operationId"])
    changing = {name for name, (method, _) in server.contract.operations.items() if method != "GET"}
    without = {
        "createToken",
        "validateDefinition",
        "pollJobs",
        "extendJobs",
        "logJobs",
        "completeJob",
        "failJob",
        "throwJob",
        "testConnection",
        "revokeToken",
        "revokeUserTokens",
        "revokeApplicationTokens",
        "openSession",
        "closeSession",
        "closeMySession",
    }
    assert told == changing - without


def test_every_operation_was_exercised(server: Server, whole_set: bool):
    """Comes last: each operation must have succeeded at least once in this folder's tests."""
    if not whole_set:
        return
    assert server.contract.operations.keys() - server.contract.succeeded == set()
