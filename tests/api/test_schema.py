"""Requests made from the API's own schema, right ones and wrong ones, and answers held to it.

TOPIC_SUM_GENERATED=2500 .venv/bin/pytest tests/api/test_schema.py     2,500 an address instead of 40
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ADDRESSES = [
    "POST /api/v1/analyze",
    "POST /api/v1/summarize",
    "POST /api/v1/topic",
    "GET /api/v1/model",
    "GET /api/v1/tasks",
]
COUNT = int(os.environ.get("TOPIC_SUM_GENERATED", "40"))


@pytest.fixture(scope="module")
def described(in_process):
    """The schema as the API serves it, of the API in this process (with the tiny model)."""
    from topic_sum.wsgi import application

    return schemathesis.openapi.from_wsgi("/api/schema", application)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("address", ADDRESSES)
def test_whatever_the_schema_allows_or_forbids_is_answered_as_it_says(described, address, mode):
    method, path = address.split()
    operation = described[path][method]
    if mode == GenerationMode.NEGATIVE and method == "GET":
        pytest.skip("a GET without parameters has nothing to get wrong")
    seen = Counter()

    @settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(checks=CHECKS)
        seen[answer.status_code] += 1

    ask()
    print(f"{method} {path} {mode.value}: {dict(seen)}")
    assert sum(seen.values()) >= min(COUNT, 1 if method == "GET" else COUNT)
    assert 200 in seen if mode == GenerationMode.POSITIVE else set(seen) != {200}


@pytest.mark.parametrize("name", ["topic", "summarize", "none"])
def test_a_task_answers_whatever_it_is_asked_as_the_schema_says(described, name):
    """The schema cannot name the columns of a model's task, so most of what it allows is refused."""
    operation = described["/api/v1/tasks/{name}"]["POST"]
    known = st.fixed_dictionaries(
        {}, optional={"text": st.text(), "title": st.text(), "top_k": st.integers()}
    )

    @settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(), st.just({"text": "Гол в матче"}) | known, st.booleans())
    def ask(case, columns, of_the_task):
        case.path_parameters = {"name": name}
        if of_the_task:
            case.body = columns
        answer = case.call_and_validate(checks=CHECKS)
        assert (answer.status_code == 404) == (name == "none")

    ask()


def test_the_schema_speaks_to_users_not_of_classes(described):
    told = {operation.ok().definition.raw["description"] for operation in described.get_all_operations()}
    assert told == {
        "One `text`, or `texts` for a list with a result or an error of its own for each.",
        "One object of columns, or `items` for a list with a result or an error of its own for each.",
        "The tasks of the model that serves.",
        "What serves now.",
        "Whether the process runs.",
        "Whether a model serves.",
        "Numbers for Prometheus.",
    }


def test_every_address_of_the_schema_is_asked_above(described):
    labels = {operation.ok().label for operation in described.get_all_operations()}
    operation = {"GET /health/live", "GET /health/ready", "GET /api/v1/metrics"}
    assert labels == {*ADDRESSES, *operation, "POST /api/v1/tasks/{name}"}


@pytest.fixture(scope="module")
def schema(in_process):
    return in_process.get("/api/schema", HTTP_ACCEPT="application/json").json()


def operations(schema):
    return {each["operationId"]: each for path in schema["paths"].values() for each in path.values()}


def test_every_example_of_the_schema_works(in_process, schema):
    shown = {
        (path.replace("{name}", operation["parameters"][0]["example"]) if "{" in path else path, name):
        example["value"]
        for path, methods in schema["paths"].items()
        for operation in methods.values() if "requestBody" in operation
        for name, example in operation["requestBody"]["content"]["application/json"]["examples"].items()
    }  # fmt: skip
    assert len(shown) == 8
    for (path, name), body in shown.items():
        answer = in_process.post(path, body, content_type="application/json")
        assert answer.status_code == 200, (path, name, answer.content)
        assert not any("error" in each for each in answer.json().get("results", [])), (path, name)


def test_what_client_generators_trip_over_is_not_in_the_schema(schema):
    assert all(operation["requestBody"]["required"] is True
               for operation in operations(schema).values() if "requestBody" in operation)  # fmt: skip
    assert sum("requestBody" in operation for operation in operations(schema).values()) == 4
    enums = {name: each["enum"] for name, each in schema["components"]["schemas"].items() if "enum" in each}
    assert enums and all(None not in values for values in enums.values())
    assert "NullEnum" not in enums


def test_every_operation_is_described_and_tagged(schema):
    tags = {tag["name"]: tag["description"] for tag in schema["tags"]}
    for name, operation in operations(schema).items():
        assert operation["summary"] and operation["description"] and operation["responses"], name
        assert len(operation["tags"]) == 1 and tags[operation["tags"][0]], name
    assert {"live", "ready", "metrics"} <= operations(schema).keys()
    assert set(tags) == {each for operation in operations(schema).values() for each in operation["tags"]}


@pytest.mark.parametrize(("keys", "security"), [([], [{}, {"key": []}]), (["k" * 30], [{"key": []}])])
def test_the_key_is_optional_where_none_is_set(keys, security):
    from django.test import override_settings
    from drf_spectacular.generators import SchemaGenerator

    with override_settings(API_KEYS=keys):
        found = operations(SchemaGenerator().get_schema(request=None, public=True))
    assert found["analyze"]["security"] == found["model"]["security"] == security
    assert found["live"]["security"] == [{}]
