"""Tests files that are wrong: every problem by its pointer and line, with the nearest that is known."""

from __future__ import annotations

import json
import textwrap

import pytest

from penstock.core.lines import lines_of
from penstock.core.loading import read_document
from penstock.simulation import NothingToTest, Unusable, find, read_tests, run_case, run_tests

FLOW = """
penstock: 1
code: flow
tasks: {FORM: {schema: {type: object, required: [x], properties: {x: {type: integer}}}}}
nodes:
  work: {kind: job, topic: do.work}
  call: {kind: http, url: "https://x.example"}
  ask: {kind: item, task: FORM}
  sub: {kind: call, definition: other}
  set: {kind: set, vars: {}}
  born: {kind: start, message: born}
  begin: {kind: start}
flows:
  - {from: begin, to: work}
  - {from: born, to: work}
  - {from: work, to: call}
  - {from: call, to: ask}
  - {from: ask, to: sub}
  - {from: sub, to: set}
"""
OTHER = "penstock: 1\ncode: other\nnodes: {in: {kind: job, topic: t}}\n"


def folder(path, tests, **more):
    (path / "flow.yaml").write_text(FLOW)
    (path / "other.yaml").write_text(OTHER)
    for name, text in more.items():
        (path / name.replace("__", ".")).write_text(text)
    file = path / "flow.tests.yaml"
    file.write_text(textwrap.dedent(tests))
    return file


def of_case(members):
    return f"cases:\n  - name: c\n    expect: {{status: COMPLETED}}\n    {members}\n"


# members of a case, pointer below it, line, part of the message
PROBLEMS = [
    ("inptu: {}", "/inptu", 4, "no member 'inptu' here; did you mean 'input'?"),
    ("now: yesterday", "/now", 4, "RFC 3339"),
    ("until: 3 days", "/until", 4, "ISO 8601"),
    ("start: bron", "/start", 4, "no start waits for 'bron'; did you mean 'born'?"),
    ("answers: {wrok: {}}", "/answers/wrok", 4, "'wrok' is no node, topic or task that asks for an answer; did you mean 'work'?"),
    ("answers: {set: {}}", "/answers/set", 4, "a set needs no answer"),
    ("answers: {work: []}", "/answers/work", 4, "where nobody answers write null"),
    ("answers: {work: 3}", "/answers/work", 4, "must be a map"),
    ("answers: {work: {outptu: 1}}", "/answers/work/outptu", 4, "did you mean 'output'?"),
    ("answers: {work: {output: 1, fail: X}}", "/answers/work/fail", 4, "there is 'output' already"),
    ("answers: {work: {when: input.}}", "/answers/work/when", 4, "line 1"),
    ("answers: {work: {when: inptu.x}}", "/answers/work/when", 4, "no 'inptu' here, only input, attempt, visit; did you mean 'input'?"),
    ("answers: {work: {output: '${metadata.x}'}}", "/answers/work/output", 4, "no 'metadata' here"),
    ("answers: {work: {times: 0}}", "/answers/work/times", 4, "from 1"),
    ("answers: {work: {after: soon}}", "/answers/work/after", 4, "ISO 8601"),
    ("answers: {work: {fail: {typ: X}}}", "/answers/work/fail/typ", 4, "did you mean 'type'?"),
    ("answers: {work: {fail: 3}}", "/answers/work/fail", 4, "must be a type or a map, not a number"),
    ("answers: {work: {throw: {message: x}}}", "/answers/work/throw", 4, "'code' is missing"),
    ("answers: {work: {throw: two words}}", "/answers/work/throw", 4, "is not an error code"),
    ("answers: {work: {status: 500}}", "/answers/work/status", 4, "this is no http node"),
    ("answers: {call: {status: 202}}", "/answers/call/status", 4, "one with after"),
    ("answers: {work: {values: [x]}}", "/answers/work/values", 4, "must be a map"),
    ("answers: {work: {increments: [3]}}", "/answers/work/increments/0", 4, "key of a counter"),
    ("answers: {ask: {output: {x: y}}}", "/answers/ask/output/x", 4, "the form of FORM:"),
    ("answers: {FORM: {}}", "/answers/FORM/output", 4, 'the form of FORM: "x" is a required property'),
    ("answers: {ask: {fail: X}}", "/answers/ask/fail", 4, "a person completes an item"),
    ("answers: {sub: {increments: [x]}}", "/answers/sub/increments", 4, "does not touch its caller's values"),
    ("send: {}", "/send", 4, "must be a list"),
    ("send: [{at: PT1S}]", "/send/0", 4, "exactly one of message, signal"),
    ("send: [{signal: s, key: x}]", "/send/0/key", 4, "only a message has one"),
    ("send: [{message: s, key: [x]}]", "/send/0/key", 4, "must be text or a number, not a list"),
    ("send: [{message: s, payloda: 1}]", "/send/0/payloda", 4, "did you mean 'payload'?"),
    ("commands: [{do: retyr}]", "/commands/0/do", 4, "did you mean 'retry'?"),
    ("commands: [{do: skip}]", "/commands/0", 4, "exactly one of node, visit"),
    ("commands: [{do: skip, node: wrok}]", "/commands/0/node", 4, "flow has no node 'wrok'; did you mean 'work'?"),
    ("commands: [{do: debug, node: work}]", "/commands/0", 4, "exactly one of input, output"),
    ("commands: [{do: retry, node: work}]", "/commands/0/node", 4, "no member 'node' here"),
    ("commands: [{do: retry, of: othr}]", "/commands/0/of", 4, "no definition 'othr' here; did you mean 'other'?"),
]  # fmt: skip

