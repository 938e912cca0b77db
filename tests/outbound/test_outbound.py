"""Against real servers on loopback: what is refused, what is bounded, what is pinned."""

import asyncio
import ipaddress
import socket
from contextlib import asynccontextmanager

import pytest

from penstock.outbound import AnswerTooLarge, Blocked, Failed, Outbound, parse_rule, public, retry_after

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Server:
    """Answers every request with the bytes it was given, and keeps what it read."""

    def __init__(self, answer, *, drip=None, keep=False):
        self.answer = answer
        self.drip = drip
        self.keep = keep
        self.requests = []
        self.connections = 0
        self.port = 0

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                self.requests.append((head, await reader.readexactly(length)))
                answer = self.answer(self) if callable(self.answer) else self.answer
                if self.drip:
                    for at in range(len(answer)):
                        writer.write(answer[at : at + 1])
                        await writer.drain()
                        await asyncio.sleep(self.drip)
                writer.write(answer)
                await writer.drain()
                if not self.keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer, **how):
    server = Server(answer, **how)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@asynccontextmanager
async def client(*allow, **settings):
    outbound = Outbound(allow, **settings)
    try:
        yield outbound
    finally:
        await outbound.aclose()


def answer(body=b"{}", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def test_loopback_is_blocked_by_default():
    async with serving(answer()) as server, client() as outbound:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"):
            with pytest.raises(Blocked):
                await outbound.request("GET", f"http://{host}:{server.port}/")
        assert server.connections == 0


@pytest.mark.parametrize("rule", ["127.0.0.1", "127.0.0.0/8", "127.0.0.1:{port}"])
async def test_the_allow_list_lets_pass(rule):
    async with serving(answer(b'{"ok":true}')) as server, client(rule.format(port=server.port)) as outbound:
        got = await outbound.request("POST", f"http://127.0.0.1:{server.port}/a?b=1", {"X-Key": "v"}, b"body")
        assert (got.status, got.content) == (200, b'{"ok":true}')
        head, body = server.requests[0]
        assert head.startswith(b"POST /a?b=1 HTTP/1.1\r\n")
        assert f"host: 127.0.0.1:{server.port}".encode() in head
        assert b"x-key: v" in head
        assert body == b"body"


@pytest.mark.parametrize("rule", ["127.0.0.1:1", "10.0.0.0/8", "other.example", "internal.example:1"])
async def test_another_rule_does_not_help(rule):
    async def resolver(host, port):
        return ["127.0.0.1"]

    async with serving(answer()) as server, client(rule, resolver=resolver) as outbound:
        with pytest.raises(Blocked):
            await outbound.request("GET", f"http://internal.example:{server.port}/")


async def test_a_host_on_the_list_may_be_private_and_keeps_its_name():
    async def resolver(host, port):
        return ["127.0.0.1"]

    async with serving(answer()) as server, client("internal.example", resolver=resolver) as outbound:
        assert (await outbound.request("GET", f"http://internal.example:{server.port}/")).status == 200
        assert f"host: internal.example:{server.port}".encode() in server.requests[0][0]


async def test_a_name_that_changes_its_mind_is_asked_once_and_pinned():
    """DNS rebinding: the first answer is checked and used, and nobody asks again between the two."""
    answers = [["192.0.2.1"], ["127.0.0.1"]]
    asked = []

    async def resolver(host, port):
        asked.append(host)
        return answers.pop(0)

    async with serving(answer()) as server, client(resolver=resolver) as outbound:
        with pytest.raises(Blocked, match=r"192\.0\.2\.1"):
            await outbound.request("GET", f"http://rebind.example:{server.port}/")
        assert asked == ["rebind.example"]
        with pytest.raises(Blocked, match=r"127\.0\.0\.1"):
            await outbound.request("GET", f"http://rebind.example:{server.port}/")
        assert server.connections == 0
    answers[:] = [["127.0.0.1"], ["10.0.0.1"]]
    async with serving(answer()) as server, client("127.0.0.1", resolver=resolver) as outbound:
        assert (await outbound.request("GET", f"http://rebind.example:{server.port}/")).status == 200
        assert (server.connections, len(answers)) == (1, 1)


async def test_one_bad_address_among_good_ones_blocks():
    async def resolver(host, port):
        return ["8.8.8.8", "10.0.0.1"]

    async with client(resolver=resolver) as outbound:
        with pytest.raises(Blocked, match=r"10\.0\.0\.1"):
            await outbound.request("GET", "http://mixed.example/")


async def test_the_next_address_is_tried_when_one_refuses():
    async def resolver(host, port):
        return ["127.0.0.2", "127.0.0.1"]

    async with serving(answer()) as server, client("127.0.0.0/8", resolver=resolver) as outbound:
        assert (await outbound.request("GET", f"http://two.example:{server.port}/")).status == 200


async def test_a_connection_is_used_again():
    async with serving(answer(), keep=True) as server, client("127.0.0.1") as outbound:
        for _ in range(3):
            await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
        assert (server.connections, len(server.requests)) == (1, 3)


async def test_redirects_are_not_followed_unless_asked():
    async with serving(answer(status="302 Found", location="/next")) as server, client("127.0.0.1") as outbound:
        got = await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
        assert (got.status, got.headers["location"], len(server.requests)) == (302, "/next", 1)


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.2:1/", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "http://u:p@127.0.0.1/"],
)
async def test_a_redirect_to_what_is_refused_is_refused(location):
    async with (
        serving(answer(status="307 Temporary Redirect", location=location)) as server,
        client("127.0.0.1") as outbound,
    ):
        with pytest.raises(Blocked):
            await outbound.request("GET", f"http://127.0.0.1:{server.port}/", redirects=5)


