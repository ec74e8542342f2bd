"""topic_sum_api/README.md keeps its word: its commands run, its answers have the fields the API gives."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "topic_sum_api" / "README.md"
HERE = "http://127.0.0.1:8000"


def blocks(begin):
    """The indented blocks of the README that begin with `begin`, without their indent."""
    found = re.findall(r"(?:^    .*\n)+", README.read_text(encoding="utf-8"), re.M)
    unindented = [re.sub(r"^    ", "", block, flags=re.M) for block in found]
    return [block for block in unindented if block.startswith(begin)]


def fields(value):
    """What an answer is made of, whatever it says; of a list only the first item counts."""
    if isinstance(value, dict):
        return {key: fields(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [fields(value[0])] if value else []
    return None


def test_the_curl_example_is_answered(api):
    [command] = blocks("curl ")
    command = command.replace(HERE, api.url)
    ended = subprocess.run(
        ["bash", "-c", command], cwd=README.parent, capture_output=True, text=True, timeout=60
    )
    asked = json.loads((ROOT / "demo" / "question.json").read_text(encoding="utf-8"))
    answer = json.loads(ended.stdout)
    assert answer["source"]["chars"] == len(asked["text"]), ended
    for name in ("README.md", "README.ru.md"):  # the same question there, with its answer
        shown = re.search(r'^    \{"topic".*(?:\n     .*)+', (ROOT / name).read_text(encoding="utf-8"), re.M)
        assert fields(json.loads(shown[0].replace(", …]", "]"))) == fields(answer | {"unsupported": []})


def test_the_python_example_is_answered(api, text):
    [program] = blocks("import json")
    program = program.replace(HERE, api.url).replace("Текст новости", text("sport"))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "'topic': 'sport'" in ended.stdout, ended


def test_the_powershell_example_sends_what_the_others_send(api, text):
    """What PowerShell's grammar makes of it is sent; PowerShell itself is asked below, where it is."""
    [program] = blocks("$body")
    tree = Parser(Language(tree_sitter_powershell.language())).parse(program.encode()).root_node
    assert not tree.has_error, tree
    [variable, content] = found(tree, "left_assignment_expression", "verbatim_string_characters")
    [command] = found(tree, "command_name")
    [address, *values] = found(
        tree.child(0).child(1), "generic_token", "expandable_string_literal", "parenthesized_expression"
    )
    named = dict(zip(found(tree, "command_parameter"), values, strict=True))
    assert (command, variable) == ("Invoke-RestMethod", "$body")
    assert named.keys() == {"-Method", "-ContentType", "-Body"}
    assert named["-Method"] == "Post"
    assert named["-Body"] == "([Text.Encoding]::UTF8.GetBytes($body))"  # else 5.1 sends ISO-8859-1
    answer = api.post(
        address.removeprefix(HERE),
        content.strip("'").replace("Текст новости", text("sport")).encode(),
        Content_Type=named["-ContentType"].strip('"'),
    )
    assert (answer.status, answer.json["topic"]) == (200, "sport")


def found(node: Node, *kinds: str) -> list[str]:
    """Texts of the outermost nodes of these kinds, in their order."""
    if node.type in kinds:
        return [node.text.decode()]
    return [text for child in node.children for text in found(child, *kinds)]


POWERSHELL = shutil.which("pwsh") or shutil.which("powershell")


@pytest.mark.skipif(POWERSHELL is None, reason="no pwsh or powershell here")
def test_the_powershell_example_is_answered(api, text):
    [program] = blocks("$body")
    program = program.replace(HERE, api.url).replace("Текст новости", text("sport"))
    command = [POWERSHELL, "-NoProfile", "-Command", f"($({program.strip()})).topic"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == "sport", ended


def test_the_answers_shown_have_the_fields_of_real_ones(api, text):
    asked = text("economy")
    items = [{"text": asked}, {"text": "12 345"}]
    real = {
        "analyze": api.post("/api/v1/analyze", {"text": asked, "title": "Банк", "top_k": 2}),
        "summarize": api.post("/api/v1/summarize", {"text": asked, "variants": 2, "max_chars": 120}),
        "topic": api.post("/api/v1/topic", {"text": asked, "top_k": 1, "explain": True}),
        "texts": api.post("/api/v1/topic", {"texts": [asked, "12 345"], "top_k": 1}),
        "items": api.post("/api/v1/tasks/topic", {"items": items, "top_k": 1}),
        "tasks": api.get("/api/v1/tasks"),
        "model": api.get("/api/v1/model"),
        "error": api.post("/api/v1/topic", {"text": asked, "top_k": 500}),
    }
    shown = [json.loads(block) for block in blocks("{")]
    assert len(shown) == len(real) + 1  # and what /health/ready says while there is no model
    for name, answer in real.items():
        expected = answer.json
        if name == "model":
            expected["metrics"] = shown[6]["metrics"]  # which ones there are is the model's own business
        if name in ("analyze", "summarize"):
            assert expected["unsupported"], "the tiny model invents numbers; the list must not be empty"
        assert fields(expected) in [fields(block) for block in shown], name
    for name, at in (("texts", 3), ("items", 4)):
        assert real[name].json["results"][1] == shown[at]["results"][1]
    assert real["error"].json == shown[-1]


def test_the_schema_begins_as_shown(api):
    [shown] = blocks("openapi: ")
    assert api.get("/api/schema").raw.decode().startswith(shown)


def test_the_metrics_shown_exist(api):
    names = {line.split("{")[0].split(" ")[0] for line in blocks("topic_sum_requests")[0].splitlines()}
    assert len(names) == 5
    exposed = api.get("/api/v1/metrics").raw.decode()
    assert all(f"\n{name}" in exposed for name in names)


def test_every_setting_and_every_address_is_in_the_readme(api):
    readme = README.read_text(encoding="utf-8")
    settings = (README.parent / "topic_sum" / "settings.py").read_text(encoding="utf-8")
    names = set(re.findall(r'env_\w+\(\s*"([A-Z_]+)"', settings))
    assert {"MODEL_REPO", "RATE_LIMIT", "LOG_FORMAT", "API_KEYS", "CORS_ORIGINS"} <= names
    assert {name for name in names if f"`{name}`" not in readme} == set()
    addresses = re.findall(r"^  (/\S+):$", api.get("/api/schema").raw.decode(), re.M)
    assert len(addresses) >= 6
    assert all(address in readme for address in addresses)
