"""On a new machine: which articles the published dataset has already."""

from __future__ import annotations

import re
import sys

from gazeta import settings
from gazeta.crawl.page import Kind, Link
from gazeta.crawl.queue import Queue
from gazeta.sites.base import Site

# The rows, and the copies of rows that were left out: those need not be fetched again either.
_NAMES_URLS = re.compile(r"(?:data/|lineage/duplicates-).*\.parquet")


def remember_published(queue: Queue, site: Site) -> None:
    """Mark the articles of DATASET_REPO as known, if the store has none of this site and the Hub answers.

    Only the url column is downloaded. A Hub that does not answer costs a warning, not the crawl: publishing
    recognizes articles that were fetched twice.
    """
    repo = settings.DATASET_REPO
    if not repo or not queue.is_empty():
        return
    import httpx2
    import pyarrow.lib
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        urls = _published_urls(repo)
    except RepositoryNotFoundError:
        return
    except (HfHubHTTPError, httpx2.HTTPError, OSError, pyarrow.lib.ArrowException) as error:
        why = (str(error).strip() or repr(error)).splitlines()[0]
        warning = f"cannot read {repo} from {settings.HF_ENDPOINT}: {why}"
        print(f"warning: {warning}; crawling without knowing what is published", file=sys.stderr)
        return
    links = [
        Link(url, Kind.ARTICLE, site.url_day(url), site.url_rubric(url))
        for url in map(site.canonical_url, urls)
        if site.is_article_url(url) and site.same_site(url, site.base)
    ]
    if links:
        added = queue.add_known(links)
        print(f"{site.name}: {added:,} articles are in {repo} already", file=sys.stderr)


def _published_urls(repo: str) -> list[str]:
    """The url columns of the newest revision."""
    import pyarrow.parquet as parquet
    from huggingface_hub import HfApi, HfFileSystem

    token = settings.hub_token() or None
    info = HfApi(endpoint=settings.HF_ENDPOINT, token=token).dataset_info(repo, timeout=20)
    files = HfFileSystem(endpoint=settings.HF_ENDPOINT, token=token)
    urls: list[str] = []
    for name in (sibling.rfilename for sibling in info.siblings or []):
        if _NAMES_URLS.fullmatch(name):
            with files.open(f"datasets/{repo}@{info.sha}/{name}", "rb", block_size=2**20) as shard:
                urls += filter(None, parquet.read_table(shard, columns=["url"]).column("url").to_pylist())
    return urls
