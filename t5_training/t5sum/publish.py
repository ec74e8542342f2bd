"""Model folder → one commit on the Hub; and the tags that say which commit is served."""

from __future__ import annotations

from pathlib import Path

from t5sum import StageError
from t5sum.progress import say
from t5sum.repository import PREVIOUS, PRODUCTION, hub_errors, revisions
from t5sum.run.directory import read_json


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
    """Raises StageError where a file is absent that tasks.json names: the API would refuse the model."""
    tasks = read_json(model_dir / "tasks.json")
    named = [
        settings[kind]
        for settings in tasks.values()
        if isinstance(settings, dict)
        for kind in ("tokenizer", "path")
        if settings.get(kind)
    ]
    if absent := [name for name in named if not (model_dir / name).is_file()]:
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
    from t5sum.repository import resolve

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
