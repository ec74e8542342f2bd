"""The words and class names by which Russian news pages mark what is not part of an article."""

from __future__ import annotations

import re

SILENT_CLASS = re.compile(
    r"(?:^|[\s_-])(?:incut|also|adv|advert|advertisement|banner|inread|subscribe|telegram|social|sharing|share"
    r"|likes|comments?|photo|gallery|i_gallery|caption|signplace|media|tags|author|authors|newsbox|related|promo"
    r"|player|vote|poll|quiz|audio|incuts|addinfo|online_time|adv_mark|hidden|tweet|twitter|instagram|tiktok"
    r"|embed)(?:$|[\s_-]|\d)",
    re.I,
)
SILENT_LINE = re.compile(
    r"^(?:реклама|(?:все )?(?:новости|материалы|статьи) (?:по|на) тем[еу]"
    r"|что думаешь\??|поделиться|читайте также|читать также|смотрите также|по теме|подробнее"
    r"|на правах рекламы|(?:партн[её]рский|рекламный|спонсорский) материал"
    r"|следите за нашими новостями.{0,80}|прослушать новость|остановить прослушивание|комментарии"
    r"|ошибка в тексте\?.{0,100}|чтобы сообщить об ошибке.{0,100}"
    r"|фото(?:графия)?:.{0,100}|источник фото.{0,100}"
    r"|подпи(?:сывайтесь|шитесь|шись) на .{0,160}"
    r"|(?:читай|читайте|смотри|смотрите) (?:нас|также|ещ[её]) .{0,160}"
    r"|реклама[.:\s].{0,200}\berid\b.{0,80}|erid\s*[:=].{0,80}"
    r"|(?:©|\(c\)) ?.{3,80}"
    r"|[^.!?]{3,60}/\s*(?:риа новости|тасс|reuters|ap|afp|epa|getty images|коммерсантъ|газета\.ru"
    r"|shutterstock|global look press|sputnik|агентство «москва»)(?:\s*/.{0,40})?"
    r"|(?:ознакомиться с|(?:другие|больше) (?:\w+ )?новост|следите за|присоединяйтесь)"
    r".{0,250}\b(?:социальных сет|соцсет|telegram|вконтакте|facebook|instagram).{0,80}"
    r"|посмотреть эту публикацию в .{3,20}|публикация от .{3,80}|новости smi2\.ru"
    r"|«газета\.ru» вед[её]т .{0,40}трансляцию"
    r"|автор выражает личное мнение, которое может не совпадать с позицией редакции)[\s.:!…]*$",
    re.I,
)
# Only this heading closes an article; others like it occur in the middle of one and are dropped alone.
CLOSING_LINE = re.compile(r"^новости по теме\s*:", re.I)
# In the head of an article: the whole page is advertising.
ADVERTISING_MARK = re.compile(
    r"(?:на правах рекламы|(?:партн[её]рский|рекламный|спонсорский) материал|материал партн[её]ра)[\s.:]*$",
    re.I,
)
_CLOCK_LINE = re.compile(r"\d{1,2}[:.]\d\d\b|['’´]\d{1,3}(?:\+\d{1,2})?\b|\d{1,3}(?:\+\d{1,2})?['’´]")
LIVE_TITLE = re.compile(
    r"[.:|] live\W*$|(?:^|[.:—–-] )день \d{1,4}-й\W*$|^день \d{1,4}-й[.:]"
    r"|(?:^|[.:—–-] )онлайн-(?:трансляция|репортаж)\b|[.:] онлайн$",
    re.I,
)
NOT_FOUND_TITLE = re.compile(r"страница не найдена|ошибка 404|^404\b", re.I)


def is_live(text: str) -> bool:
    """Whether most paragraphs begin with the time of day or the minute of a match."""
    lines = text.split("\n")
    return len(lines) >= 6 and sum(bool(_CLOCK_LINE.match(line)) for line in lines) * 2 >= len(lines)
