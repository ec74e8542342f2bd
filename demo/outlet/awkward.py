"""The pages that a real site has and test fixtures forget, each with what a crawler should do with it.

The table is fixed: the same pages have the same addresses whatever else the site serves. Programs read it at
/_stand-in/awkward.json: `path`, `name`, `what`, `expected`, and `article` (its fields, as in articles.json)
for pages that contain an article. The values of `expected`:

kept          a separate row
duplicate     the same story as the one at `same_as`: one of the two is kept
dropped       not an article, or not one for a dataset of news with summaries
changed       an article whose layout no parser knows: a failure to report, not a row
gone          the site says that the page does not exist
failed        the site never answers with a page, however often a crawler tries
forbidden     robots.txt disallows it: a crawler must not request it at all
not_followed  a redirect that must not be followed
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from html import escape

from outlet.answers import Answer, Request, Response, Special, Table, html, moved, moved_to, page, shown
from outlet.layouts import render
from outlet.markup import json_ld
from outlet.stories import Article, Story


def awkward_pages() -> list[Special]:
    table = Table()
    _encodings(table)
    _unusual_articles(table)
    _no_articles(table)
    _duplicates(table)
    _refusals(table)
    _redirects(table)
    story = table.named("/print/2021/12/04/14990001.shtml", "2021-12-04 10:00:00", "social")
    table.add("disallowed", "disallowed by robots.txt, although a listing links to it", "forbidden", story)
    return table.pages


def _encodings(table: Table) -> None:
    story = table.story("2018-03-14 10:21:07", "politics")
    answer = _meta_without_charset(story)
    table.add("cp1251_by_header", "windows-1251 named by the HTTP header only", "kept", story, answer)
    story = table.story("2016-09-02 18:40:55", "social")
    answer = shown(story, content_type="text/html")
    table.add("cp1251_by_meta", "windows-1251 named by the meta only", "kept", story, answer)
    story = table.story("2022-02-11 09:15:30", "science")
    answer = shown(story, content_type="text/html")
    table.add("utf8_unnamed", "UTF-8, named neither by the header nor by the page", "kept", story, answer)


def _unusual_articles(table: Table) -> None:
    story = table.story("2022-06-21 21:05:12", "social", news=True)
    table.add("news_without_lead", "a news item: its first paragraph is its lead", "kept", story)
    story = table.story("2008-11-21 15:19:14", "business", news=True)
    table.add("news_of_2008", "a news item at an address of 2008, /news/<rubric>/", "kept", story)
    story = table.story("2005-06-09 12:00:31", "science")
    table.add("feature_of_2005", "a feature in the layout before 2013", "kept", story)
    story = table.story("2023-05-17 11:30:00", "science")
    answer = _only_json_ld(story)
    table.add("layout_changed_json_ld", "unknown classes, the article in JSON-LD only", "kept", story, answer,
              summary_origin="description")  # fmt: skip
    story = table.story("2023-05-18 12:31:00", "culture")
    answer = html(_new_layout(story, ""))
    table.add("layout_changed", "unknown classes and no JSON-LD", "changed", story, answer)
    story = table.story("2025-08-19 16:44:10", "social")
    answer = _cookie_wall(story)
    table.add("cookie_wall", "302 to a login without the cookie unity_pause_sso=1", "kept", story, answer)


def _no_articles(table: Table) -> None:
    story = table.story("2022-04-28 08:00:00", "politics")
    table.add("live_report", "a stream of short posts, no single story", "dropped", story, _live(story))
    story = table.named("/culture/photo/vystavka-v-muzee--95.shtml", "2022-04-27 17:00:00", "culture")
    table.add("photo_gallery", "a headline, a caption, pictures", "dropped", story, _gallery(story))
    story = table.story("2023-10-02 10:00:00", "culture")
    empty = replace(story, article=replace(story.article, paragraphs=()))
    table.add("no_text", "a headline and a lead, but no paragraph", "dropped", story, shown(empty))
    story = table.named("/quiz/kto_otkryl_ozero.shtml", "2023-09-09 09:09:09", "")
    table.add("quiz", "a page that is no article at all", "dropped", story, html(QUIZ))


def _duplicates(table: Table) -> None:
    first = table.story("2022-05-04 14:10:00", "sport")
    table.add("told_once", "the first address of a story that has several", "kept", first)

    def again(name: str, what: str, story: Story, answer: Answer | None = None) -> None:
        table.add(name, what, "duplicate", story, answer, same_as=first.path)

    story = table.placed(first.article, first.when + timedelta(minutes=12))
    again("told_again", "the same story at a second address, with its own number and time", story)
    story = table.named("/social/2022/05/04/14999007.shtml", "2022-05-04 14:10:00", "sport", first.article)
    again("canonical_elsewhere", "the same page; its canonical link names the first", story, shown(first))
    story = table.placed(_reworded(first.article), first.when + timedelta(hours=3))
    again("near_copy", "the same story some hours later with a few words changed", story)


def _refusals(table: Table) -> None:
    """Pages that answer with an error, either always or only once; the next request then gets the story."""
    story = table.story("2021-11-05 10:00:00", "business")
    table.add("not_found", "404 behind a link of the sitemap", "gone", story, html(NOT_FOUND, 404))
    story = table.story("2021-11-06 10:00:00", "business")
    table.add("gone", "410 behind a link of the sitemap", "gone", story, html(NOT_FOUND, 410))
    story = table.story("2021-11-08 10:00:00", "sport")
    table.add("error_always", "500 every time", "failed", story, html(BROKEN, 500))

    def once(name: str, what: str, when: str, rubric: str, refusal: Response) -> None:
        story = table.story(when, rubric)
        table.add(name, what, "kept", story, lambda r: page(story, r) if r.visits else refusal)

    broken = Response(500, BROKEN.encode())
    once("error_once", "500, then the page", "2021-11-07 10:00:00", "business", broken)
    many, busy = (Response(status, headers=(("Retry-After", "1"),)) for status in (429, 503))
    then = "with Retry-After: 1, then the page"
    once("too_many_requests", f"429 {then}", "2021-11-09 10:00:00", "army", many)
    once("unavailable_once", f"503 {then}", "2021-11-10 10:00:00", "culture", busy)
    cut = table.story("2021-11-11 10:00:00", "politics")
    table.add("cut_once", "the connection breaks halfway through the page, then the page", "kept", cut,
              lambda request: replace(page(cut, request), cut=not request.visits))  # fmt: skip


def _redirects(table: Table) -> None:
    story = table.story("2019-07-07 19:20:21", "business")
    path = "/business/2019/07/07_a_298155.shtml"
    old = table.named(path, "2019-07-07 19:20:21", "business", story.article)
    table.add("moved_here", "the new address of a story that moved", "kept", story)
    answer = moved_to(story.path)
    table.add("moved", "301 to the story's new address", "duplicate", old, answer, same_as=story.path)

    def astray(name: str, what: str, when: str, answer: Answer) -> None:
        table.add(name, what, "not_followed", table.story(when, "culture"), answer)

    astray("moved_to_another_host", "301 to another site", "2021-12-01 10:00:00",
           lambda request: moved("http://other-outlet.invalid/2021/12/01/story.shtml"))  # fmt: skip
    astray("moved_to_loopback", "302 to another address of this machine", "2021-12-02 10:00:00",
           lambda request: moved(f"http://127.0.0.2:{request.port}/politics/", 302))  # fmt: skip
    loop = table.story("2021-12-03 10:00:00", "culture")
    table.add("moved_in_circles", "301 to itself", "not_followed", loop, moved_to(loop.path))


def _reworded(article: Article) -> Article:
    """A near copy: one more word at the beginning and another headline."""
    first, *rest = article.paragraphs
    first = f"Напомним, {first[0].lower()}{first[1:]}"
    return replace(article, title=f"{article.title}: подробности", paragraphs=(first, *rest))


def _meta_without_charset(story: Story) -> Answer:
    def answer(request: Request) -> Response:
        whole = page(story, request)
        return replace(whole, body=whole.body.replace(b"text/html; charset=windows-1251", b"text/html"))

    return answer


def _cookie_wall(story: Story) -> Answer:
    def answer(request: Request) -> Response:
        if "unity_pause_sso=1" in request.cookie:
            return page(story, request)
        return moved(f"{request.base}/auth/sso.shtml?back={story.path}", 302)

    return answer


def _only_json_ld(story: Story) -> Answer:
    def answer(request: Request) -> Response:
        return Response(200, _new_layout(story, json_ld(story, request.base)).encode())

    return answer


def _new_layout(story: Story, head: str) -> str:
    blocks = "".join(f'<div class="z9-k">{escape(words)}</div>' for words in story.paragraphs)
    return (
        f'<!DOCTYPE html><html lang="ru"><head><title>Газета.Ru</title>{head}</head><body>'
        f'<main class="z9-main"><div class="z9-h">{escape(story.title)}</div>'
        f'<div class="z9-l">{escape(story.summary)}</div>{blocks}</main></body></html>'
    )


def _live(story: Story) -> Answer:
    """A live report inside an article's page: a stream of posts, each with its time."""
    posts = "".join(
        f'<div class="b_online-item"><p class="online_time">{hour:02}:{hour * 7 % 60:02}</p>'
        f"<p>{escape(words)}</p></div>"
        for hour, words in enumerate((story.paragraphs * 4)[:20], start=4)
    )
    report = replace(
        story.article,
        title=f"{story.title}. Онлайн-трансляция",
        subtitle="Онлайн-трансляция событий дня",
        paragraphs=("Здесь будет трансляция.",),
    )

    def answer(request: Request) -> Response:
        text = render(replace(story, article=report), request.base, [])
        body = 'itemprop="articleBody">'
        text = text.replace(body, f'{body}<div class="b_online">{posts}</div>', 1)
        text = text.replace("http://schema.org/NewsArticle", "http://schema.org/LiveBlogPosting")
        return Response(200, text.encode())

    return answer


