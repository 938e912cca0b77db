"""Documents as the Python client and the command line handle them, and as a backup carries them away and back."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.client import AsyncClient, Client, NotFound
from support.server import Api, Server, serving

CONTENT = random.Random(7).randbytes(1_500_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def process(api: Api) -> str:
    return str(api.start(api.deploy({"check": {"kind": "item", "task": "T"}}, tasks={"T": {}}))["id"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "señal.pdf"
    path.write_bytes(CONTENT)
    return path


def test_the_blocking_client_stores_and_saves(server: Server, process: str, file: Path, tmp_path: Path):
    with Client.from_credentials(server.data / "credentials.json") as client:
        made = client.documents.upload(file, process=process)
        assert (made.name, made.content_type, made.sha256) == (file.name, "application/pdf", DIGEST)
        named = client.documents.upload(io.BytesIO(b"ab"), name="b.bin")
        client.documents.link(process, named.id)
        assert [each.id for each in client.documents.list.all(process, limit=1)] == [made.id, named.id]
        client.documents.download(made.id, tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == CONTENT
        into = io.BytesIO(b"head")
        into.seek(4)
        client.documents.download(named.id, into)
        assert into.getvalue() == b"headab"
        client.documents.unlink(process, named.id)
        client.documents.delete(made.id)
        with pytest.raises(NotFound):
            client.documents.download(made.id, tmp_path / "never")
        assert [path.name for path in tmp_path.iterdir()].count("never") == 0
        assert list(tmp_path.glob("*.part")) == []
        with pytest.raises(TypeError):
            client.documents.upload(b"nameless")


def test_the_asyncio_client_stores_and_saves(server: Server, file: Path, tmp_path: Path):
    async def main() -> None:
        async with AsyncClient.from_credentials(server.data / "credentials.json") as client:
            made = await asyncio.gather(*(client.documents.upload(file) for _ in range(3)))
            assert {each.sha256 for each in made} == {DIGEST}
            await client.documents.download(made[0].id, tmp_path / "saved")
            assert (tmp_path / "saved").read_bytes() == CONTENT
            assert (await client.documents.get(made[1].id)).size == len(CONTENT)

    asyncio.run(main())


def penstock(server: Server, *arguments: str, cwd: Path, stdin: bytes = b"") -> bytes:
    credentials = str(server.data / "credentials.json")
    command = [sys.executable, "-m", "penstock", *arguments, "--credentials", credentials]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=True, timeout=60).stdout


def test_the_command_line_stores_lists_and_saves(server: Server, process: str, file: Path, tmp_path: Path):
    made: Any = json.loads(penstock(server, "document", "put", str(file), "--process", process, "--json", cwd=tmp_path))
    put = penstock(
        server, "document", "put", "-", "--name", "in.txt", "--process", process, cwd=tmp_path, stdin=b"piped"
    )
    assert b"in.txt, 5 bytes" in put
    listed = json.loads(penstock(server, "document", "list", process, "--json", cwd=tmp_path))["items"]
    assert [each["name"] for each in listed] == [file.name, "in.txt"]
    assert penstock(server, "document", "get", listed[1]["uri"], "-o", "-", cwd=tmp_path) == b"piped"
    file.unlink()
    penstock(server, "document", "get", made["id"], cwd=tmp_path)
    assert file.read_bytes() == CONTENT


def test_a_backup_carries_documents_away_and_back(tmp_path: Path):
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "penstock", *arguments, "--data", str(tmp_path / "s/data")]
        return subprocess.run(command, capture_output=True, check=True, timeout=60, text=True).stdout

    (tmp_path / "s").mkdir()
    with serving(tmp_path / "s") as server:
        api = server.application()
        made = api.call("POST", "/documents", files={"file": ("a.txt", CONTENT, "text/plain")})
        assert "1 documents in" in run("backup", str(tmp_path / "copy.db"))
    blob = next((tmp_path / "s/data/documents").glob("*/*"))
    blob.unlink()
    assert "1 documents in" in run("restore", str(tmp_path / "copy.db"))
    assert blob.read_bytes() == CONTENT
    with serving(tmp_path / "s") as server:
        response = server.application().request("GET", f"/documents/{made['id']}/content")
        assert hashlib.sha256(response.content).hexdigest() == DIGEST
