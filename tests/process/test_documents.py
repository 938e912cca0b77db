"""Documents over real sockets: what goes in comes out, whole or in part, and what is not as it should be leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from support.server import PREFIX, Api, Server, check_problem, fresh, serving, until

TASKS = {"CHECK": {"candidates": ["group:risk"]}}
NODES = {"check": {"kind": "item", "task": "CHECK"}}
PERMISSIONS = {"initiator": ["user:ana@example.com"]}


@pytest.fixture(scope="module")
def code(api: Api) -> str:
    return api.deploy(NODES, tasks=TASKS, permissions=PERMISSIONS)


@pytest.fixture
def process(api: Api, code: str) -> str:
    return str(api.start(code)["id"])


def send(api: Api, content: Any, name: str = "a.txt", kind: str = "text/plain", status: int = 201, **query: Any) -> Any:
    """The body itself."""
    headers = {"content-type": kind}
    return api.call(
        "POST", "/documents", status=status, params={"name": name, **query}, content=content, headers=headers
    )


def form(api: Api, content: Any, name: str = "a.txt", kind: str = "text/plain", **query: Any) -> Any:
    return api.call("POST", "/documents", params=query, files={"file": (name, content, kind)}, status=201)


def read(api: Api, id: str, status: int = 200, **headers: str) -> httpx.Response:
    response = api.request("GET", f"/documents/{id}/content", headers=headers)
    assert response.status_code == status, response.text
    return response


def blobs(server: Server) -> set[str]:
    return {path.name for path in (server.data / "documents").glob("*/*")}


# -- in and out --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_536, 3 * 1024 * 1024 + 7])
@pytest.mark.parametrize("how", [send, form])
def test_what_goes_in_comes_out(api: Api, process: str, size: int, how: Any):
    content = random.Random(size).randbytes(size)
    made = how(api, content, process=process)
    assert made == api.get(f"/documents/{made['id']}")
    assert (made["size"], made["sha256"]) == (size, hashlib.sha256(content).hexdigest())
    assert (made["name"], made["content_type"], made["uri"]) == ("a.txt", "text/plain", f"document:{made['id']}")
    assert made["links"] == [{"process": process, "item": None}]
    response = read(api, made["id"])
    assert response.content == content
    assert response.headers["etag"] == f'"{made["sha256"]}"'
    assert response.headers["content-disposition"].startswith("attachment;")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    head = api.request("HEAD", f"/documents/{made['id']}/content")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


def test_a_chunked_body_needs_no_length(api: Api):
    made = send(api, iter([b"one ", b"", b"two"]))
    assert read(api, made["id"]).content == b"one two"


def test_a_large_upload_does_not_stay_in_memory(api: Api, server: Server):
    def resident() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    part = random.Random(1).randbytes(1024 * 1024)
    small = send(api, part)
    read(api, small["id"])
    before = resident()
    made = send(api, (part for _ in range(96)))
    digest = hashlib.sha256()
    with api.http.stream("GET", f"/documents/{made['id']}/content") as response:
        for chunk in response.iter_bytes():
            digest.update(chunk)
    assert digest.hexdigest() == made["sha256"] == hashlib.sha256(part * 96).hexdigest()
    assert resident() - before < 48 * 1024 * 1024


@pytest.mark.parametrize(
    "name",
    ['say "hi".txt', "señal 信号.pdf", "a;b=c, d.txt", "100%.txt", "it's.txt", ".hidden", "x" * 255, "semi;colon"],
)
@pytest.mark.parametrize("how", [send, form])
def test_any_name_that_is_no_path_is_kept(api: Api, name: str, how: Any):
    if how is form and '"' in name:
        pytest.skip("clients differ in how they write a quote in a form")
    made = how(api, b"x", name)
    assert made["name"] == name
    told = read(api, made["id"]).headers["content-disposition"]
    assert told.endswith(f"; filename*=UTF-8''{quote(name, safe='')}")
    assert told.isascii()


def test_the_name_may_stand_in_a_header(api: Api):
    disposition = "attachment; filename=\"plain.txt\"; filename*=UTF-8''caf%C3%A9.txt"
    headers = {"content-disposition": disposition, "content-type": "application/pdf"}
    made = api.call("POST", "/documents", content=b"x", headers=headers)
    assert (made["name"], made["content_type"]) == ("café.txt", "application/pdf")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\\b.txt", ".", "..", "x" * 10_000, "a\nb", "a\x7fb", "a\u202eb.txt"]
)
def test_a_name_that_is_a_path_or_endless_or_unprintable_is_refused(api: Api, server: Server, name: str):
    before = blobs(server)
    problem = send(api, b"x", name, status=400)
    assert problem["problems"][0]["pointer"] == "name"
    written = name.replace("\n", "%0A")  # as browsers write it
    body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{written}"\r\n\r\nx\r\n--b--\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = api.request("POST", "/documents", content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert blobs(server) == before


# -- ranges ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(api: Api) -> Any:
    return send(api, b"0123456789")


@pytest.mark.parametrize(
    ("asked", "told", "content"),
    [
        ("bytes=0-0", "bytes 0-0/10", b"0"),
        ("bytes=2-5", "bytes 2-5/10", b"2345"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=-99", "bytes 0-9/10", b"0123456789"),
        ("bytes=8-99", "bytes 8-9/10", b"89"),
    ],
)
def test_a_range_is_a_part(api: Api, digits: Any, asked: str, told: str, content: bytes):
    response = read(api, digits["id"], 206, Range=asked)
    assert (response.headers["content-range"], response.content) == (told, content)
    assert response.headers["content-length"] == str(len(content))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused(api: Api, digits: Any, asked: str):
    response = read(api, digits["id"], 416, Range=asked)
    assert response.headers["content-range"] == "bytes */10"
    check_problem(response)


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "", "bytes=" + "9" * 40]
)
def test_a_range_that_is_none_is_the_whole(api: Api, digits: Any, asked: str):
    assert read(api, digits["id"], 200, Range=asked).content == b"0123456789"


def test_an_empty_document_has_no_range(api: Api):
    made = send(api, b"")
    assert read(api, made["id"], 416, Range="bytes=0-").headers["content-range"] == "bytes */0"


def test_what_the_caller_has_is_not_sent_again(api: Api, digits: Any):
    etag = f'"{digits["sha256"]}"'
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        response = read(api, digits["id"], 304, **{"If-None-Match": condition, "Range": "bytes=0-1"})
        assert (response.content, response.headers["etag"]) == (b"", etag)
    assert read(api, digits["id"], 200, **{"If-None-Match": '"x"'}).content == b"0123456789"
    assert read(api, digits["id"], 206, **{"If-Range": etag, "Range": "bytes=0-1"}).content == b"01"
    for other in ('"x"', "Sat, 21 Nov 2026 00:00:00 GMT", f"W/{etag}"):
        assert read(api, digits["id"], 200, **{"If-Range": other, "Range": "bytes=0-1"}).content == b"0123456789"


# -- links and who may -------------------------------------------------------------------------------------------------


def test_a_document_is_found_with_its_process_and_recorded(api: Api, process: str):
    ids = [send(api, str(n).encode(), process=process)["id"] for n in range(5)]
    assert [each["id"] for each in api.everything(f"/processes/{process}/documents", limit=2)] == ids
    entries = [each for each in api.everything(f"/processes/{process}/history") if each["type"] == "DocumentLinked"]
    assert [each["data"]["document"] for each in entries] == ids
    assert all(each["actor"] == api.name for each in entries)
    api.delete(f"/documents/{ids[0]}", 204)
    api.get(f"/documents/{ids[0]}", expect=404)
    api.delete(f"/processes/{process}/documents/{ids[1]}", 204)
    api.delete(f"/processes/{process}/documents/{ids[1]}", 404)
    assert [each["id"] for each in api.everything(f"/processes/{process}/documents")] == ids[2:]
    assert api.history(process).count("DocumentUnlinked") == 2
    assert api.get(f"/documents/{ids[1]}")["links"] == []


def test_one_document_may_be_of_several_processes_and_of_an_item(api: Api, code: str, process: str):
    second = api.start(code)["id"]
    (item,) = api.get("/items", process=second)["items"]
    id = send(api, b"shared", process=process)["id"]
    linked = api.put(f"/processes/{second}/documents/{id}", {"item": item["id"]})
    assert linked["links"] == [{"process": process, "item": None}, {"process": second, "item": item["id"]}]
    again = api.put(f"/processes/{second}/documents/{id}", {"item": item["id"]})
    assert again == linked
    assert api.history(second).count("DocumentLinked") == 1
    assert [each["id"] for each in api.get(f"/processes/{second}/documents", item=item["id"])["items"]] == [id]
    problem = api.call("PUT", f"/processes/{process}/documents/{id}", {"item": item["id"]}, 400)
    assert problem["problems"][0]["pointer"] == "item"
    api.delete(f"/processes/{process}/documents/{id}", 204)
    assert read(api, id).content == b"shared"
    api.delete(f"/documents/{id}", 204)
    assert api.get(f"/processes/{second}/documents")["items"] == []


def test_people_store_where_they_have_to_do(api: Api, ana: Api, ben: Api, process: str, code: str):
    own = send(ana, b"ana's")  # nothing links it yet
    assert read(ana, own["id"]).content == b"ana's"
    read(ben, own["id"], 404)
    started = ana.start(code)["id"]
    ana.put(f"/processes/{started}/documents/{own['id']}", {})
    assert read(ben, own["id"]).content == b"ana's"
    send(ben, b"x", process=started, status=403)  # sees it, has nothing to do with it
    (item,) = api.get("/items", process=started)["items"]
    of_item = send(ben, b"ben's", item=item["id"])  # a candidate
    assert of_item["links"] == [{"process": started, "item": item["id"]}]
    assert ana.delete(f"/documents/{of_item['id']}", 403)["code"] == "forbidden"
    ben.delete(f"/documents/{of_item['id']}", 204)


def test_the_same_key_stores_one_file(api: Api, server: Server, process: str):
    def sent(content: bytes) -> httpx.Response:
        headers = {"idempotency-key": key, "content-type": "text/plain"}
        return api.request("POST", f"/documents?name=a&process={process}", content=content, headers=headers)

    key = fresh("key")
    first, second = sent(b"once"), sent(b"once")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    before = blobs(server)
    assert sent(b"something else").status_code == 409
    assert len(api.everything(f"/processes/{process}/documents")) == 1
    assert blobs(server) == before


def test_an_ended_process_takes_no_document(api: Api, server: Server, process: str):
    kept = send(api, b"kept", process=process)["id"]
    api.post(f"/processes/{process}/cancel", {})
    before = blobs(server)
    assert "CANCELLED" in send(api, b"x", process=process, status=409)["detail"]
    refused = api.delete(f"/documents/{kept}", 409)
    assert refused["code"] == "wrong_state"
    assert refused["detail"].startswith("cannot delete: the process ")
    assert read(api, kept).content == b"kept"
    assert blobs(server) == before


# -- what is not as it should be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "multipart/form-data"}, b"", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--\r\n", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"not a form at all, not even nearly", 400),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
            400,
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            400,
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 2) + b"--b--\r\n",
            400,
        ),
        ({"content-type": "text/plain"}, b"nameless", 400),
        ({"content-type": "no type", "content-disposition": 'attachment; filename="a"'}, b"x", 400),
        ({"content-encoding": "gzip", "content-disposition": 'attachment; filename="a"'}, b"x", 415),
    ],
)
def test_a_body_that_is_no_file_is_refused(api: Api, server: Server, headers: Any, body: bytes, status: int):
    before = blobs(server)
    response = api.request("POST", "/documents", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert blobs(server) == before


@pytest.mark.parametrize("query", ["process=nothing", "item=nothing", "process=00000000-0000-0000-0000-000000000000"])
def test_a_place_that_is_not_there_is_not_found(api: Api, query: str):
    response = api.request("POST", f"/documents?name=a&{query}", content=b"x", headers={"content-type": "text/plain"})
    assert response.status_code == 404, response.text


def raw(server: Server, api: Api, head: str, body: bytes = b"", query: str = "name=a") -> socket.socket:
    """A request by hand, for what no client would send."""
    address = urlsplit(server.url)
    made = socket.create_connection((address.hostname, address.port), 20)
    text = f"POST {PREFIX}/documents?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n{head}\r\n\r\n"
    made.sendall(text.encode() + body)
    return made


def answer(made: socket.socket) -> str:
    """Everything that comes until the other side ends it."""
    with made:
        parts = []
        while part := made.recv(65536):
            parts.append(part)
    return b"".join(parts).decode()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Any:
    """A server that takes small documents and has little patience."""
    limits = {"PENSTOCK_MAX_DOCUMENT_SIZE": "100000", "PENSTOCK_UPLOAD_TIMEOUT": "1"}
    with serving(tmp_path_factory.mktemp("small"), **limits) as running:
        yield running


def test_too_much_is_refused_before_it_is_sent(small: Server):
    api = small.application()
    told = answer(raw(small, api, "Content-Type: text/plain\r\nContent-Length: 100000000000"))
    assert told.startswith("HTTP/1.1 413 ")
    assert "a document may have 100000 bytes at most" in told


@pytest.mark.parametrize("how", [send, form])
def test_too_much_is_refused_while_it_comes(small: Server, how: Any):
    api = small.application()
    how(api, b"x" * 100_000)
    before = blobs(small)
    with pytest.raises(AssertionError, match="413"):
        how(api, b"x" * 100_001)
    headers = {"content-type": "text/plain"}
    endless = (b"x" * 50_000 for _ in range(3))
    assert api.request("POST", "/documents?name=a", content=endless, headers=headers).status_code == 413
    assert blobs(small) == before


def test_a_sender_that_stalls_is_cut_off(small: Server):
    api = small.application()
    before = blobs(small)
    for head, body in (
        ("Content-Type: text/plain\r\nContent-Length: 1000", b"half"),
        ("Content-Type: text/plain\r\nTransfer-Encoding: chunked", b"4\r\nhalf\r\n"),
        ("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000", b"--b\r\n"),
        ("Content-Type: text/plain\r\nContent-Length: 1000", b""),
    ):
        told = answer(raw(small, api, head, body))
        assert told.startswith("HTTP/1.1 400 "), told
        assert "too slowly" in told
    assert blobs(small) == before


def test_a_sender_that_trickles_is_cut_off(small: Server):
    api = small.application()
    made = raw(small, api, "Content-Type: text/plain\r\nContent-Length: 90000")
    made.settimeout(0.2)
    told = b""
    for _ in range(100):  # a byte every fifth of a second: never still for long, and never done
        try:
            made.sendall(b"x")
            told += made.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        if told:
            break
    assert told.startswith(b"HTTP/1.1 400 "), told
    made.close()


def test_a_reader_that_stands_still_is_cut_off(tmp_path):
    with serving(tmp_path, PENSTOCK_UPLOAD_TIMEOUT="1") as server:
        api = server.application()
        id = send(api, b"x" * 32 * 1024 * 1024)["id"]
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), 20) as made:
            text = (
                f"GET {PREFIX}/documents/{id}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n"
            )
            made.sendall(text.encode())
            assert made.recv(1000).startswith(b"HTTP/1.1 200 ")
            time.sleep(4)  # longer than the server waits
            size = 0
            try:
                while part := made.recv(1 << 20):
                    size += len(part)
            except ConnectionResetError:
                pass
            assert size < 32 * 1024 * 1024


def test_less_than_was_told_leaves_nothing(api: Api, server: Server):
    before = blobs(server)
    made = raw(server, api, "Content-Type: text/plain\r\nContent-Length: 10000000", b"x" * 6_000_000)
    until(lambda: blobs(server) != before)  # it has begun
    made.close()
    until(lambda: blobs(server) == before)


def test_more_than_was_told_is_not_part_of_it(api: Api, server: Server):
    told = answer(
        raw(server, api, "Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: close", b"fourfive", "name=lies")
    )
    id = json.loads(told.partition("\r\n\r\n")[2])["id"]
    assert read(api, id).content == b"four"


# -- crashes -----------------------------------------------------------------------------------------------------------


def test_a_kill_in_the_midst_of_uploads_leaves_whole_documents_alone(tmp_path):
    with serving(tmp_path) as server:
        api = server.application()
        process = api.start(api.deploy(NODES, tasks=TASKS))["id"]
        acknowledged: dict[str, str] = {}

        def upload(seed: int) -> None:
            content = random.Random(seed).randbytes(7_000_000)
            try:
                while True:
                    made = send(api, content, process=process)
                    acknowledged[made["id"]] = hashlib.sha256(content).hexdigest()
            except (httpx.TransportError, AssertionError):
                pass

        threads = [threading.Thread(target=upload, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(acknowledged) > 5)
        half = raw(server, api, "Content-Type: text/plain\r\nContent-Length: 9000000", b"x" * 8_000_000)
        until(lambda: any("#" in name for name in blobs(server)))
        server.kill()
        for thread in threads:
            thread.join()
        half.close()
        server.forget_clients()
        server.start()
        api = server.application()
        listed = {each["id"]: each for each in api.everything(f"/processes/{process}/documents", limit=200)}
        assert acknowledged.keys() <= listed.keys()
        for id, document in listed.items():
            assert hashlib.sha256(read(api, id).content).hexdigest() == document["sha256"]
        left = blobs(server) - listed.keys()
        assert left  # what the crash cut off; nobody sees it, and it goes after a day
        old = time.time() - 2 * 24 * 3600
        for path in (server.data / "documents").glob("*/*"):
            os.utime(path, (old, old))
        server.kill()
        server.forget_clients()
        server.start()
        until(lambda: blobs(server) == listed.keys())
        assert read(server.application(), next(iter(listed))).status_code == 200
