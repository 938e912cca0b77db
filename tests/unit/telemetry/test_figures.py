"""Plain numbers, and how they are written out; what docs and alerts say of metrics is so."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from penstock.telemetry.catalogue import BY_NAME, METRICS
from penstock.telemetry.exposition import write
from penstock.telemetry.figures import DoorFigures, Histogram

DOCS = Path(__file__).parents[3] / "docs"
SUFFIXES = ("_bucket", "_count", "_sum")


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_buckets_count_what_is_at_most_their_bound(values):
    bounds = (0.1, 1.0, 10.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    buckets = dict(histogram.cumulated)
    for bound in bounds:
        assert buckets[str(bound)] == sum(value <= bound for value in values)
    assert buckets["+Inf"] == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_figures_are_written_under_their_names_with_any_text_in_a_label():
    odd = 'a"b\\c\nd é'
    histogram = Histogram((1, 2))
    histogram.observe(1.5)
    reading = {
        "penstock_jobs": [((odd, "waiting"), 3)],
        "penstock_steps_total": [((), 7)],
        "penstock_writer_group_units": [((), histogram)],
        "penstock_info": [(("1", "sqlite", "n"), 1)],
    }
    for accept, reads in (("", parse), ("application/openmetrics-text", parse_openmetrics)):
        content, _ = write(reading, accept)
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in reads(content.decode())
            for sample in family.samples
        }
        assert samples["penstock_jobs", *sorted((odd, "waiting"))] == 3
        assert samples[("penstock_steps_total",)] == 7
        assert samples["penstock_writer_group_units_bucket", "1.0"] == 0
        assert samples["penstock_writer_group_units_bucket", "2.0"] == 1
        assert samples["penstock_info", "1", "n", "sqlite"] == 1


@pytest.mark.parametrize(
    "accept",
    ["text/plain; version=abc", "application/openmetrics-text; version=abc", "text/plain; version=1.x.0", ";=,"],
)
def test_who_asks_for_a_version_that_is_none_gets_the_plain_format(accept):
    content, kind = write({}, accept)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert b"python_gc_objects_collected_total" in content


def test_what_the_catalogue_does_not_have_is_not_written():
    with pytest.raises(AssertionError, match="penstock_surprise"):
        write({"penstock_surprise": [((), 1)]}, "")


def test_names_follow_the_rules_of_prometheus():
    for metric in METRICS:
        assert re.fullmatch("penstock_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")
    assert len(BY_NAME) == len(METRICS)


def test_a_door_counts_by_operation_class_and_refusal():
    figures = DoorFigures()
    for status in (200, 204, 401, 403, 429, 404, 503, 0):
        figures.answered("op", status, 0.01)
    assert figures.operations["op"].classes == [1, 0, 2, 0, 4, 1]
    assert figures.refused == {401: 1, 403: 1, 429: 1}


def named(text: str) -> set[str]:
    return set(re.findall(r"\bpenstock_[a-z_]+", text))


def known(name: str) -> bool:
    base = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
    return name in BY_NAME or (base in BY_NAME and BY_NAME[base].kind == "histogram")


def test_the_table_of_the_docs_is_the_catalogue():
    rows = re.findall(
        r"^\| `(penstock_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", (DOCS / "observability.md").read_text(), re.MULTILINE
    )
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), help) for name, kind, labels, help in rows}
    assert told == {
        metric.name: (metric.kind, metric.labels, metric.help + (" *(database)*" if metric.database else ""))
        for metric in METRICS
    }


def test_alerts_and_docs_name_metrics_that_there_are():
    rules = yaml.safe_load((DOCS / "observability" / "alerts.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 10
    for rule in alerts:
        assert rule.keys() >= {"alert", "expr", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert named(rule["expr"]), rule
        assert not [name for name in named(str(rule)) if not known(name)], rule
    for page in ("observability.md", "operations.md", "observability/dashboard.json"):
        words = named((DOCS / page).read_text())
        assert not [name for name in words if not known(name) and name != "penstock_"], page
