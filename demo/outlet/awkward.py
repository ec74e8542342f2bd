"""The pages a real site has and a fixture folder forgets: about thirty, fixed, each with what should become of it.

`AWKWARD` is the table. Tests and other programs read it at /_stand-in/awkward.json, where each entry has
`path`, `name`, `what`, `expected`, and for pages that hold an article `article` (its fields, as in
articles.json). The values of `expected`:

kept        a row of its own
duplicate   the same story as the one at `same_as`; one of the two is kept
dropped     not an article, or not one for a dataset of news with summaries
changed     an article whose layout no parser knows: a failure to report, not a row
gone        the site says it is not there
failed      never answers with a page, however often it is asked
forbidden   robots.txt disallows it: it must not be asked for at all
not_followed  a redirect that must not be followed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import escape

from news import generate

from outlet import markup
from outlet.stories import Article, Story, article_of, place

# Another seed than the site's own stories, so that no awkward page tells one of those again.
SEED = 1_000_003
# Numbers of awkward stories start where 60,000 ordinary ones end.
FIRST_INDEX = 90_000


@dataclass(frozen=True)
class Response:
    """What goes over the wire. `cut` sends only half of the body and closes, as a broken connection does."""

    status: int
    body: bytes = b""
    content_type: str | None = "text/html"
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class Request:
    """What an awkward page may look at: its address on this site, how often it was asked before, cookies."""

    base: str
    visits: int
    port: int
    cookie: str = ""


@dataclass(frozen=True)
class Awkward:
    """One awkward page. `listed` puts it into the sitemap and the listings as if it were an ordinary one."""

    name: str
    what: str
    expected: str
    story: Story
    answer: Callable[[Request], Response]
    same_as: str = ""
    listed: bool = True

    def describe(self) -> dict[str, object]:
        described: dict[str, object] = {
            "path": self.story.path,
            "name": self.name,
            "what": self.what,
            "expected": self.expected,
        }
        if self.same_as:
            described["same_as"] = self.same_as
        if self.expected in ("kept", "duplicate"):
            described["article"] = self.story.expected()
        return described


def page(story: Story, request: Request) -> Response:
    """A story's ordinary page, with the charset of its era."""
    text = markup.render(story, request.base, [])
    name = markup.charset(story)
    return Response(200, markup.encode(text, name), f"text/html; charset={name}")


def moved(where: str, status: int = 301) -> Response:
    return Response(status, b"", headers=(("Location", where),))


def _shown(story: Story) -> Callable[[Request], Response]:
    return lambda request: page(story, request)


def _first(refusal: Response, story: Story, times: int = 1) -> Callable[[Request], Response]:
    """Refuse the first `times` visits, then show the story."""
    return lambda request: refusal if request.visits < times else page(story, request)


def _cut_once(story: Story) -> Callable[[Request], Response]:
    return lambda request: replace(page(story, request), cut=request.visits == 0)


def _html(text: str, status: int = 200) -> Callable[[Request], Response]:
    return lambda request: Response(status, text.encode())


