"""Who may read and who may write: 401, 403 and 404 as the real client understands them."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "demo/model"


@pytest.fixture
def repo(api) -> str:
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=REPO)
    return REPO


@pytest.fixture
def reader(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.read_token)


@pytest.fixture
def stranger(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token="nobody-was-given-this")


def writes(api: HfApi, repo: str) -> list:
    """Every way to change something, as calls."""
    return [
        lambda: api.create_repo("demo/new"),
        lambda: api.upload_file(path_or_fileobj=b"new", path_in_repo="a.txt", repo_id=repo),
        lambda: api.upload_file(path_or_fileobj=b"\0new", path_in_repo="a.bin", repo_id=repo),
        lambda: api.delete_file("config.json", repo_id=repo),
        lambda: api.create_tag(repo, tag="v1"),
        lambda: api.create_branch(repo, branch="b"),
        lambda: api.delete_branch(repo, branch="main"),
        lambda: api.update_repo_settings(repo, private=True),
        lambda: api.delete_repo(repo),
    ]


def test_a_token_says_who_it_stands_for(api, reader):
    assert (api.whoami()["name"], api.whoami()["auth"]["accessToken"]["role"]) == ("demo", "write")
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"


def test_a_read_token_reads_and_every_write_is_a_403(api, reader, repo):
    before = api.repo_info(repo).sha
    assert reader.list_repo_files(repo) == [".gitattributes", "config.json"]
    for write in writes(reader, repo):
        with pytest.raises(HfHubHTTPError) as refusal:
            write()
        assert refusal.value.response.status_code == 403
        assert "may only read" in str(refusal.value)
    assert api.repo_info(repo).sha == before
    assert [info.id for info in api.list_models()] == [repo]


def test_a_wrong_token_is_a_401_even_for_reading(stranger, repo):
    for call in [stranger.whoami, lambda: stranger.repo_info(repo), *writes(stranger, repo)]:
        with pytest.raises(HfHubHTTPError) as refusal:
            call()
        assert refusal.value.response.status_code == 401


def test_without_a_token_one_reads_and_every_write_is_a_401(api, hub, repo, tmp_path):
    nobody = HfApi(endpoint=hub.url, token=False)
    assert nobody.list_repo_files(repo) == [".gitattributes", "config.json"]
    assert hf_hub_download(repo, "config.json", endpoint=hub.url, token=False, cache_dir=tmp_path)
    for write in writes(nobody, repo):
        with pytest.raises(HfHubHTTPError) as refusal:
            write()
        assert refusal.value.response.status_code == 401
        assert "HF_TOKEN" in str(refusal.value)


def test_nobody_writes_under_another_name(api, repo):
    with pytest.raises(HfHubHTTPError) as refusal:
        api.create_repo("somebody-else/model")
    assert refusal.value.response.status_code == 403
    assert "no right to write under somebody-else/" in str(refusal.value)


def test_what_is_missing_is_told_apart(api, repo, tmp_path):
    def fetch(repo_id: str, path: str = "config.json", revision: str = "main") -> str:
        options = {"endpoint": api.endpoint, "token": api.token, "cache_dir": tmp_path}
        return hf_hub_download(repo_id, path, revision=revision, **options)

    for name in ("demo/absent", "absent/model", "no-namespace"):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info(name)
        with pytest.raises(RepositoryNotFoundError):
            fetch(name)
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="demo/absent")
    for revision in ("v9", "0" * 40, "refs/pr/1"):
        with pytest.raises(RevisionNotFoundError):
            api.repo_info(repo, revision=revision)
        with pytest.raises(RevisionNotFoundError):
            fetch(repo, revision=revision)
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo, revision="no-such-branch")
    with pytest.raises(RemoteEntryNotFoundError):
        fetch(repo, path="absent.json")


def test_an_id_of_a_tree_is_no_revision(api, repo, hub):
    """Trees lie beside commits on the disk; only commits may be asked for."""
    objects = hub.root / "repos" / "models" / repo / "objects"
    commits = {commit.commit_id for commit in api.list_repo_commits(repo)}
    trees = {path.stem for path in objects.iterdir()} - commits
    assert trees
    for tree in trees:
        with pytest.raises(RevisionNotFoundError):
            api.repo_info(repo, revision=tree)


def test_a_private_repository_is_there_for_its_owner_only(api, hub, repo, request_hub):
    api.update_repo_settings(repo, private=True)
    assert api.repo_info(repo).private is True
    nobody = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        nobody.repo_info(repo)
    assert list(nobody.list_models()) == []
    assert request_hub("GET", f"/{repo}/resolve/main/config.json").status == 404
    assert repo not in request_hub("GET", "/").body.decode()
    api.update_repo_settings(repo, private=False)
    assert nobody.repo_info(repo).private is False


def test_a_right_is_checked_without_using_it(api, reader, repo):
    api.auth_check(repo, write=True)
    reader.auth_check(repo)
    with pytest.raises(HfHubHTTPError, match="403"):
        reader.auth_check(repo, write=True)


def test_an_upload_address_is_good_for_one_content_only(hub, repo, request_hub):
    objects = [{"oid": "a" * 64, "size": 5}]
    batch = request_hub(
        "POST",
        f"/{repo}.git/info/lfs/objects/batch",
        {"operation": "upload", "objects": objects},
        token=hub.token,
    ).json()
    address = batch["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
    for changed in (address.replace("a" * 64, "b" * 64), address.replace("size=5", "size=6"), address[:-1]):
        assert request_hub("PUT", changed, b"12345").status == 403
