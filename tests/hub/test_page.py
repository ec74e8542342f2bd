"""What a person sees who opens the Hub in a browser."""

from __future__ import annotations

import re

CARD = "---\nlicense: mit\n---\n# Новости <script>alert(1)</script> & more\n"


def test_the_front_page_lists_repositories_revisions_and_cards_as_text(api, request_hub):
    assert "None yet" in request_hub("GET", "/").body.decode()
    api.create_repo("demo/rows", repo_type="dataset")
    sha = api.upload_file(
        path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id="demo/rows", repo_type="dataset"
    ).oid
    api.create_tag("demo/rows", tag="v1", repo_type="dataset")
    answer = request_hub("GET", "/")
    page = answer.body.decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert '<a href="/datasets/demo/rows">demo/rows</a>' in page
    assert "tag v1" in page
    assert sha[:10] in page
    assert "Новости &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "<script" not in page


def test_every_link_of_the_pages_leads_somewhere(api, request_hub):
    api.create_repo("demo/model")
    commit = api.upload_file(
        path_or_fileobj=b"text",
        path_in_repo="deep/a b&c.txt",
        repo_id="demo/model",
        commit_message="<b>Add</b>",
    )
    api.create_branch("demo/model", branch="try/one")
    seen, waiting = set(), ["/", commit.commit_url.removeprefix(api.endpoint)]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        answer = request_hub("GET", path)
        assert answer.status == 200, path
        if answer.headers["Content-Type"].startswith("text/html"):
            assert "<b>Add</b>" not in answer.body.decode()
            links = re.findall(r'href="([^"]+)"', answer.body.decode())
            waiting += [link for link in links if link not in seen]
    assert f"/demo/model/resolve/{commit.oid}/deep/a%20b%26c.txt" in seen


def test_a_published_page_is_shown_but_its_scripts_are_not_run(api, request_hub):
    api.create_repo("demo/model")
    api.upload_file(path_or_fileobj=b"<h1>Report</h1>", path_in_repo="report.html", repo_id="demo/model")
    answer = request_hub("GET", "/demo/model/resolve/main/report.html")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
