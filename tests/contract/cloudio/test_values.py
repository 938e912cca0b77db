"""Values and counters: what is kept, for whom, how large, and that nothing is counted twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.cloudio.door import VALUES, Door, Served, reference, seeded
from support.server import fresh

LARGEST = 1024 * 1024
KINDS = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 1.5, 1e300, "", "text", "\u0001 é あ 😀", [], {}, [None, [1]], {"": {"a.b": [{}]}},
]  # fmt: skip
SCOPES = [("put", "get", "incrementAndGet"), ("instancePut", "instanceGet", "instanceIncrementAndGet")]


@pytest.fixture(scope="module")
def job(door):
    return door.job()


@pytest.mark.parametrize(("put", "get", "increment"), SCOPES)
def test_any_json_comes_back_as_it_was_sent(door, job, put, get, increment):
    for value in KINDS:
        assert door.call(put, reference(job, key="any", value=value)) == {"status": "OK"}
        found = door.value(get, reference(job), "any")
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("put", "get", "increment"), SCOPES)
def test_an_absent_key_is_null_and_counts_from_1(door, job, put, get, increment):
    key = fresh("k")
    assert door.value(get, reference(job), key) is None
    assert [door.value(increment, reference(job), key) for _ in range(3)] == [1, 2, 3]
    assert door.value(get, reference(job), key) == 3
    door.call(put, reference(job, key=key, value=10))
    assert door.value(increment, reference(job), key) == 11
    door.call(put, reference(job, key=key, value=-1))
    assert door.value(increment, reference(job), key) == 0


@pytest.mark.parametrize(("put", "get", "increment"), SCOPES)
@pytest.mark.parametrize("value", ["x", "5", 1.5, 5.0, True, None, [], {"n": 1}])
def test_what_is_no_integer_cannot_be_counted(door, job, put, get, increment, value):
    door.call(put, reference(job, key="word", value=value))
    answer = door.call(increment, reference(job, key="word"), 409)
    assert answer["message"] == "Value of key `word` is not a number!"
    assert door.value(get, reference(job), "word") == value


@pytest.mark.parametrize(("put", "get", "increment"), SCOPES)
def test_a_number_does_not_grow_out_of_64_bits(door, job, put, get, increment):
    door.call(put, reference(job, key="large", value=2**63 - 2))
    assert door.value(increment, reference(job), "large") == 2**63 - 1
    assert "largest" in door.call(increment, reference(job, key="large"), 409)["message"]
    assert door.value(get, reference(job), "large") == 2**63 - 1


def test_the_workflow_has_one_name_space_and_each_instance_its_own(door, api):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}})
    api.start(code)
    first = reference(api.take(topic))
    api.deploy({"work": {"kind": "job", "topic": topic, "input": {"new": "version"}}}, code=code)
    api.start(code)
    second = reference(api.take(topic))
    assert (first["version"], second["version"]) == ("1", "2")
    assert [door.value("incrementAndGet", each, "n") for each in (first, second, first)] == [1, 2, 3]
    assert [door.value("instanceIncrementAndGet", each, "n") for each in (first, second, first)] == [1, 1, 2]
    assert door.value("get", second, "n") == 3
    stranger = door.job()
    assert door.value("get", reference(stranger), "n") is None


def test_they_are_the_values_of_the_native_door(door, api, job):
    door.call("put", reference(job, key="shared", value={"of": "definition"}))
    door.call("instancePut", reference(job, key="shared", value={"of": "process"}))
    assert api.get(f"/definitions/{job['definition']}/values/shared")["value"] == {"of": "definition"}
    assert api.get(f"/processes/{job['process']}/values/shared")["value"] == {"of": "process"}
    api.put(f"/processes/{job['process']}/values/native", 41)
    assert api.post(f"/definitions/{job['definition']}/values/native/increment")["value"] == 1
    assert door.value("instanceIncrementAndGet", reference(job), "native") == 42
    assert door.value("incrementAndGet", reference(job), "native") == 2


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("put", "get", "increment"), SCOPES)
@pytest.mark.parametrize("letter", ["x", "é", "あ"])
def test_a_value_has_1_mib_and_not_a_byte_more(door, job, put, get, increment, letter):
    size = len(letter.encode())
    count, rest = divmod(LARGEST - 2, size)
    text = letter * count + "y" * rest
    # escaped as some clients do it: what counts is the value and not its spelling
    for escaped in (True, False):
        body = json.dumps(reference(job, key="large", value=text), ensure_ascii=escaped).encode()
        answer = door.request("POST", f"{VALUES}/{put}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
    assert door.value(get, reference(job), "large") == text
    answer = door.call(put, reference(job, key="large", value=text + "y"), 413)
    assert str(LARGEST + 1) in answer["message"]
    assert door.value(get, reference(job), "large") == text


@pytest.mark.parametrize("operation", ["put", "get", "instanceIncrementAndGet"])
def test_a_key_has_1_to_255_characters(door, job, operation):
    for key in ("é" * 255, "x", " ", "/../%00"):
        door.call(operation, reference(job, key=key, value=1))
    for key in ("", "x" * 256):
        assert "/key" in door.call(operation, reference(job, key=key, value=1), 400)["message"]


# -- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("increment", ["incrementAndGet", "instanceIncrementAndGet"])
def test_200_at_once_get_1_to_200(door, job, increment):
    assert sorted(door.together(increment, reference(job), fresh("n"), 200)) == list(range(1, 201))


@pytest.mark.parametrize("increment", ["incrementAndGet", "instanceIncrementAndGet"])
def test_a_key_that_cannot_be_counted_hurts_nobody_beside_it(door, job, increment):
    """Refusals and counts of one commit."""
    good = reference(job, key=fresh("n"))
    put = "put" if increment == "incrementAndGet" else "instancePut"
    bad = reference(job, key="text", value="x")
    door.call(put, bad)
    dead = {**good, "token": good["token"][:-1] + ("A" if good["token"][-1] != "A" else "B")}

    def call(number: int):
        body, status = ((good, 200), (bad, 409), (dead, 403))[number % 3]
        return door.call(increment, body, status).get("value")

    with ThreadPoolExecutor(30) as pool:
        found = [value for value in pool.map(call, range(150)) if value is not None]
    assert sorted(found) == list(range(1, 51))


@pytest.mark.postgres
@pytest.mark.parametrize("increment", ["incrementAndGet", "instanceIncrementAndGet"])
def test_two_nodes_count_one_key_together(postgres, tmp_path, increment):
    url = postgres.database()
    credentials = seeded(url)
    nodes = [Served(tmp_path / name, url, credentials) for name in ("one", "two")]
    try:
        doors = [Door(node.start(), node.application()) for node in nodes]
        job = reference(doors[0].job())
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda door: door.together(increment, job, "n", 150, 10), doors))
        assert sorted(found[0] + found[1]) == list(range(1, 301))
        for door in doors:
            door.http.close()
    finally:
        for node in nodes:
            node.stop()
            node.forget_clients()
    assert [node.complaints() for node in nodes] == [[], []]


def test_a_key_for_repeats_counts_once(door, job):
    """Our extension."""
    key, other = reference(job, key=fresh("n")), reference(job, key=fresh("n"))
    headers = {"Idempotency-Key": fresh("once")}
    assert [door.call("incrementAndGet", key, headers=headers)["value"] for _ in range(3)] == [1, 1, 1]
    assert door.call("incrementAndGet", key)["value"] == 2
    assert "another request" in door.call("incrementAndGet", other, 409, headers=headers)["message"]
    door.call("put", reference(job, key=key["key"], value=9), 409, headers=headers)


# -- with the job's end ----------------------------------------------------------------------------------------------


def test_values_and_the_jobs_end_survive_together_or_not_at_all(door, api):
    job = door.job()
    door.call("instancePut", reference(job, key="text", value="x"))
    # the last of its increments cannot be: nothing of the answer stays, and the job is still in hand
    answer = api.finish(job, {"n": 1}, 409, values={"kept": 1}, increments=["counted", "text"])
    assert "is not a number" in answer["detail"]
    assert door.value("instanceGet", reference(job), "kept") is None
    assert door.value("instanceGet", reference(job), "counted") is None
    assert api.status(job["process"]) == "RUNNING"
    api.finish(job, {"n": 1}, values={"kept": 1}, increments=["counted"])
    assert api.status(job["process"]) == "COMPLETED"
    found = {each["key"]: each["value"] for each in api.get(f"/processes/{job['process']}/values")["items"]}
    assert found == {"text": "x", "kept": 1, "counted": 1}