# expect, pointer below it, part of the message
EXPECTATIONS = [
    ("{}", "", "it could never fail"),
    ("{statsu: FAILED}", "/statsu", "did you mean 'status'?"),
    ("{status: DONE}", "/status", "must be one of"),
    ("{path: [work, asc]}", "/path/1", "flow has no node 'asc'; did you mean 'ask'?"),
    ("{path: [{work: 1}]}", "/path/0", "must be the code of a node, not a map"),
    ("{never: [nothing * 3]}", "/never/0", "no node 'nothing'"),
    ("{path: [other/in]}", "/path/0", "no definition 'other' here"),
    ("{open: [other/out]}", "/open/0", "other has no node 'out'"),
    ("{inputs: {wrok: 1}}", "/inputs/wrok", "did you mean 'work'?"),
    ("{incidents: [{type: X}]}", "/incidents/0", "'node' is missing"),
    ("{incidents: [{node: wrok}]}", "/incidents/0/node", "did you mean 'work'?"),
    ("{duration: long}", "/duration", "ISO 8601"),
    ("{duration: {least: P1D}}", "/duration/least", "did you mean 'at_least'?"),
    ("{refused: 3}", "/refused", "true, or part of the reason"),
    ("{refused: true, path: []}", "/path", "nothing else to expect"),
]


def problem_of(file):
    with pytest.raises(Unusable) as caught:
        read_tests(file)
    return caught.value.problems


@pytest.mark.parametrize(("members", "pointer", "line", "message"), PROBLEMS)
def test_problem_of_a_case_is_told_by_its_place(tmp_path, members, pointer, line, message):
    problems = problem_of(folder(tmp_path, of_case(members)))
    assert [(each.pointer, each.line) for each in problems] == [(f"/cases/0{pointer}", line)]
    assert message in problems[0].message


@pytest.mark.parametrize(("expect", "pointer", "message"), EXPECTATIONS)
def test_problem_of_an_expectation_is_told_by_its_place(tmp_path, expect, pointer, message):
    problems = problem_of(folder(tmp_path, f"cases:\n  - name: c\n    input: {{}}\n    expect: {expect}\n"))
    assert [(each.pointer, each.line) for each in problems] == [(f"/cases/0/expect{pointer}", 4)]
    assert message in problems[0].message
    assert str(problems[0]).startswith(f"{tmp_path / 'flow.tests.yaml'}:4: /cases/0/expect{pointer}: ")


