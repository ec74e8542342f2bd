"""What of a page is the article's text: every kind of paragraph, no labels, no calls to other places."""

from __future__ import annotations

import json

import pytest
from gazeta.pages import parse_article
from gazeta.sites.base import NotAnArticle

URL = "https://www.gazeta.ru/social/2024/02/03/18000001.shtml"
LINES = [
    "Вечером в посёлке открыли каток, и первыми на лёд вышли школьники.",
    "Коньки для них собрали соседи, а чай весь вечер разливала заведующая клубом.",
    "До весны каток обещают заливать каждую ночь, если не будет оттепели.",
]
BODY = "".join(f"<p>{line}</p>" for line in LINES)


def page(text: str = BODY, title: str = "Каток открыт", before: str = "", head: str = "") -> bytes:
    return (
        f'<html><head>{head}</head><body><article class="b_article"><div class="b_article-header">'
        '<time itemprop="datePublished" datetime="2024-02-03T10:00:00+03:00"></time>'
        f'<h1 class="headline">{title}</h1></div>{before}'
        f'<div itemprop="articleBody">{text}</div></article></body></html>'
    ).encode()


def lines(text: str) -> list[str]:
    return parse_article(page(text), URL).text.split("\n")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("Лёд привезли на двух машинах.", "Лёд привезли на двух машинах."),
        ('Об этом сообщил <a href="/x">глава</a> посёлка.', "Об этом сообщил глава посёлка."),
        ("<div>Лёд привезли на двух машинах.</div>", "Лёд привезли на двух машинах."),
        ("<div><div>Лёд привезли <b>на двух</b> машинах.</div></div>", "Лёд привезли на двух машинах."),
        ("<blockquote>Лёд — лучше не бывает!</blockquote>", "Лёд — лучше не бывает!"),
        ("<h3>Кто заливает каток?</h3>", "Кто заливает каток?"),
        ("<pre>Лёд привезли\nна двух машинах.</pre>", "Лёд привезли на двух машинах."),
        ("<section>«Будем кататься до марта»</section>", "«Будем кататься до марта»"),
    ],
)
def test_every_kind_of_paragraph_is_kept_in_its_place(extra: str, expected: str) -> None:
    first, *rest = [f"<p>{line}</p>" for line in LINES]
    assert lines(first + extra + "".join(rest)) == [LINES[0], expected, *LINES[1:]]


@pytest.mark.parametrize(
    "label",
    [
        "<div>Самое читаемое</div>", '<div><a href="/y">Другая статья, о которой пишут.</a></div>',
        "<h3>Как заливают каток</h3>", '<h3><a href="/y">Кто заливает каток?</a></h3>',
        "<table><tr><td>Счёт 2:1.</td></tr></table>", "Обновлять",
        '<a href="/y"><div>Другая статья, о которой пишут.</div></a>',
    ],
)  # fmt: skip
def test_labels_tables_and_cards_are_not_paragraphs(label: str) -> None:
    assert lines(BODY + label) == LINES


@pytest.mark.parametrize(
    "end", ["\u2028", "\u2029", "\r", "\x0b", "\x0c", "\x85", "&#8232;", "&#13;", "\r\n"]
)
def test_a_line_end_of_any_kind_keeps_words_apart(end: str) -> None:
    assert lines(f"<p>Лёд привезли{end}утром.</p>{BODY}")[0] == "Лёд привезли утром."


def test_entities_that_were_written_twice_are_read() -> None:
    written = "Каток &amp;laquo;Лёд&amp;raquo; открыли&amp;nbsp;вечером &amp;mdash; и&amp;#160;не зря."
    article = parse_article(page(f"<p>{written}</p>{BODY}", title="&amp;laquo;Лёд&amp;raquo;"), URL)
    assert article.text.split("\n")[0] == "Каток «Лёд» открыли вечером — и не зря."
    assert article.title == "«Лёд»"
    assert lines(f"<p>AT&amp;T и R&amp;D; так пишут.</p>{BODY}")[0] == "AT&T и R&D; так пишут."


