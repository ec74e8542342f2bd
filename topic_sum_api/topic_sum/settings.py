"""Every setting of the API. All come from the environment; README.md lists them.

There is no database, no session and no admin: a process holds a model and answers with it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env_str(name: str, default: str = "") -> str:
    """An empty variable counts as unset: compose files pass empty ones."""
    return os.environ.get(name, "").strip() or default


def env_int(name: str, default: int, least: int = 0, most: int = 10**9) -> int:
    raw = env_str(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number; see .env.example") from None
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name}={raw} must be between {least} and {most}")
    return value


def env_bool(name: str, default: bool = False) -> bool:
    raw = env_str(name, "1" if default else "0").lower()
    if raw in ("1", "true", "yes", "on"):
        return True
    if raw in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name}={raw!r} is neither 1 nor 0")


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    raw = env_str(name, default)
    if raw not in choices:
        raise ImproperlyConfigured(f"{name}={raw!r} is none of {', '.join(choices)}")
    return raw


def env_url(name: str, schemes: tuple[str, ...]) -> str | None:
    raw = env_str(name).rstrip("/")
    if not raw:
        return None
    try:
        parts = urlsplit(raw)
        known = parts.scheme in schemes and parts.port != 0
        whole = parts.path and not parts.netloc if parts.scheme == "unix" else parts.hostname
    except ValueError:  # a port that is no number: perhaps a password with a slash in it
        known = whole = False
    if not known or not whole:
        # What is before an @ or after a ? may be a password.
        shown = ("***@" if "@" in raw else "") + raw.rpartition("@")[2].partition("?")[0]
        raise ImproperlyConfigured(f"{name}={shown!r} is not an address of the form {schemes[0]}://host")
    return raw


def env_keys(name: str) -> list[str]:
    keys = env_list(name)
    for key in keys:
        if key.startswith("sha256:") and not re.fullmatch(r"sha256:[0-9a-f]{64}", key):
            raise ImproperlyConfigured(
                f"{name} holds sha256: without 64 hexadecimal digits after it; "
                "make a key and its hash: python manage.py api_key"
            )
    return keys


def env_origins(name: str) -> list[str]:
    """Origins as browsers send them: scheme://host[:port], nothing after it."""
    origins = env_list(name)
    for origin in origins:
        parts = urlsplit(origin)
        if (
            parts.scheme not in ("http", "https")
            or origin != f"{parts.scheme}://{parts.netloc}"
            or "*" in origin
        ):
            raise ImproperlyConfigured(f"{name} holds {origin!r}, which is not like https://news.example.org")
    return origins


def env_rate(name: str, default: str = "") -> tuple[int, int] | None:
    """«60/minute» as (60, 60): requests and seconds. None if unset or «off»."""
    raw = env_str(name, default)
    if raw in ("", "off"):
        return None
    number, _, unit = raw.partition("/")
    seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}.get(unit)
    if seconds is None or not number.isdecimal() or int(number) == 0:
        raise ImproperlyConfigured(
            f"{name}={raw!r} is not like 60/minute (second, minute, hour, day), nor off"
        )
    return int(number), seconds


def env_token() -> str | None:
    """HF_TOKEN, or the content of the file HF_TOKEN_PATH (a mounted secret)."""
    path = env_str("HF_TOKEN_PATH")
    if (token := env_str("HF_TOKEN")) or not path:
        return token or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        raise ImproperlyConfigured(f"HF_TOKEN_PATH={path!r} is not a file that can be read") from None


# The model

MODEL_REPO = env_str("MODEL_REPO")
if not MODEL_REPO:
    raise ImproperlyConfigured("MODEL_REPO is not set: put MODEL_REPO=user/name into .env (see .env.example)")
if MODEL_REPO.count("/") != 1 or not all(MODEL_REPO.split("/")):
    raise ImproperlyConfigured(f"MODEL_REPO={MODEL_REPO!r} is not of the form user/name")
MODEL_REVISION = env_str("MODEL_REVISION", "production")
HF_ENDPOINT = env_url("HF_ENDPOINT", ("https", "http"))
HF_TOKEN = env_token()
# The Hub's client reads these when it is imported, which happens later. Only the public Hub has Xet.
if HF_ENDPOINT is None:
    os.environ.pop("HF_ENDPOINT", None)
