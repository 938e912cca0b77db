"""A small HTTP/1.1 client for load: one keep-alive connection, JSON in and out, nothing checked that need not be.

The client shares the machine with the server it measures, so what it costs is taken from the result.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Wire:
    """One connection. Calls on it follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    @classmethod
    async def open(cls, url: str, token: str = "") -> Wire:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**22)
        head = f"host: {parts.netloc}\r\ncontent-type: application/json\r\n"
        if token:
            head += f"authorization: Bearer {token}\r\n"
        return cls(reader, writer, head.encode())

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises: RuntimeError for a status of 400 or more."""
        content = b"" if body is None else _encode(body)
        line = f"{method} {path} HTTP/1.1\r\ncontent-length: {len(content)}\r\n".encode()
        self._writer.write(line + self._head + b"\r\n" + content)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = 0
        for header in head.lower().split(b"\r\n"):
            if header.startswith(b"content-length:"):
                length = int(header[15:])
        answer = await self._reader.readexactly(length) if length else b""
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return _decode(answer) if answer else None

    def close(self) -> None:
        self._writer.close()
