"""The crawl's memory: one SQLite file that says what was found, kept, dropped and why.

A page is done when its row is committed; every page is one transaction, so a crawl that is killed loses
nothing and fetches nothing twice. The queue is in the same file, not in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from gazeta.crawl.archive import Archive, SavedPages
from gazeta.crawl.database import Notes, StoreBusy, open_database, transaction
from gazeta.crawl.history import History
from gazeta.crawl.page import Ending, Link, Reason, State
from gazeta.crawl.queue import Queue
from gazeta.sites.base import Article

__all__ = ["Store", "StoreBusy"]


class Store:
    """The parts of one file. Open with `with Store(path) as store`.

    Raises StoreBusy, or sqlite3.Error if the disk is full or the file cannot be used.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.db = open_database(self.path)
        self.archive = Archive(self.db)
        self.saved = SavedPages(self.db)
        self.history = History(self.db)
        self.notes = Notes(self.db)
        # Since the store was opened: pages that ended once more as they had ended before ("again"), and those
        # among them that were given up ("given_up").
        self.doubts: Counter[str] = Counter()
        # Short names for what publishing needs.
        self.articles, self.count = self.archive.articles, self.archive.count
        self.start_crawl, self.finish_crawl = self.history.start, self.history.finish
        self.last_report = self.history.last_report

    def queue(self, site: str) -> Queue:
        return Queue(self.db, site)

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction around several changes."""
        return transaction(self.db)

    def compact(self) -> None:
        """Fold the write-ahead log into the file, so that copying the one file copies everything."""
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What became of a page: one transaction each

    def keep(self, url: str, article: Article, crawl: int, *, status: int = 200, size: int = 0) -> bool:
        """The article of the page asked for as `url`. True if it is new or differs from the kept copy."""
        queue = self.queue(article.site)
        with self.transaction():
            changed = self.archive.put(article, crawl)
            queue.end(
                article.url,
                Ending(State.KEPT, status=status, size=size, day=article.date[:10], rubric=article.rubric),
                crawl,
            )
            if url != article.url:
                same = Ending(State.DROPPED, Reason.SAME_ARTICLE, article.url, status, size)
                queue.end(url, same, crawl)
            self.saved.forget(url, article.url)
        return changed

    def end(self, url: str, site: str, ending: Ending, crawl: int, links: Iterable[Link] = ()) -> int:
        """Close a page that gave no article; return how many of the articles that it links are new."""
        queue = self.queue(site)
        with self.transaction():
            new = queue.add(links, crawl) if links else 0
            doubt = queue.end(url, ending, crawl)
            if ending.copy is not None and not self.saved.is_full():
                self.saved.save(url, ending.copy, crawl)
        self.doubts["again"] += doubt.again
        self.doubts["given_up"] += doubt.given_up
        return new

    def hold(self, crawls: list[int]) -> None:
        """Hold back what alarmed crawls kept, and queue their pages again: they are not to be trusted."""
        with self.transaction():
            self.archive.hold(crawls)
            self.history.queue_again(crawls)
