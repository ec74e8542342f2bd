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
    r"|на правах рекламы"
    r"|следите за нашими новостями.{0,80}|прослушать новость|остановить прослушивание|комментарии"
    r"|ошибка в тексте\?.{0,100}|чтобы сообщить об ошибке.{0,100}"
    r"|фото(?:графия)?:.{0,100}|источник фото.{0,100}"
    r"|подпи(?:сывайтесь|шитесь|шись) на .{0,160}"
    r"|(?:читай|читайте|смотри|смотрите) (?:нас|также|ещ[её]) .{0,160}"
    r"|автор выражает личное мнение, которое может не совпадать с позицией редакции)[\s.:!…]*$",
    re.I,
)
# Only this heading closes an article; others like it occur in the middle of one and are dropped alone.
CLOSING_LINE = re.compile(r"^новости по теме\s*:", re.I)
LIVE_TITLE = re.compile(r"(?:^|[.:—–-] )онлайн-(?:трансляция|репортаж)\b|[.:] онлайн$", re.I)
NOT_FOUND_TITLE = re.compile(r"страница не найдена|ошибка 404|^404\b", re.I)