def awkward_pages() -> list[Awkward]:
    """The table. The paths and kinds are fixed; the words come from the generator."""
    supply = _Supply()
    table: list[Awkward] = []

    def add(
        name: str,
        what: str,
        expected: str,
        story: Story,
        answer: Callable[[Request], Response] | None = None,
        **more: object,
    ) -> Story:
        table.append(Awkward(name, what, expected, story, answer or _shown(story), **more))
        return story

    # Encodings
    story = supply.at("2018-03-14 10:21:07", "politics")
    without_meta = _without_meta_charset(story)
    add("cp1251_by_header", "windows-1251 named by the HTTP header only", "kept", story, without_meta)
    story = supply.at("2016-09-02 18:40:55", "social")
    add(
        "cp1251_by_meta", "windows-1251 named by the meta only", "kept", story, _without_header_charset(story)
    )
    story = supply.at("2022-02-11 09:15:30", "science")
    add("utf8_unnamed", "UTF-8 that neither the header nor the page names", "kept", story,
        _without_header_charset(story))  # fmt: skip

    # Articles in unusual dress
    story = supply.at("2022-06-21 21:05:12", "social", news=True)
    add(
        "news_without_lead", "a news item: the lead is its first paragraph and its description", "kept", story
    )
    story = supply.at("2008-11-21 15:19:14", "business", news=True)
    add("news_of_2008", "a news item in the address of 2008, /news/<rubric>/", "kept", story)
    story = supply.at("2005-06-09 12:00:31", "science")
    add("feature_of_2005", "a feature in the markup of before 2013", "kept", story)
    story = supply.at("2023-05-17 11:30:00", "science")
    add(
        "layout_changed_json_ld",
        "unknown classes; the article is in JSON-LD only",
        "kept",
        story,
        _only_json_ld(story),
    )
    story = supply.at("2023-05-18 12:31:00", "culture")
    add(
        "layout_changed",
        "unknown classes and nothing else to go by",
        "changed",
        story,
        _unknown_layout(story),
    )
    story = supply.at("2025-08-19 16:44:10", "social")
    add(
        "cookie_wall",
        "302 to /auth/sso.shtml without the cookie unity_pause_sso=1",
        "kept",
        story,
        _cookie_wall(story),
    )

    # Not an article for this dataset
    story = supply.at("2022-04-28 08:00:00", "politics")
    add(
        "live_report",
        "an online report: posts by the minute, no single story",
        "dropped",
        story,
        _live(story),
    )
    story = supply.named("/culture/photo/vystavka-v-muzee--95.shtml", "2022-04-27 17:00:00", "culture")
    add("photo_gallery", "a gallery: a headline, a caption, pictures", "dropped", story, _gallery(story))
    story = supply.at("2023-10-02 10:00:00", "culture")
    add("no_text", "headline and lead, and not one paragraph", "dropped", story, _no_text(story))
    story = supply.named("/quiz/kto_otkryl_ozero.shtml", "2023-09-09 09:09:09", "")
    add("quiz", "a quiz: a page that is no article at all", "dropped", story, _html(_QUIZ))

    # The same story again
    first = supply.at("2022-05-04 14:10:00", "sport")
    add("told_once", "the first address of a story that has two", "kept", first)
    again = place(first.article, first.when + timedelta(minutes=12), supply.next_index())
    add("told_again", "the same story at a second address, with its own number and time", "duplicate", again,
        same_as=first.path)  # fmt: skip
    twin = supply.named("/social/2022/05/04/14999007.shtml", "2022-05-04 14:10:00", "sport", first.article)
    add("canonical_elsewhere", "the same page once more; its canonical link names the first address", "duplicate",
        twin, _shown(first), same_as=first.path)  # fmt: skip
    near = place(_reworded(first.article), first.when + timedelta(hours=3), supply.next_index())
    add("near_copy", "the same story a few hours later with a few words changed", "duplicate", near,
        same_as=first.path)  # fmt: skip

    # Statuses
    story = supply.at("2021-11-05 10:00:00", "business")
    add("not_found", "404 behind a link of the sitemap", "gone", story, _html(NOT_FOUND, 404))
    story = supply.at("2021-11-06 10:00:00", "business")
    add("gone", "410 behind a link of the sitemap", "gone", story, _html(NOT_FOUND, 410))
    story = supply.at("2021-11-07 10:00:00", "business")
    add("error_once", "500, then the page", "kept", story, _first(Response(500, BROKEN.encode()), story))
    story = supply.at("2021-11-08 10:00:00", "sport")
    add("error_always", "500 every time", "failed", story, _html(BROKEN, 500))
    story = supply.at("2021-11-09 10:00:00", "army")
    busy = Response(429, b"", headers=(("Retry-After", "1"),))
    add("too_many_requests", "429 with Retry-After: 1, then the page", "kept", story, _first(busy, story))
    story = supply.at("2021-11-10 10:00:00", "culture")
    away = Response(503, b"", headers=(("Retry-After", "1"),))
    add("unavailable_once", "503 with Retry-After: 1, then the page", "kept", story, _first(away, story))
    story = supply.at("2021-11-11 10:00:00", "politics")
    add(
        "cut_once",
        "the connection breaks in the middle of the page, then the page",
        "kept",
        story,
        _cut_once(story),
    )

    # Redirects
    story = supply.at("2019-07-07 19:20:21", "business")
    old = supply.named(
        "/business/2019/07/07_a_298155.shtml", "2019-07-07 19:20:21", "business", story.article
    )
    add("moved_here", "the new address of a story that moved", "kept", story)
    add("moved", "301 to the story's new address", "duplicate", old, lambda r: moved(r.base + story.path),
        same_as=story.path)  # fmt: skip
    gone = supply.at("2021-12-01 10:00:00", "culture")
    add("moved_to_another_host", "301 to another site", "not_followed", gone,
        lambda r: moved(f"http://other-outlet.invalid{gone.path}"))  # fmt: skip
    inside = supply.at("2021-12-02 10:00:00", "culture")
    add("moved_to_loopback", "302 to another address of this machine", "not_followed", inside,
        lambda r: moved(f"http://127.0.0.2:{r.port}{inside.path}", 302))  # fmt: skip
    loop = supply.at("2021-12-03 10:00:00", "culture")
    add(
        "moved_in_circles",
        "301 to itself, for ever",
        "not_followed",
        loop,
        lambda r: moved(r.base + loop.path),
    )

    # Rules
    story = supply.named("/print/2021/12/04/14990001.shtml", "2021-12-04 10:00:00", "social")
    add("disallowed", "disallowed by robots.txt though a listing links it", "forbidden", story)
    return table


