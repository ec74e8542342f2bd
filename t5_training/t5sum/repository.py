"""Everything that talks to the Hub: what a name stands for, what is served, publishing, promoting.

Every failure ends in one line.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t5sum import StageError
from t5sum.progress import say
from t5sum.tasks import named_files

PRODUCTION, PREVIOUS = "production", "previous"
RECORD = "provenance.json"


@contextlib.contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn what the Hub's client raises inside into one StageError line that begins with `doing`."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    try:
        yield
    except LocalTokenNotFoundError:
        raise StageError(
            f"{doing}: the Hub asks for a token; set HF_TOKEN (a write token), see .env.example", 2
        ) from None
    except HFValidationError as error:
        raise StageError(f"{doing}: {error}", 2) from None
    except GatedRepoError:
        raise StageError(
            f"{doing}: the repository is gated; accept its terms on its page on {endpoint()}", 2
        ) from None
    except RevisionNotFoundError as error:
        raise StageError(f"{doing}: {_reason(error)}", 2) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if (status == 401 and not isinstance(error, RepositoryNotFoundError)) or _bad_token(error):
            raise StageError(
                f"{doing}: {endpoint()} does not accept the token in HF_TOKEN; make a new one", 2
            ) from None
        if status in (401, 404):
            raise StageError(
                f"{doing}: no such repository on {endpoint()}, or HF_TOKEN may not see it",
                2,
            ) from None
        if status == 403:
            raise StageError(
                f"{doing}: the token in HF_TOKEN has no right to do it; make one with write access", 2
            ) from None
        if status == 412:
            raise StageError(
                f"{doing}: somebody published there meanwhile; run the same command again", 1
            ) from None
        raise StageError(
            f"{doing}: {endpoint()} answered {status} ({_reason(error)}); try again later", 5
        ) from None
    except (RevisionResolutionError, LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError) as error:
        raise StageError(
            f"{doing}: {endpoint()} does not answer ({_reason(error)}). Check the network and HF_ENDPOINT; "
            "the same command goes on from here",
            5,
        ) from None


def quiet_client() -> None:
    """No log lines and, without a terminal, no bars."""
    from huggingface_hub import logging
    from huggingface_hub.utils import disable_progress_bars

    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()


def endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _reason(error: Exception) -> str:
    return str(getattr(error, "server_message", "") or error).strip().splitlines()[0][:200]


def _bad_token(error: Exception) -> bool:
    """A wrong token gets 401 for everything, and the client calls that a missing repository."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    status = error.response.status_code if error.response is not None else 0
    return isinstance(error, RepositoryNotFoundError) and status == 401 and bool(get_token()) and not _known()


def _known() -> bool:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    try:
        HfApi().whoami()
    except HTTPError:
        return False
    return True


def resolve(repo: str, revision: str, kind: str, cached: bool = False) -> str:
    """The commit that `revision` of `repo` stands for now: a tag, branch, commit, or its first 7 letters.

    cached: if the Hub is down, the last commit known here will do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    with hub_errors(f"looking up {kind} {repo} at {revision}"):
        if cached:
            return str(HfApi().resolve_revision(repo, repo_type=kind, revision=revision))
        try:
            sha = HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=30).sha
        except RevisionNotFoundError:
            # The log and the report shorten commits; the Hub wants them whole.
            sha = _whole_commit(repo, revision, kind)
            if sha is None:
                raise
        assert sha
        return sha


def _whole_commit(repo: str, beginning: str, kind: str) -> str | None:
    """The one commit of main that begins so; None when there is none, or several."""
    from huggingface_hub import HfApi

    if not re.fullmatch(r"[0-9a-f]{7,39}", beginning):
        return None
    commits = {each.commit_id for each in HfApi().list_repo_commits(repo, repo_type=kind)}
    found = [commit for commit in commits if commit.startswith(beginning)]
    return found[0] if len(found) == 1 else None


def may_write(repo: str, private: bool) -> None:
    """Check that the token may publish to `repo`, and create it when missing.

    Before hours are spent on training, not after.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with hub_errors(f"checking the right to write to {repo}"):
        account = api.whoami()
        role = account.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise StageError(
                f"HF_TOKEN of user {account['name']} may only read; publishing to {repo} needs a write token",
                2,
            )
        owners = [account["name"], *(place["name"] for place in account.get("orgs", []))]
        owner, _, name = repo.rpartition("/")
        if not owner or not name:
            raise StageError(
                f"MODEL_REPO={repo} must read OWNER/NAME, for example {account['name']}/rut5-gazeta", 2
            )
        if owner not in owners:
            raise StageError(
                f"MODEL_REPO={repo}: HF_TOKEN is {account['name']}'s, who may write to {', '.join(owners)}",
                2,
            )
        api.create_repo(repo, private=private, exist_ok=True)


