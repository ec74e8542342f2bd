"""Requests about the account and about repositories: create, delete, list, describe, branches and tags."""

from __future__ import annotations

import hashlib
from typing import Any

from standin_hub.pages import front_page, repo_page
from standin_hub.server import PAGE, REPO, Handler, field, is_true, route
from standin_hub.store import KINDS, Repo
from standin_hub.trees import HubError, described


@route("GET", r"/api/whoami-v2")
def whoami(request: Handler) -> None:
    user = request.known_user()
    name, role = user.name, "write" if user.may_write else "read"
    about = {"type": "user", "id": name, "name": name, "fullname": name, "isPro": False, "orgs": []}
    token = {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": role}}
    request.answer_json(about | {"auth": token})


def named_in_body(request: Handler) -> tuple[str, str, dict[str, Any]]:
    """(kind, repo id, the JSON) of a request that names a repository in its body."""
    user = request.check_may_write()
    asked = request.json_body()
    kind = f"{asked.get('type') or 'model'}s"
    if kind not in KINDS:
        raise HubError(400, f"the stand-in Hub keeps models and datasets, no {kind}")
    owner = field(asked, "organization", str, "") if asked.get("organization") else user.name
    return kind, f"{owner}/{field(asked, 'name', str)}", asked


@route("POST", r"/api/repos/create")
def create_repo(request: Handler) -> None:
    kind, repo_id, asked = named_in_body(request)
    request.check_may_write(repo_id.split("/")[0])
    private = asked.get("visibility") == "private" or asked.get("private") is True
    url = f"{request.base()}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"
    try:
        request.server.hub.create(kind, repo_id, private)
    except HubError as refusal:
        refusal.extra["url"] = url  # the client reads it from the 409 as well
        raise
    request.answer_json({"url": url, "name": repo_id, "id": repo_id})


@route("DELETE", r"/api/repos/delete")
def delete_repo(request: Handler) -> None:
    kind, repo_id, _ = named_in_body(request)
    request.server.hub.delete(request.repo(kind, repo_id, write=True))
    request.answer_json({})


@route("GET", r"/api/(?P<kind>models|datasets)")
def list_repos(request: Handler, kind: str) -> None:
    author, search, limit = (request.query.get(name, "") for name in ("author", "search", "limit"))
    found = [
        info(repo, "main", siblings=is_true(request.query.get("full")))
        for repo in request.server.hub.repos(kind, request.user and request.user.name)
        if author in ("", repo.owner) and search.lower() in repo.id.lower()
    ]
    request.answer_json(found[: int(limit)] if limit.isdecimal() else found)


@route("GET", r"/api/settings/repositories")
def list_own_repos(request: Handler) -> None:
    name, items = request.known_user().name, []
    for kind, word in KINDS.items():
        for repo in request.server.hub.repos(kind, name):
            if repo.owner == name:
                about = info(repo, "main", siblings=False)
                visibility = "private" if about["private"] else "public"
                item = {"id": repo.id, "type": word, "visibility": visibility}
                used = {"storage": about["usedStorage"], "storagePercent": 0}
                items.append(item | used | {"updatedAt": about["lastModified"]})
    request.answer_json(items)


def info(repo: Repo, revision: str, siblings: bool = True, sizes: bool = False) -> dict[str, Any]:
    """The description of a repository at a revision, in the form that the clients expect."""
    commit = repo.resolve(revision)
    state, files = repo.state(), repo.tree(commit)
    about: dict[str, Any] = {
        "_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.owner,
        "sha": commit,
        "lastModified": repo.get_object(commit)["date"],
        "createdAt": state["created"],
        "private": state["private"],
        "usedStorage": sum(entry["size"] for entry in files.values()),
    }
    about |= {"gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
    if repo.kind == "models":
        about["modelId"] = repo.id
    if siblings:
        about["siblings"] = [{"rfilename": path} for path in sorted(files)]
    if siblings and sizes:
        for item in about["siblings"]:
            file = described(item["rfilename"], files[item["rfilename"]])
            item |= {"size": file["size"], "blobId": file["oid"]}
            if lfs := file.get("lfs"):
                item["lfs"] = lfs | {"sha256": lfs["oid"]}
    return about


@route("GET", REPO + r"(?:/revision/(?P<revision>[^/]+))?")
def repo_info(request: Handler, repo: Repo, revision: str) -> None:
    request.answer_json(info(repo, revision or "main", sizes=is_true(request.query.get("blobs"))))


@route("GET", REPO + r"/auth-check")
@route("GET", REPO + r"/auth-check/write", write=True)
def auth_check(request: Handler, repo: Repo) -> None:
    request.answer_json({})


@route("PUT", REPO + r"/settings", write=True)
def settings(request: Handler, repo: Repo) -> None:
    asked = request.json_body()
    if asked.get("visibility") not in ("public", "private"):
        raise HubError(400, "the stand-in Hub has one setting: visibility, public or private")
    repo.set_private(asked["visibility"] == "private")
    request.answer_json({"private": repo.state()["private"]})


@route("GET", REPO + r"/refs")
def list_refs(request: Handler, repo: Repo) -> None:
    state = repo.state()
    answer: dict[str, Any] = {"converts": [], "pullRequests": []}
    for refs, prefix in (("branches", "refs/heads"), ("tags", "refs/tags")):
        answer[refs] = [
            {"name": name, "ref": f"{prefix}/{name}", "targetCommit": commit}
            for name, commit in sorted(state[refs].items())
        ]
    request.answer_json(answer)


@route("POST", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)", write=True)
def create_ref(request: Handler, repo: Repo, what: str, name: str) -> None:
    """A branch has its name in the address and its start in the body; a tag the other way round."""
    asked = request.json_body()
    if what == "branch":
        repo.add_ref("branches", name, repo.resolve(field(asked, "startingPoint", str, "main")))
    else:
        repo.add_ref("tags", field(asked, "tag", str), repo.resolve(name))
    request.answer_json({})


@route("DELETE", REPO + r"/(?P<what>branch|tag)/(?P<name>[^/]+)", write=True)
def delete_ref(request: Handler, repo: Repo, what: str, name: str) -> None:
    repo.remove_ref("branches" if what == "branch" else "tags", name)
    request.answer_json({})


# Pages for people


@route("GET", r"/")
def show_front_page(request: Handler) -> None:
    repos = (repo for kind in KINDS for repo in request.server.hub.repos(kind, None))
    request.answer_page(front_page(repos))


@route("GET", PAGE + r"(?:/(?:tree|commit|blob)/(?P<revision>[^/]+)(?:/.*)?)?")
def show_repo_page(request: Handler, repo: Repo, revision: str) -> None:
    request.answer_page(repo_page(repo, repo.resolve(revision or "main")))
