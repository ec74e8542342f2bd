"""A dataset made on one machine: from the revision on the Hub, what an earlier run left, the store and files.

The order of the sources makes no difference to the rows, see selection.py.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from gazeta.dataset.rules import Cleaner
from gazeta.dataset.schema import Row
from gazeta.dataset.selection import SPLITS, Plan, plan
from gazeta.dataset.shards import Revision, write_dataset
from gazeta.dataset.spool import Spool
from gazeta.progress import say, watched
from gazeta.recipe import GAZETA, Recipe

EXAMPLES = 3  # of each reason for a drop


@dataclass
class Drops:
    """How many rows one source had, and what the cleaning rules dropped of them."""

    read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # reason → (key, title)

    def add(self, reason: str, key: str, title: str) -> None:
        self.reasons[reason] += 1
        kept = self.examples.setdefault(reason, [])
        kept.append((key, title))
        # The first by key, whatever the order of the crawl.
        kept.sort()
        del kept[EXAMPLES:]

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())


@dataclass
class Changes:
    """Keys of rows, against the revision before. removed: (key, why); why is "" if it is unknown."""

    added: list[str]
    removed: list[tuple[str, str]]
    edited: list[str]
    moved: int

    @property
    def any(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.moved)


@dataclass
class Dataset:
    """A finished dataset folder and what is known about it. Lists follow the order of `plan.kept`.

    changed: the paths that differ from the revision before. tag: names these rows in these splits, whatever
    the commit.
    """

    recipe: Recipe
    folder: Path
    plan: Plan
    before: Revision | None
    changed: list[str]
    from_sources: Drops
    from_before: Drops
    keys: list[str]
    dates: list[str]
    stories: list[bytes]
    labels: dict[str, list[str]]  # label column → value of each row
    origins: list[str]
    lengths: dict[str, np.ndarray]  # column of text → characters of each row
    num_bytes: dict[str, int]  # split → bytes in memory
    changes: Changes
    duplicate_kinds: Counter[str]
    tag: str

    @property
    def rows(self) -> int:
        return len(self.keys)

    def split_sizes(self) -> dict[str, int]:
        counts = Counter(self.plan.split)
        return {split: counts[split] for split in SPLITS}


def assemble(
    folder: Path,
    sources: Iterable[Row],
    before: Revision | None = None,
    unpublished: Revision | None = None,
    recipe: Recipe = GAZETA,
) -> Dataset:
    """Merge, clean, deduplicate, split, and write data/ and lineage/ into `folder` (made anew).

    Raises NotOurDataset, OSError, and whatever `sources` raises.
    """
    work = folder.with_name(folder.name + ".work")
    for leftover in (work, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    spool = Spool(work, recipe)
    cleaner = Cleaner(recipe)
    why_dropped: dict[str, str] = {}

    def add_all(rows: Iterable[Row], drops: Drops) -> None:
        for given in rows:
            drops.read += 1
            row = cleaner.tidy(given)
            key, content = recipe.schema.key(row), recipe.schema.content(row)
            if spool.seen(row, key, content):
                continue  # word for word a row that passed already: most of a nightly run
            if reason := cleaner.broken_rule(row):
                drops.add(reason, key, row.get("title") or row[recipe.schema.text][:80])
                why_dropped[key] = reason
            else:
                spool.add(row, key, content)

    try:
        from_before, from_sources = Drops(), Drops()
        for revision, label in ((before, "published rows"), (unpublished, "rows of the unpublished run")):
            if revision is None:
                continue
            add_all(watched(revision.rows(), label, revision.count()), from_before)
            for entry in revision.duplicates():
                spool.add_duplicate(entry)
        add_all(sources, from_sources)
        signed = spool.finish()
        if len(spool.entries) >= 20_000 and recipe.duplicates.by == "story":
            say(f"looking for near-duplicates among {len(spool.entries):,} texts")
        planned = plan(spool.entries, signed, spool.sketches_of, recipe)
        del signed
        changed = write_dataset(spool, planned, folder, before)
        return _described(folder, spool, planned, before, changed, from_sources, from_before, why_dropped)
    finally:
        spool.close()


def _described(
    folder: Path,
    spool: Spool,
    planned: Plan,
    before: Revision | None,
    changed: list[str],
    from_sources: Drops,
    from_before: Drops,
    why_dropped: dict[str, str],
) -> Dataset:
    entries = [spool.entries[number] for number in planned.kept]
    num_bytes = {split: 0 for split in SPLITS}
    for number, split in zip(planned.kept, planned.split, strict=True):
        num_bytes[split] += spool.sizes[number]
    for duplicate in planned.duplicates:
        why_dropped[spool.entries[duplicate.index].key] = (
            f"{duplicate.kind} of {duplicate.of}" if duplicate.of else duplicate.kind
        )
    split_now = {entry.key: split for entry, split in zip(entries, planned.split, strict=True)}
    old = before.split_of if before else {}
    versions = before.content_of if before else {}
    changes = Changes(
        added=[key for key in split_now if key not in old],
        removed=[(key, why_dropped.get(key, "")) for key in old if key not in split_now],
        edited=[entry.key for entry in entries if versions.get(entry.key, entry.content) != entry.content],
        moved=sum(1 for key, split in old.items() if split_now.get(key, split) != split),
    )
    kept = np.array(planned.kept, np.int64)
    digest = blake2b(digest_size=5)
    for entry, split in zip(entries, planned.split, strict=True):
        digest.update(entry.content + split.encode())
    return Dataset(
        recipe=spool.recipe,
        folder=folder,
        plan=planned,
        before=before,
        changed=changed,
        from_sources=from_sources,
        from_before=from_before,
        keys=[entry.key for entry in entries],
        dates=[entry.date for entry in entries],
        stories=[entry.story for entry in entries],
        labels={name: [values[at] for at in planned.kept] for name, values in spool.labels.items()},
        origins=[spool.origins[number] for number in planned.kept],
        lengths={name: np.array(values, np.int64)[kept] for name, values in spool.lengths.items()},
        num_bytes=num_bytes,
        changes=changes,
        tag=f"rows-{digest.hexdigest()}",
        duplicate_kinds=Counter(duplicate.kind for duplicate in planned.duplicates),
    )
