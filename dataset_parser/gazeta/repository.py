"""The dataset's repository on the Hub: what it holds, and one commit on top of it.

Every problem that a user can meet becomes a HubProblem with one line and an exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

# settings first: they set HF_ENDPOINT, which huggingface_hub reads when it is imported.
from gazeta import StageError, settings

# isort: split
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars, validate_repo_id

from gazeta.dataset.schema import Schema
from gazeta.dataset.shards import DATA, DUPLICATES, LINEAGE, Revision
from gazeta.progress import watched

OURS = (DATA, LINEAGE, DUPLICATES)  # what a commit may replace or delete


class HubProblem(StageError):
    """The Hub, the token or the repository cannot be used."""

    def __init__(self, line: str, exit_code: int):
        super().__init__(
            line, exit_code, {2: "wrong_setting", 5: "hub_unreachable"}.get(exit_code, "hub_refused")
        )


class Stale(Exception):
    """Someone committed after the revision that a commit was to stand on."""


class Hub:
    """One dataset repository. Creating it touches nothing; every method may raise HubProblem."""

    def __init__(self, repo: str, token: str, endpoint: str, cache_dir: Path | None = None):
        self.repo, self.token, self.endpoint, self.cache_dir = repo, token, endpoint, cache_dir
        self.api = HfApi(endpoint=endpoint, token=token)

    def check_token(self) -> None:
        """The token is known to the Hub and may write, as far as the Hub says."""
        with self._problems():
            about = self.api.whoami()
        role = about.get("auth", {}).get("accessToken", {}).get("role", "")
        if role == "read":
            line = f"HF_TOKEN may only read; publishing to {self.repo} needs a token with write access"
            raise HubProblem(line, 2)

    def head(self) -> str | None:
        """The newest commit of the repository, None if there is no such repository."""
        try:
            with self._problems():
                return self.api.repo_info(self.repo, repo_type="dataset").sha
        except HubProblem as problem:
            if isinstance(problem.__cause__, RepositoryNotFoundError):
                return None
            raise

    def create(self) -> None:
        with self._problems():
            self.api.create_repo(self.repo, repo_type="dataset", exist_ok=True)

    def revision(self, sha: str, schema: Schema) -> Revision:
        """The dataset at a commit, its files in the local cache; unchanged shards are not fetched again."""
        disable_progress_bars()
        with self._problems():
            listed = self.api.list_repo_files(self.repo, repo_type="dataset", revision=sha)
            wanted = sorted(path for path in listed if any(ours.fullmatch(path) for ours in OURS))
            fetch = partial(self.api.hf_hub_download, self.repo, repo_type="dataset", revision=sha)
            files = {
                path: Path(fetch(path, cache_dir=self.cache_dir))
                for path in watched(wanted, f"files of {self.repo}", len(wanted))
            }
        return Revision(f"{self.repo} at {sha[:10]}", files, schema)

    def commit(
        self,
        parent: str,
        folder: Path,
        paths: Sequence[str],
        deleted: Sequence[str],
        message: str,
        description: str,
    ) -> str:
        """One commit on top of `parent`: files of `folder` added, others deleted. Its sha.

        Raises Stale if `parent` is no longer the newest commit.
        """
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in paths
        ]
        operations += [CommitOperationDelete(path_in_repo=path) for path in deleted]
        if sys.stderr.isatty():
            enable_progress_bars()
        else:
            disable_progress_bars()
        with self._problems():
            done = self.api.create_commit(
                self.repo,
                operations,
                commit_message=message,
                commit_description=description,
                repo_type="dataset",
                parent_commit=parent,
            )
        return done.oid

    def tag(self, name: str, sha: str) -> None:
        """Tag the commit; a tag that exists stays where it is."""
        with self._problems():
            refs = self.api.list_repo_refs(self.repo, repo_type="dataset")
            if name not in {tag.name for tag in refs.tags}:
                self.api.create_tag(self.repo, tag=name, revision=sha, repo_type="dataset", exist_ok=True)

    @contextmanager
    def _problems(self) -> Iterator[None]:
        """Turn what the client raises into one line for the user."""
        try:
            yield
        except RuntimeError as error:  # how the client wraps a failed upload of a large file
            if not isinstance(error.__cause__, HTTPError):
                raise
            raise self._problem(error.__cause__) from error.__cause__
        except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> Exception:
        if isinstance(error, OfflineModeIsEnabled):
            return HubProblem("HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it to publish", 2)
        if not isinstance(error, HfHubHTTPError):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return HubProblem(f"the Hub at {self.endpoint} does not answer ({reason[:120]})", 5)
        status = error.response.status_code
        said = (error.server_message or "").splitlines()[:1]
        because = f" ({said[0][:200]})" if said else ""
        if status == 412:
            return Stale(because)
        if status == 401 and not isinstance(error, RepositoryNotFoundError):
            return HubProblem(
                f"the Hub at {self.endpoint} does not know HF_TOKEN{because}; make a new one", 2
            )
        if status in {401, 404}:
            return HubProblem(f"there is no dataset {self.repo} that HF_TOKEN may see{because}", 2)
        if status == 403:
            return HubProblem(f"HF_TOKEN may not write to {self.repo}{because}", 2)
        if status in {408, 429} or status >= 500:
            return HubProblem(f"the Hub at {self.endpoint} answers {status}{because}; try again later", 5)
        return HubProblem(f"the Hub at {self.endpoint} refused with {status}{because}", 1)


def from_settings() -> Hub:
    """The Hub and the repository of the environment. HubProblem names the variable that is missing."""
    for name, value in (("DATASET_REPO", settings.DATASET_REPO), ("HF_TOKEN", settings.hub_token())):
        if not value:
            raise HubProblem(f"{name} is not set; see .env.example", 2)
    try:
        validate_repo_id(settings.DATASET_REPO)
        named = "/" in settings.DATASET_REPO
    except HFValidationError:
        named = False
    if not named:
        line = f"DATASET_REPO={settings.DATASET_REPO!r} is no repository name; it looks like user/name"
        raise HubProblem(line, 2)
    return Hub(settings.DATASET_REPO, settings.hub_token(), settings.HF_ENDPOINT)
