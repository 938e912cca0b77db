"""An endpoint on loopback that answers as it is told."""

import asyncio
import contextlib


class Endpoint:
    """Answers as it is told, in turn, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, body))
        status, content, more = self.answers.pop(0) if self.answers else (200, b"{}", "")
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\nconnection: close\r\n{more}\r\n".encode()
            + content
        )
        await writer.drain()
        writer.close()
