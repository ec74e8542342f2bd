"""A dataset made on one machine: from the revision on the Hub, what an earlier run left, the store and files.

The order of the sources makes no difference to the rows, see selection.py.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from gazeta.dataset.rules import Cleaner
from gazeta.dataset.schema import Row
from gazeta.dataset.selection import SPLITS, Entry, Plan, plan
from gazeta.dataset.shards import Revision, write_dataset
from gazeta.dataset.spool import Facts, Spool
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
        # The first by key, whatever the order of the crawl.
        self.examples[reason] = sorted([*self.examples.get(reason, []), (key, title)])[:EXAMPLES]

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


@dataclass
class Dataset:
    """A finished dataset folder and what is known about it. Entries and facts follow `plan.kept`.

    changed: the paths that differ from the revision before.
    """

    recipe: Recipe
    folder: Path
    plan: Plan
    before: Revision | None
    changed: list[str]
    from_sources: Drops
    from_before: Drops
    entries: list[Entry]
    facts: Facts
    changes: Changes

    @property
    def rows(self) -> int:
        return len(self.entries)

    @cached_property
    def keys(self) -> list[str]:
        return [entry.key for entry in self.entries]

    @cached_property
    def dates(self) -> list[str]:
        return [entry.date for entry in self.entries]

    @cached_property
    def duplicate_kinds(self) -> Counter[str]:
        return Counter(duplicate.kind for duplicate in self.plan.duplicates)

    @cached_property
    def tag(self) -> str:
        """A name for these rows in these splits, whatever the commit."""
        digest = blake2b(digest_size=5)
        for entry, split in zip(self.entries, self.plan.split, strict=True):
            digest.update(entry.content + split.encode())
        return f"rows-{digest.hexdigest()}"

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
        changes = _changes(spool, planned, before, why_dropped)
        spool.facts.keep(planned.kept)
        entries = [spool.entries[number] for number in planned.kept]
        return Dataset(
            recipe, folder, planned, before, changed, from_sources, from_before, entries, spool.facts, changes
        )
    finally:
        spool.close()


def _changes(spool: Spool, plan: Plan, before: Revision | None, why_dropped: dict[str, str]) -> Changes:
    old, versions = (before.split_of, before.content_of) if before else ({}, {})
    entries = spool.entries
    why = why_dropped | {
        entries[one.index].key: f"{one.kind} of {one.of}" if one.of else one.kind for one in plan.duplicates
    }
    kept = [entries[number] for number in plan.kept]
    now = {entry.key: split for entry, split in zip(kept, plan.split, strict=True)}
    return Changes(
        added=[key for key in now if key not in old],
        removed=[(key, why.get(key, "")) for key in old if key not in now],
        edited=[entry.key for entry in kept if versions.get(entry.key, entry.content) != entry.content],
        moved=sum(1 for key, split in old.items() if now.get(key, split) != split),
    )