def test_entities_of_json_ld_are_read() -> None:
    data = {
        "@type": "NewsArticle", "headline": "Каток &laquo;Лёд&raquo;",
        "datePublished": "2024-02-03T10:00:00Z",
        "articleBody": "Лёд&nbsp;привезли.\u2028&laquo;Катайтесь&raquo;, &mdash; сказал он.",
    }  # fmt: skip
    script = f'<script type="application/ld+json">{json.dumps(data)}</script>'
    article = parse_article(f"<html><head>{script}</head><body></body></html>".encode(), URL)
    assert article.title == "Каток «Лёд»"
    assert article.text == "Лёд привезли.\n«Катайтесь», — сказал он."


@pytest.mark.parametrize(
    "call",
    [
        "Ознакомиться с другими материалами вы можете на <a href='/x'>странице</a> клуба, а также в группах "
        "отдела в социальных сетях Facebook и «Вконтакте».",
        "Другие новости можно посмотреть в группах отдела в соцсетях.",
        "Посмотреть эту публикацию в Instagram",
        "Публикация от Каток (@katok) 14 Окт 2018 в 11:53 PDT",
        "Реклама. ООО «Лёд». ИНН 7700000000. erid: 2SDnjdWxyz12",
        "Иван Коньков/РИА Новости",
        "© Иван Коньков / ТАСС",
        "«Газета.Ru» ведёт онлайн-трансляцию.",
    ],
)
def test_calls_credits_and_marks_of_blocks_are_left_out(call: str) -> None:
    assert lines(f"{BODY}<p>{call}</p>") == LINES


@pytest.mark.parametrize(
    "said",
    [
        "Следите за льдом, попросил он.",
        "Все новости о льде приходят из Telegram, рассказал он.",
        "Соревнования пройдут при поддержке РИА Новости.",
        "Реклама катка стоила дорого.",
        "Партия «Лёд» и/или ТАСС не ответили.",
    ],
)
def test_sentences_like_them_stay(said: str) -> None:
    assert lines(f"{BODY}<p>{said}</p>") == [*LINES, said]


@pytest.mark.parametrize(
    "credit", ["Фото: Иван Коньков", "Иван Коньков/РИА Новости", "© Reuters / Ivan Konkov"]
)
def test_a_photo_credit_is_no_summary(credit: str) -> None:
    article = parse_article(page(before=f'<div class="b_article-intro">{credit}</div>'), URL)
    assert article.summary == LINES[0]


@pytest.mark.parametrize(
    "title",
    ["Финал на льду. LIVE", "Сезон на льду. День 12-й", "День 300-й. Что пишут", "Финал: онлайн-трансляция"],
)
def test_a_title_of_a_live_report_is_seen(title: str) -> None:
    with pytest.raises(NotAnArticle, match="live report"):
        parse_article(page(title=title), URL)


@pytest.mark.parametrize("clock", ["22:5{}", "12.3{}", "'9{}", "'90+{}", "8{}’"])
def test_a_text_of_clock_lines_is_a_live_report(clock: str) -> None:
    text = "".join(f"<p>{clock.format(number)} Игрок пробил мимо ворот.</p>" for number in range(9))
    with pytest.raises(NotAnArticle, match="live report"):
        parse_article(page(text), URL)


def test_entries_with_a_time_of_their_own_are_a_live_report() -> None:
    entries = "".join(f'<p class="online_time">12:3{n}</p><p>{LINES[0]}</p>' for n in range(4))
    with pytest.raises(NotAnArticle, match="live report"):
        parse_article(page(entries), URL)


@pytest.mark.parametrize("title", ["Живём live", "Завтра день 8-й недели", "Второй день на льду"])
def test_other_titles_and_a_few_times_of_day_are_none(title: str) -> None:
    assert parse_article(page(f"{BODY}<p>22:50 — время закрытия.</p>", title=title), URL).title == title


def test_a_mark_in_the_head_is_advertising_and_one_of_a_banner_is_not() -> None:
    for mark in ("На правах рекламы", "Партнёрский материал", "Рекламный материал."):
        with pytest.raises(NotAnArticle, match="advertising"):
            parse_article(page(before=f'<div class="label">{mark}</div>'), URL)
        banner = f'<div class="banner"><div>{mark}</div></div>'
        assert parse_article(page(before=banner), URL).title == "Каток открыт"
        assert lines(f"{BODY}<div><span>{mark}</span></div>") == LINES


def test_lifestyle_and_style_are_one_rubric() -> None:
    for section in ("style", "lifestyle", "lifestyle/style"):
        assert (
            parse_article(page(), f"https://www.gazeta.ru/{section}/2024/02/03/18000001.shtml").rubric
            == "style"
        )
