"""The values that the pages and the server share: responses, requests and the table of special pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from news import generate

from outlet import layouts
from outlet.markup import encode
from outlet.stories import Article, Story, article_of, place

HTML = "text/html; charset=utf-8"
# Another seed than that of the ordinary stories, so that no special page repeats one of them.
SEED = 1_000_003
# The numbers of special stories start above those of 60,000 ordinary ones.
FIRST_INDEX = 90_000


@dataclass(frozen=True)
class Response:
    """An HTTP response.

    `stream` replaces `body`: it has `length` bytes, or is sent in chunks until it ends.
    `cut` sends only half of the body and closes, like a broken connection.
    """

    status: int
    body: bytes = b""
    content_type: str | None = "text/html"
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    stream: Callable[[], Iterator[bytes]] | None = None
    length: int | None = None


@dataclass(frozen=True)
class Request:
    """What a special page may use: the site's own address, the number of earlier requests, the cookie."""

    base: str
    visits: int
    port: int
    cookie: str = ""


Answer = Callable[[Request], Response]


@dataclass(frozen=True)
class Special:
    """A page unlike the others, although the sitemap and the listings name it like any other."""

    name: str
    what: str
    expected: str
    story: Story
    answer: Answer
    same_as: str = ""
    summary_origin: str = ""

    def describe(self) -> dict[str, object]:
        described: dict[str, object] = {"path": self.story.path, "name": self.name}
        described |= {"what": self.what, "expected": self.expected}
        if self.same_as:
            described["same_as"] = self.same_as
        if self.expected in ("kept", "duplicate"):
            described["article"] = self.story.expected()
            if self.summary_origin:
                described["article"] |= {"summary_origin": self.summary_origin}
        return described


class Table:
    """Collects special pages, each with an article from the generator and an unused address."""

    def __init__(self, first_index: int = FIRST_INDEX, seed: int = SEED) -> None:
        self.pages: list[Special] = []
        self._articles = [article_of(row) for row in generate(60, seed)]
        self._index = first_index

    def add(
        self, name: str, what: str, expected: str, story: Story, answer: Answer | None = None, **more: str
    ) -> None:
        """Add a page. Without `answer` it shows its story in the layout of its era."""
        self.pages.append(Special(name, what, expected, story, answer or shown(story), **more))

    def article(self, rubric: str) -> Article:
        fits = (place for place, article in enumerate(self._articles) if article.rubric == rubric)
        return replace(self._articles.pop(next(fits, 0)), rubric=rubric)

    def story(self, when: str, rubric: str, news: bool = False) -> Story:
        """A new story at the address that its date and rubric give it."""
        return self.placed(self.article(rubric), datetime.fromisoformat(when), news)

    def placed(self, article: Article, when: datetime, news: bool = False) -> Story:
        self._index += 1
        return place(article, when, self._index, news=news)

    def named(self, path: str, when: str, rubric: str, article: Article | None = None) -> Story:
        """A story at an address that its date and rubric would not give it."""
        return replace(self.placed(article or self.article(rubric), datetime.fromisoformat(when)), path=path)


def page(story: Story, request: Request, related: list[Story] | None = None) -> Response:
    """A story's ordinary page, with the charset of its era."""
    name = layouts.charset(story)
    text = layouts.render(story, request.base, related or [])
    return Response(200, encode(text, name), f"text/html; charset={name}")


def shown(story: Story, **changes: str) -> Answer:
    """Answer with a story's page, with other values for some attributes of its Response."""
    return lambda request: replace(page(story, request), **changes)


def html(text: str, status: int = 200) -> Answer:
    return lambda request: Response(status, text.encode())


def moved(where: str, status: int = 301) -> Response:
    return Response(status, headers=(("Location", where),))


def moved_to(path: str, status: int = 301) -> Answer:
    return lambda request: moved(request.base + path, status)
