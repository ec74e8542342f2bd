"""Commits, branches and tags through huggingface_hub's own HfApi."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "demo/news"
LARGE = bytes(range(256)) * 8_000  # 2 MB, not text: goes through LFS


@pytest.fixture
def repo(api) -> str:
    api.create_repo(REPO)
    return REPO


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)


def test_a_new_repository_has_a_first_commit_on_main(api):
    url = api.create_repo(REPO, repo_type="dataset")
    assert str(url) == f"{api.endpoint}/datasets/{REPO}"
    info = api.dataset_info(REPO)
    assert [ref.target_commit for ref in api.list_repo_refs(REPO, repo_type="dataset").branches] == [info.sha]
    assert [commit.title for commit in api.list_repo_commits(REPO, repo_type="dataset")] == ["initial commit"]


def test_creating_a_repository_twice_is_a_409_unless_it_may_exist(api, repo):
    with pytest.raises(HfHubHTTPError) as refusal:
        api.create_repo(repo)
    assert refusal.value.response.status_code == 409
    assert api.create_repo(repo, exist_ok=True).repo_id == repo


def test_a_model_and_a_dataset_of_one_name_are_two_repositories(api, repo):
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(path_or_fileobj=b"rows", path_in_repo="rows.txt", repo_id=repo, repo_type="dataset")
    assert api.list_repo_files(repo) == [".gitattributes"]
    assert api.list_repo_files(repo, repo_type="dataset") == [".gitattributes", "rows.txt"]


def test_a_commit_changes_all_its_files_at_once_and_keeps_the_old_revision(api, repo, tmp_path):
    first = api.create_commit(
        repo,
        [add("a.txt", b"one"), add("deep/er/b.bin", LARGE)],
        commit_message="First",
        commit_description="Why",
    ).oid
    second = api.create_commit(
        repo, [add("a.txt", b"two"), CommitOperationDelete("deep/er/b.bin")], commit_message="Second"
    ).oid
    assert api.list_repo_files(repo, revision=first) == [".gitattributes", "a.txt", "deep/er/b.bin"]
    assert api.list_repo_files(repo) == [".gitattributes", "a.txt"]
    history = api.list_repo_commits(repo)
    assert [commit.commit_id for commit in history][:2] == [second, first]
    assert (history[1].title, history[1].message, history[1].authors) == ("First", "Why", ["demo"])

    def content(revision: str, path: str) -> bytes:
        options = {"revision": revision, "cache_dir": tmp_path, "endpoint": api.endpoint, "token": api.token}
        return Path(hf_hub_download(repo, path, **options)).read_bytes()

    assert (content("main", "a.txt"), content(first, "a.txt")) == (b"two", b"one")
    assert content(first, "deep/er/b.bin") == LARGE


def test_unchanged_content_makes_no_commit(api, repo):
    operations = [add("a.txt", b"same"), add("b.bin", LARGE)]
    first = api.create_commit(repo, operations, commit_message="First")
    again = api.create_commit(repo, [add("a.txt", b"same"), add("b.bin", LARGE)], commit_message="Again")
    assert again.oid == first.oid
    assert len(api.list_repo_commits(repo)) == 2


def test_the_hub_itself_makes_no_commit_of_unchanged_content(api, repo, hub, request_hub):
    """A client that does not look first, and sends what is there already."""
    head = api.upload_file(path_or_fileobj=b"same", path_in_repo="a.txt", repo_id=repo).oid
    lines = (
        '{"key": "header", "value": {"summary": "Again"}}\n'
        '{"key": "file", "value": {"path": "a.txt", "content": "c2FtZQ==", "encoding": "base64"}}\n'
    )
    answer = request_hub("POST", f"/api/models/{repo}/commit/main", lines, token=hub.token)
    assert (answer.status, answer.json()["commitOid"]) == (200, head)
    assert len(api.list_repo_commits(repo)) == 2


def test_a_stale_parent_is_a_412_and_changes_nothing(api, repo):
    old = api.repo_info(repo).sha
    head = api.create_commit(repo, [add("a.txt", b"one")], commit_message="First", parent_commit=old).oid
    with pytest.raises(HfHubHTTPError) as refusal:
        api.create_commit(repo, [add("a.txt", b"two")], commit_message="Late", parent_commit=old)
    assert refusal.value.response.status_code == 412
    assert head in str(refusal.value)
    assert api.repo_info(repo).sha == head


def test_of_writers_with_one_parent_exactly_one_wins(api, repo):
    parent = api.repo_info(repo).sha
    won, lost = [], []

    def write(number: int) -> None:
        try:
            operations = [add(f"{number}.txt", b"mine")]
            won.append(api.create_commit(repo, operations, commit_message="Mine", parent_commit=parent).oid)
        except HfHubHTTPError as refusal:
            lost.append(refusal.response.status_code)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert lost == [412] * 5
    assert [commit.commit_id for commit in api.list_repo_commits(repo)] == [won[0], parent]


def test_writers_without_a_parent_lose_nothing_of_each_other(api, repo):
    def write(number: int) -> None:
        api.create_commit(repo, [add(f"{number}.txt", str(number).encode())], commit_message=f"{number}")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert api.list_repo_files(repo) == [".gitattributes", *(f"{number}.txt" for number in range(8))]
    assert len(api.list_repo_commits(repo)) == 9


def test_branches_go_their_own_way(api, repo):
    start = api.repo_info(repo).sha
    api.create_branch(repo, branch="try/one")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch(repo, branch="try/one")
    api.create_branch(repo, branch="try/one", exist_ok=True)
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, revision="try/one")
    assert api.repo_info(repo).sha == start
    assert api.list_repo_files(repo, revision="try/one") == [".gitattributes", "x.txt"]
    api.create_branch(repo, branch="two", revision="try/one")
    assert {ref.name for ref in api.list_repo_refs(repo).branches} == {"main", "try/one", "two"}
    api.delete_branch(repo, branch="try/one")
    with pytest.raises(RevisionNotFoundError):
        api.list_repo_files(repo, revision="try/one")
    assert api.list_repo_files(repo, revision="two") == [".gitattributes", "x.txt"]


def test_main_cannot_be_deleted(api, repo):
    with pytest.raises(HfHubHTTPError, match="403"):
        api.delete_branch(repo, branch="main")
    assert api.repo_info(repo).sha


def test_a_tag_stays_where_it_was_put_until_it_is_moved(api, repo):
    first = api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo).oid
    api.create_tag(repo, tag="production")
    second = api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=repo).oid
    assert api.repo_info(repo, revision="production").sha == first
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(repo, tag="production", revision=second)
    api.delete_tag(repo, tag="production")
    api.create_tag(repo, tag="production", revision=second)
    tags = api.list_repo_refs(repo).tags
    assert [(tag.name, tag.ref, tag.target_commit) for tag in tags] == [
        ("production", "refs/tags/production", second)
    ]
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo, tag="never-there")


@pytest.mark.parametrize("name", ["a..b", "-x", "x.lock", "a//b", "x/", "a b", "0" * 40, "refs/heads/x"])
def test_a_name_that_git_refuses_is_refused(api, repo, name):
    with pytest.raises(BadRequestError):
        api.create_tag(repo, tag=name)
    assert api.list_repo_refs(repo).tags == []


def test_files_and_folders_are_deleted(api, repo):
    operations = [
        add("keep.txt", b"k"),
        add("old/a.txt", b"a"),
        add("old/b/c.txt", b"c"),
        add("older.txt", b"o"),
    ]
    api.create_commit(repo, operations, commit_message="All")
    api.delete_folder("old", repo_id=repo)
    assert api.list_repo_files(repo) == [".gitattributes", "keep.txt", "older.txt"]
    api.delete_file("older.txt", repo_id=repo)
    assert api.list_repo_files(repo) == [".gitattributes", "keep.txt"]
    head = api.repo_info(repo).sha
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("older.txt", repo_id=repo)
    assert api.repo_info(repo).sha == head


def test_a_path_cannot_be_a_file_and_a_folder(api, repo):
    head = api.upload_file(path_or_fileobj=b"x", path_in_repo="a", repo_id=repo).oid
    with pytest.raises(BadRequestError, match="a file and a folder"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="a/b", repo_id=repo)
    assert api.repo_info(repo).sha == head


def test_a_file_can_be_copied_inside_a_repository(api, repo):
    api.create_commit(repo, [add("a.bin", LARGE), add("a.txt", b"a")], commit_message="First")
    copies = [CommitOperationCopy("a.bin", "b.bin"), CommitOperationCopy("a.txt", "b.txt")]
    api.create_commit(repo, copies, commit_message="Copy")
    one, two = api.get_paths_info(repo, ["a.bin", "b.bin"])
    assert one.lfs == two.lfs
    assert api.file_exists(repo, "b.txt")


def test_large_and_binary_files_go_through_lfs_and_text_does_not(api, repo):
    files = {
        "card.md": "Новости и их краткое содержание\n".encode() * 30,
        "table.parquet": b"PAR1",
        "binary.unknown": LARGE[:1000],
        "long.txt": b"word " * 1_200_000,
        "empty.bin": b"",
    }
    operations = [add(path, content) for path, content in files.items()]
    api.create_commit(repo, operations, commit_message="All")
    found = {info.path: info for info in api.get_paths_info(repo, list(files))}
    assert {path for path, info in found.items() if info.lfs} == {
        "table.parquet",
        "binary.unknown",
        "long.txt",
    }
    assert {path: info.size for path, info in found.items()} == {p: len(c) for p, c in files.items()}


def test_the_tree_lists_folders_and_the_commit_that_last_changed_each(api, repo):
    first = api.create_commit(repo, [add("a/b/c.txt", b"c"), add("d.txt", b"d")], commit_message="First").oid
    second = api.create_commit(repo, [add("a/e.txt", b"e")], commit_message="Second").oid
    top = {item.path: item for item in api.list_repo_tree(repo, expand=True)}
    assert set(top) == {".gitattributes", "a", "d.txt"}
    assert (top["a"].last_commit.oid, top["d.txt"].last_commit.oid) == (second, first)
    assert [item.path for item in api.list_repo_tree(repo, "a", recursive=True)] == [
        "a/b",
        "a/b/c.txt",
        "a/e.txt",
    ]
    assert [item.path for item in api.list_repo_tree(repo, "a/b")] == ["a/b/c.txt"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(repo, "nowhere"))
    known = api.get_paths_info(repo, ["a", "d.txt", "nowhere"], expand=True)
    assert {item.path: item.last_commit.title for item in known} == {"a": "Second", "d.txt": "First"}


def test_sizes_and_ids_of_files_are_told(api, repo):
    api.create_commit(repo, [add("a.txt", b"hello\n"), add("b.bin", LARGE)], commit_message="First")
    files = {item.rfilename: item for item in api.repo_info(repo, files_metadata=True).siblings}
    assert (
        files["a.txt"].blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"
    )  # git hash-object of "hello\n"
    assert (files["a.txt"].size, files["a.txt"].lfs) == (6, None)
    assert files["b.bin"].lfs.size == len(LARGE)


def test_repositories_are_listed_by_author_and_name(api, repo):
    api.create_repo("demo/other")
    api.create_repo("demo/rows", repo_type="dataset")
    assert [info.id for info in api.list_models(author="demo")] == ["demo/news", "demo/other"]
    assert [info.id for info in api.list_models(search="OTH")] == ["demo/other"]
    assert [info.id for info in api.list_models(limit=1)] == ["demo/news"]
    assert [info.id for info in api.list_datasets(author="demo")] == ["demo/rows"]
    assert list(api.list_models(author="nobody")) == []


def test_a_deleted_repository_is_gone_and_its_name_is_free(api, repo):
    old = api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo).oid
    api.delete_repo(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo)
    api.create_repo(repo)
    assert api.list_repo_files(repo) == [".gitattributes"]
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(repo, revision=old)


def test_a_pull_request_is_refused_in_words(api, repo):
    with pytest.raises(BadRequestError, match="no pull requests"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, create_pr=True)
