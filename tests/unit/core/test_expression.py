import json
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.expression import FUNCTIONS, ExpressionFailed, compile_expression, compile_template

NAMES = {
    "input": {
        "amount": 1_500,
        "rate": 1.5,
        "text": "tram",
        "none": None,
        "yes": True,
        "list": [{"x": 1}, {"x": 2}],
        "map": {"a-b": 1, "if": 2},
        "huge": 2**63,
    },
    "vars": {"n": 3},
    "loop": {"index": 4},
    "score": {"risk": 0.75, "list": [1, 2]},
    "nodes": {"A": {"ok": True}, "a-b": {"y": 5}},
    "paper": {"id": "p1"},
}

VALUES = [
    ("input.amount", 1_500),
    ("input.none", None),
    ("input.yes", True),
    ("input.list", [{"x": 1}, {"x": 2}]),
    ("input.list[1].x", 2),
    ("input . list [0] . x", 1),
    ('input["amount"]', 1_500),
    ('input.map["a-b"]', 1),
    ("input.map.if", 2),
    ("input.amount // the sum", 1_500),
    ("loop.index", 4),
    ("loop.index + loop.index", 8),
    ("[loop.index].map(l, l + loop.index)", [8]),
    ("{'loop': loop.index}", {"loop": 4}),
    ("input.amount > 1000 && score.risk > 0.5", True),
    ("nodes.A.ok", True),
    ('nodes["a-b"].y', 5),
    ("nodes['a-b'].y + 1", 6),
    ("has(input.missing)", False),
    ("has(input.amount) ? input.amount : 0", 1_500),
    ("has(nodes.A.ok)", True),
    ("input.list.map(e, e.x * vars.n)", [3, 6]),
    ("input.list.filter(e, e.x > 1)", [{"x": 2}]),
    ("input.list.exists(e, e.x == 2)", True),
    ("input.list.all(e, e.x == 2)", False),
    ("input.list.exists_one(e, e.x == 2)", True),
    ("score.list.map(score, score + 1)", [2, 3]),
    ("input.list.map(a, input.list.map(b, a.x + b.x))", [[2, 3], [3, 4]]),
    ("size(input.list)", 2),
    ("size(input)", 8),
    ("input.size() > 3", True),
    ("string(1) + 'a'", "1a"),
    ("int('12') + 1", 13),
    ("double(input.amount) * input.rate", 2_250.0),
    ("1 in [1, 2]", True),
    ("type(1) == int", True),
    (".5 + 1.0", 1.5),
    ('r\'\\d\' + """a"b"""', '\\da"b'),
    ("'${x}'", "${x}"),
    ("input.map['a' + '-b']", 1),
    ('input.map["a\\x2db"]', 1),
    ('{"a": {"b": [1, null]}}', {"a": {"b": [1, None]}}),
    ('timestamp("2026-11-21T14:00:00.5+02:00")', "2026-11-21T12:00:00.500Z"),
    ('duration("1h30m")', "PT1H30M"),
    ('duration("-90s")', "-PT1M30S"),
    ('[timestamp("2026-11-21T12:00:00Z")]', ["2026-11-21T12:00:00.000Z"]),
    ('timestamp("2026-11-21T12:00:00Z").getFullYear()', 2026),
    ("-9223372036854775808", -(2**63)),
    ("9223372036854775807", 2**63 - 1),
]


@pytest.mark.parametrize(("source", "value"), VALUES)
def test_evaluate_gives(source, value):
    result = compile_expression(source).evaluate(NAMES)
    assert result == value
    assert type(result) is type(value)


FAILURES = [
    ("input.missing", "no such key: missing"),
    ("input.missing + 1", "no such key: missing"),
    ("input.map.if.x", "types"),
    ("input.none.x", "types"),
    ("input.text[0]", "types"),
    ("input.list[2]", "index out of bounds: 2"),
    ("input.list.x", "Unexpected type"),
    ('input.list["0"]', "Unexpected type"),
    ("input.map[0]", "no such key: 0"),
    ("nodes.B", "no such key: B"),
    ("nodes.B.x", "no such key: B"),
    ("other", "nothing is known by the name 'other'"),
    ("other.x", "nothing is known by the name 'other'"),
    ("values.x", "nothing is known by the name 'values'"),
    ("input.amount + 1.0", "types"),
    ("input.amount ? 1 : 2", "types"),
    ("'a' + 1", "string"),
    ("1 / 0", "division by zero"),
    ("9223372036854775807 + 1", "verflow"),
    ("string(true)", "string\\(\\) does not take these arguments"),
    ("int('x')", "int"),
    ("b'a'", "bytes"),
    ("[b'a']", "bytes"),
    ("1.0 / 0.0", "not a number that JSON can hold"),
    ("[0.0 / 0.0]", "not a number that JSON can hold"),
    ("9223372036854775808u", "64 bits"),
    ("input.huge", "64 bits"),
    ("{1: 2}", "not text"),
    ("{true: 2}", "not text"),
    ("{'a': {1u: 2}}", "not text"),
]


