"""Every error that a client can see: its code, its status and its message in each language."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Message:
    status: int
    ru: str
    en: str


LANGUAGES = {field.name for field in fields(Message)} - {"status"}

MESSAGES = {
    # The body
    "bad_json": Message(
        400, "Тело запроса — не JSON (строка {line}, столбец {column}).",
        "The body is not JSON (line {line}, column {column}).",
    ),
    "not_utf8": Message(
        400, "Тело запроса — не UTF-8 (байт {byte}).", "The body is not UTF-8 (byte {byte})."
    ),
    "json_too_deep": Message(400, "JSON вложен слишком глубоко.", "The JSON is nested too deeply."),
    "bad_number": Message(
        400, "В теле запроса есть число, которого не бывает в JSON или которое слишком длинно.",
        "The body has a number that JSON does not know or that is too long.",
    ),
    "not_an_object": Message(400, "Тело должно быть объектом JSON.", "The body must be a JSON object."),
    "required": Message(400, "Поле обязательно.", "This field is required."),
    "empty": Message(400, "Поле пусто.", "This field is empty."),
    "wrong_type": Message(400, "Ожидается {expected}.", "Expected {expected}."),
    "out_of_range": Message(
        400, "Допустимы значения от {least} до {most}.", "It must be between {least} and {most}."
    ),
    "unknown_field": Message(400, "Такого поля нет.", "There is no such field."),
    "text_or_texts": Message(
        400, "Передайте либо text, либо texts, но не оба.", "Send either text or texts, not both."
    ),
    "fields_or_items": Message(
        400, "Передайте либо поля одного запроса, либо items, но не оба.",
        "Send either the fields of one request or items, not both.",
    ),
    "titles_do_not_match": Message(
        400, "Заголовков должно быть столько же, сколько текстов.", "There must be as many titles as texts."
    ),
    "bad_characters": Message(
        400, "Текст содержит недопустимые символы.", "The text contains characters that are not allowed."
    ),
    "no_words": Message(422, "В тексте нет ни одного слова.", "The text has no words in it."),
    "too_long": Message(413, "Слишком длинно: до {most} знаков.", "Too long: at most {most} characters."),
    "too_many": Message(413, "Слишком много: не более {most}.", "Too many: at most {most}."),
    "body_too_large": Message(
        413, "Тело запроса больше {most} байт.", "The body is larger than {most} bytes."
    ),
    "body_not_received": Message(
        408, "Тело запроса не пришло целиком вовремя.", "The body did not arrive whole and in time."
    ),
    "length_required": Message(
        411, "Нужен заголовок Content-Length.", "A Content-Length header is needed."
    ),
    "bad_host": Message(
        400,
        "Под этим именем сервер не отвечает (настройка ALLOWED_HOSTS).",
        "The server does not answer to this host name (setting ALLOWED_HOSTS).",
    ),
    "https_required": Message(
        308, "Сервер отвечает только по https: повторите запрос по адресу из Location.",
        "This server answers over https only: repeat the request at the address in Location.",
    ),
    "bad_request": Message(400, "Неверный запрос.", "Bad request."),
    "expectation_failed": Message(
        417, "Из Expect годится только 100-continue.", "Of Expect only 100-continue is known."
    ),
    "address_too_long": Message(414, "Адрес слишком длинный.", "The address is too long."),
    "headers_too_large": Message(431, "Заголовки слишком велики.", "The headers are too large."),
    # The address and the headers
    "not_found": Message(404, "Такого адреса нет.", "There is nothing at this address."),
    "task_not_served": Message(
        404, "У этой модели нет задачи {task}. Есть: {tasks}.",
        "This model has no task {task}. It has: {tasks}.",
    ),
    "method_not_allowed": Message(405, "Метод {method} не годится.", "Method {method} is not allowed here."),
    "not_acceptable": Message(406, "Ответ бывает только в JSON.", "Answers are JSON only."),
    "bad_range": Message(416, "Такой части (Range) в файле нет.", "The file has no such part (Range)."),
    "unsupported_media_type": Message(
        415, "Нужен Content-Type: application/json в UTF-8, без сжатия.",
        "Content-Type must be application/json in UTF-8, not compressed.",
    ),
    "no_key": Message(
        401, "Нужен ключ: Authorization: Bearer КЛЮЧ.", "A key is needed: Authorization: Bearer KEY."
    ),
    "wrong_key": Message(401, "Ключ не подходит.", "The key is not valid."),
    "forbidden": Message(403, "Доступ запрещён.", "Forbidden."),
    "rate_limited": Message(
        429, "Слишком много запросов. Повторите через {wait} с.", "Too many requests. Try again in {wait} s."
    ),
    # The server
    "not_ready": Message(
        503, "Модель ещё не загружена. Повторите позже.", "The model is not loaded yet. Try again later."
    ),
    "busy": Message(
        503, "Сервер занят. Повторите через {wait} с.", "The server is busy. Try again in {wait} s."
    ),
    "time_limit": Message(
        503, "Ответ не успел за {limit} с. Повторите позже или сократите текст.",
        "No answer within {limit} s. Try again later or send less text.",
    ),
    # docs/scale/nginx.conf answers this if no copy of the API does.
    "unavailable": Message(
        503, "Сервер сейчас не отвечает. Повторите через {wait} с.",
        "The server does not answer now. Try again in {wait} s.",
    ),
    "client_gone": Message(499, "Клиент закрыл соединение.", "The client closed its connection."),
    "server_error": Message(
        500, "Внутренняя ошибка. Номер запроса: {request_id}.", "Internal error. Request id: {request_id}."
    ),
}  # fmt: skip

EXPECTED = {
    "string": {"ru": "строка", "en": "a string"},
    "integer": {"ru": "целое число", "en": "a whole number"},
    "boolean": {"ru": "true или false", "en": "true or false"},
    "list": {"ru": "список строк", "en": "a list of strings"},
    "object": {"ru": "объект", "en": "an object"},
    "objects": {"ru": "список объектов", "en": "a list of objects"},
}


def language(accept_language: str) -> str:
    """The language that the header prefers among LANGUAGES; "en" if it names none."""
    best, best_weight = "en", 0.0
    for part in accept_language.split(",")[:20]:
        tag, _, parameters = part.strip().partition(";")
        tag = tag.split("-")[0].strip().lower()
        weight = 1.0
        if parameters.strip().startswith("q="):
            try:
                weight = float(parameters.strip()[2:])
            except ValueError:
                continue
        if tag in LANGUAGES and weight > best_weight:
            best, best_weight = tag, weight
    return best


def words(code: str, lang: str, **values: object) -> str:
    """The message of `code` in `lang` with its values."""
    if "expected" in values:
        values["expected"] = EXPECTED[str(values["expected"])][lang]
    return getattr(MESSAGES[code], lang).format(**values)
