"""The Python client on the real server: schedules, secrets, connections."""

from __future__ import annotations

import httpx
import pytest

from penstock.client import Client, NotFound, Stale
from process.people import PASSWORD, person
from support.server import fresh


def test_the_client_knows_schedules_secrets_and_connections(server, api):
    code = api.deploy({"wait": {"kind": "job", "topic": fresh("t")}})
    with Client.from_credentials(server.data / "credentials.json") as client:
        made = client.schedules.create(code, cron="0 6 * * *", timezone="Europe/Madrid", overlap="skip")
        assert client.schedules.get(made.id) == made
        assert client.schedules.next(made.id, 2).times[0] == made.next
        changed = client.schedules.update(made.id, code, every="PT2H", revision=made.revision)
        assert (changed.every, changed.revision) == ("PT2H", 2)
        with pytest.raises(Stale):
            client.schedules.pause(made.id, revision=1)
        assert client.schedules.pause(made.id, revision=2).state == "PAUSED"
        assert client.schedules.resume(made.id).state == "ACTIVE"
        process = client.schedules.run(made.id).process
        assert client.processes.get(process).definition == code
        assert made.id in [each.id for each in client.schedules.list.all(definition=code)]
        client.schedules.delete(made.id)
        with pytest.raises(NotFound):
            client.schedules.get(made.id)

        name = fresh("S")
        assert client.secrets.put(name, "value").revision == 1
        assert client.secrets.get(name).name == name
        assert name in [each.name for each in client.secrets.list.all()]
        auth = {"type": "bearer", "token": f"${{secrets.{name}}}"}
        stored = client.connections.put(name, "http://127.0.0.1:9", auth=auth, timeout="PT1S")
        assert client.connections.get(name).auth == auth == stored.auth
        assert name in [each.name for each in client.connections.list.all()]
        tried = client.connections.test(name, "/x")
        assert not tried.ok
        assert tried.error is not None
        with pytest.raises(Stale):
            client.connections.delete(name, revision=9)
        client.connections.delete(name)
        client.secrets.delete(name)


def test_the_client_knows_providers_and_sessions(server, root):
    email = person(root, roles=["admin"])["email"]
    body = {"email": email, "password": PASSWORD}
    opened = httpx.post(f"{server.url}/api/v1/session", json=body, trust_env=False).json()
    with Client(server.url, token=server.login(email, PASSWORD).token) as client:
        code = fresh("op")
        made = client.providers.create(
            code, "Corporate", "https://login.example.com", "penstock", client_secret="s", domains=["example.com"],
            create_users=True,
        )  # fmt: skip
        assert (made.client_secret, made.create_users, made.domains) == (True, True, ["example.com"])
        assert client.providers.get(code) == made
        assert code in [each.code for each in client.providers.list.all()]
        assert client.providers.change(code, enabled=False, client_secret=None).client_secret is False
        with pytest.raises(Stale):
            client.providers.delete(code, revision=1)
        client.providers.delete(code, revision=2)
        (session,) = client.sessions.list().items
        assert session.id == opened["id"]
        client.sessions.close(session.id)
        assert client.sessions.list().items == []
