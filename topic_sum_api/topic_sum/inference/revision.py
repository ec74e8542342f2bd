"""A model repository's name at a revision → one commit → its files on this disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from topic_sum.atomic import write_atomically

from .errors import HubUnavailable
from .tasks import read_tasks


@dataclass(frozen=True)
class Source:
    """Where models come from and where their local copies are."""

    repo: str
    revision: str
    folder: Path
    endpoint: str | None = None
    token: str | None = None

    def api(self) -> HfApi:
        # token=False: without HF_TOKEN the client must not pick up a token from the home folder.
        return HfApi(endpoint=self.endpoint, token=self.token or False)


def resolve(source: Source) -> str:
    """The commit that `source.revision` names on the Hub now.

    It is never answered from a cache. Raises HubUnavailable with a line that says what to do.
    """
    where = source.endpoint or "https://huggingface.co"
    try:
        info = source.api().model_info(source.repo, revision=source.revision, timeout=15)
    except RevisionNotFoundError:
        raise HubUnavailable(
            f"model {source.repo} has no revision {source.revision!r} on {where}: "
            "run t5_training (its gate sets the tag), or set MODEL_REVISION"
        ) from None
    except (GatedRepoError, RepositoryNotFoundError) as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise HubUnavailable(
                f"{where} refused access to model {source.repo} ({status}): check HF_TOKEN and MODEL_REPO"
            ) from None
        raise HubUnavailable(
            f"model {source.repo} is not on {where}: check MODEL_REPO and HF_TOKEN"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        hint = "check HF_TOKEN" if status in (401, 403) else "try again later"
        raise HubUnavailable(f"{where} answered {status} for model {source.repo}: {hint}") from None
    except (httpx2.HTTPError, OSError) as error:
        raise HubUnavailable(
            f"the Hub at {where} does not answer ({type(error).__name__}): check the network and HF_ENDPOINT"
        ) from None
    return info.sha


def fetch(source: Source, commit: str) -> Path:
    """The folder with the files of `commit`; those that are not here yet are downloaded.

    tasks.json comes first, and then only the files that it names: no torch weights, and never anything that
    could be a pickle. Raises HubUnavailable if a file cannot be downloaded, ModelRefused for a bad
    tasks.json.
    """
    folder = _download(source, commit, ["tasks.json"])
    return _download(source, commit, ["tasks.json", *read_tasks(folder).files])


def _download(source: Source, commit: str, names: list[str]) -> Path:
    try:
        path = source.api().snapshot_download(
            source.repo, revision=commit, cache_dir=source.folder, allow_patterns=names
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx2.HTTPError) as error:
        raise HubUnavailable(
            f"cannot download model {source.repo}@{commit[:8]}: {_first_line(error)}"
        ) from None
    except OSError as error:
        raise HubUnavailable(
            f"cannot keep model {source.repo}@{commit[:8]} in {source.folder}: {error.strerror or error}: "
            "free some disk or set ARTIFACTS_DIR"
        ) from None
    return Path(path)


def damaged_files(folder: Path) -> list[Path]:
    """Files whose bytes are not what the Hub sent. They are removed, so that a fetch downloads them again.

    The Hub client names the local copy of a large file by its sha256, so its name is compared with its
    content. On a disk without symbolic links the copies have their own names, and nothing can be compared.
    """
    damaged = []
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if not path.is_symlink() or len(blob.name) != 64:
            continue
        if not blob.is_file() or _sha256(blob) != blob.name:
            blob.unlink(missing_ok=True)
            path.unlink()
            damaged.append(path)
    return damaged


def remember(source: Source, commit: str) -> None:
    """Note that `commit` was loaded and answered, for a start while the Hub is down.

    Raises OSError if the note cannot be written; then the previous note stays.
    """
    note = {"repo": source.repo, "revision": source.revision, "commit": commit}
    write_atomically(_note(source), json.dumps(note))


def remembered(source: Source) -> str | None:
    """The commit that `source` named when it last worked here, or None."""
    try:
        noted = json.loads(_note(source).read_text())
        return str(noted["commit"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # the note is damaged, so the Hub will be asked


def local_copy(source: Source, commit: str) -> Path | None:
    """The folder of a commit that was fetched before, or None."""
    folder = source.folder / f"models--{source.repo.replace('/', '--')}" / "snapshots" / commit
    return folder if (folder / "tasks.json").is_file() else None


def forget_old(source: Source, keep: set[str], log: Callable[[str], None]) -> None:
    """Remove the local copies of all revisions but `keep`."""
    root = source.folder / f"models--{source.repo.replace('/', '--')}"
    snapshots = root / "snapshots"
    if not snapshots.is_dir():
        return
    old = [folder for folder in snapshots.iterdir() if folder.name not in keep]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
        log(f"removed the local copy of {source.repo}@{folder.name[:8]}")
    if not old:
        return
    used = {path.resolve() for path in snapshots.rglob("*") if path.is_symlink()}
    blobs = root / "blobs"
    for blob in blobs.iterdir() if blobs.is_dir() else ():
        if blob.resolve() not in used and not blob.name.endswith((".incomplete", ".lock")):
            blob.unlink(missing_ok=True)


def _note(source: Source) -> Path:
    name = f"{source.repo}@{source.revision}".replace("/", "--")
    return source.folder / f"{name}.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