@pytest.mark.parametrize(("source", "reason"), FAILURES)
def test_evaluate_fails(source, reason):
    with pytest.raises(ExpressionFailed, match=reason) as caught:
        compile_expression(source).evaluate(NAMES)
    assert source[:20] in str(caught.value)
    assert len(str(caught.value)) <= 450


def test_what_is_not_there_or_small_is_handed_over_as_it_is():
    assert compile_expression("input + 1").evaluate({"input": 1}) == 2
    assert compile_expression("[1].map(x, has(vars.q) ? vars.q.r : x)").evaluate({"vars": {}}) == [1]


def test_a_failure_without_loop_names_loop():
    with pytest.raises(ExpressionFailed, match="by the name 'loop'"):
        compile_expression("loop.index + 1").evaluate({})


REFUSED = [
    ("", "empty"),
    ("  // nothing", "empty"),
    ("(((", "line 1, character 4"),
    ("1 +", "character"),
    ("a b", "character"),
    ("a.in", "character"),
    ("input.?x", "unsupported syntax"),
    ("'abc", "not closed"),
    ("'a\nb'", "not closed"),
    ("'''abc''", "not closed"),
    ("`a`", "not part of the language"),
    ("${input.a}", "without \\${ }"),
    ("a\0", "not part of the language"),
    ("é", "not part of the language"),
    ("package.x", "reserved"),
    (".input", "begin with a dot"),
    ("1 + .input", "begin with a dot"),
    ("Message{a: 1}", "message literals"),
    ("a.b{}", "message literals"),
    ("foo(1)", "no function foo"),
    ("input.foo()", "no function foo"),
    ("now()", "no function now"),
    ("optional.of(1)", "no function of"),
    ("math.greatest(1, 2)", "no function greatest"),
    ("cel.bind(x, 1, x)", "no function bind"),
    ("[1].all(x, y, true)", "no function all"),
    ("map(x, x)", "no function map"),
    ("a)", "closes nothing"),
    ("(a]", "closes nothing"),
    ("[1].map(input, 1)", "hide the root"),
    ("[1].map(secrets, 1)", "hide the root"),
    ("[1].map((x), x)", "plain name"),
    ("[1].map(x.y, x)", "plain name"),
    ("[1].map(", "plain name"),
    ("nodes", "nodes.CODE"),
    ("nodes[input.x]", "nodes.CODE"),
    ("nodes['a' + 'b']", "nodes.CODE"),
    ("nodes['']", "nodes.CODE"),
    ("nodes.size()", "nodes.CODE"),
    ("size(nodes)", "nodes.CODE"),
    ("secrets.X", "secrets can only"),
    ("'Bearer ' + secrets.X", "secrets can only"),
    ("'" + "a" * 2_000 + "'", "2,000 characters"),
    ("(" * 33 + "1" + ")" * 33, "32 levels"),
    ("[" * 33 + "]" * 33, "32 levels"),
    ("1" + "+1" * 201, "200 operators"),
    ("!" * 201 + "true", "200 operators"),
    ("a" + ".a" * 101, "100 members"),
    ("a" + "[0]" * 101, "100 members"),
    ("a.map(b, b.map(c, c.map(d, d.map(e, e))))", "nest 3 deep"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_compile_refuses(source, message):
    with pytest.raises(ValueError, match=message) as caught:
        compile_expression(source)
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("depth", [1, 32])
def test_compile_takes_what_is_within_the_limits(depth):
    assert compile_expression("(" * depth + "1" + ")" * depth).evaluate({}) == 1
    assert compile_expression("1" + "+1" * 200).evaluate({}) == 201
    assert compile_expression("'" + "a" * 1_998 + "'").evaluate({}) == "a" * 1_998


READS = [
    ("input.a", {"input"}, set()),
    ("1", set(), set()),
    ("score.risk", {"score"}, {"score"}),
    ("nodes.A.x", {"nodes"}, {"A"}),
    ("nodes['a-b'].x + nodes.C", {"nodes"}, {"a-b", "C"}),
    ("nodes.A + A", {"nodes", "A"}, {"A"}),
    ("input.l.map(x, x.y)", {"input"}, set()),
    ("input.l.map(x, x.y + z)", {"input", "z"}, {"z"}),
    ("x.l.map(x, x.y)", {"x"}, {"x"}),
    ("input.l.map(x, x.y) + x", {"input", "x"}, {"x"}),
    ("input.l.filter(x, x.l.exists(y, y == x.z)) ", {"input"}, set()),
    ("[1].map(a, nodes.B)", {"nodes"}, {"B"}),
    ("has(A.b) || size(B) > 0", {"A", "B"}, {"A", "B"}),
    ("'input.a nodes.b' + vars.c", {"vars"}, set()),
    ("true && false || null == vars.x", {"vars"}, set()),
    ("type(values.x) == int", {"values"}, set()),
    ("map.x", {"map"}, {"map"}),
    ("metadata.a + entity.b + values.c + loop.d", {"metadata", "entity", "values", "loop"}, set()),
    ("{'input': A, B: 1}", {"A", "B"}, {"A", "B"}),
    ("a.input.nodes", {"a"}, {"a"}),
    ("1 in A", {"A"}, {"A"}),
]


@pytest.mark.parametrize(("source", "roots", "outputs"), READS)
def test_reads_are_known(source, roots, outputs):
    expression = compile_expression(source)
    assert expression.roots == roots
    assert expression.outputs == outputs


def test_every_function_is_known_to_the_binding():
    calls = {
        "contains": "'a'.contains('a')",
        "startsWith": "'a'.startsWith('a')",
        "endsWith": "'a'.endsWith('a')",
        "matches": "'a'.matches('a')",
        "timestamp": "timestamp('2026-01-01T00:00:00Z')",
        "duration": "duration('1s')",
        "bytes": "size(bytes('a'))",
        "size": "size('a')",
    }
    for name in FUNCTIONS:
        if name.startswith("get"):
            source = f"timestamp('2026-01-01T00:00:00Z').{name}()"
        else:
            source = calls.get(name, f"{name}('1')" if name != "type" else "type(1) == int")
        compile_expression(source).evaluate({})


def test_only_what_is_read_is_handed_over():
    bulk = object()  # no value at all: the binding takes offence at it
    expression = compile_expression("input.amount > 1 && nodes.A.ok")
    names = {"input": {"amount": 2, "bulk": bulk}, "nodes": {"A": {"ok": True, "bulk": bulk}}}
    assert expression.evaluate(names) is True
    with pytest.raises(ExpressionFailed):
        compile_expression("input.bulk == 1").evaluate(names)


@pytest.mark.parametrize(
    "source", ["[input.a, input.a.b, input]", "[input, input.a.b, input.a]", "[input.a.b, input, input.a]"]
)
def test_the_whole_is_handed_over_where_it_is_read(source):
    names = {"input": {"a": {"b": 1, "c": 2}, "d": 3}}
    results = compile_expression(source).evaluate(names)
    assert len(results) == 3
    assert all(each in results for each in (names["input"], names["input"]["a"], 1))


@pytest.mark.parametrize(
    "source", ["{'all': input}", "input == 1 ? null : input", "[1].map(x, {'b': x, 'a': x, 'c': input})"]
)
def test_maps_come_out_in_one_order(source):
    names = {"input": {str(number): number for number in range(9, -1, -1)}}
    expression = compile_expression(source)
    texts = {json.dumps(expression.evaluate(names)) for _ in range(20)}
    assert len(texts) == 1
    assert json.dumps({str(number): number for number in range(10)}) in texts.pop()


def test_maps_in_text_come_out_in_one_order():
    one = {"input": {"a": 1, "b": {"d": 1, "c": 2}}}
    other = {"input": {"b": {"c": 2, "d": 1}, "a": 1}}
    template = compile_template("x ${input} ${ {'q': input} }")
    assert (
        template.render(one) == template.render(other) == 'x {"a":1,"b":{"c":2,"d":1}} {"q":{"a":1,"b":{"c":2,"d":1}}}'
    )


@pytest.mark.parametrize(
    "source", ["input.map(k, k)", "-1 in input.filter(k, true)", "{'a': 1}.map(k, k)", "[input][0].map(k, 1)"]
)
def test_macros_that_keep_order_refuse_maps(source):
    with pytest.raises(ExpressionFailed, match="take lists, since a map's members have no order"):
        compile_expression(source).evaluate({"input": {"a": 1, "b": 2}})


def test_macros_without_order_take_maps():
    names = {"input": {"a": 1, "b": 2}}
    assert compile_expression("input.exists(k, k == 'a') && input.all(k, input[k] > 0)").evaluate(names) is True
    assert compile_expression("input.exists_one(k, input[k] == 2)").evaluate(names) is True


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + [1, 2].map(x, x)[0] * 2", 3),
        ("-[1, 2].map(x, x)[1]", -2),
        ("!([1].filter(x, true) == [])", True),
        ("loop.list.map(x, x).filter(x, x > 1).map(y, [y].map(z, z + loop.list[0])[0])", [3, 4]),
        ("1 in loop.list.map(x, x) ? loop.list . map ( x , x ) : []", [1, 2, 3]),
        ("{'a': loop.list.map(x, x)}['a'].map(x, x)[2]", 3),
        ("[[1].map(x, x), (loop.list).map(x, x)]", [[1], [1, 2, 3]]),
        ("size(loop.list.map(x, x)) == 3 && loop.list.map(x, x > 1, x)[0] == 2", True),
        ("loop.list // of numbers\n.map(x, x)", [1, 2, 3]),
    ],
)
def test_ranges_are_held_to_be_lists_in_every_place(source, value):
    assert compile_expression(source).evaluate({"loop": {"list": [1, 2, 3]}}) == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("[1].map(x, x) +", "line 1, character 16"),
        ("loop.x + [1].map(x, x) +", "line 1"),
        ("[1]" + ".map(x, x)" * 33, "32 times map and filter"),
    ],
)
def test_places_are_those_of_what_is_written(source, message):
    with pytest.raises(ValueError, match=message):
        compile_expression(source)


