"""Sessions, states of log-ins, bonds to providers and counted failures, as rows."""

from __future__ import annotations

from penstock.store import directory, login_failures, people, providers, sessions
from penstock.store.login_failures import Row
from penstock.store.sessions import State


def run(store, unit):
    return store.submit(unit).result(30)


def tenant(store):
    """A tenant with the user ann; answers the numbers of both."""

    def unit(tx):
        tid = people.add_tenant(tx, "id", "code", "name")
        return tid, people.add_user(tx, tid, "ann", "ann@example.com", "Ann", None)

    return run(store, unit)


def opened(tx, tid, hash, expires_in, principal="user:ann@example.com"):
    sessions.open(
        tx, sessions.Row(hash, f"id {hash}", tid, principal, tx.now, tx.now, tx.now + expires_in, None, "", "")
    )


def test_sessions_are_found_closed_and_forgotten(store):
    tid, _ = tenant(store)

    def unit(tx):
        for hash, left in (("a", 60_000), ("b", 60_000), ("old", -1), ("older", -2)):
            opened(tx, tid, hash, left)
        opened(tx, tid, "other", 60_000, "user:ben@example.com")

    run(store, unit)
    row, who, now = store.read(lambda read: sessions.session(read, "a"))
    assert (row.id, who.principal, who.tenant_code) == ("id a", "user:ann@example.com", "code")
    assert row.expires_at > now
    assert store.read(lambda read: sessions.session(read, "other"))[1] is None  # nobody of that name
    assert store.read(lambda read: sessions.session(read, "none")) is None
    assert [run(store, lambda tx: sessions.forget(tx, tx.now, 1)) for _ in range(3)] == [1, 1, 0]
    assert run(store, lambda tx: sessions.close_all(tx, tid, "user:ann@example.com", but="b")) == 1
    assert {row.session_hash for row in store.read(lambda read: sessions.of(read, tid, "user:ann@example.com"))} == {
        "b"
    }
    run(store, lambda tx: sessions.close(tx, "b"))
    assert run(store, lambda tx: sessions.of(tx, tid, "user:ann@example.com")) == []


def test_a_state_comes_back_once(store):
    tid, _ = tenant(store)
    state = State("s", tid, "op", "b", "/tasks", 1)
    run(store, lambda tx: sessions.leave(tx, state))
    assert [run(store, lambda tx: sessions.come_back(tx, "s")) for _ in range(2)] == [state, None]
    run(store, lambda tx: sessions.leave(tx, state))
    assert [run(store, lambda tx: sessions.forget_states(tx, tx.now, 10)) for _ in range(2)] == [1, 0]


def test_a_state_of_the_same_group_comes_back_too(store):
    tid, _ = tenant(store)
    state = State("s", tid, "op", "b", "/", 1)

    def unit(tx):
        sessions.leave(tx, state)
        return sessions.come_back(tx, "s"), sessions.come_back(tx, "s")

    assert run(store, unit) == (state, None)


def test_a_bond_goes_with_its_user(store):
    tid, uid = tenant(store)
    run(store, lambda tx: providers.bind(tx, tid, "https://a.example", "sub", uid))
    known = run(store, lambda tx: providers.user_known_as(tx, tid, "https://a.example", "sub"))
    assert known == store.read(lambda read: directory.user(read, tid, "ann"))
    assert run(store, lambda tx: providers.subject_of(tx, uid, "https://a.example")) == "sub"
    assert run(store, lambda tx: providers.subject_of(tx, uid, "https://b.example")) is None
    assert run(store, lambda tx: providers.user_known_as(tx, tid + 1, "https://a.example", "sub")) is None
    run(store, lambda tx: people.drop_user(tx, uid))
    assert run(store, lambda tx: providers.subject_of(tx, uid, "https://a.example")) is None


def test_groups_that_a_provider_names_are_looked_for_all_at_once(store):
    tid, _ = tenant(store)
    of_another = run(store, lambda tx: people.add_tenant(tx, "other", "other", "other"))
    gids = run(store, lambda tx: {code: people.add_group(tx, tid, code, code) for code in ("a", "b")})
    run(store, lambda tx: people.add_group(tx, of_another, "c", "c"))
    named = {"a", "b", "c", *(f"no-{n}" for n in range(1_000))}

    def unit(tx):
        before = store.writer.connection.statements
        found = providers.groups_among(tx, tid, named)
        return found, store.writer.connection.statements - before

    assert run(store, unit) == (gids, 1)
    assert run(store, lambda tx: providers.groups_among(tx, tid, [])) == {}


def test_failures_are_kept_found_and_forgotten(store):
    rows = [Row("a", 3, 10, 20), Row("b", 1, 1_000, 1_000)]

    def unit(tx):
        for row in rows:
            login_failures.keep(tx, row)
        return login_failures.held(tx, ["b", "a", "c"])

    assert run(store, unit) == {row.subject: row for row in rows}
    found, now = store.read(lambda read: login_failures.several(read, ["a", "c"]))
    assert found == {"a": rows[0]}
    assert now > 1_000
    assert [run(store, lambda tx: login_failures.forget(tx, 500, 10)) for _ in range(2)] == [1, 0]
    assert run(store, lambda tx: login_failures.held(tx, ["a", "b"])) == {"b": rows[1]}
