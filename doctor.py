"""Checks, in a few seconds, what would otherwise fail hours later. Standard library only.

    python doctor.py [--json] [--stages parser,training,api] [--no-docker] [--small]

By hand it reads .env, as the run scripts do; the environment wins over it. Prints a line for each check;
every failure comes with its fix. Exit code: 0 all well (warnings do not count), 2 a setting or a program
is missing or wrong, 5 a service or Docker is unreachable or a port is taken.
Values of secrets are never printed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import difflib
import email.utils
import http.client
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stage import WrongSetting, read_settings, user_settings

ROOT = Path(__file__).resolve().parent
PUBLIC_HUB = "https://huggingface.co"
STAGES = ("parser", "training", "api")
SCRIPT = "run_mlops.bat" if os.name == "nt" else "./run_mlops.sh"
SECONDS = 3  # how long each question to a service may take
ALL_SECONDS = 4  # and the slow checks, side by side, all together
COMPOSE = (2, 13)  # the first with `docker compose run --build`
# Estimates for ai-forever/ruT5-base: .venv, dataset, base model, checkpoints with optimizer states.
DISK_GB = {"small": 4, "parser": 2, "training": 25, "api": 2}
MEMORY_GB = {"small": 2, "parser": 1, "training": 8, "api": 2}
# Whose names these are, other programs read them.
PASSED_ON = (
    "HF_HUB_", "HF_DATASETS_", "CUDA_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "PYTORCH_", "NCCL_", "PIP_",
    "PYTHON", "COMPOSE_", "DOCKER_", "MLFLOW_", "GUNICORN_", "TRACKIO_",
)  # fmt: skip
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclasses.dataclass(frozen=True)
class Check:
    """One finding. `state` is ok, warning or failed; `code` is the exit code a failure asks for."""

    name: str
    state: str
    words: str
    fix: str = ""
    code: int = 0


def ok(name: str, words: str) -> Check:
    return Check(name, "ok", words)


def warning(name: str, words: str, fix: str) -> Check:
    return Check(name, "warning", words, fix)


def failed(name: str, words: str, fix: str, code: int) -> Check:
    return Check(name, "failed", words, fix, code)


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036  this file must start on an old Python to say so
        return failed("Python", f"{version} is too old", "install Python 3.11 or newer", 2)
    if sys.maxsize < 2**32:
        return failed(
            "Python", f"{version} is a 32-bit build", "install the 64-bit Python; torch has no other", 2
        )
    return ok("Python", version)


def check_disk(artifacts: Path, needed: int) -> Check:
    folder = artifacts
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return failed("disk", f"{artifacts}: {folder} is no folder that can be written",
                      "set ARTIFACTS_DIR to a folder of yours", 2)  # fmt: skip
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed / 5:
        return failed("disk", f"{free:.1f} GB free, {needed} GB wanted",
                      "free some space, or set ARTIFACTS_DIR to a larger disk", 2)  # fmt: skip
    if free < needed:
        return warning("disk", f"{free:.0f} GB free, {needed} GB wanted",
                       "free some space, or set ARTIFACTS_DIR to a larger disk")  # fmt: skip
    return ok("disk", f"{free:.0f} GB free")


def memory_gb() -> float | None:
    """Physical memory in GB, or None where the system does not say."""
    if os.name == "nt":

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")
            ]

        status = Status(length=ctypes.sizeof(Status))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
            return None
        return status.total / 1e9
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return None


def check_memory(needed: int) -> Check:
    have = memory_gb()
    if have is None:
        return warning("memory", "this system does not say how much it has", f"{needed} GB are wanted")
    if have < needed:
        return warning(
            "memory",
            f"{have:.0f} GB, {needed} GB wanted",
            "close other programs, or use a smaller base model",
        )
    return ok("memory", f"{have:.0f} GB")


def check_setting(name: str, why: str) -> Check:
    value = os.environ.get(name, "").strip()
    if not value:
        where = (
            "write it into .env"
            if (ROOT / ".env").exists()
            else "copy .env.example to .env and write it there"
        )
        return failed(name, "is not set", f"{where} ({why}); or try {SCRIPT} --demo, which needs none", 2)
    if name.endswith("_REPO") and not REPO.fullmatch(value):
        # A token that was pasted into the wrong line must not get into a log.
        shown = "what is set" if value.startswith("hf_") else repr(value)
        return failed(name, f"{shown} is not user/name", f"correct it in .env ({why})", 2)
    return ok(name, "is set" if name.endswith("TOKEN") else value)


def known_settings() -> set[str]:
    """The names that .env.example and the compose files tell of, and the few that only READMEs do."""
    known = {"HF_TOKEN_PATH", "HF_HOME", "HOST", "SERVER", "LOG_FORMAT", "SECRET_KEY", "PYTHON"}
    for file in (".env.example", "docker-compose.parser.yml", "docker-compose.api.yml"):
        with contextlib.suppress(OSError):
            text = (ROOT / file).read_text(encoding="utf-8")
            known.update(re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.M), re.findall(r"\$\{([A-Z_]+)", text))
    return known


def check_names() -> Iterator[Check]:
    """A name in .env that looks like a slip: whoever wrote it believes that it is set.

    Other names are no error: what pip, Hugging Face, OpenMP or a proxy reads goes through .env as well.
    """
    names: list[str] = []
    with contextlib.suppress(WrongSetting, OSError):  # said where the settings are read
        names = sorted(read_settings(ROOT / ".env"))
    known = known_settings()
    for name in names:
        passed_on = name.startswith(PASSED_ON) or name.upper() in PROXIES
        close = difflib.get_close_matches(name.upper(), sorted(known), 1, cutoff=0.8)
        if close and name not in known and not passed_on:
            yield warning(".env", f"{name} is not a setting", f"did you mean {close[0]}?")


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


def check_gpu() -> Check:
    """What stage 2 will train on. An NVIDIA card with a CPU build of torch is usual on Windows."""
    card = ""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            card = (
                subprocess.run(query, capture_output=True, text=True, timeout=SECONDS)
                .stdout.strip()
                .split("\n")[0]
            )
    if not card:
        return warning("GPU", "no NVIDIA card found", "training will use the processor: days for ruT5-base, "
                       "minutes for the small one of --demo")  # fmt: skip
    build = torch_build()
    # The package index offers Windows a CPU build without a mark, Linux a CUDA build without a mark.
    if build and ("+cpu" in build or (os.name == "nt" and "+cu" not in build)):
        return warning("GPU", f"{card}, but torch {build} cannot use it",
                       "install the CUDA build into .venv: see t5_training/README.md, GPU")  # fmt: skip
    return ok("GPU", card)


def torch_build() -> str | None:
    """Version of the torch in .venv, read from its folder's name: importing it would take seconds."""
    pattern = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
    for folder in (ROOT / ".venv").glob(pattern):
        for found in importlib.metadata.distributions(name="torch", path=[str(folder)]):
            return found.version
    return None


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