class Panic(BaseException):
    """What a panic of the binding looks like from here."""


@pytest.mark.parametrize("error", [Panic("called `unwrap()`"), RecursionError("too deep"), MemoryError()])
def test_whatever_the_binding_raises_is_a_failure(error, monkeypatch):
    class Program:
        def functions(self):
            return []

        def execute(self, context):
            raise error

    monkeypatch.setattr("penstock.core.expression.cel.compile", lambda source: Program())
    with pytest.raises(ExpressionFailed, match=r"1 \+ 1: (called|it nests too deep|MemoryError)"):
        compile_expression("1 + 1").evaluate({})

    def compile_panics(source):
        raise error

    monkeypatch.setattr("penstock.core.expression.cel.compile", compile_panics)
    with pytest.raises(ValueError, match="cannot be read"):
        compile_expression("1 + 1")


def test_an_interrupt_is_passed_on(monkeypatch):
    def interrupted(source):
        raise KeyboardInterrupt

    class Program:
        def functions(self):
            return []

        def execute(self, context):
            raise KeyboardInterrupt

    monkeypatch.setattr("penstock.core.expression.cel.compile", lambda source: Program())
    with pytest.raises(KeyboardInterrupt):
        compile_expression("1 + 1").evaluate({})
    monkeypatch.setattr("penstock.core.expression.cel.compile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_expression("1 + 1")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["input.a", "input.a[0]", "input.a.b", 'input["a"]', "input.a[0].b"]))
def test_a_path_is_what_the_binding_says(value, source):
    """The fast path and the binding agree, in results and in failures."""
    expression = compile_expression(source)
    assert expression._reading.steps is not None

    def outcome(evaluate):
        try:
            return json.dumps(evaluate({"input": {"a": value}}), sort_keys=True)
        except ExpressionFailed as error:
            return str(error)

    assert outcome(expression.evaluate) == outcome(expression._execute)


def test_deep_data_fails_and_does_not_crash():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExpressionFailed, match="levels deep"):
        compile_expression("size(input)").evaluate({"input": deep})
    with pytest.raises(ExpressionFailed, match="levels deep"):
        compile_expression("{'a': input.x}").evaluate({"input": {"x": deep}})
    while deep:  # Taken apart here: the interpreter itself would recurse.
        deep = deep[0]


