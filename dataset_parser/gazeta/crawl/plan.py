"""What one crawl was asked to do: the arguments of `scrapy crawl`, checked."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from gazeta.crawl.database import Notes

ARGUMENTS = ("since", "until", "rubrics", "limit")


class BadArgument(Exception):
    """A wrong argument; the text names it and says what is wanted."""


@dataclass(frozen=True)
class Scope:
    """Which pages a crawl may ask for. Dates are YYYY-MM-DD, both included; empty means no bound."""

    since: str = ""
    until: str = ""
    rubrics: tuple[str, ...] = ()

    def contains(self, day: str, rubric: str) -> bool:
        """Whether an article of that day and rubric ("" if unknown) is inside."""
        if self.rubrics and rubric and rubric not in self.rubrics:
            return False
        return self.since <= day and (not self.until or day <= self.until)


@dataclass(frozen=True)
class Plan:
    """limit: articles to keep, 0 for all. beginning: since=all, that is, forget an earlier `since`."""

    scope: Scope = field(default_factory=Scope)
    limit: int = 0
    beginning: bool = False

    def arguments(self) -> dict[str, str]:
        return {
            "since": self.scope.since,
            "until": self.scope.until,
            "rubrics": ",".join(self.scope.rubrics),
            "limit": str(self.limit or ""),
        }

    def remember(self, notes: Notes, site: str) -> None:
        """Note how far back this crawl goes; one without since= goes as far as the widest that is noted."""
        key, since = f"since {site}", self.scope.since
        earlier = notes.get(key, "unset")
        if self.beginning or (earlier == "unset" and not since and not self.scope.until):
            notes.set(key, "")
        elif since and (earlier == "unset" or since < earlier):
            notes.set(key, since)


def parse_arguments(given: dict[str, str], rubrics: tuple[str, ...], default_limit: int = 0) -> Plan:
    """A plan from -a name=value pairs. Raises BadArgument; `rubrics` are the sections the site has."""
    for name in given:
        if name not in ARGUMENTS:
            raise BadArgument(
                f"unknown argument {name}=; there are {', '.join(f'{known}=' for known in ARGUMENTS)}"
            )
    since = given.get("since", "").strip()
    beginning = since == "all"
    since = "" if beginning else _day("since", since)
    until = _day("until", given.get("until", "").strip())
    # The first time zone is 14 hours ahead of UTC: nobody's own today is refused.
    if since > (datetime.now(UTC) + timedelta(hours=14)).date().isoformat():
        raise BadArgument(f"since={since} is in the future: nothing could be found")
    if since and until and since > until:
        raise BadArgument(f"since={since} is after until={until}; swap them")
    chosen = tuple(name for name in re.split(r"[,\s]+", given.get("rubrics", "").strip()) if name)
    for name in chosen:
        if name not in rubrics:
            close = difflib.get_close_matches(name, rubrics, 1)
            meant = f"did you mean {close[0]}? There are" if close else "there are"
            raise BadArgument(f"rubrics={name} is no section; {meant} {', '.join(rubrics)}")
    raw = given.get("limit", "").strip()
    if raw and not (raw.isdecimal() and int(raw) < 10**9):
        raise BadArgument(f"limit={raw} is not a whole number of articles; 0 is for no limit")
    return Plan(Scope(since, until, chosen), int(raw) if raw else default_limit, beginning)


def _day(name: str, raw: str) -> str:
    if not raw:
        return ""
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", raw):
            raise ValueError
        return date.fromisoformat(raw).isoformat()
    except ValueError:
        raise BadArgument(f"{name}={raw} is not a day like 2024-01-31") from None


def remembered(plan: Plan, notes: Notes, site: str) -> Plan:
    """Without since= the crawl goes back as far as the widest one before it: a nightly run stays small."""
    earlier = notes.get(f"since {site}")
    if earlier and not (plan.beginning or plan.scope.since or plan.scope.until):
        return replace(plan, scope=replace(plan.scope, since=earlier))
    return plan
