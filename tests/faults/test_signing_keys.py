"""The key that signs tokens is replaced by the command in the middle of a load, under two servers on one PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from faults.nodes import Node
from support.server import SECRET_KEY, until

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres) -> str:
    return str(postgres.database())


def rotate(url: str) -> None:
    environment = {**os.environ, "PENSTOCK_DATABASE_URL": url, "PENSTOCK_SECRET_KEY": SECRET_KEY}
    subprocess.run(
        [sys.executable, "-m", "penstock", "rotate-keys", "--signing"], env=environment, check=True, timeout=60
    )


def kids(node: Node) -> list[str]:
    told = httpx.get(f"{node.url}/.well-known/jwks.json", trust_env=False).json()
    return [key["kid"] for key in told["keys"]]


def test_no_call_fails_while_keys_come_and_go(url, nodes: Callable[..., list[Node]], long):
    rounds = 10 if long else 3
    first, second = nodes(url, "first", "second")
    before = first.token()
    over, calls = threading.Event(), []

    form = {
        "grant_type": "client_credentials",
        "client_id": first._tenant.application_id,
        "client_secret": first._tenant.application_secret,
    }

    def use(issuer: Node, other: Node) -> None:
        """Each token is used at once on the other node, which may not have heard of its key; the first one everywhere."""
        with httpx.Client(trust_env=False, timeout=30) as http:
            while not over.is_set():
                issued = http.post(f"{issuer.url}/api/v1/token", data=form)
                assert issued.status_code == 200, issued.text
                token = issued.json()["access_token"]
                for node in (other, issuer):
                    for each in (token, before):
                        answer = http.get(f"{node.url}/api/v1/me", headers={"authorization": f"Bearer {each}"})
                        assert answer.status_code == 200, answer.text
                        calls.append(token)

    def headers() -> set[str]:
        """One for each key that tokens in use were signed with."""
        return {token.partition(".")[0] for token in [before, *calls]}

    with ThreadPoolExecutor(6) as pool:
        users = [pool.submit(use, *pair) for pair in ((first, second), (second, first)) for _ in range(3)]
        try:
            for turn in range(1, rounds + 1):
                rotate(url)
                until(lambda turn=turn: len(headers()) > turn or any(user.done() for user in users), 60)
            until(lambda: len(kids(first)) == len(kids(second)) == rounds + 1, 30)
        finally:
            over.set()
        for user in users:
            user.result()
    assert kids(first) == kids(second)
    assert len(headers()) == rounds + 1