def test_huge_data_fails():
    with pytest.raises(ExpressionFailed, match="too much data"):
        compile_expression("size(input)").evaluate({"input": "x" * (17 * 1024 * 1024)})


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("input.map(x, x + 1)", {"input": [1] * 4_000}),
        ("input.map(x, input.map(y, 1))", {"input": [1] * 300}),
        ("input.all(x, input.all(y, input.all(z, true)))", {"input": [1] * 300}),
        ("input.l.map(x, input.s)", {"input": {"l": [1] * 1_000, "s": "x" * 100_000}}),
    ],
)
def test_macros_over_too_much_are_refused_before_they_run(source, names):
    with pytest.raises(ExpressionFailed, match="macros would run over too much data"):
        compile_expression(source).evaluate(names)


def test_macros_over_much_run():
    assert compile_expression("input.exists(x, x == 1)").evaluate({"input": [0] * 10_000}) is False
    papers = [{"id": index, "text": "x" * 100} for index in range(1_000)]
    assert compile_expression("input.map(x, x.id)").evaluate({"input": papers}) == list(range(1_000))


def test_a_small_stack_is_enough():
    program = """
import threading
from penstock.core.expression import compile_expression
def run():
    deep = []
    for _ in range(150):
        deep = [deep]
    for source in ["1" + "+1" * 200, "!" * 200 + "true", "(1+" * 32 + "1" + ")" * 32, "input == 1", "[input]",
                   "input" + "[0]" * 100, "input" + ".map(x, x)" * 32, "true||" * 200 + "true"]:
        compile_expression(source).evaluate({"input": deep})
    done.append(1)
done = []
threading.stack_size(512 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
assert done
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_an_expression_is_shared_by_threads():
    expression = compile_expression("input.a * 2")
    results = []

    def run(number):
        results.extend(expression.evaluate({"input": {"a": number}}) == number * 2 for _ in range(200))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 800


@settings(max_examples=300)
@given(st.text(alphabet="a.b[0]('x')\"{}:,?!&|=<>+-*/% \\\nmapin1e5u$`é", max_size=40))
def test_any_source_compiles_or_is_refused(source):
    try:
        expression = compile_expression(source)
    except ValueError:
        return
    with suppress(ExpressionFailed):
        json.dumps(expression.evaluate({"input": {"a": 1}}), allow_nan=False)


# ------------------------------------------------------------------------------------------------------- templates

RENDERED = [
    ("plain", "plain"),
    (1, 1),
    (None, None),
    ("${input.amount}", 1_500),
    ("${input.list}", [{"x": 1}, {"x": 2}]),
    (" ${input.amount}", " 1500"),
    ("a ${input.text} b ${input.amount}", "a tram b 1500"),
    ("${input.text}${input.text}", "tramtram"),
    ("x ${input.none} ${input.yes} ${input.rate} ${1.0}", "x null true 1.5 1.0"),
    ("x ${input.map}", 'x {"a-b":1,"if":2}'),
    ("x ${['é', 1]}", 'x ["é",1]'),
    ("$${input.amount}", "${input.amount}"),
    ("$$${input.amount}", "$${input.amount}"),
    ("a $${b} ${input.amount}", "a ${b} 1500"),
    ("${input.amount}$${", "1500${"),
    ("$", "$"),
    ("$5 {x} }", "$5 {x} }"),
    ("$ ${input.amount}", "$ 1500"),
    ("${ {'a': '}'} }", {"a": "}"}),
    ("-${ {'a': {'b': \"}\"}}.a.b }-", "-}-"),
    ("${'''}'''}", "}"),
    ("${r'\\'}", "\\"),
    ("${'${}'}", "${}"),
    ("${input.amount // }\n}", 1_500),
    ("${''}", ""),
    ({"${input.amount}": "${input.amount}"}, {"${input.amount}": 1_500}),
    ({"a": ["${input.amount}", {"b": "x${paper.id}"}], "c": 1}, {"a": [1_500, {"b": "xp1"}], "c": 1}),
    (["a", "${loop.index}"], ["a", 4]),
]


@pytest.mark.parametrize(("value", "rendered"), RENDERED)
def test_render_gives(value, rendered):
    result = compile_template(value).render(NAMES)
    assert result == rendered
    assert type(result) is type(rendered)


def test_order_of_members_is_kept():
    assert list(compile_template({"b": "${1}", "a": 1, "c": "${2}"}).render({})) == ["b", "a", "c"]


TEMPLATES_REFUSED = [
    ("${", "closing brace"),
    ("${}", "empty"),
    ("a ${input.a", "closing brace"),
    ("a ${'}", "not closed"),
    ("a ${ {'a': 1 }", "closing brace"),
    ("${1 +}", "character"),
    ("${foo()}", "no function"),
    (["a", {"b": "${"}], "closing brace"),
    ("${" + "a" * 3_000 + "}", "2,000 characters"),
    ("${secrets.X}", "url, headers or body"),
    ("a ${secrets.X}", "url, headers or body"),
    ("${secrets['X']}", "secrets can only"),
]


@pytest.mark.parametrize(("value", "message"), TEMPLATES_REFUSED)
def test_compile_template_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        compile_template(value)


def test_a_template_knows_what_it_reads():
    template = compile_template({"a": "${input.x} ${A.b}", "b": ["${nodes.C}", "$${D}"]})
    assert template.roots == {"input", "A", "nodes"}
    assert template.outputs == {"A", "C"}
    assert [each.source for each in template.expressions] == ["input.x", "A.b", "nodes.C"]


def test_a_template_without_expressions_is_its_value():
    value = {"a": [1, "$ {x}", {"b": None}]}
    template = compile_template(value)
    assert template.render({}) is value
    assert template.roots == template.outputs == frozenset()


def test_rendering_changes_nothing_that_went_in():
    value = {"a": ["${input.amount}", 1]}
    template = compile_template(value)
    first = template.render(NAMES)
    assert value == {"a": ["${input.amount}", 1]}
    first["a"].append(2)
    assert template.render(NAMES) == {"a": [1_500, 1]}


def test_rendering_fails_as_its_expression_does():
    with pytest.raises(ExpressionFailed, match="no such key: missing"):
        compile_template({"a": ["x ${input.missing}"]}).render(NAMES)


def test_a_template_may_not_nest_without_end():
    value: object = "${1}"
    for _ in range(101):
        value = [value]
    with pytest.raises(ValueError, match="levels deep"):
        compile_template(value)


@given(json_values)
def test_any_value_survives_when_escaped(value):
    def escaped(each):
        if isinstance(each, str):
            return each.replace("${", "$${")
        if isinstance(each, list):
            return [escaped(below) for below in each]
        return {key: escaped(below) for key, below in each.items()} if isinstance(each, dict) else each

    assert compile_template(escaped(value)).render({}) == value


@given(json_values)
def test_any_value_passes_through_alone(value):
    assert compile_template({"a": ["${input.v}"]}).render({"input": {"v": value}}) == {"a": [value]}


@given(st.text(), st.text(), st.text(alphabet="${}a'\"\\ \n"))
def test_text_is_interpolated_raw(before, behind, value):
    source = before.replace("$", "") + "${input.v}" + behind.replace("$", "") + "."
    rendered = compile_template(source).render({"input": {"v": value}})
    assert rendered == before.replace("$", "") + value + behind.replace("$", "") + "."


def test_secrets_stay_as_they_stand():
    template = compile_template(
        {
            "url": "${secrets.URL}",
            "headers": {"A": "Bearer ${ secrets.TO-KEN } ${input.text}"},
            "body": "${input.amount}",
        },
        secrets=True,
    )
    assert template.secrets == {"URL", "TO-KEN"}
    assert template.roots == {"input"}
    assert template.render(NAMES) == {
        "url": "${secrets.URL}",
        "headers": {"A": "Bearer ${secrets.TO-KEN} tram"},
        "body": 1_500,
    }


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("${input.a}", {"a": "${secrets.X}"}),
        ("${input.a}", {"a": [{"b": "x ${ secrets.X}"}]}),
        ("${input.a}", {"a": {"${secrets.X}": 1}}),
        ("x ${input.a}", {"a": "${secrets.X}"}),
        ("${input.a}${input.b}", {"a": "$", "b": "{secrets.X}"}),
        ("$${${input.a}", {"a": "secrets.X}"}),
        ("${secrets.Y} ${input.a}", {"a": "${secrets.X}"}),
        ("x ${input.a}", {"a": ["${secrets.X}"]}),
    ],
)
def test_data_cannot_smuggle_in_a_secret(value, data):
    template = compile_template({"body": value}, secrets=True)
    with pytest.raises(ExpressionFailed, match="secrets are resolved"):
        template.render({"input": data})


@pytest.mark.parametrize("value", ["$${secrets.X}", "a $${ secrets.X}", {"${secrets.X}": 1}, "${'a' + secrets.X}"])
def test_a_secret_is_written_in_one_way_alone(value):
    with pytest.raises(ValueError, match="secret"):
        compile_template(value, secrets=True)
