"""Where new pages are found: sitemaps, feeds and listings, and how far a listing is followed back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from urllib.parse import urljoin

from gazeta.crawl.page import Ending, Fetched, Kind, Link, Reason, State, Why
from gazeta.crawl.plan import Plan
from gazeta.crawl.store import Store
from gazeta.crawl.tally import Tally
from gazeta.sites.base import Site
from gazeta.sites.sitemaps import BadSource, is_whole, parse_source

MAX_SITEMAP_DEPTH = 3
MAX_LISTING_PAGES = 20_000  # of one listing in one crawl: a bound for listings without end
MAX_POOR_PAGES = 20  # listing pages in a row of whose articles less than a tenth are new
MAX_DEAD_LINKS = 100


@dataclass
class Chain:
    """The pages of one listing that were read in this crawl, and how many of the last ones were poor."""

    pages: int = 0
    poor: int = 0


class Sources:
    """Reads what names articles, and queues what it names."""

    def __init__(self, site: Site, store: Store, plan: Plan, tally: Tally, crawl: int):
        self.site, self.store, self.plan, self.tally, self.crawl = site, store, plan, tally, crawl
        self.queue = store.queue(site.name)
        self.roots: frozenset[str] = frozenset()  # sitemaps that every crawl reads
        self.reread_since = ""
        self.chains: dict[str, Chain] = {}
        self.dead_links: Counter[str] = Counter()  # by rubric: pages without an article, less those with one

    def seed(self, robots: str, reread_since: str, reasons: tuple[str, ...]) -> None:
        """Queue what every crawl reads, young articles that may have been edited, and what is left over.

        reasons: pages that were dropped for these are asked for again.
        """
        named = [
            line.partition(":")[2].strip()
            for line in robots.splitlines()
            if line.lower().startswith("sitemap:")
        ]
        # Besides the usual place, sitemaps that robots.txt names on our own site.
        roots = [urljoin(self.site.base, path) for path in self.site.sitemaps]
        roots += [address for address in named[:10] if self.site.same_site(address, self.site.base)]
        self.roots = frozenset(roots)
        links = [Link(address, Kind.SITEMAP, depth=1) for address in self.roots]
        links += [Link(urljoin(self.site.base, path), Kind.FEED) for path in self.site.feeds]
        links += [
            Link(address, Kind.LISTING, rubric=self.site.url_rubric(address))
            for address in self.site.listing_urls(self.plan.scope.rubrics)
        ]
        self.queue.add_again(links)
        self.queue.take_up(reasons)
        self.reread_since = reread_since
        self.queue.reread(reread_since)

    def article_link(self, url: str, day: str = "", lastmod: str = "") -> Link:
        """A link to an article, whose day and rubric its address may name."""
        named = self.site.url_day(url) if self.site.names_day(url) else ""
        return Link(url, Kind.ARTICLE, named or day, self.site.url_rubric(url), lastmod)

    def read_sitemap(self, link: Link, page: Fetched) -> Ending | None:
        """Queue what a sitemap or feed names; how it ends if it is none."""
        try:
            entries, left_out = parse_source(page.body)
        except BadSource as error:
            return Ending(State.FAILED, Reason.BAD_SOURCE, str(error))
        whole = page.whole and is_whole(page.body)
        if left_out:
            self.tally.reasons[Why(Reason.LINK_LIMIT)] += left_out
        links, changed = [], []
        for entry in entries:
            try:
                address = urljoin(page.url, entry.url)
                if not self.site.same_site(address, self.site.base):
                    self.tally.reasons[Why(Reason.LINK_ELSEWHERE)] += 1
                elif entry.is_sitemap:
                    if link.kind == Kind.SITEMAP and link.depth < MAX_SITEMAP_DEPTH:
                        deeper = Link(address, Kind.SITEMAP, entry.day, "", entry.lastmod, link.depth + 1)
                        links.append(deeper)
                elif self.site.is_article_url(address):
                    links.append(
                        self.article_link(self.site.canonical_url(address), entry.day, entry.lastmod)
                    )
                    if entry.lastmod and links[-1].day >= self.reread_since:
                        changed.append(links[-1])
            except ValueError:
                self.tally.reasons[Why(Reason.BROKEN_LINK)] += 1
        cut = (
            None if whole else Ending(State.FAILED, Reason.CUT_SHORT, status=page.status, size=len(page.body))
        )
        self._read(link, links, page, cut)
        if changed:
            self.queue.reread_changed(self.reread_since, changed)
        return None

    def read_listing(self, link: Link, page: Fetched) -> None:
        """Queue what a listing page names, and the page with older articles while following it pays."""
        listing = self.site.parse_listing(page.body, page.url, page.content_type)
        links = [self.article_link(url, day) for url, day in listing.articles]
        new = self._read(link, links, page)
        name = link.url.partition("?")[0]
        chain = self.chains.setdefault(name, Chain())
        chain.pages += 1
        # A listing that for long names hardly anything new, or mostly dead links, goes nowhere.
        chain.poor = 0 if new * 10 >= len(links) > 0 else chain.poor + 1
        if chain.poor > MAX_POOR_PAGES or self.dead_links[link.rubric] > MAX_DEAD_LINKS:
            self.tally.reasons[Why(Reason.ENDLESS)] += 1
        elif not listing.older and not links and chain.pages == 1:
            pass  # a first page without an article is not the end of a listing but a broken page
        elif not listing.older:
            self.store.notes.set(f"walked {self.site.name} {name}", "1")
        elif (new or not self._seen_behind(name)) and chain.pages < MAX_LISTING_PAGES:
            self.queue.add([Link(listing.older, Kind.LISTING, listing.oldest, link.rubric)])

    def _seen_behind(self, name: str) -> bool:
        """Whether the articles behind a listing page without anything new were seen, or will be.

        They were if the sitemaps list them, if an earlier crawl followed this listing to its end, or if that
        was interrupted: then the page to go on from waits in the queue.
        """
        return (
            self.tally.links[Kind.SITEMAP] + self.tally.links[Kind.FEED] > 0
            or bool(self.store.notes.get(f"walked {self.site.name} {name}"))
            or self.queue.waits_below(Kind.LISTING, f"{name}?")
        )

    def _read(self, link: Link, links: list[Link], page: Fetched, cut: Ending | None = None) -> int:
        """Queue the links of a source and return how many are new. cut: how it ends if it is not whole."""
        if not self.tally.read:
            # Only now: a site that was never reached must not decide how far back the next crawls go.
            self.plan.remember(self.store.notes, self.site.name)
        ending = cut or Ending(State.READ, status=page.status, size=len(page.body))
        new = self.store.end(link.url, self.site.name, ending, self.crawl, links)
        self.tally.source(link.kind, len(links), new)
        if cut:
            self.tally.ended(link, cut)
        return new
