"""Every setting of stage 1, and the only place here that reads the environment.

Scrapy loads the upper-case names of this module as its settings; the rest of the code imports them from here.
The Hub token has no upper-case name on purpose: Scrapy prints its settings into the log.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit


class WrongSetting(SystemExit):
    """Ends the program with 2. Its line is printed already; `artifacts` and `recipe` are for results/."""

    def __init__(self, line: str):
        print(f"error: {line}", file=sys.stderr)
        super().__init__(2)
        self.line, self.artifacts, self.recipe = line, ARTIFACTS_DIR, RECIPE


def _wrong(name: str, raw: str, wanted: str) -> NoReturn:
    raise WrongSetting(f"{name}={raw!r} is not {wanted}; see .env.example")


def env_text(name: str, default: str = "") -> str:
    """An empty value counts as absent: compose files pass unset variables on as empty ones."""
    return os.environ.get(name, "").strip() or default


def env_number(name: str, default: float, low: float = 0) -> float:
    raw = env_text(name, str(default))
    try:
        value = float(raw)
    except ValueError:
        _wrong(name, raw, "a number")
    if not low <= value < 1e9:
        _wrong(name, raw, f"a number from {low:g} up")
    return value


def env_flag(name: str, default: bool) -> bool:
    raw = env_text(name, "1" if default else "0").lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    _wrong(name, raw, "1 or 0")


def env_site(name: str, default: str) -> str:
    raw = env_text(name, default).rstrip("/")
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
        _wrong(name, raw, "an address like https://www.gazeta.ru")
    return raw


# What it is about, and where its files are. First, as the settings below may be wrong.

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS_DIR = Path(env_text("ARTIFACTS_DIR", str(ROOT / "artifacts")))
RECIPE = env_text("RECIPE", "gazeta")  # a name in RECIPES_DIR, or the path of a .yaml file
RECIPES_DIR = Path(env_text("RECIPES_DIR", str(ROOT / "recipes")))
SOURCE_FILE = env_text("SOURCE_FILE")  # a file or URL that takes the place of the recipe's sources
CRAWL_DIR = ARTIFACTS_DIR / "crawl"
STORE_PATH = CRAWL_DIR / "crawl.sqlite3"

# The Hub

DATASET_REPO = env_text("DATASET_REPO")
HF_ENDPOINT = env_text("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
if HF_ENDPOINT != "https://huggingface.co":
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # only the real Hub has Xet storage
    # Read by huggingface_hub at import, so before anything here imports it.
    os.environ["HF_ENDPOINT"] = HF_ENDPOINT
else:
    os.environ.pop("HF_ENDPOINT", None)  # an empty value, as compose passes it, would break the client
if not os.environ.get("HF_TOKEN", "").strip():
    os.environ.pop("HF_TOKEN", None)


def hub_token() -> str:
    """The token of the environment, or of the file HF_TOKEN_PATH (a mounted secret); "" without one."""
    path = env_text("HF_TOKEN_PATH")
    if env_text("HF_TOKEN") or not path:
        return env_text("HF_TOKEN")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        _wrong("HF_TOKEN_PATH", path, "a file that can be read")


def wrong_folder(error: Exception) -> str:
    """The line to report if `error` means that ARTIFACTS_DIR cannot be used; "" for any other error."""
    folder = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
    file = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    why = ""
    if isinstance(error, OSError) and error.filename:
        where = Path(os.fsdecode(error.filename)).absolute()
        ours = ARTIFACTS_DIR.absolute()
        about = where.is_relative_to(ours) or ours.is_relative_to(where)
        # A missing file in an existing folder is a bug of ours.
        if about and error.errno in folder and not (error.errno == errno.ENOENT and ours.is_dir()):
            why = error.strerror or ""
    elif isinstance(error, sqlite3.OperationalError):
        why = str(error) if getattr(error, "sqlite_errorcode", 0) & 0xFF in file else ""
    return f"cannot write in {ARTIFACTS_DIR}: {why}; set ARTIFACTS_DIR to a folder of yours" if why else ""


# The site and our manners

GAZETA_URL = "https://www.gazeta.ru"
SITE_URL = env_site("SITE_URL", GAZETA_URL)
CRAWL_CONTACT = env_text("CRAWL_CONTACT")
CRAWL_DELAY = env_number("CRAWL_DELAY", 1.0)  # seconds between requests; 0 only for a site of your own
CRAWL_LIMIT = int(env_number("CRAWL_LIMIT", 0))  # articles per run without limit=; 0 for no limit
REREAD_HOURS = env_number("CRAWL_REREAD_HOURS", 48)  # articles this young are read again for edits
ACCEPT_AI_OPT_OUT = env_flag("ACCEPT_AI_OPT_OUT", False)
CRAWL_ALARM = env_flag("CRAWL_ALARM", True)  # 0: report a changed site, but publish all the same

BOT_NAME = "topic-sum-news"
USER_AGENT = (
    f"{BOT_NAME}/1.0 (research dataset; {f'contact: {CRAWL_CONTACT}' if CRAWL_CONTACT else 'no contact set'})"
)
ROBOTSTXT_OBEY = True
ROBOTSTXT_USER_AGENT = BOT_NAME
DOWNLOAD_DELAY = CRAWL_DELAY
AUTOTHROTTLE_ENABLED = CRAWL_DELAY > 0
AUTOTHROTTLE_START_DELAY = CRAWL_DELAY
AUTOTHROTTLE_MAX_DELAY = 60
CONCURRENT_REQUESTS = 1 if CRAWL_DELAY > 0 else 8  # one at a time: a pause stops all of them
CONCURRENT_REQUESTS_PER_DOMAIN = CONCURRENT_REQUESTS
DOWNLOAD_DELAY_JITTER = 0  # the delay is a promise, not an average
DOWNLOAD_TIMEOUT = 60
DOWNLOAD_MAXSIZE = 8_000_000  # bytes, unpacked; a real page has 0.4 MB
DOWNLOAD_WARNSIZE = 0
FIRST_PAUSE = 1.0  # seconds; doubles with every failure in a row
GIVE_UP_AFTER = env_number("CRAWL_GIVE_UP", 600)  # seconds without a good answer

# Scrapy's machinery

SPIDER_MODULES = ["gazeta.spiders"]
COMMANDS_MODULE = "gazeta.commands"
SCHEDULER = "gazeta.crawl.frontier.Frontier"
DOWNLOADER_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
    "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
    "scrapy.downloadermiddlewares.redirect.MetaRefreshMiddleware": None,
    "scrapy.downloadermiddlewares.redirect.RedirectMiddleware": None,
    "gazeta.crawl.politeness.PoliteRobots": 100,
    "gazeta.crawl.politeness.PoliteRedirects": 600,
    "gazeta.crawl.politeness.Patience": 610,
    "gazeta.crawl.politeness.WholeBodies": 620,  # before Scrapy unpacks them at 590
}
EXTENSIONS = {
    "scrapy.extensions.logstats.LogStats": None,
    "scrapy.extensions.telnet.TelnetConsole": None,
    "scrapy.extensions.remote_control.RemoteControl": None,
    "gazeta.crawl.report.Progress": 0,
}
TELNETCONSOLE_ENABLED = REMOTE_CONTROL_ENABLED = False  # no port is opened
HTTPERROR_ALLOW_ALL = True  # the spider decides what a status means
REDIRECT_MAX_TIMES = 5
COOKIES_ENABLED = False
CONCURRENT_ITEMS = 1  # callbacks give no items, but Scrapy starts this many tasks per response
LOG_LEVEL = "WARNING"
