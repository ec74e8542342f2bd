"""The checks of doctor.py that ask others: ports, Docker, the Hub, the site."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mlops.checks import SECONDS, Check, failed, ok, warning
from mlops.settings import ROOT

PUBLIC_HUB = "https://huggingface.co"
COMPOSE = (2, 13)  # the first with `docker compose run --build`


def check_port(port: int, owner: str, fix: str) -> Check:
    with socket.socket() as probe:
        # As servers do it: a connection that just ended does not hold the port.
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return failed(f"port {port}", f"the {owner} cannot have it: {error.strerror}", fix, 5)
    return ok(f"port {port}", f"free for the {owner}")


def compose_holds(port: int) -> bool:
    """Whether it is our API's container that has this port: Compose replaces that, and no other program."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "compose", "-f", "docker-compose.api.yml", "port", "api", "8000"]
    asked = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    )
    return answer_of(asked, time.monotonic() + SECONDS).endswith(f":{port}")


def check_docker() -> Iterator[Check]:
    """The engine and Compose, asked at the same time: one that hangs must not use up the other's time."""
    fix = "install Docker Desktop (or Docker Engine with Compose), or add --no-docker"
    if not shutil.which("docker"):
        yield failed("Docker", "is not installed", fix, 5)
        return
    start = "start Docker Desktop (or the docker service) and wait until it runs, or add --no-docker"
    commands = (
        ["docker", "info", "--format", "{{.ServerVersion}}"],
        ["docker", "compose", "version", "--short"],
    )
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
        for command in commands
    ]
    deadline = time.monotonic() + SECONDS
    engine, compose = (answer_of(child, deadline) for child in running)
    if not engine:
        yield failed("Docker", "is installed but does not answer", start, 5)
    else:
        yield ok("Docker", engine)
    numbers = tuple(int(number) for number in re.findall(r"\d+", compose)[:2])
    if not compose:
        yield failed("Compose", "is missing", fix, 5)
    elif numbers < COMPOSE:
        wanted = ".".join(map(str, COMPOSE))
        yield failed("Compose", f"{compose} is too old, {wanted} is wanted", f"update Docker; or {fix}", 5)
    else:
        yield ok("Compose", compose)


def answer_of(child: subprocess.Popen[str], deadline: float) -> str:
    """What a program printed, "" where it failed or took too long."""
    try:
        words, _ = child.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return ""
    return words.strip() if child.returncode == 0 else ""


def get(url: str, token: str = "") -> tuple[int, bytes, str]:
    """Status, body (at most 64 kB) and Date header of `url`; raises OSError when nothing answers."""
    request = urllib.request.Request(url, headers={"User-Agent": "gazeta-mlops-doctor"})  # noqa: S310
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read(65536), answer.headers.get("Date", "")
    except urllib.error.HTTPError as error:
        return error.code, error.read(65536), error.headers.get("Date", "")
    except http.client.HTTPException as error:
        raise OSError(f"what answers there is no web server: {error!r}") from None


def clock_skew(date: str) -> float:
    """Seconds between an answer's Date header and our clock; 0 without a usable header."""
    with contextlib.suppress(ValueError):
        return abs(time.time() - email.utils.parsedate_to_datetime(date).timestamp())
    return 0