elif urlsplit(HF_ENDPOINT).hostname not in ("huggingface.co", "hf.co"):
    os.environ["HF_HUB_DISABLE_XET"] = "1"
ARTIFACTS_DIR = Path(env_str("ARTIFACTS_DIR") or BASE_DIR.parent / "artifacts").expanduser().absolute()
MODELS_DIR = ARTIFACTS_DIR / "api"
RESULTS_DIR = ARTIFACTS_DIR / "results"
# What the cycle is about. The API serves any model; it only reports one that another recipe made.
RECIPE = env_str("RECIPE", "gazeta")
RECIPES_DIR = Path(env_str("RECIPES_DIR") or BASE_DIR.parent / "recipes").expanduser().absolute()


def check_folder() -> None:
    """Raises ImproperlyConfigured if models can never be stored in MODELS_DIR.

    A full disk is not a wrong setting: the API reports it and tries again until there is room.
    """
    try:
        MODELS_DIR.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        reason = error.strerror
    else:
        if os.access(MODELS_DIR, os.W_OK):
            return
        reason = "Permission denied"
    raise ImproperlyConfigured(
        f"cannot write in {MODELS_DIR} ({reason}): set ARTIFACTS_DIR to a folder of yours"
    )


# Seconds between two checks of the Hub for a new MODEL_REVISION. 0 would check without a pause.
MODEL_CHECK_SECONDS = env_int("MODEL_CHECK_SECONDS", 300, least=1)

# The server

