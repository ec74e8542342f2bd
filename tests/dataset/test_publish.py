"""`python -m gazeta.publish` against a running Hub: what is committed, when nothing is, and what goes"
" wrong."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from gazeta import release
from gazeta import repository as hub_module
from gazeta.crawl.store import Store
from gazeta.recipe import GAZETA
from gazeta.repository import Hub
from huggingface_hub import CommitOperationAdd, HfApi

REPO = "demo/news"


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


def commits(api: HfApi) -> list[str]:
    return [commit.title for commit in api.list_repo_commits(REPO, repo_type="dataset")]


def blobs(api: HfApi) -> dict[str, str]:
    """Path → what its content is known by."""
    tree = api.list_repo_tree(REPO, repo_type="dataset", recursive=True)
    return {item.path: item.blob_id for item in tree if hasattr(item, "blob_id")}


def fetched_again(artifacts: Path, when: str) -> None:
    with closing(sqlite3.connect(artifacts / "crawl" / "crawl.sqlite3")) as db:
        db.execute("UPDATE article SET fetched_at = ?", (when,))
        db.commit()


def rows_on(api: HfApi, cache: Path) -> dict[str, tuple[str, ...]]:
    """url → (split, text, fetched_at)."""
    hub = Hub(REPO, api.token, api.endpoint, cache)
    revision = hub.revision(hub.head(), GAZETA.schema)
    return {
        row["url"]: (row["text"], row["fetched_at"], revision.split_of[row["url"]]) for row in revision.rows()
    }


def load(hub, tmp_path: Path, what: str) -> str:
    """Run load_dataset in a fresh process, as a reader of the card would."""
    program = f"from datasets import load_dataset\nnews = load_dataset({what})\n" + (
        "print({split: (rows.num_rows, {name: f.dtype for name, f in rows.features.items()})"
        " for split, rows in news.items()})"
    )
    environment = {"PATH": os.environ["PATH"], **hub.environment(tmp_path / "reader")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,  # where no folder has the name of the repository
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_crawls_give_typed_splits_and_the_second_uploads_only_changed_shards(
    hub, api, tmp_path, fill, invented, run_program
):
    artifacts = tmp_path / "artifacts"
    rows = invented(240)
    newest = sorted(rows, key=lambda row: row["date"])[-12:]
    fill(artifacts, [row for row in rows if row not in newest])
    first = run_program(hub, artifacts)
    assert first.returncode == 0, first.stderr
    assert "published 228 rows to demo/news" in first.stdout
    before = blobs(api)

    fill(artifacts, newest)
    second = run_program(hub, artifacts)
    assert second.returncode == 0, second.stderr
    assert "published 240 rows to demo/news" in second.stdout and "12 added" in second.stdout
    after = blobs(api)
    changed = {path for path in after if before.get(path) != after[path]}
    years = {row["date"][:4] for row in rows}
    touched = {path for path in changed if path.startswith("data/")}
    untouched = {f"data/train-{year}.parquet" for year in years if year < "2024"}
    assert touched and not touched & untouched
    assert untouched <= set(before)
    assert f"{len([path for path in changed if path.endswith('.parquet')])} shards uploaded" in second.stdout
    assert len(commits(api)) == 3  # the Hub's own first one, and one for each crawl

    columns = dict.fromkeys(GAZETA.schema.names, "string")
    expected = {"train": (216, columns), "validation": (12, columns), "test": (12, columns)}
    assert load(hub, tmp_path, f'"{REPO}"').strip() == str(expected)
    readme = Path(
        api.hf_hub_download(REPO, "README.md", repo_type="dataset", cache_dir=tmp_path / "c")
    ).read_text()
    tag = readme.split('revision="')[1].split('"')[0]
    assert load(hub, tmp_path, f'"{REPO}", revision="{tag}"').strip() == str(expected)


def test_nothing_new_makes_no_commit_and_says_so(hub, api, tmp_path, fill, invented, run_publish):
    artifacts = tmp_path / "artifacts"
    fill(artifacts, invented(40))
    assert run_publish(hub, artifacts).returncode == 0
    known = commits(api)
    again = run_publish(hub, artifacts)
    assert again.returncode == 0
    assert again.stdout.startswith("nothing to do:") and again.stdout.count("\n") == 1
    assert not again.stderr
    assert commits(api) == known


def test_an_unchanged_page_that_was_fetched_again_makes_no_commit(
    hub, api, tmp_path, fill, invented, run_publish
):
    artifacts = tmp_path / "artifacts"
    fill(artifacts, invented(30))
    assert run_publish(hub, artifacts).returncode == 0
    fetched_again(artifacts, "2031-01-01 00:00:00")
    assert run_publish(hub, artifacts).stdout.startswith("nothing to do:")


def test_the_card_is_valid_and_names_its_files(hub, api, tmp_path, fill, invented, run_publish):
    artifacts = tmp_path / "artifacts"
    fill(artifacts, invented(50))
    assert run_publish(hub, artifacts).returncode == 0
    card = api.hf_hub_download(REPO, "README.md", repo_type="dataset", cache_dir=tmp_path / "cache")
    text = Path(card).read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["language"] == ["ru"] and head["license"] == "other"
    assert head["task_categories"] == ["summarization", "text-classification"]
    assert head["size_categories"] == ["n<1K"]
    present = set(blobs(api))
    for path in ("plots/rows_by_year.png", "plots/lengths.png", "crawl_report.json"):
        assert path in present and path in text
    assert "non-commercial research only" in text and "$" not in text


@pytest.mark.parametrize("first", ["mine", "yours"])
def test_two_people_with_two_stores_arrive_at_the_same_rows(
    hub, api, tmp_path, fill, invented, run_publish, first
):
    rows = invented(60)
    copies = [
        {
            **row,
            "url": row["url"] + "?copy",
            "date": "2025-12-31 23:59:59",
            "text": row["text"] + " Слово добавлено в конце.",
        }
        for row in rows[:20]
    ]
    stores = {"mine": rows[:40], "yours": rows[20:] + copies}
    order = ["mine", "yours"] if first == "mine" else ["yours", "mine"]
    for name in order:
        fill(tmp_path / name, stores[name])
        done = run_publish(hub, tmp_path / name, "--accept", "dropped")
        assert done.returncode == 0, done.stderr
    made = {url: (text, split) for url, (text, _, split) in rows_on(api, tmp_path / "cache").items()}
    assert set(made) == {row["url"] for row in rows}
    splits = [made[row["url"]][1] for row in sorted(rows, key=lambda row: (row["date"], row["url"]))]
    assert splits == ["train"] * 54 + ["validation"] * 3 + ["test"] * 3
    for name in order:  # and from here on nobody has anything to add
        assert run_publish(hub, tmp_path / name).stdout.startswith("nothing to do:")


def test_someone_elses_commit_in_between_is_built_upon(
    hub, api, tmp_path, fill, invented, run_publish, run_program, monkeypatch
):
    """The Hub refuses the stale commit; ours is made again on top of theirs, and both have their rows."""
    rows = invented(60)
    fill(tmp_path / "artifacts", rows[:40])
    fill(tmp_path / "other", rows[30:])
    theirs: list[str] = []

    class Slow(Hub):
        def commit(self, parent, *rest):
            if not theirs:
                done = run_program(hub, tmp_path / "other")
                assert done.returncode == 0, done.stderr
                theirs.append(self.head())
                assert theirs[0] != parent
            else:
                assert parent == theirs[0]
            return super().commit(parent, *rest)

    monkeypatch.setattr(hub_module, "Hub", Slow)
    done = run_publish(hub, tmp_path / "artifacts")
    assert done.stdout.startswith("published 60 rows")
    assert "someone committed to demo/news in between" in done.stderr
    assert set(rows_on(api, tmp_path / "cache")) == {row["url"] for row in rows}
    assert len(commits(api)) == 3


def test_a_foreign_file_on_the_hub_survives_and_a_stale_shard_goes(
    hub, api, tmp_path, fill, invented, run_publish
):
    rows = sorted(invented(60), key=lambda row: row["date"])
    artifacts = tmp_path / "artifacts"
    fill(artifacts, [row for row in rows if row["date"] < "2023"])
    assert run_publish(hub, artifacts).returncode == 0
    note = CommitOperationAdd(path_in_repo="notes/mine.txt", path_or_fileobj=b"keep me")
    api.create_commit(REPO, [note], commit_message="A note", repo_type="dataset")
    assert "data/test-2022.parquet" in blobs(api)
    fill(artifacts, rows)
    assert run_publish(hub, artifacts).returncode == 0
    after = blobs(api)
    assert "notes/mine.txt" in after
    assert "data/test-2022.parquet" not in after


def test_a_hub_that_is_down_leaves_the_dataset_and_the_next_run_programes_it_without_the_store(
    hub, api, tmp_path, fill, invented, run_program, free_port
):
    artifacts = tmp_path / "artifacts"
    rows = invented(45)
    fill(artifacts, rows)
    down = run_program(hub, artifacts, HF_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert down.returncode == 5
    assert down.stderr.startswith("error: the Hub at http://127.0.0.1:") and down.stderr.count("\n") == 1
    kept = artifacts / "crawl" / "dataset"
    assert str(kept) in down.stderr
    assert sum(pq.read_metadata(path).num_rows for path in (kept / "data").iterdir()) == 45
    assert (kept / "README.md").is_file()
    for path in (artifacts / "crawl").glob("crawl.sqlite3*"):
        path.unlink()
    # The whole stage: it publishes what waits and asks the site (there is none at this address) for nothing.
    up = run_program(hub, artifacts, module="gazeta", SITE_URL=f"http://127.0.0.1:{free_port()}")
    assert up.returncode == 0, up.stderr
    assert "published 45 rows" in up.stdout
    assert "publishing it without a crawl" in up.stderr
    assert set(rows_on(api, tmp_path / "cache")) == {row["url"] for row in rows}
    assert run_program(hub, artifacts).stdout.startswith("nothing to do:")


@pytest.mark.parametrize(
    ("token", "says"), [("nobody-knows-this", "does not know HF_TOKEN"), ("read", "HF_TOKEN may only read")]
)
def test_a_token_that_cannot_publish_is_named_and_the_dataset_is_kept(
    hub, tmp_path, fill, invented, run_program, token, says
):
    artifacts = tmp_path / "artifacts"
    fill(artifacts, invented(30))
    done = run_program(hub, artifacts, HF_TOKEN=hub.read_token if token == "read" else token)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert token not in done.stderr or token == "read"
    assert (artifacts / "crawl" / "dataset" / "unpublished.json").is_file()


@pytest.mark.parametrize("name", ["HF_TOKEN", "DATASET_REPO"])
def test_a_missing_variable_is_named(hub, tmp_path, run_program, name):
    done = run_program(hub, tmp_path / "artifacts", **{name: ""})
    assert done.returncode == 2
    assert done.stderr == f"error: {name} is not set; see .env.example\n"


@pytest.mark.parametrize("repo", ["news", "a/b/c", "demo/with space"])
def test_a_name_that_is_no_repository_is_told(hub, tmp_path, run_publish, repo):
    done = run_publish(hub, tmp_path / "artifacts", DATASET_REPO=repo)
    assert done.returncode == 2
    assert repo in done.stderr and "user/name" in done.stderr and done.stderr.count("\n") == 1


def test_someone_elses_namespace_is_refused_in_one_line(hub, tmp_path, fill, invented, run_publish):
    fill(tmp_path / "artifacts", invented(10))
    done = run_publish(hub, tmp_path / "artifacts", DATASET_REPO="stranger/news")
    assert done.returncode == 2
    assert "HF_TOKEN may not write to stranger/news" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"HF_TOKEN": ""}, "HF_TOKEN is not set"), ({"DATASET_REPO": "news"}, "user/name"),
     ({"HF_TOKEN": "nobody-knows-this"}, "does not know HF_TOKEN")],
)  # fmt: skip
def test_the_stage_asks_for_no_page_while_nothing_could_be_published(hub, tmp_path, run_program, wrong, says):
    artifacts = tmp_path / "artifacts"
    done = run_program(hub, artifacts, module="gazeta", SITE_URL="http://127.0.0.1:9", **wrong)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1
    assert not (artifacts / "crawl").exists()


def test_a_hub_that_is_down_costs_the_stage_a_warning_not_the_crawl(hub, tmp_path, run_program, free_port):
    gone = f"http://127.0.0.1:{free_port()}"
    site = f"http://127.0.0.1:{free_port()}"
    done = run_program(hub, tmp_path / "artifacts", module="gazeta", HF_ENDPOINT=gone, SITE_URL=site)
    assert done.returncode == 5
    assert f"warning: the Hub at {gone} does not answer" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        line for line in done.stderr.splitlines() if line.startswith(f"error: {site} does not answer")
    ], "the crawl went on to the site"


def test_arguments_are_looked_at_even_while_a_finished_dataset_waits(hub, tmp_path, run_program):
    waiting = tmp_path / "artifacts" / "crawl" / "dataset" / "unpublished.json"
    waiting.parent.mkdir(parents=True)
    waiting.write_text("{}")
    done = run_program(hub, tmp_path / "artifacts", "limt=50", module="gazeta")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown argument limt=") and done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(hub, tmp_path, run_program):
    (tmp_path / "file").write_text("")
    done = run_program(hub, tmp_path / "file")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot write in {tmp_path / 'file'}: ")
    assert done.stderr.endswith("; set ARTIFACTS_DIR to a folder of yours\n")


def test_no_articles_at_all_is_told(hub, tmp_path, run_publish):
    done = run_publish(hub, tmp_path / "artifacts")
    assert done.returncode == 3
    assert "there are no articles" in done.stderr and done.stderr.count("\n") == 1


def test_two_articles_cannot_be_split_in_three(hub, tmp_path, fill, invented, run_publish):
    fill(tmp_path / "artifacts", invented(2))
    done = run_publish(hub, tmp_path / "artifacts")
    assert done.returncode == 3
    assert "2 rows, at least 3" in done.stderr and done.stderr.count("\n") == 1


def test_three_articles_make_three_splits(hub, tmp_path, fill, invented, run_publish):
    fill(tmp_path / "artifacts", invented(3))
    assert run_publish(hub, tmp_path / "artifacts").returncode == 0
    assert load(hub, tmp_path, f'"{REPO}"').count("(1, {") == 3


def test_a_busy_store_is_told(hub, tmp_path, fill, invented, run_publish):
    fill(tmp_path / "artifacts", invented(5))
    with Store(tmp_path / "artifacts" / "crawl" / "crawl.sqlite3"):
        done = run_publish(hub, tmp_path / "artifacts")
    assert done.returncode == 6
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_drift_blocks_publishing_until_it_is_accepted(hub, api, tmp_path, fill, invented, run_publish):
    artifacts = tmp_path / "artifacts"
    rows = invented(300)
    fill(artifacts, rows[:150])
    assert run_publish(hub, artifacts).returncode == 0
    known = commits(api)
    fill(artifacts, [{**row, "text": f"{row['text']}\n{other['text']}\n" * 3} for row, other in
                     zip(rows[150:], rows[:150], strict=True)])  # fmt: skip
    done = run_publish(hub, artifacts)
    assert done.returncode == 3
    assert "text length: characters of text: drift 0." in done.stderr and "at most 0." in done.stderr
    assert "--accept" in done.stderr and done.stderr.count("\n") == 1
    assert commits(api) == known
    assert (
        run_publish(hub, artifacts, "--accept", "text length", "--accept", "added text length").returncode
        == 0
    )


def test_a_page_that_became_a_gallery_takes_nothing_away(hub, tmp_path, fill, invented, run_publish):
    """The Hub still has the article as it was."""
    artifacts = tmp_path / "artifacts"
    rows = invented(40)
    fill(artifacts, rows)
    assert run_publish(hub, artifacts).returncode == 0
    fill(artifacts, [{**rows[7], "title": "Фото: как это было сегодня"}])
    fetched_again(artifacts, "2031-01-01 00:00:00")
    assert run_publish(hub, artifacts).stdout.startswith("nothing to do:")


def test_a_full_disk_is_one_line_and_the_store_stays_whole(
    hub, tmp_path, fill, invented, run_publish, monkeypatch
):
    fill(tmp_path / "artifacts", invented(20))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(release, "assemble", full)
    done = run_publish(hub, tmp_path / "artifacts")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk with ") and done.stderr.count("\n") == 1
    with Store(tmp_path / "artifacts" / "crawl" / "crawl.sqlite3") as store:
        assert sum(1 for _ in store.articles()) == 20


def test_an_unpublished_dataset_of_another_repository_is_not_mixed_in(
    hub, api, tmp_path, fill, invented, run_publish, free_port
):
    artifacts = tmp_path / "artifacts"
    rows = invented(40)
    fill(artifacts, rows)
    assert (
        run_publish(
            hub, artifacts, DATASET_REPO="demo/else", HF_ENDPOINT=f"http://127.0.0.1:{free_port()}"
        ).returncode
        == 5
    )
    shutil.rmtree(artifacts / "crawl" / "dataset" / "plots")
    for path in (artifacts / "crawl").glob("crawl.sqlite3*"):
        path.unlink()
    fill(artifacts, rows[:20])
    assert run_publish(hub, artifacts).returncode == 0
    assert set(rows_on(api, tmp_path / "cache")) == {row["url"] for row in rows[:20]}


def test_check_asks_the_hub_and_writes_nothing(hub, tmp_path, run_publish):
    done = run_publish(hub, tmp_path / "artifacts", "--check")
    assert done.returncode == 0 and "takes the token" in done.stdout
    assert not (tmp_path / "artifacts").exists()
    assert run_publish(hub, tmp_path / "artifacts", "--check", HF_TOKEN="wrong").returncode == 2
