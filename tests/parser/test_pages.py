"""Pages in, articles out. A case is two files in pages/: NAME.html as fetched and NAME.json as expected."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from gazeta.pages import parse_article
from gazeta.sites import load_sites
from gazeta.sites.base import Layout, NotAnArticle, PageChanged
from gazeta.sites.gazeta import Gazeta

SITE = Gazeta()

PAGES = Path(__file__).parent / "pages"
CASES = sorted(path.stem for path in PAGES.glob("*.json"))
URL = "https://www.gazeta.ru/social/news/2022/04/28/17654486.shtml"


def page(text: str, *, title: str = "Заголовок", head: str = "", before: str = "") -> bytes:
    return (
        f'<html><head>{head}</head><body><article class="b_article">{before}<h1 class="headline">{title}</h1>'
        '<time itemprop="datePublished" datetime="2022-04-28T10:00:00+03:00"></time>'
        f'<div itemprop="articleBody">{text}</div></article></body></html>'
    ).encode()


@pytest.mark.parametrize("name", CASES)
def test_a_page_gives_what_is_written_beside_it(name: str, second: Path) -> None:
    expected = json.loads((PAGES / f"{name}.json").read_text(encoding="utf-8"))
    parse_article = load_sites()[expected.get("site", "gazeta")].parse_article
    content_type = expected.get("content_type", "")
    body = (PAGES / f"{name}.html").read_bytes()
    if expected.get("raises") == "PageChanged":
        with pytest.raises(PageChanged) as changed:
            parse_article(body, expected["url"], content_type)
        assert changed.value.fields == expected["fields"]
        assert expected["url"] in str(changed.value)
        return
    if expected.get("raises") == "NotAnArticle":
        with pytest.raises(NotAnArticle, match=expected["reason"]):
            parse_article(body, expected["url"], content_type)
        return
    article = parse_article(body, expected["url"], content_type)
    assert {name: getattr(article, name) for name in expected["article"]} == expected["article"]


def test_layouts_are_tried_from_the_one_in_use_back_in_time() -> None:
    names = [layout.name for layout in Gazeta.layouts]
    assert names == sorted(names, reverse=True) and names[0] == "2024"
    assert [layout for layout in Gazeta.layouts if not layout.ended] == [Gazeta.V2024]


def test_every_page_has_its_expected_answer_and_every_answer_its_page() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.html")) == CASES
    assert len(CASES) >= 10


def test_a_real_page_of_2021_gives_its_true_fields(shared: Path) -> None:
    path = shared / "pages" / "article-2021-12-29-news.html"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    url = "https://www.gazeta.ru/social/news/2021/12/29/17083219.shtml"
    article = parse_article(path.read_bytes(), url, "text/html")
    paragraphs = article.text.split("\n")
    assert article.title.startswith("В ВОЗ предупредили о «цунами»") and article.title.endswith("COVID-19")
    assert article.date == "2021-12-29 23:42:45"
    assert (article.rubric, article.url) == ("social", url)
    assert len(paragraphs) == 5
    assert paragraphs[0].endswith("Об этом сообщает ТАСС.") and paragraphs[0] == article.summary
    assert "отметил, что ВОЗ фиксирует" in paragraphs[1]  # the link's word is there, and its spaces
    assert paragraphs[4].endswith("70% населения Земли.")
    assert article.source() == "\n".join(paragraphs[1:])
    assert article.subtitle.startswith("Глава ВОЗ Гебрейесус опасается")


def test_a_real_home_page_is_no_article_but_lists_some(shared: Path) -> None:
    path = shared / "pages" / "home-2023-11-21.html"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    with pytest.raises(NotAnArticle):
        parse_article(path.read_bytes(), "https://www.gazeta.ru/", "text/html")
    listing = SITE.parse_listing(path.read_bytes(), "https://www.gazeta.ru/", "text/html")
    assert ("https://www.gazeta.ru/social/2023/11/21/17896711.shtml", "2023-11-21") in listing.articles
    assert 40 < len(listing.articles) < 70
    assert not [url for url, _ in listing.articles if "results" in url or "prcom" in url]


# Encodings

RUSSIAN = page("<p>Ёлки и&nbsp;берёзы растут рядом.</p>", title="Ёж").decode()


@pytest.mark.parametrize(
    ("charset", "header", "meta"),
    [
        ("cp1251", "text/html; charset=windows-1251", ""),
        ("cp1251", "text/html", "windows-1251"),
        ("cp1251", "text/html", ""),
        ("utf-8", "text/html", ""),
        ("utf-8", "text/html; charset=utf-8", "windows-1251"),
        ("utf-8", "text/html; charset=windows-1251", ""),
        ("cp1251", "text/html; charset=no-such-thing", ""),
        ("utf-16", "text/html; charset=utf-16", ""),
        ("koi8-r", "text/html; charset=koi8-r", ""),
    ],
)
def test_any_declaration_of_the_charset_gives_the_same_letters(charset: str, header: str, meta: str) -> None:
    text = RUSSIAN.replace("<head>", f'<head><meta charset="{meta}">') if meta else RUSSIAN
    article = parse_article(text.encode(charset), URL, header)
    assert (article.title, article.text) == ("Ёж", "Ёлки и берёзы растут рядом.")


def test_a_broken_byte_does_not_turn_a_utf8_page_into_another_charset() -> None:
    body = RUSSIAN.encode().replace("рядом".encode(), "рядом".encode() + b"\xff")
    assert parse_article(body, URL).text == "Ёлки и берёзы растут рядом."


# Text


def test_words_stay_apart_at_links_and_line_breaks() -> None:
    text = parse_article(
        page('<p>Агентство <a href="/t.shtml"><b>ТАСС</b></a> сообщило,\nчто<br/>всё <i>хорошо</i>.</p>'), URL
    ).text
    assert text == "Агентство ТАСС сообщило, что всё хорошо."


def test_controls_and_lone_surrogates_leave_no_trace() -> None:
    body = page("<p>Пер\x00вый&#0; аб&#xD800;зац\u200b текста\ufeff.</p>").replace(
        b"\xd0\xb7", b"\xed\xa0\x80\xd0\xb7"
    )
    text = parse_article(body, URL, "text/html; charset=utf-8").text
    assert text == "Первый абзац текста."
    text.encode("utf-8")


@pytest.mark.parametrize(
    "junk",
    [
        "<p>Реклама</p>",
        '<div class="b_article-incut"><p>Анонс другой статьи.</p></div>',
        "<p>Читайте также:</p>",
        "<p>Что думаешь?</p>",
        "<p>Подписывайтесь на «Газету.Ru» в Дзен и Telegram.</p>",
        '<p><a href="/social/2022/01/01/1.shtml">Заголовок другой статьи</a></p>',
        '<p><a href="/social/2022/01/01/1.shtml">Заголовок другой статьи</a><a name="next"></a></p>',
        "<script>var a = '<p>код</p>';</script>",
        "<aside><p>Врезка сбоку.</p></aside><figure><p>Подпись к снимку.</p></figure>",
        '<section class="b-article_read_also"><p class="intro">Чужой лид.</p></section>',
        '<p class="online_time">10:15</p>',
        '<blockquote class="twitter-tweet"><p>Чужая запись.</p></blockquote>',
    ],
)
def test_what_the_article_does_not_say_is_left_out(junk: str) -> None:
    assert parse_article(page(f"<p>Раз.</p>{junk}<p>Два.</p>"), URL).text == "Раз.\nДва."


def test_a_quotation_is_part_of_the_text_once() -> None:
    body = page(
        "<p>Раз.</p><blockquote>Цитата.</blockquote><blockquote><p>Другая.</p></blockquote><p>Два.</p>"
    )
    assert parse_article(body, URL).text == "Раз.\nЦитата.\nДругая.\nДва."


def test_a_heading_in_the_middle_is_dropped_alone_and_the_closing_one_with_what_follows() -> None:
    body = page("<p>Раз.</p><p>Материалы по теме</p><p>Два.</p><p>НОВОСТИ ПО ТЕМЕ:</p><p>Чужое.</p>")
    assert parse_article(body, URL).text == "Раз.\nДва."


@pytest.mark.parametrize(
    "title", ["Онлайн-кинотеатр набрал зрителей", "Прямая трансляция парада собрала миллион"]
)
def test_news_about_broadcasts_are_articles(title: str) -> None:
    assert parse_article(page("<p>Раз.</p>", title=title), URL).title == title


@pytest.mark.parametrize(
    "said",
    [
        'Об этом сообщает <a href="/t.shtml">ТАСС</a>',
        '<a href="/t.shtml">Агентство</a> ждёт ответа министерства',
    ],
    ids=["at its end", "at its beginning"],
)
def test_a_line_with_a_link_in_it_stays_though_no_full_stop_ends_it(said: str) -> None:
    assert parse_article(page(f"<p>Раз.</p><p>{said}</p>"), URL).text.endswith(re.sub("<.*?>", "", said))


def test_a_line_of_bare_text_that_is_only_a_link_is_left_out_whatever_other_links_there_are() -> None:
    link = '<a href="/social/2022/01/01/1.shtml">{}</a>'
    text = f"{link.format('Раз')} и два.<br><br>{link.format('Другая статья')}<br><br>Три."
    assert parse_article(page(text), URL).text == "Раз и два.\nТри."


@pytest.mark.parametrize(
    "text",
    ['<a href="/x.shtml">Раз</a>.' + "Два<br><br>" * 20_000,
     '<p><a href="/x.shtml">Раз</a>.' + "Два<br><br>" * 20_000,
     "</div>" + '<div itemprop="articleBody"><p>Раз.</p></div>' * 20_000,
     '</div><section itemscope><p class="intro">Лид.</p></section>' * 10_000
     + '<div itemprop="articleBody"></div>' * 10_000],
    ids=["bare lines", "lines of one paragraph", "bodies", "bodies and leads in scopes"],
)  # fmt: skip
def test_a_page_of_many_lines_or_bodies_takes_no_longer_for_each_of_them(text: str) -> None:
    begun = time.process_time()
    with suppress(NotAnArticle):
        parse_article(page(text), URL)
    assert time.process_time() - begun < 10  # a second or two; half a minute when each was compared with each


def test_a_sentence_about_advertising_stays() -> None:
    said = "Реклама подорожала вдвое, рассказали в агентстве."
    assert parse_article(
        page(f"<p>{said}</p><p>Подробнее об этом он говорить не стал.</p>"), URL
    ).text.startswith(said)


def test_a_heading_without_class_or_itemprop_is_told_from_the_subheading_by_its_place() -> None:
    head = '<div class="b_article-header"><h1 class="subheader">Подзаголовок</h1><h1>Заголовок</h1></div>'
    body = page("<p>Раз.</p>", title="", before=head)
    article = parse_article(body, URL)
    assert (article.title, article.subtitle) == ("Заголовок", "Подзаголовок")


def test_selectors_of_a_layout_are_those_that_it_could_have() -> None:
    assert (
        ".article_name" in SITE.selectors()["title"]
        and ".article_name" not in SITE.selectors("2021")["title"]
    )
    assert ".b_article-intro" in SITE.selectors("2021")["lead"]
    assert ".b_article-intro" not in SITE.selectors("2013")["lead"]
    assert set(SITE.selectors("2024")["title"].split(", ")) >= set(
        SITE.selectors("2021")["title"].split(", ")
    )
    with pytest.raises(PageChanged) as changed:
        parse_article(page("<p>Раз.</p>", title=""), URL)
    assert changed.value.era == "2021" and changed.value.selectors == SITE.selectors("2021")


def test_only_the_layout_of_2021_with_its_headline_in_an_h2_is_that_of_2024() -> None:
    html = page("<p>Раз.</p>").decode().replace("h1", "h2")
    assert parse_article(html.encode(), URL).era == "2024"
    of_2015 = html.replace('class="b_article"', 'class="article-text"')
    assert parse_article(of_2015.encode(), URL).era == "2015"
    assert ".b_article-text" not in SITE.selectors("json-ld")["text"]


def test_a_headline_beside_the_text_or_in_another_box_is_another_articles() -> None:
    other = (
        '<aside><h1 class="headline">Чужой</h1></aside><div class="related"><p class="headline">Он</p></div>'
    )
    assert parse_article(page("<p>Раз.</p>", before=other), URL).title == "Заголовок"


@pytest.mark.parametrize(
    ("root", "body", "layout"),
    [("b_article", 'class="b_article-text"', "2021"), ("article-text", 'class="article_text"', "2015"),
     ("b_article", 'itemprop="articleBody"', "2021")],
)  # fmt: skip
def test_an_article_without_a_headline_is_known_by_the_place_of_its_text(
    root: str, body: str, layout: str
) -> None:
    html = f'<html><body><article class="{root}"><p {body}>Раз.</p></article></body></html>'
    with pytest.raises(PageChanged) as changed:
        parse_article(html.encode(), URL)
    assert (changed.value.fields, changed.value.era) == (["title"], layout)


def test_a_card_with_any_text_is_not_taken_for_the_article() -> None:
    card = '<article><div class="text">Чужой анонс.</div></article>'
    html = page("<p>Раз.</p>").decode().replace(' class="b_article"', "").replace("<body>", f"<body>{card}")
    assert parse_article(html.encode(), URL).text == "Раз."


def test_the_text_may_be_in_any_element() -> None:
    html = page("<p>Раз.</p>").decode()
    at = html.index('<div itemprop="articleBody">')
    html = html[:at] + '<meta itemprop="articleBody" content="Два.">' + html[at:].replace("div", "section")
    assert parse_article(html.encode(), URL).text == "Раз."
    by_class = html.replace('section itemprop="articleBody"', 'section class="b_article-text"')
    assert parse_article(by_class.encode(), URL).text == "Раз."


@pytest.mark.parametrize(("length", "text"), [(59, "Раз."), (60, "Раз.\n{}\nДва."), (90, "Раз.\n{}\nДва.")])
def test_a_whole_sentence_about_the_news_on_a_topic_closes_no_article(length: int, text: str) -> None:
    said = "Новости по теме: " + "а" * (length - 18) + "."
    assert parse_article(page(f"<p>Раз.</p><p>{said}</p><p>Два.</p>"), URL).text == text.format(said)


# JSON-LD


def linked(**fields: object) -> bytes:
    """A page with nothing but JSON-LD."""
    data = {"@type": "NewsArticle", "headline": "Заголовок", "articleBody": "Раз.", **fields}
    script = f'<script type="application/ld+json">{json.dumps(data)}</script>'
    return f"<html><head>{script}</head><body></body></html>".encode()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Раз.\n Два&nbsp;три.", "Раз.\nДва три."),
        ("<p>Раз.</p><p>Два <b>три</b>.</p>", "Раз.\nДва три."),
        ("<b>Раз.</b> Два.", "Раз. Два."),
        ("Раз.<br><br>Два.", "Раз.\nДва."),
        ("Мороз < 30 градусов.\nДва.", "Мороз < 30 градусов.\nДва."),
        ("Доход > 5 < 9 млн </ год.", "Доход > 5 < 9 млн </ год."),
    ],
)
def test_a_text_of_json_ld_is_read_with_markup_and_without(written: str, text: str) -> None:
    assert parse_article(linked(articleBody=written), URL).text == text


def test_values_of_json_ld_are_one_clean_line_and_of_a_list_the_first() -> None:
    body = linked(headline=["Первый\u00a0 заголовок", "Второй"], alternativeHeadline=" Под\n заголовок ")
    article = parse_article(body, URL)
    assert (article.title, article.subtitle) == ("Первый заголовок", "Под заголовок")


def test_a_place_for_text_with_nothing_in_it_is_not_filled_from_json_ld() -> None:
    """What a page of a video says of it to search engines is no article."""
    script = re.search("<script.*</script>", linked(articleBody="Описание ролика.").decode())
    with pytest.raises(NotAnArticle, match="no text"):
        parse_article(page("<video></video>", head=script[0]), URL)


def test_a_page_that_was_cut_off_after_its_head_is_read_as_far_as_it_goes() -> None:
    head = linked(headline="").decode().partition("</head>")[0]
    body = f'{head}<meta itemprop="headline" content="Заголовок"></head></html>'.encode()
    article = parse_article(body, URL)
    assert (article.title, article.text, article.date) == ("Заголовок", "Раз.", "2022-04-28 00:00:00")


def test_a_row_with_the_name_of_the_newest_layout_is_read_and_told_beside_those_of_2021(monkeypatch) -> None:
    class V2024(Gazeta.V2024):
        text = (Gazeta.V2021.text, ".z9-text")

    monkeypatch.setattr(Gazeta, "layouts", (V2024, *Gazeta.layouts[1:]))
    html = (PAGES / "2024-feature.html").read_text(encoding="utf-8")
    html = html.replace('class="b_article-text" itemprop="articleBody"', 'class="z9-text"')
    url = "https://www.gazeta.ru/style/2024/02/29/18335999.shtml"
    assert parse_article(html.encode(), url).text.startswith("С чего началось")
    with pytest.raises(PageChanged) as changed:
        parse_article(html.replace("z9-text", "z10-text").encode(), url)
    assert changed.value.era == "2024"  # as the alarm names it
    assert ".b_article-text" in changed.value.selectors["text"]
    assert ".z9-text" in changed.value.selectors["text"] and ".z9-text" not in SITE.selectors("2021")["text"]


# Summaries


def test_the_subheading_is_never_taken_for_the_lead() -> None:
    before = (
        '<h2 class="subheader">Подзаголовок статьи</h2><div class="b_article-intro">Подзаголовок статьи</div>'
    )
    article = parse_article(page("<p>Первый абзац.</p><p>Второй.</p>", before=before), URL)
    assert article.subtitle == "Подзаголовок статьи"
    assert (article.summary, article.summary_origin) == ("Первый абзац.", "first_paragraph")


def test_the_lead_that_names_itself_wins_over_an_intro_before_it() -> None:
    before = '<p class="intro">Рубрика «Разбор»</p><span itemprop="description">Лид статьи.</span>'
    article = parse_article(page("<p>Первый абзац.</p><p>Второй.</p>", before=before), URL)
    assert (article.summary, article.summary_origin) == ("Лид статьи.", "lead")


def test_a_lead_of_a_read_also_card_is_not_this_articles_lead() -> None:
    card = '<a href="/x.shtml"><p class="intro">Лид чужой статьи</p></a>'
    assert parse_article(page(f"{card}<p>Первый абзац.</p><p>Второй.</p>"), URL).summary == "Первый абзац."


def test_an_empty_lead_and_one_of_a_card_hide_no_lead_after_them() -> None:
    before = (
        '<div class="b_article-intro"> </div><a href="/x.shtml"><p class="b_article-intro">Чужой лид.</p></a>'
        '<div class="b_article-intro">Лид статьи.</div>'
    )
    article = parse_article(page("<p>Первый абзац.</p>", before=before), URL)
    assert (article.summary, article.summary_origin) == ("Лид статьи.", "lead")


@pytest.mark.parametrize("body", ['itemprop="articleBody"', 'class="b_article-text"', 'class="text"'])
def test_a_lead_in_one_scope_with_the_text_is_this_articles_and_one_in_a_scope_of_its_own_is_not(
    body: str,
) -> None:
    lead = '<div class="b_article-intro">Лид статьи.</div>'
    html = page("<p>Первый абзац.</p>").decode().replace('itemprop="articleBody"', body)
    at = html.index(f"<div {body}")
    together = f"{html[:at]}<section itemscope>{lead}{html[at:]}".replace(
        "</article>", "</section></article>"
    )
    assert parse_article(together.encode(), URL).summary == "Лид статьи."
    apart = f"{html[:at]}<section itemscope>{lead}</section>{html[at:]}"
    assert parse_article(apart.encode(), URL).summary == "Первый абзац."
    itself = f"{html[:at]}{lead.replace('>', ' itemscope>', 1)}{html[at:]}"
    assert parse_article(itself.encode(), URL).summary == "Лид статьи."


def test_a_description_of_its_own_is_a_summary_and_a_cut_one_is_not() -> None:
    text = "<p>Первый абзац рассказывает о событии подробно и долго.</p><p>Второй.</p>"
    own = "Редактор пересказал всю историю в одном предложении, какого в тексте статьи нигде нет."
    head = '<meta name="description" content="{}">'
    article = parse_article(page(text, head=head.format(own)), URL)
    assert (article.summary, article.summary_origin) == (own, "description")
    assert article.source() == article.text
    cut = parse_article(page(text, head=head.format(own[:70] + "...")), URL)
    assert cut.summary_origin == "first_paragraph"


OPENING = "Первый абзац рассказывает о событии подробно и долго, как это принято в новостях."


@pytest.mark.parametrize(
    ("description", "title"),
    [
        ("Коротко о том, чего в тексте нет, меньше шестидесяти знаков", "Заголовок"),  # 59 of them
        (OPENING, "Заголовок"),
        (OPENING[:62] + ", но с другим концом", "Заголовок"),  # the paragraph, typed a little differently
        ("Длинный заголовок, который сайт повторяет в описании страницы слово в слово", None),
        ("Пересказ всей истории в одном предложении сайта. Читайте на «Газета.Ru»", "Заголовок"),
        ("Пересказ всей истории одним предложением, которое сайт оборвал на полусло…", "Заголовок"),
    ],
    ids=["short", "the same", "nearly the same", "the title", "the site's own", "cut off"],
)  # fmt: skip
def test_a_description_that_says_nothing_of_its_own_is_no_summary(
    description: str, title: str | None
) -> None:
    head = f'<meta name="description" content="{description}">'
    body = page(f"<p>{OPENING}</p><p>Второй.</p>", head=head, title=title or description)
    article = parse_article(body, URL)
    assert (article.summary, article.summary_origin) == (OPENING, "first_paragraph")


SQUEEZED = "Первыйабзацрассказываетособытииподробнои"  # the first forty letters of OPENING


@pytest.mark.parametrize(("shared", "origin"), [(40, "first_paragraph"), (39, "description")])
def test_a_description_that_begins_as_the_text_does_for_forty_letters_repeats_it(
    shared: int, origin: str
) -> None:
    assert len(SQUEEZED) == 40 and "".join(filter(str.isalpha, OPENING)).startswith(SQUEEZED)
    own = SQUEEZED[:shared] + "ъ, а дальше сказано совсем другое, чего в тексте нет."
    body = page(f"<p>{OPENING}</p>", head=f'<meta name="description" content="{own}">')
    assert parse_article(body, URL).summary_origin == origin


@pytest.mark.parametrize("before", [0, 50], ids=["at its beginning", "in its middle"])
def test_a_description_may_speak_of_the_newspaper_before_its_end(before: int) -> None:
    own = (
        f"{'Слово ' * 9}"[:before]
        + "«Газета.Ru» узнала, чем закончилась история, которой в тексте нет ни слова."
    )
    article = parse_article(page(f"<p>{OPENING}</p>", head=f'<meta name="description" content="{own}">'), URL)
    assert (article.summary, article.summary_origin) == (own, "description")


def test_a_description_of_few_letters_that_open_the_text_repeats_it() -> None:
    own = "Итог: 12 : 5 , 7 : 3 , 4 : 4 , 9 : 1 , 6 : 2 , 8 : 0 , 3 : 3 ."
    text = f"<p>{own} Так закончился тур.</p><p>Два.</p>"
    article = parse_article(page(text, head=f'<meta name="description" content="{own}">'), URL)
    assert len(own) >= 60 and article.summary_origin == "first_paragraph"


def test_a_description_of_sixty_characters_is_long_enough() -> None:
    own = "Коротко о том, чего нет в тексте, ровно в шестьдесят знаков!"
    assert len(own) == 60
    article = parse_article(page(f"<p>{OPENING}</p>", head=f'<meta name="description" content="{own}">'), URL)
    assert (article.summary, article.summary_origin) == (own, "description")


def test_a_lead_that_opens_the_text_again_is_the_first_paragraph() -> None:
    before = '<span itemprop="description">Первый  абзац.</span>'
    article = parse_article(page("<p>Первый абзац.</p><p>Второй.</p>", before=before), URL)
    assert article.summary_origin == "first_paragraph"


def test_a_lead_in_a_box_of_another_article_is_not_this_ones() -> None:
    box = '<div class="b_article-incut"><p class="intro">Чужой лид.</p></div>'
    assert parse_article(page("<p>Первый абзац.</p>", before=box), URL).summary == "Первый абзац."


def test_a_description_for_machines_inside_the_article_is_judged_as_one_of_the_head_is() -> None:
    before = '<meta itemprop="description" content="Коротко.">'
    article = parse_article(page("<p>Первый абзац.</p>", before=before), URL)
    assert (article.summary, article.summary_origin) == ("Первый абзац.", "first_paragraph")


def test_a_summary_that_is_the_first_paragraph_is_not_in_the_source() -> None:
    article = parse_article(page("<p>Первый абзац.</p><p>Второй.</p><p>Третий.</p>"), URL)
    assert article.text.startswith(article.summary)
    assert article.source() == "Второй.\nТретий."


# Dates


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2013-10-15T09:41:12+04:00", "2013-10-15 09:41:12"),  # Moscow was +04:00 then
        ("2013-10-15T05:41:12Z", "2013-10-15 09:41:12"),
        ("2021-12-29T23:42:45+03:00", "2021-12-29 23:42:45"),
        ("2021-12-29T22:42:45Z", "2021-12-30 01:42:45"),
        ("2009-07-01T12:00:00Z", "2009-07-01 16:00:00"),  # summer time
        ("2009-01-01T12:00:00Z", "2009-01-01 15:00:00"),
        ("2022-02-03", "2022-02-03 00:00:00"),
    ],
)
def test_dates_are_moscow_time(written: str, date: str) -> None:
    body = page("<p>Раз.</p>").replace(b"2022-04-28T10:00:00+03:00", written.encode())
    assert parse_article(body, URL).date == date


def test_a_page_without_a_time_has_the_day_of_its_address() -> None:
    body = page("<p>Раз.</p>").replace(b"<time itemprop", b"<i title")
    assert parse_article(body, URL).date == "2022-04-28 00:00:00"
    canonical = f'<link rel="canonical" href="{URL}">'.encode()
    body = body.replace(b"<head>", b"<head>" + canonical)
    assert parse_article(body, "https://www.gazeta.ru/social/17654486.shtml").date == "2022-04-28 00:00:00"


# Broken pages


def test_a_missing_headline_names_the_url_and_the_field() -> None:
    body = page("<p>Раз.</p>", title="")
    with pytest.raises(PageChanged) as changed:
        parse_article(body, URL)
    assert changed.value.fields == ["title"] and URL in str(changed.value)


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x01\x02", b"just words", b"\xff\xd8\xff\xe0 picture", b"<html></html>"]
)
def test_what_is_no_page_is_no_article(body: bytes) -> None:
    with pytest.raises((NotAnArticle, PageChanged)):
        parse_article(body, "https://www.gazeta.ru/quiz/x.shtml")


def test_a_hundred_thousand_nested_tags_are_refused() -> None:
    body = b"<html><body>" + b"<div>" * 100_000 + "Дно".encode() + b"</div>" * 100_000
    with pytest.raises(NotAnArticle, match="nested too deep"):
        parse_article(body, URL)


@pytest.mark.parametrize(
    "head",
    ['<meta property="og:type" content="article">',
     '<script type="application/ld+json">{"@type": "NewsArticle", "headline": ""}</script>'],
    ids=["og:type", "JSON-LD"],
)  # fmt: skip
def test_a_page_that_calls_itself_an_article_and_has_none_is_a_changed_one(head: str) -> None:
    body = f"<html><head>{head}</head><body><p>Раз.</p></body></html>".encode()
    with pytest.raises(PageChanged):
        parse_article(body, "https://www.gazeta.ru/special/x/")
    with pytest.raises(NotAnArticle, match="not an article"):
        parse_article(body.replace(head.encode(), b""), "https://www.gazeta.ru/special/x/")


def test_a_page_with_a_place_for_text_and_none_in_it_has_no_text() -> None:
    with pytest.raises(NotAnArticle, match="no text"):
        parse_article(page(""), URL)
    undated = page("").replace(b"<time itemprop", b"<i title")
    with pytest.raises(PageChanged) as changed:  # more is gone than the words of a video's page
        parse_article(undated, "https://www.gazeta.ru/comments/column/bovt/17870000.shtml")
    assert changed.value.fields == ["text", "date"]


def test_a_page_that_only_lacks_its_date_is_a_changed_one() -> None:
    body = page("<p>Раз.</p>").replace(b"<time itemprop", b"<i title")
    with pytest.raises(PageChanged) as changed:
        parse_article(body, "https://www.gazeta.ru/comments/column/bovt/17870000.shtml")
    assert changed.value.fields == ["date"]


@pytest.mark.parametrize("where", ["title", "subtitle"])
def test_a_live_report_says_so_in_its_headline_or_in_the_one_below(where: str) -> None:
    said = "Выборы в Озёрске. Онлайн-трансляция"
    title, before = (said, "") if where == "title" else ("Выборы", f'<h2 class="subheader">{said}</h2>')
    with pytest.raises(NotAnArticle, match="live report"):
        parse_article(page("<p>Раз.</p>", title=title, before=before), URL)


@pytest.mark.parametrize(
    "sign",
    ['<script type="application/ld+json">{"@type": "LiveBlogPosting"}</script>',
     '<div itemtype="https://schema.org/LiveBlogPosting"></div>',
     '<div class="b_article-online"></div>'],
    ids=["JSON-LD", "itemtype", "class"],
)  # fmt: skip
def test_one_sign_of_a_live_report_is_enough(sign: str) -> None:
    with pytest.raises(NotAnArticle, match="live report"):
        parse_article(page("<p>Раз.</p>", before=sign), URL)


def test_a_page_of_pictures_is_a_gallery_by_its_address() -> None:
    with pytest.raises(NotAnArticle, match="gallery"):
        parse_article(page(""), "https://www.gazeta.ru/social/photo/krasota.shtml")


@pytest.mark.parametrize("body", ['itemprop="articleBody"', 'class="b_article-text"', 'class="text"'])
@pytest.mark.parametrize("row", [None, 0, 1, 5], ids=["as it is", "first", "second", "last"])
def test_a_widget_or_a_word_in_an_article_makes_it_no_quiz_and_no_error_page(
    body: str, row: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if row is not None:  # wherever a new layout stands among the others

        class V2031(Layout):
            name = "2031"
            text = ".z9-text"

        monkeypatch.setattr(Gazeta, "layouts", (*Gazeta.layouts[:row], V2031, *Gazeta.layouts[row:]))
    text = '<p>Раз.</p><div class="b_test"><p>Вопрос</p></div>'
    html = page(text, head="<title>Ошибка 404 стала мемом</title>", title="Ошибка 404 стала мемом").decode()
    article = parse_article(html.replace('itemprop="articleBody"', body).encode(), URL)
    assert article.text.startswith("Раз.")


@pytest.mark.parametrize(
    ("inside", "reason"),
    [('<div class="b_quiz">Вопрос</div>', "quiz"), ('<form class="sso"></form>', "login page"),
     ('<div class="b_error">404</div>', "error page"), ("<title>Страница не найдена</title>", "error page")],
    ids=["quiz", "login", "error", "title"],
)  # fmt: skip
def test_a_page_that_says_it_is_no_article_is_none_whatever_else_stands_on_it(
    inside: str, reason: str
) -> None:
    head = '<meta property="og:title" content="Газета"><meta property="og:type" content="article">'
    body = f"<html><head>{head}</head><body>{inside}<div class='text'><p>Слово.</p></div></body></html>"
    with pytest.raises(NotAnArticle, match=reason):
        parse_article(body.encode(), URL)


def test_the_canonical_link_is_the_articles_address_and_other_links_are_not() -> None:
    url = "https://www.gazeta.ru/social/news/2022/04/28/17654000.shtml"
    links = f'<link rel="amphtml" href="{url[:-10]}4001.shtml"><link rel="canonical" href="{url}">'
    assert parse_article(page("<p>Раз.</p>", head=links), URL).url == url


def test_the_address_of_opengraph_is_the_next_best_and_the_first_that_is_an_articles_is_taken() -> None:
    url = "https://www.gazeta.ru/social/news/2022/04/28/17654000.shtml"
    other = '<meta property="og:see_also" content="https://www.gazeta.ru/tech/2022/04/28/17654009.shtml">'
    graph = f'{other}<meta property="og:url" content="{url}">'
    assert parse_article(page("<p>Раз.</p>", head=graph), URL).url == url
    home = "https://www.gazeta.ru/"
    links = f'<link rel="canonical" href="{home}"><link rel="canonical" href="{url}">'
    assert parse_article(page("<p>Раз.</p>", head=links), URL).url == url
    graphs = f'<meta property="og:url" content="{home}">{graph}'
    assert parse_article(page("<p>Раз.</p>", head=graphs), URL).url == url


def test_an_address_without_a_section_takes_the_one_that_the_page_links_on_this_site() -> None:
    links = "".join(
        f'<a href="{address}">x</a>'
        for address in ("https://evil.invalid/tech/", "/news/", "/tech/2022/1.shtml", "/culture/", "/sport/")
    )
    body = page("<p>Раз.</p>", before=f'<div class="breadcrumb">{links}</div>')
    assert parse_article(body, "https://www.gazeta.ru/2003/02/27/kto.shtml").rubric == "culture"


@pytest.mark.parametrize("site", ["https://evil.invalid", "https://evil.invalid:port"])
def test_a_page_cannot_take_the_address_of_another_site_or_of_none(site: str) -> None:
    head = f'<link rel="canonical" href="{site}/social/news/2022/04/28/1.shtml">'
    assert parse_article(page("<p>Раз.</p>", head=head), URL).url == URL


# Addresses


@pytest.mark.parametrize(
    ("url", "day", "rubric"),
    [
        ("https://www.gazeta.ru/politics/2013/10/15_a_5709357.shtml", "2013-10-15", "politics"),
        ("https://www.gazeta.ru/social/news/2021/12/29/17083219.shtml", "2021-12-29", "social"),
        ("https://www.gazeta.ru/news/business/2008/11/21/n_1298950.shtml", "2008-11-21", "business"),
        ("https://www.gazeta.ru/news/lenta/2008/01/01/n_1159008.shtml", "2008-01-01", ""),
        ("https://www.gazeta.ru/2003/02/27/kto.shtml", "2003-02-27", ""),
        ("https://www.gazeta.ru/auto/2005/06/09_a_298154.shtml", "2005-06-09", "auto"),
        ("https://www.gazeta.ru/comments/column/bovt/17870000.shtml", "", "comments"),
        ("https://www.gazeta.ru/social/17870000.shtml", "", "social"),
        ("https://www.gazeta.ru/social/2022/02/30/14490001.shtml", "", "social"),  # no such day
    ],
)
def test_an_address_tells_its_day_and_rubric(url: str, day: str, rubric: str) -> None:
    assert SITE.is_article_url(url)
    assert (SITE.url_day(url), SITE.url_rubric(url)) == (day, rubric)


@pytest.mark.parametrize(
    "path",
    ["/", "/social/", "/tags/organization/voz.shtml", "/gazeta/authors/x.shtml",
     "/sport/results/football/7.shtml", "/social/about.shtml", "/17870000.shtml",
     "/social/2022/02/03/14490001.shtml%0A",
     "/quiz/kto.shtml", "/print/2021/12/04/14990001.shtml", "/search.shtml", "/prcom/2023/01/01/1.shtml"],
)  # fmt: skip
def test_other_addresses_are_not_articles(path: str) -> None:
    assert not SITE.is_article_url(f"https://www.gazeta.ru{path}")


def test_one_page_has_one_address() -> None:
    url = "https://www.gazeta.ru/social/2022/02/03/14490001.shtml"
    for other in ("http://gazeta.ru/social/2022/02/03/14490001.shtml?updated",
                  "https://m.gazeta.ru/amp/social/2022/02/03/14490001.shtml#top",
                  "https://WWW.gazeta.ru//social/2022/02/03/14490001.shtml"):  # fmt: skip
        assert SITE.canonical_url(other) == url
    assert SITE.same_site(url, "https://m.gazeta.ru/x") and not SITE.same_site(
        url, "https://gazeta.ru.evil.invalid/"
    )
    assert not SITE.same_site("http://127.0.0.1:8802/", "http://127.0.0.1:22/")
    plain, tls = "http://stand.invalid/", "https://stand.invalid/"
    assert not SITE.same_site(plain, tls) and not SITE.same_site(tls, plain) and SITE.same_site(plain, plain)
    assert SITE.canonical_url("http://stand.invalid:80/x") == "http://stand.invalid/x"
    assert SITE.canonical_url("https://stand.invalid:443/x") == "https://stand.invalid/x"
    assert SITE.canonical_url("https://stand.invalid:80/x") == "https://stand.invalid:80/x"
    assert SITE.canonical_url("http://stand.invalid:8802/x") == "http://stand.invalid:8802/x"
    assert SITE.canonical_url("http://stand.invalid") == "http://stand.invalid/"
