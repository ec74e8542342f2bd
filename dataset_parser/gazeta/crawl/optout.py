"""Whether a site says that its texts are not for training models.

It may say so by robots.txt groups that turn known AI crawlers away, by the Content-Signal and Content-Usage
lines of robots.txt, by the TDM Reservation Protocol (file, header and meta), and by noai in X-Robots-Tag or
meta robots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from gazeta.crawl.page import Ending, Fetched, Reason, State

# Crawlers that fetch for training, by the names their owners document.
AI_CRAWLERS = frozenset(
    (
        "gptbot", "ccbot", "google-extended", "anthropic-ai", "claudebot", "claude-web", "applebot-extended",
        "bytespider", "meta-externalagent", "facebookbot", "amazonbot", "cohere-ai", "diffbot", "omgili",
        "cohere-training-data-crawler", "omgilibot", "imagesiftbot", "perplexitybot", "ai2bot", "img2dataset",
        "timpibot", "yandexadditional", "yandexadditionalbot",
    )
)  # fmt: skip
_NO_TRAINING = re.compile(r"(?:ai-train|train-ai|genai|ai)\s*=\s*(?:no|n)\b", re.I)
_META = re.compile(
    r"""<meta\b(?=[^>]{0,300}\bname\s*=\s*["']?(robots|tdm-reservation)\b)[^>]{0,300}?\bcontent\s*=\s*["']?([^"'>]{0,200})""",
    re.I,
)


def robots_opt_out(robots: str) -> str:
    """What in a robots.txt opts out of AI training, as a clause, or ""."""
    named: list[str] = []
    group: list[str] = []
    rules = False
    for line in robots[:500_000].splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            if rules:
                group, rules = [], False
            group.append(value.lower())
        elif name in {"content-signal", "content-usage"}:
            if _NO_TRAINING.search(value):
                return f"robots.txt says {name}: {value}"
        else:
            rules = True
            if name == "disallow" and value in {"/", "/*", "*"}:
                named += [agent for agent in group if agent in AI_CRAWLERS and agent not in named]
    if named:
        return f"robots.txt sends AI crawlers away ({', '.join(named[:5])}{'…' if len(named) > 5 else ''})"
    return ""


def tdmrep_opt_out(body: bytes) -> str:
    """What a /.well-known/tdmrep.json reserves for the whole site, as a clause, or ""."""
    try:
        rules = json.loads(body[:100_000])
    except (ValueError, RecursionError):
        return ""
    for rule in rules if isinstance(rules, list) else []:
        if isinstance(rule, dict) and str(rule.get("tdm-reservation")) == "1":
            location = str(rule.get("location", "")).rstrip("*")
            if location in {"", "/"}:
                return "/.well-known/tdmrep.json reserves text and data mining"
    return ""


def page_opt_out(headers: Iterable[tuple[str, str]], head: str) -> str:
    """What in a page's headers or <head> opts out of AI training, as a clause, or ""."""
    for name, value in headers:
        if name.lower() == "x-robots-tag" and "noai" in re.split(r"[\s,:]+", value.lower()):
            return "the header X-Robots-Tag says noai"
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return "the header tdm-reservation is 1"
    for name, value in _META.findall(head):
        if name.lower() == "robots" and "noai" in re.split(r"[\s,]+", value.lower()):
            return "the meta tag robots says noai"
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return "the meta tag tdm-reservation is 1"
    return ""


OPT_OUT_PAGES = 5  # so many pages that opt out, and none kept, end the crawl


class OptOuts:
    """The pages of a crawl that opt out."""

    def __init__(self) -> None:
        self.pages = 0
        self.reason = ""  # of the last of them

    def judge(self, page: Fetched, headers: Iterable[tuple[str, str]]) -> Ending | None:
        """How a page ends that opts out; None if it does not."""
        reason = page_opt_out(headers, page.body[:20_000].decode("latin-1"))
        if not reason:
            return None
        self.pages += 1
        self.reason = reason
        return Ending(State.DROPPED, Reason.OPTED_OUT, reason, page.status)

    def too_many(self) -> bool:
        return self.pages >= OPT_OUT_PAGES

    def summary(self) -> str:
        return f"{self.reason} ({self.pages} pages of {self.pages})"

    @staticmethod
    def line(base: str, reason: str) -> str:
        """What to tell the operator if the site does not want its texts in a training set."""
        return (
            f"{base} opts out of AI training: {reason}. Ask the publisher, or set ACCEPT_AI_OPT_OUT=1 if you"
            " have the right to go on"
        )