async def test_redirects_end():
    async with serving(answer(status="302 Found", location="/again")) as server, client("127.0.0.1") as outbound:
        with pytest.raises(Blocked, match="redirects"):
            await outbound.request("GET", f"http://127.0.0.1:{server.port}/", redirects=50)
        assert len(server.requests) == 6


async def test_a_redirect_elsewhere_loses_the_secret_and_a_loose_one_the_body():
    async with serving(answer()) as last, client("127.0.0.1") as outbound:
        there = f"http://127.0.0.1:{last.port}/"
        async with serving(answer(status="302 Found", location=there)) as first:
            url = f"http://127.0.0.1:{first.port}/"
            secret = {"Authorization": "Bearer s", "Content-Type": "text/plain", "X-Mine": "1"}
            got = await outbound.request("POST", url, secret, b"body", redirects=1)
        assert got.status == 200
        head, body = last.requests[0]
        assert head.startswith(b"GET / ")
        assert b"authorization" not in head
        assert b"content-type" not in head
        assert b"x-mine: 1" in head
        assert body == b""


async def test_a_slow_drip_runs_out_of_time_as_a_whole():
    async with serving(answer(b"x" * 1000), drip=0.05) as server, client("127.0.0.1", timeout=0.4) as outbound:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Failed, match="within"):
            await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
        assert asyncio.get_running_loop().time() - began < 2


async def test_a_huge_success_is_refused_and_a_huge_error_cut():
    async with client("127.0.0.1", max_bytes=1000) as outbound:
        async with serving(answer(b"x" * 100_000)) as server:
            with pytest.raises(AnswerTooLarge):
                await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
        async with serving(answer(b"x" * 100_000, status="500 Oops")) as server:
            got = await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
            assert (got.status, len(got.content)) == (500, 1000)


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nwrong",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_what_is_not_http_is_a_failure_that_may_be_tried_again(text):
    async with serving(text) as server, client("127.0.0.1", timeout=5) as outbound:
        with pytest.raises(Failed) as caught:
            await outbound.request("GET", f"http://127.0.0.1:{server.port}/")
        assert not caught.value.permanent


