"""A model repository's name at a revision → one commit → its files on this disk."""

from __future__ import annotations

import hashlib
import json
import secrets
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

from .errors import HubUnavailable

# Only what serving needs is fetched: no torch weights, and never anything that could be a pickle.
SERVED_FILES = [
    "tasks.json", "metrics.json", "provenance.json", "tokenizer.json", "ct2/*", "topics/*.safetensors"
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where models come from and where their local copies lie."""

    repo: str
    revision: str
    folder: Path
    endpoint: str | None = None
    token: str | None = None

    def api(self) -> HfApi:
        # token=False: without a token of ours the client must not pick up a stranger's from the home folder.
        return HfApi(endpoint=self.endpoint, token=self.token or False)


def resolve(source: Source) -> str:
    """The commit that `source.revision` names on the Hub now.

    Raises HubUnavailable with a line that says what to do; never answers from a cache.
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
    """The folder with the files of `commit`, downloaded where they are not here yet.

    Raises HubUnavailable when something must be downloaded and cannot be.
    """
    try:
        path = source.api().snapshot_download(
            source.repo, revision=commit, cache_dir=source.folder, allow_patterns=SERVED_FILES
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
    """Files whose bytes are not what the Hub sent; they are removed, so a fetch brings them again.

    The Hub client names the local copy of a large file by its sha256; a name is compared with its content.
    Where the disk has no symbolic links the copies lie under their own names and nothing can be compared.
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

    Raises OSError where the disk does not take it; the note before it stays.
    """
    source.folder.mkdir(parents=True, exist_ok=True)
    note = _note(source)
    # Processes share the folder, and so may containers, in which all of them have the same number.
    part = note.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        part.write_text(json.dumps({"repo": source.repo, "revision": source.revision, "commit": commit}))
        part.replace(note)
    finally:
        part.unlink(missing_ok=True)


def remembered(source: Source) -> str | None:
    """The commit that `source.repo` at `source.revision` was when it last worked here, if it ever did."""
    try:
        noted = json.loads(_note(source).read_text())
        return str(noted["commit"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # a torn note is as good as none: the Hub will be asked


def local_copy(source: Source, commit: str) -> Path | None:
    """The folder of a commit fetched before, or None."""
    folder = source.folder / f"models--{source.repo.replace('/', '--')}" / "snapshots" / commit
    return folder if (folder / "tasks.json").is_file() else None


def forget_old(source: Source, keep: set[str], log: Callable[[str], None]) -> None:
    """Remove the local copies of revisions that are neither served nor the fallback."""
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
