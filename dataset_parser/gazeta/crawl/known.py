"""On a new machine: which articles the published dataset has already."""

from __future__ import annotations

import re
import sys

from gazeta import settings
from gazeta.crawl.page import Kind, Link
from gazeta.crawl.queue import Queue
from gazeta.sites.base import Site


def remember_published(queue: Queue, site: Site) -> None:
    """Mark the articles of DATASET_REPO as known, if the store has none of this site and the Hub answers.

    Only the url column is downloaded. A Hub that does not answer costs a warning, not the crawl: publishing
    recognizes articles that were fetched twice.
    """
    if not settings.DATASET_REPO or not queue.is_empty():
        return
    try:
        urls = published_urls(settings.DATASET_REPO)
    except HubProblem as problem:
        print(f"warning: {problem}; crawling without knowing what is published", file=sys.stderr)
        return
    links = [
        Link(url, Kind.ARTICLE, site.url_day(url), site.url_rubric(url))
        for url in map(site.canonical_url, urls)
        if site.is_article_url(url) and site.same_site(url, site.base)
    ]
    if links:
        added = queue.add_known(links)
        print(f"{site.name}: {added:,} articles are in {settings.DATASET_REPO} already", file=sys.stderr)


# The rows, and the copies of rows that were left out: those need not be fetched again either.
_NAMES_URLS = re.compile(r"(?:data/|lineage/duplicates-).*\.parquet")


class HubProblem(Exception):
    """Why the published dataset cannot be read."""


def published_urls(repo: str) -> list[str]:
    """The url columns of the newest revision, [] if there is no such dataset yet."""
    import httpx2
    import pyarrow.lib
    import pyarrow.parquet as parquet
    from huggingface_hub import HfApi, HfFileSystem
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    api = HfApi(endpoint=settings.HF_ENDPOINT, token=settings.hub_token() or None)
    urls: list[str] = []
    try:
        info = api.dataset_info(repo, timeout=20)
        files = HfFileSystem(endpoint=settings.HF_ENDPOINT, token=settings.hub_token() or None)
        for sibling in info.siblings or []:
            name = sibling.rfilename
            if _NAMES_URLS.fullmatch(name):
                with files.open(f"datasets/{repo}@{info.sha}/{name}", "rb", block_size=2**20) as shard:
                    column = parquet.read_table(shard, columns=["url"]).column("url")
                    urls += [url for url in column.to_pylist() if url]
    except RepositoryNotFoundError:
        return []
    except (HfHubHTTPError, httpx2.HTTPError, OSError, pyarrow.lib.ArrowException) as error:
        lines = str(error).strip().splitlines()
        raise HubProblem(
            f"cannot read {repo} from {settings.HF_ENDPOINT}: {lines[0] if lines else error!r}"
        ) from None
    return urls
