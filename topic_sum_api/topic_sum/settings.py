"""Every setting of the API, from the environment and from nowhere else. README.md lists them.

There is no database, no session and no admin here: a process holds a model and answers with it.
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
    """An unset and an empty variable mean the same: compose files pass empty ones on."""
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
    parts = urlsplit(raw)
    if parts.scheme not in schemes or not (
        parts.path and not parts.netloc if parts.scheme == "unix" else parts.netloc
    ):
        raise ImproperlyConfigured(f"{name}={raw!r} is no address of the form {schemes[0]}://host")
    return raw


def env_keys(name: str) -> list[str]:
    keys = env_list(name)
    for key in keys:
        if key.startswith("sha256:") and not re.fullmatch(r"sha256:[0-9a-f]{64}", key):
            raise ImproperlyConfigured(
                f"{name} holds sha256: followed by something else than 64 hexadecimal digits; "
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
    """«60/minute» as (60, 60): requests and seconds. None when unset or «off»."""
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
    """HF_TOKEN, or what the file HF_TOKEN_PATH holds (a mounted secret)."""
    path = env_str("HF_TOKEN_PATH")
    if (token := env_str("HF_TOKEN")) or not path:
        return token or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        raise ImproperlyConfigured(f"HF_TOKEN_PATH={path!r} is no file that can be read") from None


# The model

MODEL_REPO = env_str("MODEL_REPO")
if not MODEL_REPO:
    raise ImproperlyConfigured("MODEL_REPO is not set: put MODEL_REPO=user/name into .env (see .env.example)")
if MODEL_REPO.count("/") != 1 or not all(MODEL_REPO.split("/")):
    raise ImproperlyConfigured(f"MODEL_REPO={MODEL_REPO!r} is not of the form user/name")
MODEL_REVISION = env_str("MODEL_REVISION", "production")
HF_ENDPOINT = env_url("HF_ENDPOINT", ("https", "http"))
HF_TOKEN = env_token()
# The Hub's client reads these when it is imported, which is after this. Only the public Hub has Xet.
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
    """Raises ImproperlyConfigured where models can never be kept: a model could not be fetched, ever.

    A full disk is no wrong setting: it is met, told and met again until there is room.
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


# Seconds between two questions to the Hub whether MODEL_REVISION moved. 0 would ask without a pause.
MODEL_CHECK_SECONDS = env_int("MODEL_CHECK_SECONDS", 300, least=1)

# The server

HOST = env_str("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000, least=1, most=65535)
# gunicorn needs fork, which Windows does not have.
SERVER = env_choice("SERVER", "waitress" if os.name == "nt" else "gunicorn", ("gunicorn", "waitress"))
# One process holds one model and feeds all cores: more processes cost their memory again and gain nothing on
# one machine (measured, see docs/decisions/0007-api.md).
WEB_CONCURRENCY = env_int("WEB_CONCURRENCY", 1, least=1, most=64)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
TRANSLATORS = env_int("TRANSLATORS", max(1, CORES // WEB_CONCURRENCY), least=1, most=256)
QUEUE_SIZE = env_int("QUEUE_SIZE", 4 * TRANSLATORS, most=10_000)
# Texts of about one length that a translator takes at once when there is a line; 1 is each by itself.
MAX_BATCH_SIZE = env_int("MAX_BATCH_SIZE", 4, least=1, most=64)
REQUEST_SECONDS = env_int("REQUEST_SECONDS", 60, least=1, most=3600)
# How long a client may take to send a request.
RECEIVE_SECONDS = env_int("RECEIVE_SECONDS", 20, least=1, most=600)
CACHE_SIZE = env_int("CACHE_SIZE", 1000)

# What one request may bring

MAX_TEXT_CHARS = env_int("MAX_TEXT_CHARS", 100_000, least=100)
MAX_TEXTS = env_int("MAX_TEXTS", 16, least=1, most=1000)
MAX_TOTAL_CHARS = env_int("MAX_TOTAL_CHARS", 2 * MAX_TEXT_CHARS, least=100)
MAX_TITLE_CHARS = 500
MAX_WINDOWS = env_int("MAX_WINDOWS", 16, least=1, most=1000)
# A character is at most 12 bytes of JSON (a pair of \\u escapes); the rest is for the options.
MAX_BODY_BYTES = env_int("MAX_BODY_BYTES", 12 * MAX_TOTAL_CHARS + 10_000, least=1000)

# Who may ask

# Keys, or their hashes as «sha256:<hex>»; `python manage.py api_key` makes one. Empty: everybody may ask.
API_KEYS = env_keys("API_KEYS")
RATE_LIMIT = env_rate("RATE_LIMIT")
REDIS_URL = env_url("REDIS_URL", ("redis", "rediss", "unix"))
# How many proxies of ours stand in front: so many last entries of X-Forwarded-For are believed.
NUM_PROXIES = env_int("NUM_PROXIES", 0, most=10)
CORS_ORIGINS = env_origins("CORS_ORIGINS")

# Logs

LOG_FORMAT = env_choice("LOG_FORMAT", "text", ("text", "json"))
LOG_LEVEL = env_choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
# Texts of users never reach the log unless somebody asks for it here, to look for a fault.
LOG_TEXTS = env_bool("LOG_TEXTS")

# Django

DEBUG = False
# Nothing is signed here (no sessions, no cookies, no password resets): a key of this process will do.
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
    # What these add is on refusals, too: a page of another origin could not read why it was refused.
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
# Without `collectstatic` (run from a checkout) the files are served from where they lie in the packages.
WHITENOISE_USE_FINDERS = not STATIC_ROOT.is_dir()
warnings.filterwarnings("ignore", message="No directory at")  # WhiteNoise's word for just that
LANGUAGE_CODE = "en"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# Behind a proxy that ends TLS, set HTTPS=1: redirects, HSTS, and the proxy's word on the scheme.
HTTPS = env_bool("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [
    r"^(api/v1/)?health/",
    r"^api/v1/metrics$",
]  # probes come from inside, over plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # There are no cookies and no sessions, so there is no request a foreign page could forge with them.
    "security.W003",
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
    "URL_FORMAT_OVERRIDE": None,  # ?format= means nothing here
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Topics and summaries of Russian news",
    "DESCRIPTION": "Which topic a Russian news text is about, and a short summary of it.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "topic_sum.api.schema.strict_requests",
    ],
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
        # Refused hosts and bad paths are counted and answered; a line each would let strangers fill the disk.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.request": {"level": "CRITICAL"},  # our own handler logs with the request id
    },
}