def _gallery(story: Story) -> Answer:
    title = escape(story.title)
    pictures = "".join(
        f'<figure class="item"><img src="/files3/g/{number}.jpg" alt="" data-caption="Снимок {number}">'
        "</figure>"
        for number in range(1, 13)
    )
    return html(
        '<!DOCTYPE html><html lang="ru"><head><meta http-equiv="Content-Type" content="text/html" />'
        f"<title>{title} - Газета.Ru | Фото</title></head><body>"
        f'<div class="b_article m_photorep" id="_id_article"><h1 class="headline">{title}</h1>'
        f'<div class="i_gallery"><div class="mainarea">{pictures}</div></div>'
        '<div class="infoblock"><p class="caption">Снимок 1 из 12</p></div></div></body></html>'
    )


QUIZ = """<!DOCTYPE html><html lang="ru"><head><title>Тест: кто открыл озеро? - Газета.Ru</title></head>
<body><div class="b_quiz"><h1>Кто открыл озеро?</h1><form><label><input type="radio">Купец</label>
<label><input type="radio">Мореход</label><button>Ответить</button></form></div></body></html>"""
NOT_FOUND = """<!DOCTYPE html><html lang="ru"><head><title>Страница не найдена - Газета.Ru</title></head>
<body><div class="b_error"><h1>404</h1><p>Такой страницы нет.</p></div></body></html>"""
BROKEN = """<html><head><title>500 Internal Server Error</title></head>
<body><center><h1>500 Internal Server Error</h1></center></body></html>"""
SSO = """<!DOCTYPE html><html lang="ru"><head><title>Вход</title></head>
<body><form class="sso"><input name="login"><button>Войти</button></form></body></html>"""