class _Supply:
    """Articles for awkward pages, one after another, and numbers for their addresses."""

    def __init__(self) -> None:
        self._articles = [article_of(row) for row in generate(60, SEED)]
        self._index = FIRST_INDEX

    def next_index(self) -> int:
        self._index += 1
        return self._index

    def _article(self, rubric: str) -> Article:
        at = next((i for i, article in enumerate(self._articles) if article.rubric == rubric), 0)
        return replace(self._articles.pop(at), rubric=rubric)

    def at(self, when: str, rubric: str, news: bool = False) -> Story:
        return place(self._article(rubric), datetime.fromisoformat(when), self.next_index(), news=news)

    def named(self, path: str, when: str, rubric: str, article: Article | None = None) -> Story:
        """A story at an address that its date and rubric would not have given it."""
        words = article or self._article(rubric)
        story = place(words, datetime.fromisoformat(when), self.next_index(), news=False)
        return replace(story, path=path)


def _reworded(article: Article) -> Article:
    """Two words more in one paragraph and another opening of the headline: a near copy."""
    first, *rest = article.paragraphs
    first = f"Напомним, {first[0].lower()}{first[1:]}"
    return replace(article, title=f"{article.title}: подробности", paragraphs=(first, *rest))


def _without_meta_charset(story: Story) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        shown = page(story, request)
        return replace(shown, body=shown.body.replace(b"text/html; charset=windows-1251", b"text/html"))

    return answer


def _without_header_charset(story: Story) -> Callable[[Request], Response]:
    return lambda request: replace(page(story, request), content_type="text/html")


def _cookie_wall(story: Story) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        if "unity_pause_sso=1" in request.cookie:
            return page(story, request)
        return moved(f"{request.base}/auth/sso.shtml?back={story.path}", 302)

    return answer


def _only_json_ld(story: Story) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        blocks = "".join(f'<div class="z9-k">{escape(words)}</div>' for words in story.paragraphs)
        return Response(200, _new_layout(story, markup.json_ld(story, request.base), blocks).encode())

    return answer


def _unknown_layout(story: Story) -> Callable[[Request], Response]:
    blocks = "".join(f'<div class="z9-k">{escape(words)}</div>' for words in story.paragraphs)
    return _html(_new_layout(story, "", blocks))


def _new_layout(story: Story, head: str, blocks: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="ru"><head><title>Газета.Ru</title>{head}</head><body><main class="z9-main">'
        f'<div class="z9-h">{escape(story.title)}</div><div class="z9-l">{escape(story.summary)}</div>'
        f"{blocks}</main></body></html>"
    )


def _live(story: Story) -> Callable[[Request], Response]:
    """A live report in the article's frame: a stream of posts, each with a p.online_time, "Онлайн" in the title."""
    posts = "".join(
        f'<div class="b_online-item"><p class="online_time">{hour:02}:{hour * 7 % 60:02}</p><p>{escape(words)}</p></div>'
        for hour, words in enumerate((story.paragraphs * 4)[:20], start=4)
    )

    def answer(request: Request) -> Response:
        told = replace(story, article=replace(story.article, title=f"{story.title}. Онлайн-трансляция", subtitle=(
            "Онлайн-трансляция событий дня"), paragraphs=("Здесь будет трансляция.",)))  # fmt: skip
        text = markup.render(told, request.base, [])
        text = text.replace(
            'itemprop="articleBody">', f'itemprop="articleBody"><div class="b_online">{posts}</div>', 1
        )
        text = text.replace("http://schema.org/NewsArticle", "http://schema.org/LiveBlogPosting")
        return Response(200, text.encode())

    return answer


def _gallery(story: Story) -> Callable[[Request], Response]:
    pictures = "".join(
        f'<figure class="item"><img src="/files3/g/{number}.jpg" alt="" data-caption="Снимок {number}"></figure>'
        for number in range(1, 13)
    )
    return _html(
        f'<!DOCTYPE html><html lang="ru"><head><meta http-equiv="Content-Type" content="text/html" />'
        f"<title>{escape(story.title)} - Газета.Ru | Фото</title></head><body>"
        f'<div class="b_article m_photorep" id="_id_article"><h1 class="headline">{escape(story.title)}</h1>'
        f'<div class="i_gallery"><div class="mainarea">{pictures}</div></div>'
        f'<div class="infoblock"><p class="caption">Снимок {len(pictures) % 9 + 1}</p></div></div></body></html>'
    )


def _no_text(story: Story) -> Callable[[Request], Response]:
    return _shown(replace(story, article=replace(story.article, paragraphs=())))


_QUIZ = """<!DOCTYPE html><html lang="ru"><head><title>Тест: кто открыл озеро? - Газета.Ru</title></head>
<body><div class="b_quiz"><h1>Кто открыл озеро?</h1><form><label><input type="radio">Купец</label>
<label><input type="radio">Мореход</label><button>Ответить</button></form></div></body></html>"""
NOT_FOUND = """<!DOCTYPE html><html lang="ru"><head><title>Страница не найдена - Газета.Ru</title></head>
<body><div class="b_error"><h1>404</h1><p>Такой страницы нет.</p></div></body></html>"""
BROKEN = """<html><head><title>500 Internal Server Error</title></head><body><center><h1>500 Internal Server Error</h1>
</center></body></html>"""
SSO = """<!DOCTYPE html><html lang="ru"><head><title>Вход</title></head>
<body><form class="sso"><input name="login"><button>Войти</button></form></body></html>"""