def check_hub(needs_token: bool) -> Iterator[Check]:
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or PUBLIC_HUB
    token = os.environ.get("HF_TOKEN", "").strip()
    try:
        status, body, date = get(f"{endpoint}/api/whoami-v2", token)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        words = f"{endpoint} does not answer ({reason})"
        fix = "check the network, a proxy, or HF_ENDPOINT; then run again"
        if needs_token:
            yield failed("Hub", words, fix, 5)
        else:
            yield warning("Hub", words, fix + ". The API can still start from its local copy")
        return
    yield ok("Hub", endpoint)
    if (skew := clock_skew(date)) > 300:
        yield warning("clock", f"differs from the Hub's by {skew:.0f} s", "set the computer's clock")
    if not needs_token or not token:
        return
    if status == 401:
        fix = (
            "make a new one with the right Write (huggingface.co, Settings, Access Tokens), put it into .env"
        )
        yield failed("token", "the Hub does not know it", fix, 2)
        return
    if status != 200:
        yield failed("token", f"the Hub answered {status} to it", "try again later", 5)
        return
    try:
        answer = json.loads(body)
    except ValueError:
        words = f"{endpoint} answers, but not as a Hub does"
        yield failed(
            "token", words, "look for a proxy or a sign-in page in between, or correct HF_ENDPOINT", 5
        )
        return
    role = answer.get("auth", {}).get("accessToken", {}).get("role", "")
    if role == "read":
        yield failed("token", f"of {answer.get('name')} may only read", "make one with the right Write", 2)
        return
    yield ok("token", f"of {answer.get('name')}" + (f", may {role}" if role else ""))
    allowed = {answer.get("name")} | {group.get("name") for group in answer.get("orgs", [])}
    for name in ("DATASET_REPO", "MODEL_REPO"):
        repo = os.environ.get(name, "").strip()
        owner = repo.split("/")[0]
        if owner and owner not in allowed:
            words = f"belongs to {owner}, the token to {answer.get('name')}"
            yield failed(name, words, "use a repository of the token's owner, or another token", 2)
        elif owner and role == "fineGrained" and not {owner, repo} & writable(answer):
            words = f"the fine-grained token names no right to write to {repo}"
            yield warning("token", words, f"give it write access to the repositories of {owner}")


def writable(answer: dict) -> set[str]:
    """The users, organisations and repositories that a fine-grained token may write to."""
    scopes = answer["auth"]["accessToken"].get("fineGrained", {}).get("scoped", [])
    return {scope["entity"].get("name") for scope in scopes if "repo.write" in scope.get("permissions", [])}


def check_sources() -> Check:
    """The site that stage 1 will crawl, or the file that it will read instead."""
    if file := os.environ.get("SOURCE_FILE", "").strip():
        if Path(file).is_file():
            return ok("source", file)
        return failed("source", f"{file} is no file", "correct SOURCE_FILE", 2)
    recipe = os.environ.get("RECIPE", "").strip() or "gazeta"
    path = Path(recipe) if recipe.endswith(".yaml") else ROOT / "recipes" / f"{recipe}.yaml"
    try:
        # Only the names of its sites are wanted here; the parser reads and checks the whole file.
        sites = re.findall(r"^\s*-\s*site:\s*([\w-]+)", path.read_text(encoding="utf-8"), re.M)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        return failed("recipe", f"{path} cannot be read: {why}", "correct RECIPE", 2)
    if "gazeta" not in sites and not os.environ.get("SITE_URL", "").strip():
        return ok("source", f"as {path.name} says")
    return check_site()


def check_site() -> Check:
    site = os.environ.get("SITE_URL", "").strip().rstrip("/") or "https://www.gazeta.ru"
    try:
        status, _, _ = get(f"{site}/robots.txt")
    except (OSError, ValueError) as error:
        return failed("site", f"{site} does not answer ({getattr(error, 'reason', error)})",
                      "check the network; or go on without it: --from training", 5)  # fmt: skip
    if status >= 500:
        return failed(
            "site", f"{site} answered {status}", "try again later; or go on without it: --from training", 5
        )
    return ok("site", site)


def check_api_port(port: str, docker: bool) -> Check:
    if not port.isdigit() or not 0 < int(port) < 65536:
        return failed("PORT", f"{port!r} is not a port number", "set PORT to 1 to 65535", 2)
    # --demo reads no .env: it is to run the same everywhere.
    by = "set PORT=8010" if os.name == "nt" else "PORT=8010 ./run_mlops.sh --demo"
    fix = f"stop the program that holds it, or set another PORT: in .env, for --demo by {by}"
    found = check_port(int(port), "API", fix)
    if found.state == "failed" and docker and compose_holds(int(port)):
        return ok(f"port {port}", "our API's container has it, and is replaced if something changed")
    return found
