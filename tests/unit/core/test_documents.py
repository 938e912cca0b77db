import json
import re
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.loading import read_document
from penstock.core.reading import MAX_BYTES, check_plain

SCALARS = [
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("No", "No"),
    ("y", "y"),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("null", None),
    ("~", None),
    ("", None),
    ("Null", None),
    ("nULL", "nULL"),
    ("12", 12),
    ("+12", 12),
    ("-12", -12),
    ("017", 17),
    ("0o17", 15),
    ("0O17", "0O17"),
    ("0x1F", 31),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("12:30:45", "12:30:45"),
    ("2026-11-21", "2026-11-21"),
    ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1.", 1.0),
    ("1e3", 1_000.0),
    ("-1.5E-1", -0.15),
    ("1e", "1e"),
    (".", "."),
    ("<<", "<<"),
    ("=", "="),
    ("P2D", "P2D"),
    ('"12"', "12"),
    ("'true'", "true"),
    ('"\\u00e9\\x41"', "éA"),
    ("|\n  a\n  b\n", "a\nb\n"),
    ("${input.a}", "${input.a}"),
    ("9223372036854775807", 2**63 - 1),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_yaml_scalars_are_those_of_the_core_schema(text, value):
    found, problems = read_document(f"a: {text}", "yaml")
    assert problems == []
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


GOOD = [
    ("yaml", "a: {b: [1, {c: x}], 'd': }", {"a": {"b": [1, {"c": "x"}], "d": None}}),
    ("yaml", "on: 1\nyes: 2", {"on": 1, "yes": 2}),
    ("yaml", "%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
    ("yaml", "<<: {a: 1}", {"<<": {"a": 1}}),
    ("yaml", "a: &x 1", {"a": 1}),
    ("yaml", '{"a":1,"b":[true]}', {"a": 1, "b": [True]}),
    ("yaml", "- 1\n- - 2\n  - 3", [1, [2, 3]]),
    ("yaml", "text", "text"),
    ("yaml", b"\xef\xbb\xbfa: \xc3\xa9", {"a": "é"}),
    ("json", '{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
    ("json", '"\\ud83d\\ude00"', "😀"),
    (None, '{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    (None, "a: on", {"a": "on"}),
    (None, "{a: 1}", {"a": 1}),
    (None, "# comment\n{a: 1}", {"a": 1}),
]


@pytest.mark.parametrize(("kind", "data", "value"), GOOD)
def test_read_document_reads(kind, data, value):
    assert read_document(data, kind) == (value, [])


BAD = [
    ("yaml", "", "", "syntax", "empty"),
    ("yaml", "# nothing", "", "syntax", "empty"),
    ("yaml", "a: 1\na: 2", "/a", "duplicate_key", "line 2, column 1: the key 'a' stands twice"),
    ("yaml", "x: [{a: 1}, {b: 1, b: 2}]", "/x/1/b", "duplicate_key", "line 1, column 20"),
    ("yaml", 'a: 1\n"a": 2', "/a", "duplicate_key", "line 2"),
    ("yaml", "a: &x [1]\nb: *x", "/b", "syntax", "line 2, column 4: aliases"),
    ("yaml", "a: &a [*a]", "/a/0", "syntax", "aliases"),
    ("yaml", "*x : 1", "", "syntax", "line 1"),
    ("yaml", "a: !!str 1", "/a", "syntax", "line 1, column 4: tags"),
    ("yaml", "a: !!python/object:os.system x", "/a", "syntax", "tags"),
    ("yaml", "a: !x [1]", "/a", "syntax", "tags"),
    ("yaml", "a: ! {b: 1}", "/a", "syntax", "tags"),
    ("yaml", "1: x", "", "value", "line 1, column 1: the key '1' is not text"),
    ("yaml", "a: {true: x}", "/a", "value", "not text"),
    ("yaml", "? [a]\n: b", "", "syntax", "line 1, column 3: a key must be text"),
    ("yaml", "? {a: b}\n: b", "", "syntax", "a key must be text"),
    ("yaml", "a\n---\nb", "", "syntax", "line 2, column 1: one document only"),
    ("yaml", "a: [1,\n 2", "/a/2", "syntax", "line 3, column 1"),
    ("yaml", "a: 1\n\tb: 2", "/a", "syntax", "line 2, column 1"),
    ("yaml", "a: 'x", "/a", "syntax", "line"),
    ("yaml", "%YAML 2.0\n---\na", "", "syntax", "incompatible"),
    ("yaml", "a: .inf", "/a", "value", "not a number that JSON can hold"),
    ("yaml", "a: -.INF", "/a", "value", "not a number that JSON can hold"),
    ("yaml", "a: .nan", "/a", "value", "not a number that JSON can hold"),
    ("yaml", "a: 1e999", "/a", "value", "not a number that JSON can hold"),
    ("yaml", "a: 9223372036854775808", "/a", "value", "64 bits"),
    ("yaml", "a: " + "9" * 10_000, "/a", "value", "64 bits"),
    ("yaml", 'a: "\\0"', "/a", "value", "U\\+0000"),
    ("yaml", '"\\0": a', "", "value", "U\\+0000"),
    ("yaml", "a: \x01", "", "syntax", "control characters"),
    ("yaml", "a: " + "[" * 64, "/a" + "/0" * 63, "nesting", "line 1, column 67: nests more than 64"),
    ("yaml", b"a: \xff", "", "encoding", "byte 3"),
    ("yaml", "a: \ud800", "", "encoding", "surrogate"),
    ("yaml", b"#" * (MAX_BYTES + 1), "", "too_large", "1,048,576"),
    ("yaml", "é" * (MAX_BYTES // 2 + 1), "", "too_large", "1,048,576"),
    ("json", "", "", "syntax", "line 1, column 1"),
    ("json", '{"a": 1,}', "", "syntax", "line 1, column"),
    ("json", "{'a': 1}", "", "syntax", "line 1, column 2"),
    ("json", "a: 1", "", "syntax", "line 1, column 1"),
    ("json", '{"a": 1, "a": 2}', "/a", "duplicate_key", "stands twice"),
    ("json", '[{"x": {"a": 1, "a": 2}}]', "/0/x/a", "duplicate_key", "stands twice"),
    ("json", '{"a": NaN}', "/a", "value", "not a number"),
    ("json", '{"a": [-Infinity]}', "/a/0", "value", "not a number"),
    ("json", '{"a": 1e999}', "/a", "value", "not a number"),
    ("json", '{"a": 9223372036854775808}', "/a", "value", "64 bits"),
    ("json", "9" * 10_000, "", "value", "digits"),
    ("json", '{"a": "\\ud800"}', "/a", "value", "surrogate"),
    ("json", '{"\\ud800": 1}', "", "value", "surrogate"),
    ("json", '{"a": "\\u0000"}', "/a", "value", "U\\+0000"),
    ("json", "[" * 65 + "]" * 65, "/0" * 64, "nesting", "64 levels"),
    ("json", "[" * 500_000, "", "nesting", "64 levels"),
    (None, '{"a": 1', "", "syntax", "line 1, column 8"),
    (None, "a: 1\na: 2", "/a", "duplicate_key", "line 2"),
    (None, '{"a": 1, "a": 2}', "/a", "duplicate_key", "stands twice"),
]


@pytest.mark.parametrize(("kind", "data", "pointer", "code", "message"), BAD)
def test_read_document_refuses(kind, data, pointer, code, message):
    value, problems = read_document(data, kind)
    assert value is None
    assert [(problem.pointer, problem.code) for problem in problems] == [(pointer, code)]
    assert re.search(message, problems[0].message)
    assert len(problems[0].message) < 300


def test_nesting_up_to_the_limit_is_read():
    for kind in ("json", "yaml"):
        assert read_document("[" * 64 + "]" * 64, kind)[1] == []


def test_every_duplicate_is_told():
    _, problems = read_document("a: 1\nb: {c: 1, c: 2}\na: 3", "yaml")
    assert [problem.pointer for problem in problems] == ["/b/c", "/a"]


def test_the_c_parser_and_the_other_agree(monkeypatch):
    """Where libyaml is missing the Python parser must read the same."""
    assert yaml.__with_libyaml__
    monkeypatch.setattr("penstock.core.reading._LOADER", yaml.SafeLoader)
    for text, value in SCALARS:
        assert read_document(f"a: {text}", "yaml") == ({"a": value}, [])
    for kind, data, value in GOOD:
        assert read_document(data, kind) == (value, [])
    for kind, data, pointer, code, _ in BAD:
        if kind == "yaml":
            found = read_document(data, kind)[1]
            assert code in {"nesting", "syntax"} or (found[0].pointer, found[0].code) == (pointer, code)
            assert found


def test_a_document_of_the_largest_size_is_read():
    text = _many_nodes(20_000)
    assert 900_000 < len(text) <= MAX_BYTES
    value, problems = read_document(text, "yaml")
    assert problems == []
    assert len(value["nodes"]) == 20_000


def _many_nodes(count):
    return "nodes:\n" + "".join(f"  n{index}: {{kind: job, topic: 'x y', input: {{a: 1}}}}\n" for index in range(count))


def _calls(text):
    """How many functions reading calls: what its time hangs on, and the same on every machine."""
    counted = 0

    def count(frame, event, arg):
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read_document(text, "yaml")
    finally:
        sys.setprofile(before)
    return counted


def test_the_work_of_reading_grows_as_the_document_does():
    few, many = _calls(_many_nodes(200)), _calls(_many_nodes(2_000))
    assert 5 * few < many < 11 * few


def test_check_plain_names_what_is_no_json():
    value = {"a": {1, 2}, "b": [b"x", ("y",)], 3: None, "c": {"d": float("nan")}}
    assert sorted((problem.pointer, problem.code) for problem in check_plain(value)) == [
        ("", "value"),
        ("/a", "value"),
        ("/b/0", "value"),
        ("/b/1", "value"),
        ("/c/d", "value"),
    ]


def test_check_plain_is_bounded():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert [problem.code for problem in check_plain(deep)] == ["nesting"]
    while deep:
        deep = deep[0]
    assert len(check_plain([b""] * 1_000)) == 100


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), below, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_json_is_read_as_json_reads_it(value):
    for kind in ("json", None):
        found, problems = read_document(json.dumps(value), kind)
        assert (found, problems) == (value, [])


@settings(max_examples=300)
@given(st.text() | st.text(alphabet="a1:-[]{},&*!|>'\"%@`#?~ \n\t.\\x0"), st.sampled_from(["yaml", "json", None]))
def test_any_text_is_read_or_refused(text, kind):
    value, problems = read_document(text, kind)
    assert not problems or value is None
    assert check_plain(value) == []


@given(st.binary(), st.sampled_from(["yaml", "json", None]))
def test_any_bytes_are_read_or_refused(data, kind):
    value, problems = read_document(data, kind)
    assert not problems or value is None
    assert check_plain(value) == []