def revisions(repo: str) -> dict[str, str]:
    """Commits by name of branch or tag (main, production, previous); empty without such a repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(f"looking up model {repo}"):
        try:
            refs = HfApi().list_repo_refs(repo)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 404:
                return {}
            raise
    return {ref.name: ref.target_commit for ref in [*refs.tags, *refs.branches]}


def load_record(repo: str, commit: str) -> dict[str, Any]:
    """provenance.json of a model revision; empty for one that is not ours (a fresh repository, say)."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with hub_errors(f"reading {RECORD} of {repo} at {commit[:8]}"):
        try:
            path = hf_hub_download(repo, RECORD, revision=commit)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return {}
    return json.loads(Path(path).read_text(encoding="utf-8"))


def licence(repo: str, commit: str) -> str | None:
    """The licence that a model's card names; None without a card or a licence in it."""
    from huggingface_hub import hf_hub_download, metadata_load
    from huggingface_hub.errors import EntryNotFoundError
    from yaml import YAMLError

    with hub_errors(f"reading the card of {repo} at {commit[:8]}"):
        try:
            found = metadata_load(hf_hub_download(repo, "README.md", revision=commit)) or {}
        except (EntryNotFoundError, ValueError, YAMLError):  # the first one also if the Hub is down
            return None
    named = found.get("license_name") or found.get("license")
    return ", ".join(map(str, named)) if isinstance(named, list) else named and str(named)


def download(repo: str, commit: str, kind: str, patterns: list[str] | None = None) -> Path:
    """The files of one commit, from the cache if they are there already."""
    from huggingface_hub import snapshot_download

    with hub_errors(f"downloading {kind} {repo} at {commit[:8]}"):
        return Path(snapshot_download(repo, repo_type=kind, revision=commit, allow_patterns=patterns))


def files(repo: str, commit: str) -> list[str]:
    """The names of all files of a model revision."""
    from huggingface_hub import HfApi

    with hub_errors(f"looking up model {repo}"):
        return HfApi().list_repo_files(repo, revision=commit)


# ---------------------------------------------------------------------------------------- writing


def publish(model_dir: Path, repo: str, message: str, private: bool = False) -> str:
    """Commit every file of `model_dir` to `repo`, drop what is not in it, return the commit.

    The same files again make no new commit. Raises StageError; nothing is half published then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    check_whole(model_dir)
    paths = sorted(path for path in model_dir.rglob("*") if path.is_file())
    names = {path.relative_to(model_dir).as_posix() for path in paths}
    size = sum(path.stat().st_size for path in paths)
    say(f"upload: {len(paths)} files, {size / 1e6:.1f} MB to {repo}")
    api = HfApi()
    with hub_errors(f"publishing to {repo}"):
        api.create_repo(repo, private=private, exist_ok=True)
        head = api.repo_info(repo)
        stale = [each for each in api.list_repo_files(repo, revision=head.sha) if each not in names]
        operations = [
            *(CommitOperationAdd(path.relative_to(model_dir).as_posix(), path) for path in paths),
            *(CommitOperationDelete(each) for each in stale if each != ".gitattributes"),
        ]
        commit = api.create_commit(repo, operations, commit_message=message, parent_commit=head.sha)
    return commit.oid


def check_whole(model_dir: Path) -> None:
    """Raises StageError if a file is absent that tasks.json names: the API would refuse the model."""
    if absent := [name for name in named_files(model_dir) if not any(model_dir.glob(name))]:
        raise StageError(f"{model_dir} lacks {', '.join(absent)}, which its tasks.json names: not published")


def move_tag(repo: str, tag: str, commit: str, before: str | None, because: str) -> None:
    """Have `tag` name `commit`. The Hub has no move: it is deleted and made again, at once."""
    from huggingface_hub import HfApi

    if before == commit:
        return
    api = HfApi()
    with hub_errors(f"moving the tag {tag} of {repo}"):
        message = f"{api.whoami()['name']}: {because}"
        if before is not None:
            api.delete_tag(repo, tag=tag)
        try:
            api.create_tag(repo, tag=tag, revision=commit, tag_message=message)
        except BaseException:
            if before is not None:  # better the old model than none
                api.create_tag(repo, tag=tag, revision=before, exist_ok=True)
            raise


def promote(repo: str, revision: str, because: str) -> str:
    """Serve `revision` (a commit, branch or tag) from now on; the model served so far is tagged `previous`.

    `because`, and whose token it was, go into the tag's message.
    """
    commit = resolve(repo, revision, "model")
    named = revisions(repo)
    served = named.get(PRODUCTION)
    if served == commit:
        say(f"{repo}: {commit[:8]} is in production already")
        return commit
    if served is not None:  # first, so that the way back is known whatever happens next
        move_tag(repo, PREVIOUS, served, named.get(PREVIOUS), f"in production before {commit[:8]}")
    move_tag(repo, PRODUCTION, commit, served, because)
    before = f", {served[:8]} was before" if served else ""
    say(f"{repo}: {commit[:8]} is in production now{before}")
    return commit


def rollback(repo: str, because: str) -> str:
    """Serve again what was served before the last promotion; a second rollback undoes the first."""
    named = revisions(repo)
    if PREVIOUS not in named:
        raise StageError(f"{repo} has no tag {PREVIOUS}: no model was in production before this one", 2)
    return promote(repo, named[PREVIOUS], because)
