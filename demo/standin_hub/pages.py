"""The stand-in Hub's pages for people: repositories with their revisions, cards and files."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from standin_hub.store import KINDS, Repo

FRAME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
section{{border:1px solid #ddd;border-radius:6px;padding:0 1rem 1rem;margin:1rem 0}}
pre{{background:#f6f6f6;padding:1rem;overflow:auto;white-space:pre-wrap}}
td{{padding:.1rem 1rem .1rem 0;vertical-align:top}}.size{{text-align:right}}</style>
<h1>{title}</h1>{body}</html>
"""


def address(repo: Repo) -> str:
    """The path of the repository's page."""
    return f"/{'datasets/' if repo.kind == 'datasets' else ''}{repo.id}"


def front_page(repos: Iterable[Repo]) -> str:
    """Every repository with its revisions and its card."""
    found = list(repos)
    parts = []
    for kind, word in KINDS.items():
        sections = [section(repo, repo.resolve("main")) for repo in found if repo.kind == kind]
        parts.append(f"<h2>{word.title()}s</h2>{''.join(sections) or '<p>None yet.</p>'}")
    return FRAME.format(title="Stand-in Hub", body="".join(parts))


def repo_page(repo: Repo, commit: str) -> str:
    """One repository at a commit: its files, with links to download them, and its history."""
    top = address(repo)
    files = "".join(
        f'<tr><td><a href="{top}/resolve/{commit}/{quote(path)}">{escape(path)}</a>'
        f'<td class="size">{entry["size"]:,}<td>{"LFS" if entry["lfs"] else ""}'
        for path, entry in sorted(repo.tree(commit).items())
    )
    history = "".join(
        f'<tr><td><a href="{top}/tree/{oid}"><code>{oid[:10]}</code></a><td>{escape(value["date"])}'
        f"<td>{escape(value['author'])}<td>{escape(value['title'])}"
        for oid, value in repo.history(commit)
    )
    body = (
        f'<p><a href="/">All repositories</a></p>{section(repo, commit)}'
        f"<h3>Files, in bytes</h3><table>{files}</table><h3>History</h3><table>{history}</table>"
    )
    return FRAME.format(title=escape(repo.id), body=body)


def section(repo: Repo, commit: str) -> str:
    """Name, revisions and card of one repository."""
    state, top = repo.state(), address(repo)
    named = [*state["branches"].items(), *((f"tag {name}", oid) for name, oid in state["tags"].items())]
    revisions = "".join(
        f'<li>{escape(name)} is <a href="{top}/tree/{oid}"><code>{oid[:10]}</code></a> '
        f"of {escape(repo.get_object(oid)['date'])}"
        for name, oid in named
    )
    files = repo.tree(commit)
    size = sum(entry["size"] for entry in files.values()) / 1e6
    card = repo.text(commit, "README.md")
    shown = f"<details open><summary>Card</summary><pre>{escape(card)}</pre></details>" if card else ""
    return (
        f'<section><h3><a href="{top}">{escape(repo.id)}</a></h3>'
        f"<p>{len(files)} files, {size:.1f} MB at <code>{commit[:10]}</code></p>"
        f"<ul>{revisions}</ul>{shown}</section>"
    )
