"""What time it is: by this computer, or by the site if this computer's clock is behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FAR = timedelta(hours=12)  # behind the site: no time zone set wrongly by an hour or two, and no slow answer


class Clock:
    """behind: how far this computer is behind the site, by the Date headers of its answers.

    A Date from the past says nothing, as an answer may come from a cache.
    """

    def __init__(self) -> None:
        self.behind = timedelta()

    def see(self, date: str) -> None:
        """Look at the Date header of an answer; one that cannot be read is ignored."""
        try:
            when = parsedate_to_datetime(date)
        except (ValueError, TypeError):
            return
        ahead = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)
        if ahead > FAR:
            self.behind = max(self.behind, ahead)

    def now(self) -> datetime:
        """The later of the two clocks' times, in UTC: no article of today is in the future by both."""
        return datetime.now(UTC) + self.behind

    def warning(self, base: str) -> str:
        """A line for the operator, "" if the clocks agree."""
        if not self.behind:
            return ""
        hours = self.behind.total_seconds() / 3600
        how_far = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"
        return f"this computer's clock is {how_far} behind that of {base}, whose time is used; set the clock"
