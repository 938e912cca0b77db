"""A bucket as S3 shows it over HTTP, in memory: as much of the protocol as storing, reading, listing and deleting needs."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Bucket:
    """`objects` by name: content and when it was written; `uploads` are those that were begun and not completed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.age = timedelta()
        """How long ago everything was written, as lists say."""
        self.down = False
        self.numbers = itertools.count(1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"e"', "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        bucket, parts = self.bucket, urlsplit(self.path)
        name = unquote(parts.path).removeprefix("/papers").lstrip("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        body = self._body()
        if bucket.down:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "authorization" not in {key.lower() for key in self.headers}:
            self._answer(401)
        elif "list-type" in query:
            self._answer(200, self._listed(query.get("prefix", [""])[0]))
        elif "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for key in keys:
                bucket.objects.pop(key, None)
            gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())
        elif "uploads" in query:
            id = f"u{next(bucket.numbers)}"
            bucket.uploads[id] = {}
            self._answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        elif "uploadId" in query:
            self._part(name, query, body)
        else:
            self._object(name, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - the library's names

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _part(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        id = query["uploadId"][0]
        if self.command == "PUT":
            self.bucket.uploads[id][int(query["partNumber"][0])] = body
            self._answer(200)
        elif self.command == "DELETE":
            self.bucket.uploads.pop(id, None)
            self._answer(204)
        else:
            parts = self.bucket.uploads.pop(id)
            self.bucket.objects[name] = b"".join(parts[n] for n in sorted(parts)), datetime.now(UTC)
            told = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            self._answer(200, told.encode())

    def _object(self, name: str, body: bytes) -> None:
        objects = self.bucket.objects
        if self.command == "PUT":
            objects[name] = body, datetime.now(UTC)
            self._answer(200)
        elif self.command == "DELETE":
            objects.pop(name, None)
            self._answer(204)
        elif name not in objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            content, _ = objects[name]
            told = {"Last_Modified": "Sat, 21 Nov 2026 00:00:00 GMT"}
            if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
                start, end = int(found[1]), int(found[2])
                told["Content_Range"] = f"bytes {start}-{end}/{len(content)}"
                self._answer(206, content[start : end + 1], **told)
            else:
                self._answer(200, content, **told)

    def _listed(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{(at - self.bucket.age).isoformat(timespec='milliseconds')}"
            f"</LastModified><ETag>e</ETag><Size>{len(content)}</Size></Contents>"
            for name, (content, at) in sorted(self.bucket.objects.items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()


@contextmanager
def serving() -> Iterator[Bucket]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
    bucket = Bucket(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass.bucket = bucket  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
