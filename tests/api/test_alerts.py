"""The example alerts ask only for what the API really counts."""

from __future__ import annotations

import re

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram


@pytest.fixture(scope="module")
def rules(repo_root) -> list[dict]:
    told = yaml.safe_load((repo_root / "docs/prometheus/alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in told["groups"] for rule in group["rules"]]


def exported() -> dict[str, set[str]]:
    """Name → labels of everything in the module of metrics, as Prometheus sees it."""
    from topic_sum import metrics

    found = {"up": {"job", "instance"}}
    for each in vars(metrics).values():
        if isinstance(each, Counter):
            found[f"{each._name}_total"] = set(each._labelnames)
        elif isinstance(each, Histogram):
            found[f"{each._name}_bucket"] = {*each._labelnames, "le"}
        elif isinstance(each, Gauge):
            found[each._name] = set(each._labelnames)
    return found


def test_every_alert_says_what_to_do(rules) -> None:
    assert len(rules) >= 6
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"] and rule["annotations"]["action"], rule["alert"]


def test_alerts_ask_for_metrics_and_labels_that_exist(rules) -> None:
    known = exported()
    for rule in rules:
        asked = re.findall(r"\b(up|topic_sum_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert asked, rule["alert"]
        for name, labels in asked:
            assert name in known, f"{rule['alert']} asks for {name}"
            assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= known[name], rule["alert"]


def test_values_of_labels_are_those_the_code_gives(rules, repo_root) -> None:
    source = "\n".join(path.read_text() for path in (repo_root / "topic_sum_api/topic_sum").rglob("*.py"))
    values = {value for rule in rules for value in re.findall(r'(?:event|task|code)="([^"]+)"', rule["expr"])}
    assert values
    assert {value for value in values if f'"{value}"' not in source} == set()


def test_both_sides_of_a_share_have_the_same_labels(rules) -> None:
    """Else Prometheus finds no pair, and the alert never fires."""
    known = exported()
    shares = [rule["expr"].split(" / ") for rule in rules if " / " in rule["expr"]]
    assert len(shares) >= 3
    for left, right in shares:
        summed = [side.lstrip("( ").startswith("sum by (instance) (") for side in (left, right)]
        labels = [known[re.findall(r"topic_sum_\w+", side)[0]] for side in (left, right)]
        assert all(summed) or (not any(summed) and labels[0] == labels[1]), f"{left} / {right}"


def test_rare_events_are_counted_from_zero() -> None:
    """An increase from nothing to 1 is none, for Prometheus."""
    from topic_sum import metrics

    told = metrics.exposition().decode()
    for event in ("model_loaded", "model_refused", "hub_unavailable"):
        assert f'topic_sum_model_events_total{{event="{event}"}}' in told
