"""The program: its options, its faults on request, its stats, and real news from a file."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lxml import etree, html

SITE = Path(__file__).resolve().parents[2] / "demo" / "site.py"
ROWS = [
    {
        "title": "Мост через реку открыли <раньше> срока",
        "summary": "Новый мост у посёлка Заречный открыли на месяц раньше срока & без пробок.",
        "body": "Мост сдали в мае.\n\nПервыми по мосту прошли школьники.\u00a0\nПроезд бесплатный.",
        "text": "Этот текст с лидом не нужен, потому что есть body.",
        "date": "2019-11-08T18:34:51+00:00",
        "topic": "society",
    },
    {
        "title": "Команда из Зеленоборска выиграла кубок",
        "summary": "Хоккеисты Зеленоборска впервые выиграли кубок края.",
        "text": "Финал прошёл при полных трибунах.",
        "date": "2024-03-02 10:00:00",
        "topic": "sports",
        "subtitle": "Победа в серии буллитов",
    },
    {
        "title": "Что варить в июле",
        "summary": "Хозяйки делятся рецептами варенья из ревеня.",
        "text": "Ревень моют и режут.",
        "topic": "not_news",
    },
    {"title": "Мода", "summary": "Она вернулась.", "text": "А.", "date": "2023-05-05", "rubric": "lifestyle"},
    {"title": "Вкус", "summary": "Он изменился.", "text": "Б.", "date": "2024-05-05", "rubric": "lifestyle"},
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SITE), *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def news_file(tmp_path: Path, *lines: str, name: str = "news.jsonl") -> Path:
    path = tmp_path / name
    text = "\n".join([json.dumps(row, ensure_ascii=False) for row in ROWS] + list(lines))
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_one_line_says_when_it_is_ready(start):
    running = start("--articles", "5")
    assert re.fullmatch(
        r"stand-in site: http://127\.0\.0\.1:\d+/ with 5 articles and \d+ awkward pages\n", running.ready
    )
    assert running.get("/robots.txt").status == 200


def test_taken_port_is_one_line_and_exit_5(site):
    ended = run("--port", site.url.rsplit(":", 1)[1])
    assert ended.returncode == 5
    assert re.fullmatch(
        r"error: port \d+ on 127\.0\.0\.1 cannot be used \(.+\); choose another --port.*\n", ended.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "many"], ["--port", "70000"], [], ["--port", "0", "--articles", "0"],
        ["--port", "0", "--errors-for", "nan"], ["--port", "0", "--news"], ["--port", "0", "--whatever"],
    ],
)  # fmt: skip
def test_wrong_option_is_exit_2(arguments):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert "error: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.jsonl", None),
        ("empty.jsonl", b""),
        ("picture.jsonl", b"\xff\xd8\xff\xe0" * 40),
        ("not_gzip.jsonl.gz", b'{"title": 1}'),
        ("cut.jsonl.gz", gzip.compress(b'{"title": "a"}\n' * 1000, mtime=0)[:40]),
        ("list.jsonl", b"[1, 2]\nnull\n3\n"),
        ("no_summary.jsonl", '{"title": "А", "text": "Б"}'.encode()),
    ],
)
def test_unusable_news_file_is_one_line_and_exit_2(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = run("--port", "0", "--news", str(tmp_path / name))
    assert ended.returncode == 2
    assert re.fullmatch(r"error: [^\n]*\n", ended.stderr), ended.stderr
    assert name in ended.stderr


@pytest.mark.parametrize("name", ["news.jsonl", "news.jsonl.gz"])
def test_news_file_is_served_with_its_own_words_dates_and_rubrics(start, tmp_path, name):
    running = start("--news", str(news_file(tmp_path, name=name)), "--no-awkward")
    bridge, cup, jam, style, later_style = running.facts("articles")
    assert bridge["title"] == "Мост через реку открыли <раньше> срока"
    assert bridge["text"].split("\n") == [
        "Мост сдали в мае.", "Первыми по мосту прошли школьники.", "Проезд бесплатный."
    ]  # fmt: skip
    assert (bridge["date"], bridge["rubric"], bridge["era"]) == ("2019-11-08 21:34:51", "social", "2015")
    assert (cup["date"], cup["rubric"], cup["subtitle"]) == (
        "2024-03-02 10:00:00",
        "sport",
        "Победа в серии буллитов",
    )
    # A label that names no subject gives the unsorted section, never a guessed rubric.
    assert jam["rubric"] == "articles"
    assert jam["path"].startswith("/articles/")
    assert (style["rubric"], later_style["rubric"]) == ("lifestyle", "style")
    page = html.fromstring(running.get(bridge["path"]).text)
    assert [" ".join(title.text_content().split()) for title in page.xpath("//h1")] == [bridge["title"]]
    assert page.xpath("//meta[@name='description']/@content")[0].replace("\u00a0", " ") == bridge["summary"]
    unsorted = running.get("/articles/").text
    assert [article["path"] for article in running.facts("articles") if article["path"] in unsorted] == [
        jam["path"]
    ]


def test_broken_rows_are_counted_and_skipped_in_one_line(start, tmp_path):
    broken = [
        "{",
        "[]",
        "null",
        '{"title": "А", "summary": "б", "text": "в", "date": "вчера"}',
        '{"title": "Без резюме", "text": "а"}',
        '{"summary": "Без заголовка", "text": "а"}',
        '{"title": "Без текста", "summary": "б"}',
    ]
    running = start("--news", str(news_file(tmp_path, *broken)))
    assert len(running.facts("articles")) == len(ROWS)
    said = running.stop()
    assert said == (
        "news.jsonl: 5 of 12 rows served; left out: 4 broken, 1 without a summary, 1 without a text, "
        "1 without a title\n"
    )


def test_articles_limits_the_rows_of_a_file(start, tmp_path):
    assert len(start("--news", str(news_file(tmp_path)), "--articles", "2").facts("articles")) == 2


def test_letters_outside_windows_1251_survive_on_old_pages(start, tmp_path):
    row = {
        "title": "Цена — 5 ₽ 😀",
        "summary": "Лид Ѣ и 中文.",
        "text": "Текст с ударе\u0301нием.",
        "date": "2019-02-02",
    }
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(row) + "\n")
    running = start("--news", str(path), "--no-awkward")
    (article,) = running.facts("articles")
    answer = running.get(article["path"])
    assert answer.headers.get_content_charset() == "windows-1251"
    page = html.fromstring(answer.text)
    assert " ".join(page.xpath("//h1")[0].text_content().split()) == row["title"]
    assert " ".join(page.xpath("//span[@itemprop='description']")[0].text_content().split()) == row["summary"]


def test_real_news_file_is_served_whole(start, shared):
    path = shared / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"real news is not here: {path.name} is absent")
    running = start("--news", str(path), "--no-awkward")
    articles = running.facts("articles")
    assert len(articles) == 1559
    assert {article["era"] for article in articles} == {"2015"}
    assert {"social", "sport", "culture", "tech", "science", "business", "articles"} == {
        a["rubric"] for a in articles
    }
    for article in articles[::50]:
        page = html.fromstring(running.get(article["path"]).text)
        assert " ".join(page.xpath("//h1")[0].text_content().split()) == article["title"]
        assert (
            " ".join(page.xpath("//span[@itemprop='description']")[0].text_content().split())
            == article["summary"]
        )
    assert (
        running.stop()
        == "tg2019_ru_fulltext.jsonl.gz: 1559 of 2229 rows served; left out: 670 without a summary\n"
    )


def test_stats_count_requests_by_path_and_leave_themselves_out(start):
    running = start("--articles", "5")
    path = running.facts("articles")[0]["path"]
    for _ in range(3):
        running.get(path, **{"User-Agent": "tester/1.0"})
    running.get("/nowhere")
    stats = running.facts("stats")
    assert stats["paths"] == {path: 3, "/nowhere": 1}
    assert stats["statuses"] == {"200": 3, "404": 1}
    assert stats["requests"] == 4
    assert stats["user_agents"]["tester/1.0"] == 3
    assert stats["most_at_once"] == 1
    assert stats["shortest_gap_ms"] > 0
    running.get("/_stand-in/reset")
    assert running.facts("stats")["requests"] == 0


def test_stats_tell_how_many_requests_ran_at_once(start):
    running = start("--articles", "5", "--delay", "300")
    visitors = [threading.Thread(target=running.get, args=("/",)) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert running.facts("stats")["most_at_once"] > 1


def test_errors_for_answers_500_but_for_robots_and_then_recovers(start):
    running = start("--articles", "5", "--errors-for", "0.5")
    assert running.get("/robots.txt").status == 200
    assert running.get("/").status == 500
    assert running.get(running.facts("articles")[0]["path"]).status == 500
    time.sleep(0.6)
    assert running.get("/").status == 200


def test_errors_begin_after_so_many_requests(start):
    running = start("--articles", "5", "--errors-for", "60", "--errors-after", "2")
    assert [running.get("/").status for _ in range(4)] == [200, 200, 500, 500]


def test_connection_stays_open_between_requests(site):
    connection = http.client.HTTPConnection(site.host, timeout=10)
    for path, status in (("/", 200), ("/nowhere", 404), ("/sitemap.xml", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert answer.version == 11
        assert not answer.will_close
    connection.close()


def test_head_tells_the_length_without_the_body(site):
    connection = http.client.HTTPConnection(site.host, timeout=10)
    connection.request("HEAD", "/robots.txt")
    answer = connection.getresponse()
    assert int(answer.headers["Content-Length"]) == len(site.get("/robots.txt").body)
    assert answer.read() == b""
    connection.close()


@pytest.mark.parametrize("path", ["/..%2f..%2fetc/passwd", "/%00", "/%d0%ff", "//", "/?"])
def test_odd_addresses_are_answered(site, path):
    assert site.get(path).status in (200, 404)


def test_opt_outs_show_where_each_kind_says_so(start):
    assert re.search(
        r"(?m)^User-agent: GPTBot$[\s\S]*^Disallow: /$",
        start("--articles", "5", "--opt-out", "robots").get("/robots.txt").text,
    )
    assert (
        start("--articles", "5", "--opt-out", "header").get("/").headers["X-Robots-Tag"] == "noai, noimageai"
    )
    by_meta = start("--articles", "5", "--opt-out", "meta")
    page = html.fromstring(by_meta.get(by_meta.facts("articles")[0]["path"]).text)
    assert "noai" in page.xpath("//meta[@name='robots']/@content")[0]
    declared = start("--articles", "5", "--opt-out", "tdmrep").get("/.well-known/tdmrep.json")
    assert json.loads(declared.body) == [{"location": "/", "tdm-reservation": 1}]


def test_by_default_nothing_opts_out(site):
    assert "GPTBot" not in site.get("/robots.txt").text
    assert site.get("/").headers["X-Robots-Tag"] is None
    assert b"noai" not in site.get(site.facts("articles")[0]["path"]).body
    assert site.get("/.well-known/tdmrep.json").status == 404


def test_many_articles_repeat_with_a_number_in_title_summary_and_text(start):
    articles = start("--articles", "5020", "--no-awkward").facts("articles")
    assert len({article["path"] for article in articles}) == 5020
    first, again = articles[3], articles[5003]
    assert again["title"] == f"{first['title']} (1)"
    assert again["summary"] != first["summary"]
    assert again["date"] != first["date"]
    assert all(paragraph.endswith("Повтор 1.") for paragraph in again["text"].split("\n"))


def test_second_outlet_has_its_own_addresses_markup_sitemap_and_archive(start):
    running = start("--articles", "45", "--outlet", "second")
    articles = running.facts("articles")
    assert running.facts("awkward") == []
    assert f"Sitemap: {running.url}/sitemap.xml" in running.get("/robots.txt").text
    tree = etree.fromstring(running.get("/sitemap.xml").body)
    listed = [text.removeprefix(running.url) for text in tree.xpath("//*[local-name()='loc']/text()")]
    assert sorted(listed) == sorted(article["path"] for article in articles)
    found, following = [], "/arhiv/"
    while following:
        page = html.fromstring(running.get(following).text)
        found += page.xpath("//a[@class='card__link']/@href")
        following = next(iter(page.xpath("//a[@rel='next']/@href")), None)
    assert sorted(found) == sorted(listed)
    for article in articles:
        page = html.fromstring(running.get(article["path"]).text)

        def words(path: str, page=page) -> list[str]:
            return [" ".join(found.text_content().split()) for found in page.xpath(path)]

        assert words("//h1[@class='story__title']") == [article["title"]]
        assert words("//p[@class='story__standfirst']") == [article["summary"]]
        assert "\n".join(words("//div[@class='story__text']/p")) == article["text"]
        assert page.xpath("//time/@datetime")[0][:19].replace("T", " ") == article["date"]
