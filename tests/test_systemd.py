"""Every night's run and the API as services of systemd, by the units and lines of docs/operations.md."""

from __future__ import annotations

import fcntl
import importlib.util
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.timeout(1500)


def beside(name: str) -> ModuleType:
    """A module of this folder, by its file: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


own_systemd, demo = beside("own_systemd"), beside("test_demo")


@pytest.fixture
def copy(tmp_path: Path, free_port: Callable[[], int]) -> Any:
    return demo.Copy(tmp_path, free_port)


def test_systemd_runs_the_units_of_the_operations_page(copy: Any) -> None:
    """Every night's run and the API as services, with the demo's site, Hub and settings: the page's lines."""
    if why := own_systemd.why_not():
        pytest.skip(why)
    page = (copy.root / "docs/operations.md").read_text(encoding="utf-8")
    units = dict(re.findall(r"`/etc/systemd/system/(\S+)`:\n\n```ini\n(.*?)```", page, re.DOTALL))
    (without_docker,) = re.findall(r"in place of `ExecStart`:\n\n```ini\n(.*?)```", page, re.DOTALL)
    units["gazeta.service"] = re.sub(r"ExecStart=.*\n", without_docker, units["gazeta.service"])
    settings = (copy.root / "demo/demo.env").read_text(encoding="utf-8")
    (copy.root / ".env").write_text(f"{settings}PORT={copy.api}\n", encoding="utf-8")
    copy.bash("python demo/services.py start --root artifacts/demo")
    try:
        with own_systemd.booted(copy.root, copy.environment["PATH"]) as systemd:
            for name, text in units.items():
                systemd.write(f"/etc/systemd/system/{name}", text)
            systemd_as_the_page_says(copy, systemd)
    except own_systemd.NotAllowed as error:
        pytest.skip(f"no namespaces for a systemd: {error}")
    finally:
        copy.bash("python demo/services.py stop --root artifacts/demo")
        (copy.root / ".env").unlink()


def systemd_as_the_page_says(copy: Any, systemd: Any) -> None:
    def failed() -> bool:
        said = systemd.ask("systemctl is-failed gazeta")
        assert (said.returncode == 0) == (said.stdout.strip() == "failed"), said
        return said.returncode == 0

    systemd.run("systemctl daemon-reload && systemctl enable --now gazeta.timer")
    listed = systemd.run("systemctl list-timers gazeta.timer")
    assert re.search(r" 03:[0-2]\d:\d\d .*gazeta\.timer +gazeta\.service\n", listed), listed
    systemd.run("systemctl stop gazeta.timer")  # it may be three o'clock
    assert "0 timers listed" in systemd.run("systemctl list-timers gazeta.timer")

    # The model that settings ask for is not on this Hub: the night ends with the exit code of that.
    assert not failed()
    systemd.run("systemctl start gazeta", code=1)
    assert failed()
    told = systemd.run("journalctl -u gazeta")
    assert re.search(r" parser +(done|nothing to do) ", told), told
    assert re.search(r"error: .*ai-forever/ruT5-base", told), told

    # A nightly run takes no overlay: the small settings go where a user would write them.
    config, recipe = copy.root / "t5_training/config.yaml", copy.root / "recipes/gazeta.yaml"
    before = {path: path.read_bytes() for path in (config, recipe)}
    small, settings, about = (
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (copy.root / "demo/train.yaml", config, recipe)
    )
    for part, values in small.items():
        settings[part] |= values
    for task in about["tasks"].values():
        for name, value in small.get(task["kind"], {}).items():
            task[name] = task.get(name, {}) | value if isinstance(value, dict) else value
    for path, values in ((config, settings), (recipe, about)):
        path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    try:
        systemd.run("systemctl start gazeta")
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    assert not failed()
    assert len(re.findall(r" training +(?:done|nothing to do) ", systemd.run("journalctl -u gazeta"))) == 1

    with (copy.root / "artifacts/run.lock").open() as lock:  # exit code 6 is no fault
        fcntl.flock(lock, fcntl.LOCK_EX)
        systemd.run("systemctl start gazeta")
        assert not failed() and "another run of this folder" in systemd.run("journalctl -u gazeta")

    systemd.run("systemctl enable --now gazeta-api")
    wait_until(copy.ready, "the API as a service")
    first = systemd.run("systemctl show --property MainPID gazeta-api")
    systemd.run("systemctl restart gazeta-api")
    wait_until(copy.ready, "the API, restarted")
    assert systemd.run("systemctl show --property MainPID gazeta-api") != first
    systemd.run("systemctl kill --signal KILL gazeta-api")
    wait_until(lambda: not copy.ready(), "its end")
    wait_until(copy.ready, "the API, started again by systemd")
    systemd.run("systemctl stop gazeta-api")
    assert not copy.ready()

    assert demo.TOKEN not in systemd.run("journalctl")


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.2)