@pytest.mark.parametrize(
    ("text", "pointer", "line", "message"),
    [
        ("cases: []", "", 1, "there are no cases"),
        ("cases:\n  - name: c\n", "/cases/0", 2, "it expects nothing"),
        ("cases:\n  - expect: {status: FAILED}\n", "/cases/0", 2, "'name' is missing"),
        ("casse: []\ncases:\n  - {name: c, expect: {open: []}}", "/casse", 1, "did you mean 'cases'?"),
        ("definition: nowhere.yaml\ncases: []", "/definition", 1, "no file 'nowhere.yaml'"),
        ("definitions:\n  - nowhere.yaml\ncases: []", "/definitions/0", 2, "no file 'nowhere.yaml'"),
        ("now: 3\ncases:\n  - {name: c, expect: {open: []}}", "/now", 1, "must be text"),
        ("answers: {x: {}}\ncases:\n  - {name: c, expect: {open: []}}", "/answers/x", 1, "no node, topic or task"),
        ("- a", "", 1, "must be a map"),
    ],
)
def test_problem_of_a_file_is_told_by_its_place(tmp_path, text, pointer, line, message):
    problems = problem_of(folder(tmp_path, text))
    assert (problems[0].pointer, problems[0].line) == (pointer, line)
    assert message in problems[0].message


@pytest.mark.parametrize("text", ["cases: [", "", "a: 1\na: 2", "a: &x 1\nb: *x"])
def test_what_is_no_document_is_told(tmp_path, text):
    report = run_tests(folder(tmp_path, text))
    assert report.problems
    assert not report.ok
    assert not report.cases


def test_names_are_unique_and_every_problem_is_told(tmp_path):
    case = "{name: c, expect: {open: []}, inptu: 1}"
    problems = problem_of(folder(tmp_path, f"cases:\n  - {case}\n  - {case}\n"))
    assert [(each.pointer, each.line) for each in problems] == [
        ("/cases/0/inptu", 2), ("/cases/1/inptu", 3), ("/cases/1/name", 3),
    ]  # fmt: skip


def test_a_definition_with_problems_is_told_by_its_own_lines(tmp_path):
    file = folder(tmp_path, of_case("input: 1"))
    (tmp_path / "flow.yaml").write_text(FLOW.replace("topic: do.work", "topik: do.work"))
    problems = problem_of(file)
    assert {(each.file, each.line) for each in problems} == {(str(tmp_path / "flow.yaml"), 6)}


def test_tests_stand_beside_or_name_their_definition(tmp_path):
    file = folder(tmp_path, "definition: other.yaml\ncases:\n  - {name: c, expect: {open: [in]}}")
    assert read_tests(file).definition == "other"
    alone = tmp_path / "alone.tests.yaml"
    alone.write_text("cases: []")
    assert "no definition stands beside it (alone.yaml)" in problem_of(alone)[0].message


def test_tests_may_be_json(tmp_path):
    folder(tmp_path, "cases: []").unlink()
    file = tmp_path / "flow.tests.json"
    file.write_text(json.dumps({"cases": [{"name": "c", "expect": {"open": ["work"]}}]}))
    assert run_tests(file).ok


def test_a_case_is_found_by_file_folder_or_definition(tmp_path):
    file = folder(tmp_path, of_case(""))
    assert find([file]) == find([tmp_path]) == find([tmp_path / "flow.yaml"]) == find([tmp_path, file]) == [file]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "does not exist"), ("other.yaml", "other.tests.yaml does not exist"), ("empty", "holds no tests")],
)
def test_nothing_to_test_is_told(tmp_path, name, message):
    folder(tmp_path, of_case(""))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToTest, match=message):
        find([tmp_path / name])


def test_one_case_of_a_program_is_as_strict():
    with pytest.raises(Unusable, match="did you mean 'answers'"):
        run_case(OTHER, answer={})
    with pytest.raises(Unusable, match="'code' is missing"):
        run_case({"penstock": 1})
    with pytest.raises(Unusable, match="the definition: "):
        run_case("a: [\n")


def test_lines_lead_to_the_innermost_thing_there_is():
    text = "a:\n  b: [1,\n    2]\n  'c/d': 3\n"
    assert not read_document(text, "yaml")[1]
    line = lines_of(text)
    places = ["", "/a", "/a/b", "/a/b/1", "/a/b/7", "/a/c~1d", "/a/nothing/there", "/z"]
    assert [line(place) for place in places] == [1, 1, 2, 3, 2, 4, 1, 1]
    assert lines_of("a: [")("") is None
