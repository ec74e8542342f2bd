"""A dataset from everything that is known: the revision on the Hub, what an earlier run left, the store.

The order of the sources does not matter to the rows, see rows.py.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from gazeta.dataset import rules
from gazeta.dataset.rules import HasColumns
from gazeta.dataset.selection import SPLITS, Plan, content_digest, plan
from gazeta.dataset.shards import Revision, Spool, write_dataset
from gazeta.progress import say, watched

EXAMPLES = 3  # of each reason for a drop


@dataclass
class Drops:
    """What one source brought, and what the cleaning rules made of it."""

    read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # reason → (url, title)

    def add(self, reason: str, url: str, title: str) -> None:
        self.reasons[reason] += 1
        kept = self.examples.setdefault(reason, [])
        kept.append((url, title))
        # The first by address, whatever the order of the crawl.
        kept.sort()
        del kept[EXAMPLES:]

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())


@dataclass
class Changes:
    """Against the revision before. removed: (url, why); why is "" when nobody knows."""

    added: list[str]
    removed: list[tuple[str, str]]
    edited: list[str]
    moved: int

    @property
    def any(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.moved)


@dataclass
class Dataset:
    """A finished dataset folder and what is known about it. Arrays follow the order of `plan.kept`."""

    folder: Path
    plan: Plan
    before: Revision | None
    changed: list[str]  # paths that differ from the revision before
    from_store: Drops
    from_before: Drops
    urls: list[str]
    dates: list[str]
    stories: list[bytes]
    rubrics: list[str]
    origins: list[str]
    text_lengths: np.ndarray
    summary_lengths: np.ndarray
    num_bytes: dict[str, int]  # split → bytes in memory
    changes: Changes
    duplicate_kinds: Counter[str]
    tag: str  # names these rows in these splits, on whatever commit they stand

    @property
    def rows(self) -> int:
        return len(self.urls)

    def split_sizes(self) -> dict[str, int]:
        counts = Counter(self.plan.split)
        return {split: counts[split] for split in SPLITS}


def _add_all(spool: Spool, articles: Iterable[HasColumns], drops: Drops, why_dropped: dict[str, str]) -> None:
    for article in articles:
        drops.read += 1
        row = rules.tidy_row(article)
        content = content_digest(row)
        if spool.seen(row, content):
            continue  # word for word a row that passed already: most of a nightly run
        if reason := rules.broken_rule(row):
            drops.add(reason, row.url, row.title)
            why_dropped[row.url] = reason
        else:
            spool.add(row, content)


def assemble(
    folder: Path,
    store: Iterable[HasColumns],
    store_count: int = 0,
    before: Revision | None = None,
    unpublished: Revision | None = None,
) -> Dataset:
    """Merge, clean, deduplicate, split, and write data/ and lineage/ into `folder` (made anew).

    store_count: how many articles to expect, for the progress only. Raises NotOurDataset, OSError.
    """
    work = folder.with_name(folder.name + ".work")
    for leftover in (work, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    spool = Spool(work)
    try:
        from_before, from_store = Drops(), Drops()
        why_dropped: dict[str, str] = {}
        for revision, label in ((before, "published rows"), (unpublished, "rows of the unpublished run")):
            if revision is None:
                continue
            _add_all(spool, watched(revision.rows(), label, revision.count()), from_before, why_dropped)
            for entry in revision.duplicates():
                spool.add_duplicate(entry)
        _add_all(spool, watched(store, "articles of the store", store_count), from_store, why_dropped)
        signed = spool.finish()
        if len(spool.entries) >= 20_000:
            say(f"looking for near-duplicates among {len(spool.entries):,} texts")
        planned = plan(spool.entries, signed, spool.sketches_of)
        del signed
        changed = write_dataset(spool, planned, folder, before)
        return _described(folder, spool, planned, before, changed, from_store, from_before, why_dropped)
    finally:
        spool.close()


def _described(
    folder: Path,
    spool: Spool,
    planned: Plan,
    before: Revision | None,
    changed: list[str],
    from_store: Drops,
    from_before: Drops,
    why_dropped: dict[str, str],
) -> Dataset:
    entries = [spool.entries[number] for number in planned.kept]
    num_bytes = {split: 0 for split in SPLITS}
    for number, split in zip(planned.kept, planned.split, strict=True):
        num_bytes[split] += spool.sizes[number] + 6 * 4  # an Arrow string costs its bytes and an offset
    for duplicate in planned.duplicates:
        url = spool.entries[duplicate.index].url
        why_dropped[url] = f"{duplicate.kind} of {duplicate.of}" if duplicate.of else duplicate.kind
    split_now = {entry.url: split for entry, split in zip(entries, planned.split, strict=True)}
    old = before.split_of if before else {}
    changes = Changes(
        added=[entry.url for entry in entries if entry.url not in old],
        removed=[(url, why_dropped.get(url, "")) for url in old if url not in split_now],
        edited=[
            entry.url
            for entry in entries
            if entry.url in old and before is not None and before.content_of[entry.url] != entry.content
        ],
        moved=sum(1 for url, split in old.items() if split_now.get(url, split) != split),
    )
    kept = np.array(planned.kept, np.int64)
    digest = blake2b(digest_size=5)
    for entry, split in zip(entries, planned.split, strict=True):
        digest.update(entry.content + split.encode())
    return Dataset(
        folder=folder,
        plan=planned,
        before=before,
        changed=changed,
        from_store=from_store,
        from_before=from_before,
        urls=[entry.url for entry in entries],
        dates=[entry.date for entry in entries],
        stories=[entry.story for entry in entries],
        rubrics=[spool.rubrics[number] for number in planned.kept],
        origins=[spool.origins[number] for number in planned.kept],
        text_lengths=np.array(spool.text_lengths, np.int64)[kept],
        summary_lengths=np.array(spool.summary_lengths, np.int64)[kept],
        num_bytes=num_bytes,
        changes=changes,
        tag=f"rows-{digest.hexdigest()}",
        duplicate_kinds=Counter(duplicate.kind for duplicate in planned.duplicates),
    )