def run_checks(stages: list[str], docker: bool, small: bool) -> list[Check]:
    """All checks that these stages need, in a lasting order; the slow ones run side by side."""
    port = os.environ.get("PORT", "").strip() or "8000"
    artifacts = ROOT / (os.environ.get("ARTIFACTS_DIR", "").strip() or "artifacts")
    checks = [check_python()]
    checks.append(
        check_disk(artifacts, DISK_GB["small"] if small else max(DISK_GB[stage] for stage in stages))
    )
    checks.append(check_memory(2 if small else max(MEMORY_GB[stage] for stage in stages)))

    checks.extend(check_names())
    publishes = "parser" in stages or "training" in stages
    if publishes:
        checks.append(check_setting("HF_TOKEN", "a token with the right Write, from huggingface.co"))
        checks.append(check_setting("DATASET_REPO", "the dataset's repository, as user/name"))
    if "training" in stages or "api" in stages:
        checks.append(check_setting("MODEL_REPO", "the model's repository, as user/name"))

    slow: dict[str, Callable[[], Iterable[Check]]] = {}
    if "api" in stages:
        slow[f"port {port}"] = lambda: [check_api_port(port, docker)]
    if docker and ("parser" in stages or "api" in stages):
        slow["Docker"] = check_docker
    slow["Hub"] = lambda: check_hub(needs_token=publishes)
    if "parser" in stages:
        slow["site"] = lambda: [check_sources()]
    if "training" in stages:
        slow["GPU"] = lambda: [check_gpu()]
    return checks + side_by_side(slow)


def side_by_side(slow: dict[str, Callable[[], Iterable[Check]]]) -> list[Check]:
    """The findings of all checks in ALL_SECONDS: who is late (a name service that hangs, say) has failed."""
    found: dict[str, list[Check]] = {}
    bugs: list[BaseException] = []

    def check(name: str) -> None:
        try:
            found[name] = list(slow[name]())
        except BaseException as bug:
            bugs.append(bug)

    # Daemons: nobody waits for one that hangs.
    threads = [threading.Thread(target=check, args=(name,), daemon=True) for name in slow]
    deadline = time.monotonic() + ALL_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if bugs:
        raise bugs[0]
    late = f"no answer within {ALL_SECONDS} s"
    return [
        each
        for name in slow
        for each in found.get(name) or [failed(name, late, "check the network and try again", 5)]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages will run")
    parser.add_argument("--no-docker", action="store_true", help="stages 1 and 3 run in .venv")
    parser.add_argument("--small", action="store_true", help="a small model: less disk and memory will do")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and failures")
    arguments = parser.parse_args()
    stages = [stage for stage in arguments.stages.split(",") if stage]
    if unknown := [stage for stage in stages if stage not in STAGES]:
        print(f"error: no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}", file=sys.stderr)
        return 2

    if "MLOPS_RUN" not in os.environ:  # by hand: stage.py has not read the settings for us
        try:
            os.environ.update(user_settings())
        except WrongSetting as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    checks = run_checks(stages, docker=not arguments.no_docker, small=arguments.small)
    failures = [check for check in checks if check.state == "failed"]
    if arguments.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], ensure_ascii=False, indent=1))
    else:
        for check in checks:
            if arguments.quiet and check.state != "failed":
                continue
            stream = sys.stderr if check.state == "failed" else sys.stdout
            state = "error" if check.state == "failed" else check.state
            print(
                f"{state}: {check.name}: {check.words}" + (f"; {check.fix}" if check.fix else ""), file=stream
            )
    return failures[0].code if failures else 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
