"""A systemd of the tests' own: process 1 of namespaces that end with the test.

Its /etc is a layer over this computer's, its /run, /srv and lists of units are file systems of its own, it
may write no kernel setting and no console, and of the distribution's units it knows only those below: nothing
on this computer is changed, none of its services is started. The network and all other files are this
computer's. What is left of it are empty control groups.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path("/lib/systemd/systemd")
UNITS = (
    "basic.target", "sysinit.target", "sockets.target", "timers.target", "paths.target", "slices.target",
    "multi-user.target", "network.target", "network-online.target", "shutdown.target", "umount.target",
    "systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
)  # fmt: skip
# The user gazeta is root by another name here: no other may read the Python that some computers test with.
BOOT = """
set -e
lib=$(dirname "$(readlink -f /lib/systemd/systemd)")
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/units /run/over /run/work
for unit in {units}; do cp "$lib/system/$unit" /run/units/; done
mkdir /run/units/sysinit.target.wants
ln -s ../systemd-journald.service /run/units/sysinit.target.wants/
mount --bind /run/units "$lib/system"
if [ -d "$lib/system-generators" ]; then mount -t tmpfs tmpfs "$lib/system-generators"; fi
mount -t overlay -o lowerdir=/etc,upperdir=/run/over,workdir=/run/work overlay /etc
rm -rf /etc/systemd/system /etc/machine-id
mkdir -p /etc/systemd/system /etc/systemd/system.conf.d /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\n' > /etc/systemd/journald.conf.d/tests.conf
printf '[Manager]\\nDefaultEnvironment="PATH={path}"\\n' > /etc/systemd/system.conf.d/tests.conf
systemd-machine-id-setup 2> /dev/null
echo 'gazeta:x:0:0::/srv/gazeta:/bin/sh' >> /etc/passwd
mount -t tmpfs tmpfs /var/lib/systemd
mount -t tmpfs tmpfs /srv
mkdir /srv/gazeta
mount --bind {folder} /srv/gazeta
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for each in console tty0; do
  if [ -e /dev/$each ]; then mount --bind /dev/null /dev/$each; fi
done
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
touch /run/own-systemd
export container=other
exec setpriv --bounding-set -sys_module,-sys_boot,-sys_time,-syslog \\
  /lib/systemd/systemd --system --unit=multi-user.target --show-status=0 --log-target=null
"""


def why_not() -> str:
    """What is missing here for a systemd of one's own; empty where nothing is."""
    if sys.platform != "linux" or not PROGRAM.exists():
        return "no systemd on this computer"
    if os.geteuid() != 0:
        return "only root may give it namespaces of its own"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "systemctl") if not shutil.which(name)]
    return f"no {missing[0]} on the PATH" if missing else ""


class NotAllowed(Exception):
    """The system gives no namespaces, or no mounts in them."""


class Systemd:
    """Runs lines of bash beside the services of a systemd; the project is /srv/gazeta there."""

    def __init__(self, first: int) -> None:
        self.enter = ["nsenter", "--target", str(first), "--mount", "--pid", "--cgroup", "--ipc", "--uts"]

    def ask(self, line: str) -> subprocess.CompletedProcess[str]:
        # Never in another place than that which BOOT made: this computer may have a systemd, too.
        return subprocess.run(
            [*self.enter, "bash", "-c", f"test -e /run/own-systemd || exit 99; {line}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200,
        )  # fmt: skip

    def run(self, line: str, code: int = 0) -> str:
        ended = self.ask(line)
        assert ended.returncode == code, f"{line} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def write(self, path: str, text: str) -> None:
        line = f"test -e /run/own-systemd && cat > {path}"
        subprocess.run([*self.enter, "bash", "-c", line], input=text.encode(), check=True)


@contextmanager
def booted(folder: Path, path: str) -> Iterator[Systemd]:
    """A systemd that sees `folder` as /srv/gazeta and gives its services `path` as their PATH.

    Raises NotAllowed where it may not start, RuntimeError where it starts and does not get ready.
    """
    script = BOOT.format(units=" ".join(UNITS), path=path, folder=f"'{folder}'")
    spaces = ["--mount", "--pid", "--fork", "--cgroup", "--ipc", "--uts", "--mount-proc", "--kill-child"]
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *spaces, "bash", "-c", script],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as outside:  # fmt: skip
        try:
            yield _ready(outside)
        finally:
            outside.kill()


def _ready(outside: subprocess.Popen[str]) -> Systemd:
    deadline = time.monotonic() + 60
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    while time.monotonic() < deadline and outside.poll() is None:
        first = children.read_text().split()
        # BOOT ends by becoming systemd: all its mounts are there then.
        if first and Path(f"/proc/{first[0]}/comm").read_text().strip() == "systemd":
            made = Systemd(int(first[0]))
            if made.ask("systemctl is-system-running").stdout.strip() in ("running", "degraded"):
                return made
        time.sleep(0.1)
    ended = outside.poll() is not None
    outside.kill()
    said = outside.communicate()[1].strip()[-500:]
    if ended and re.search(r"(?i)not permitted|permission denied|read-only", said):
        raise NotAllowed(said)
    raise RuntimeError(f"systemd does not get ready: {said}")