HOST = env_str("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000, least=1, most=65535)
# gunicorn needs fork, which Windows does not have.
SERVER = env_choice("SERVER", "waitress" if os.name == "nt" else "gunicorn", ("gunicorn", "waitress"))
# One process holds one model and uses all cores: more processes need its memory again and gain nothing on one
# machine (measured, see docs/decisions/0007-api.md).
WEB_CONCURRENCY = env_int("WEB_CONCURRENCY", 1, least=1, most=64)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
TRANSLATORS = env_int("TRANSLATORS", max(1, CORES // WEB_CONCURRENCY), least=1, most=256)
QUEUE_SIZE = env_int("QUEUE_SIZE", 4 * TRANSLATORS, most=10_000)
# The most texts of similar length that a translator takes together if several wait; 1 turns batches off.
MAX_BATCH_SIZE = env_int("MAX_BATCH_SIZE", 4, least=1, most=64)
REQUEST_SECONDS = env_int("REQUEST_SECONDS", 60, least=1, most=3600)
# Seconds that a client may take to send a request.
RECEIVE_SECONDS = env_int("RECEIVE_SECONDS", 20, least=1, most=600)
# Seconds that a connection without a request stays open. Behind a balancer more than its own time, else it
# sends requests to connections that close at that moment.
KEEPALIVE_SECONDS = env_int("KEEPALIVE_SECONDS", 15, least=1, most=3600)
# The status of "busy". Balancers take a server out that answers with 5xx; 429 only tells the client to wait.
BUSY_STATUS = int(env_choice("BUSY_STATUS", "503", ("503", "429")))
CACHE_SIZE = env_int("CACHE_SIZE", 1000)

# What one request may contain

MAX_TEXT_CHARS = env_int("MAX_TEXT_CHARS", 100_000, least=100)
MAX_TEXTS = env_int("MAX_TEXTS", 16, least=1, most=1000)
MAX_TOTAL_CHARS = env_int("MAX_TOTAL_CHARS", 2 * MAX_TEXT_CHARS, least=100)
MAX_TITLE_CHARS = 500
MAX_WINDOWS = env_int("MAX_WINDOWS", 16, least=1, most=1000)
# A character has at most 12 bytes in JSON (a pair of \\u escapes); the rest is for the options.
MAX_BODY_BYTES = env_int("MAX_BODY_BYTES", 12 * MAX_TOTAL_CHARS + 10_000, least=1000)
# Bytes of all requests that are not answered yet: bodies that arrive slowly or wait for a thread. Beyond it
# those that are not whole are given up, of the address that holds most.
MAX_UNREAD_BYTES = env_int("MAX_UNREAD_BYTES", max(50_000_000, 4 * MAX_BODY_BYTES), least=MAX_BODY_BYTES)

# Who may use the API

# Keys, or their hashes as «sha256:<hex>»; `python manage.py api_key` makes one. Empty: no key is needed.
API_KEYS = env_keys("API_KEYS")
RATE_LIMIT = env_rate("RATE_LIMIT")
REDIS_URL = env_url("REDIS_URL", ("redis", "rediss", "unix"))
# How many trusted proxies are in front: as many last entries of X-Forwarded-For are trusted.
NUM_PROXIES = env_int("NUM_PROXIES", 0, most=10)
CORS_ORIGINS = env_origins("CORS_ORIGINS")

# Logs

LOG_FORMAT = env_choice("LOG_FORMAT", "text", ("text", "json"))
LOG_LEVEL = env_choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
# Texts of users are never logged unless this is set, to look for a fault.
LOG_TEXTS = env_bool("LOG_TEXTS")

# Django

DEBUG = False
# Nothing is signed here (no sessions, no cookies, no password resets), so a random key is enough.
SECRET_KEY = env_str("SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
if HOST not in ("127.0.0.1", "0.0.0.0", "::", "::1", "localhost") and HOST not in ALLOWED_HOSTS:  # noqa: S104
    ALLOWED_HOSTS.append(HOST)
ROOT_URLCONF = "topic_sum.urls"
WSGI_APPLICATION = "topic_sum.wsgi.application"
APPEND_SLASH = False
DATABASES: dict = {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # Swagger UI's own files: the docs work without a CDN
    "topic_sum.api",
    "topic_sum.web",
]
MIDDLEWARE = [
    "topic_sum.api.middleware.RequestLog",
    # Outermost, so that refusals have their headers, too: else a page of another origin could not read them.
    "topic_sum.api.middleware.ContentSecurityPolicy",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "topic_sum.api.middleware.Cors",
    "topic_sum.api.middleware.Gate",
    "topic_sum.api.middleware.OneShape",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": []},
    }
]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
# Without `collectstatic` (in a checkout) the files are served from the packages.
WHITENOISE_USE_FINDERS = not STATIC_ROOT.is_dir()
warnings.filterwarnings("ignore", message="No directory at")  # WhiteNoise warns about that
LANGUAGE_CODE = "en"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# Behind a proxy that ends TLS, set HTTPS=1: redirects, HSTS, and the proxy's X-Forwarded-Proto is trusted.
# The two HSTS settings bind every host below this one for a year, or this domain in browsers' own lists.
HTTPS = env_bool("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [
    r"^(api/v1/)?health/",
    r"^api/v1/metrics$",
]  # probes use plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("HSTS_INCLUDE_SUBDOMAINS")
SECURE_HSTS_PRELOAD = env_bool("HSTS_PRELOAD")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # Without cookies and sessions another page cannot forge a request.
    "security.W003",
    # HSTS for all subdomains and in browsers' lists is a decision about a domain, not about this server.
    "security.W005",
    "security.W021",
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["topic_sum.api.access.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["topic_sum.api.access.KeyHolder"],
    "DEFAULT_THROTTLE_CLASSES": ["topic_sum.api.throttles.RateLimit"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["topic_sum.api.parsers.StrictJSONParser"],
    "EXCEPTION_HANDLER": "topic_sum.api.exceptions.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "UNICODE_JSON": True,
    "URL_FORMAT_OVERRIDE": None,  # ?format= is ignored
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Topics and summaries of Russian news",
    "DESCRIPTION": "The tasks of a model: by default the topic of a Russian news text and a short summary.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "topic_sum.api.schema.strict_requests",
        "topic_sum.api.schema.complete",
    ],
    # Else a NullEnum appears, with which generated clients do not compile.
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "topic_sum.api.logs.TextFormatter"},
        "json": {"()": "topic_sum.api.logs.JsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "topic_sum": {"level": LOG_LEVEL},
        # Refused hosts and bad paths are counted, not logged: strangers could fill the disk.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.request": {"level": "CRITICAL"},  # our own handler logs with the request id
    },
}