async def test_nobody_there_and_no_such_name_may_be_tried_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def resolver(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    async with client("127.0.0.1") as outbound:
        with pytest.raises(Failed):
            await outbound.request("GET", f"http://127.0.0.1:{port}/")
    async with client(resolver=resolver) as outbound:
        with pytest.raises(Failed):
            await outbound.request("GET", "http://nowhere.example/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "//example.com", "example.com", "",
        "http://user:secret@example.com/", "http://user@example.com/", "http:///path", "http://exa mple.com/",
        "http://example.com/\r\nX: y", "http://example.com/\0", "http://[::1", "http://example.com:99999/",
        "http://example.com/" + "x" * 9000, "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
async def test_urls_that_do_not_leave(url):
    async with client() as outbound:
        with pytest.raises(Blocked):
            await outbound.request("GET", url)


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nInjected: b"}, {"X": "a\nb"}, {"X": "a\0"}, {"X y": "a"}, {"X\r\n": "a"}, {"": "a"}, {"X": "ü→"},
        {"Host": "other"}, {"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}, {"Proxy-Authorization": "x"},
    ],
)  # fmt: skip
async def test_headers_that_do_not_leave(headers):
    async with client() as outbound:
        with pytest.raises(Blocked):
            await outbound.request("GET", "http://8.8.8.8/", headers)
        with pytest.raises(Blocked):
            await outbound.request("GET\r\nX:", "http://8.8.8.8/")


async def test_one_host_does_not_take_every_connection():
    async with (
        serving(answer(), drip=0.01) as slow,
        serving(answer()) as quick,
        client("127.0.0.1", per_host=2, connections=10) as outbound,
    ):
        waiting = [asyncio.create_task(outbound.request("GET", f"http://127.0.0.1:{slow.port}/")) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert slow.connections == 2
        assert (await outbound.request("GET", f"http://127.0.0.1:{quick.port}/")).status == 200
        assert {got.status for got in await asyncio.gather(*waiting)} == {200}


async def test_retry_after_comes_with_the_answer():
    async with serving(answer(status="503 Busy", retry_after="7")) as server, client("127.0.0.1") as outbound:
        assert (await outbound.request("GET", f"http://127.0.0.1:{server.port}/")).retry_after == 7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("5", 5), (" 5 ", 5), ("-1", None), ("1.5", None), ("soon", None), ("9" * 30, None),
        ("999999999", 86400), ("Thu, 01 Jan 1970 00:00:30 GMT", 20), ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("Thu, 99 Jan 1970 00:00:01 GMT", None),
    ],
)  # fmt: skip
async def test_retry_after(text, seconds):
    assert retry_after(text, 10.0) == seconds


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True), ("1.1.1.1", True), ("2606:4700::1111", True), ("2a00:1450:4001:80b::200e", True),
        ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("127.255.255.254", False), ("0.0.0.0", False), ("0.1.2.3", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("172.31.255.255", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("100.100.100.200", False), ("192.0.0.192", False),
        ("168.63.129.16", False), ("198.18.0.1", False), ("224.0.0.1", False), ("239.1.1.1", False),
        ("255.255.255.255", False), ("240.0.0.1", False), ("192.0.2.1", False), ("192.88.99.1", False),
        ("::", False), ("::1", False), ("::127.0.0.1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False), ("64:ff9b::7f00:1", False), ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False), ("2002:7f00:1::", False), ("2002:808:808::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False), ("fe80::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("fd00:ec2::254", False), ("fec0::1", False), ("ff02::1", False), ("2001:db8::1", False), ("100::1", False),
        ("2606:4700::1111%1", False),
    ],
)  # fmt: skip
async def test_who_is_public(address, expected):
    assert public(ipaddress.ip_address(address)) is expected


@pytest.mark.parametrize("text", ["10.0.0.0/33", "[fd00::1", "", "a:b:c", "::1/200", "[host]:80"])
async def test_rules_that_are_none(text):
    with pytest.raises(ValueError):
        parse_rule(text)


@pytest.mark.parametrize(
    ("rule", "host", "address", "port", "expected"),
    [
        ("Internal.Example.", "internal.example", "10.0.0.1", 80, True),
        ("internal.example:8080", "internal.example", "10.0.0.1", 80, False),
        ("fd00::/8", "x", "fd00::1", 80, True), ("[fd00::1]:443", "x", "fd00::1", 443, True),
        ("[fd00::1]:443", "x", "fd00::1", 80, False), ("fd00::1", "x", "fd00::2", 80, False),
        ("10.0.0.0/8:8080", "x", "10.9.9.9", 8080, True), ("10.0.0.0/8", "x", "fd00::1", 80, False),
    ],
)  # fmt: skip
async def test_rules(rule, host, address, port, expected):
    assert parse_rule(rule).allows(host, ipaddress.ip_address(address), port) is expected
