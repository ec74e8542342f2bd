"""Plain HTTP: ranges, chunks, paths that try to climb out, requests that are broken."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from urllib.parse import quote, urlsplit

import pytest

REPO = "demo/files"
CONTENT = bytes(os.urandom(300_000))


@pytest.fixture
def address(api) -> str:
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=CONTENT, path_in_repo="deep/a b.bin", repo_id=REPO)
    return f"/{REPO}/resolve/main/deep/a%20b.bin"


def commit_lines(*changes: dict) -> str:
    header = {"key": "header", "value": {"summary": "Test"}}
    return "".join(json.dumps(line) + "\n" for line in (header, *changes))


def test_a_file_is_told_about_and_served_whole(request_hub, address, api):
    head, get = request_hub("HEAD", address), request_hub("GET", address)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert (head.status, head.body, get.status, get.body) == (200, b"", 200, CONTENT)
    for headers in (head.headers, get.headers):
        assert headers["Content-Length"] == headers["X-Linked-Size"] == str(len(CONTENT))
        assert headers["ETag"] == headers["X-Linked-Etag"] == f'"{sha256}"'
        assert headers["X-Repo-Commit"] == api.repo_info(REPO).sha


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=299990-", 299_990, 299_999),
        ("bytes=299990-999999999", 299_990, 299_999),
        ("bytes=-10", 299_990, 299_999),
        ("bytes=-999999999", 0, 299_999),
    ],
)
def test_a_range_is_a_206_with_exactly_its_bytes(request_hub, address, asked, first, last):
    answer = request_hub("GET", address, headers={"Range": asked})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.body == CONTENT[first : last + 1]


def test_a_range_outside_the_file_is_a_416(request_hub, address):
    for asked in ("bytes=300000-", "bytes=-0"):
        answer = request_hub("GET", address, headers={"Range": asked})
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */300000")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,4-5"])
def test_a_range_that_cannot_be_read_gives_the_whole_file(request_hub, address, asked):
    answer = request_hub("GET", address, headers={"Range": asked})
    assert (answer.status, answer.body) == (200, CONTENT)


@pytest.mark.parametrize(
    "path",
    [
        "../escaped.txt",
        "a/../../escaped.txt",
        "/etc/escaped.txt",
        "a\\..\\escaped.txt",
        "C:/escaped.txt",
        "nul\0byte.txt",
        "new\nline.txt",
        ".git/config",
        "a//b.txt",
        "./a.txt",
        "a/",
        "",
    ],
)
def test_a_path_that_leaves_the_repository_is_refused(request_hub, hub, api, path, tmp_path):
    api.create_repo(REPO)
    before = api.repo_info(REPO).sha
    small = {"path": path, "content": "eA==", "encoding": "base64"}
    for key, value in (("file", small), ("lfsFile", {"path": path, "oid": "0" * 64}), ("deletedFile", small)):
        lines = commit_lines({"key": key, "value": value})
        answer = request_hub("POST", f"/api/models/{REPO}/commit/main", lines, token=hub.token)
        assert (answer.status, "not a path inside a repository" in answer.json()["error"]) == (400, True)
    asked = {"files": [{"path": path, "size": 1, "sample": "eA=="}]}
    assert request_hub("POST", f"/api/models/{REPO}/preupload/main", asked, token=hub.token).status == 400
    assert api.repo_info(REPO).sha == before
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "a/b",
        "..\\x",
        "x\0",
        "-x",
        ".x",
        "a--b",
        "a..b",
        "x.git",
        "x" * 97,
        "con",
        "LPT1.txt",
        "имя",
        "",
    ],
)
def test_a_repository_name_that_is_no_safe_folder_is_refused(request_hub, hub, name):
    before = sorted(hub.root.rglob("*"))
    answer = request_hub("POST", "/api/repos/create", {"name": name, "organization": "demo"}, token=hub.token)
    assert (answer.status, "not a name for a repository" in answer.json()["error"]) == (400, True)
    assert request_hub("GET", f"/api/models/demo/{quote(name, safe='')}").status == 404
    assert sorted(hub.root.rglob("*")) == before


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/demo/files/resolve/main/../../../../../../../etc/passwd",
        "/demo/files/resolve/main/..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "/demo/files/resolve/main//etc/passwd",
        "/demo/files/resolve/..%2F..%2Fstate.json/x",
        "/demo/files/resolve/main/state.json",
        "/api/models/..%2F..%2Fblobs/x",
        "/api/models/demo/..%2F..%2F..",
        "/api/models/%2E%2E/%2E%2E",
        "/demo/files/raw/main/%00",
    ],
)
def test_no_address_reads_outside_a_repository(request_hub, address, path):
    answer = request_hub("GET", path)
    assert answer.status == 404
    assert b"root:" not in answer.body


def upload_address(request_hub, hub, content: bytes) -> str:
    asked = {
        "operation": "upload",
        "objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}],
    }
    batch = request_hub("POST", f"/{REPO}.git/info/lfs/objects/batch", asked, token=hub.token).json()
    assert batch["transfer"] == "basic"
    return batch["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)


def blobs(hub) -> list[str]:
    return sorted(path.name for path in (hub.root / "blobs").glob("*/*"))


@pytest.mark.parametrize("sent", [b"x" * 999, b"x" * 1001, b"y" * 1000, b""])
def test_an_upload_of_another_size_or_content_is_refused_and_not_kept(request_hub, hub, api, sent):
    api.create_repo(REPO)
    before, announced = blobs(hub), b"x" * 1000
    answer = request_hub("PUT", upload_address(request_hub, hub, announced), sent)
    assert answer.status == 400
    assert "not the file that was announced" in answer.json()["error"]
    assert blobs(hub) == before
    assert list((hub.root / "incoming").iterdir()) == []


def test_an_upload_may_come_in_chunks(request_hub, hub, api):
    api.create_repo(REPO)
    chunks = [os.urandom(size) for size in (1, 70_000, 3, 1_500_000)]
    content = b"".join(chunks)
    assert request_hub("PUT", upload_address(request_hub, hub, content), iter(chunks)).status == 200
    sha256 = hashlib.sha256(content).hexdigest()
    assert (hub.root / "blobs" / sha256[:2] / sha256).read_bytes() == content


def test_an_upload_that_breaks_off_leaves_nothing(request_hub, hub, api):
    api.create_repo(REPO)
    before, content = blobs(hub), os.urandom(2_000_000)
    address = upload_address(request_hub, hub, content)
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=30)
    connection.putrequest("PUT", address)
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders()
    connection.send(content[:1_000_000])
    connection.close()
    assert request_hub("PUT", address, content).status == 200  # and the same address still takes the whole
    assert blobs(hub) == sorted([*before, hashlib.sha256(content).hexdigest()])


def test_a_commit_of_an_lfs_file_that_was_never_uploaded_is_refused(request_hub, hub, api):
    api.create_repo(REPO)
    line = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 3}}
    answer = request_hub("POST", f"/api/models/{REPO}/commit/main", commit_lines(line), token=hub.token)
    assert (answer.status, "was not uploaded" in answer.json()["error"]) == (400, True)
    verify = {"oid": "0" * 64, "size": 3}
    assert request_hub("POST", f"/{REPO}.git/info/lfs/verify", verify, token=hub.token).status == 404


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json\n",
        "[]\n",
        '{"key": "header"}\n',
        '{"key": "header", "value": {}}\n',
        '{"key": "header", "value": {"summary": 5}}\n',
        commit_lines({"key": "file", "value": {"path": "a.txt"}}),
        commit_lines({"key": "file", "value": {"path": "a.txt", "content": "%%%", "encoding": "base64"}}),
        commit_lines({"key": "file", "value": {"path": 7, "content": ""}}),
        commit_lines({"key": "rename", "value": {"path": "a.txt"}}),
        commit_lines({"key": "lfsFile", "value": {"path": "a.txt", "oid": "../../state.json"}}),
    ],
)
def test_a_broken_commit_is_a_400_and_changes_nothing(request_hub, hub, api, body):
    api.create_repo(REPO)
    before = api.repo_info(REPO).sha
    answer = request_hub("POST", f"/api/models/{REPO}/commit/main", body, token=hub.token)
    assert answer.status == 400
    assert answer.headers["X-Error-Message"]
    assert api.repo_info(REPO).sha == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"files": 3}', b'{"files": [3]}', b"null"])
def test_json_that_is_none_is_a_400(request_hub, hub, api, body):
    api.create_repo(REPO)
    assert request_hub("POST", f"/api/models/{REPO}/preupload/main", body, token=hub.token).status == 400


def test_an_unknown_address_says_so(request_hub):
    answer = request_hub("POST", "/api/no/such/thing/here", b"ignored")
    assert answer.status == 404
    assert "does not answer POST /api/no/such/thing/here" in answer.json()["error"]


def test_a_client_with_xet_is_told_how_to_do_without(request_hub, hub, api):
    api.create_repo(REPO)
    answer = request_hub("GET", f"/api/models/{REPO}/xet-write-token/main", token=hub.token)
    assert (answer.status, "HF_HUB_DISABLE_XET=1" in answer.headers["X-Error-Message"]) == (404, True)


def test_a_refused_body_is_not_taken_for_the_next_request(hub):
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=30)
    for _ in range(3):
        connection.request("POST", "/api/repos/create", b"GET / HTTP/1.1\r\n\r\n" * 50_000)
        response = connection.getresponse()
        assert (response.status, b"HF_TOKEN" in response.read()) == (401, True)
    connection.close()


def test_a_message_in_another_script_does_not_break_the_headers(request_hub):
    answer = request_hub("GET", "/api/models/demo/" + quote("имя"))
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert "имя" in answer.json()["error"]
