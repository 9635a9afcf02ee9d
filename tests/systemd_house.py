"""A real systemd in namespaces of its own, to run an instance's units as a server would; needs root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import TracebackType

import pytest

from tests.conditions import wait_until

MANAGER = Path("/lib/systemd/systemd")
TARGETS = "basic sysinit sockets shutdown multi-user timers paths slices local-fs network-online network umount"

# The units of this machine are hidden, so that nothing of it is started twice; the user webspool exists in here only.
# A Python below /root, which only root may enter, is shown again under the same path.
BOOT = """
set -eu
mount --make-rprivate /
mkdir -p {work}/units
for name in {targets}; do printf '[Unit]\\nDefaultDependencies=no\\n' > {work}/units/$name.target; done
printf '[Unit]\\nDefaultDependencies=no\\n' > {work}/units/system.slice
mount --bind {work}/units /lib/systemd/system
cp /etc/passwd /etc/group {work}
echo 'webspool:x:64321:64321::/var/lib/webspool:/usr/sbin/nologin' >> {work}/passwd
echo 'webspool:x:64321:' >> {work}/group
mount --bind {work}/passwd /etc/passwd
mount --bind {work}/group /etc/group
mkdir -p {work}/python
mount --bind {python} {work}/python
case {python} in /root/*)
    mount -t tmpfs -o mode=755 tmpfs /root && mkdir -p {python} && mount --bind {work}/python {python} ;;
esac
mkdir -p /etc/systemd/system /var/lib
for folder in /srv /run /etc/systemd/system /var/lib; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mount --make-rshared /  # in here only; credentials reach their service by it
mkdir -p /run/lock /run/systemd
export container=other
exec {manager} --system --unit=basic.target --log-target=console --log-level=notice --show-status=no
"""


def needs_systemd() -> None:
    """Skip where a systemd cannot be started; in CI that is a fault."""
    why = None
    if os.geteuid() != 0 or not MANAGER.exists() or shutil.which("nsenter") is None:
        why = "this needs root, systemd and util-linux"
    elif subprocess.run(
        ["unshare", "--fork", "--pid", "--mount", "--mount-proc", "true"], capture_output=True
    ).returncode:
        why = "namespaces cannot be made here"
    if why:
        assert os.environ.get("CI") != "true" or os.geteuid() != 0, why
        pytest.skip(why)


class Systemd:
    """One systemd with nothing but what is given to it. Its network is this machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "systemd.log"

    def __enter__(self) -> Systemd:
        boot = self.folder / "boot.sh"
        python = Path(sys.base_prefix).resolve()
        boot.write_text(BOOT.format(work=self.folder, targets=TARGETS, python=python, manager=MANAGER))
        self.process = subprocess.Popen(
            ["unshare", "--kill-child", "--fork", "--pid", "--mount", "--uts", "--ipc", "--mount-proc", "sh", boot],
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(self._has_booted, 20)
        return self

    def __exit__(self, _: type[BaseException] | None, fault: BaseException | None, __: TracebackType | None) -> None:
        os.kill(self.first, signal.SIGKILL)  # the first process of its namespace: all others end with it
        self.process.wait(20)

    @property
    def first(self) -> int:
        """The manager's pid, as this side sees it."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(text.split()[0])

    def _has_booted(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
        except (IndexError, OSError):
            return False

    def run(self, *command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as root."""
        inside = ["nsenter", "-t", str(self.first), "-m", "-p", "-i", "-u", "--", *map(str, command)]
        return subprocess.run(inside, capture_output=True, text=True, timeout=150, env=dict(os.environ) | environ)

    def sh(self, script: str) -> str:
        """Run lines of a shell in there; each must succeed."""
        told = self.run("sh", "-euc", textwrap.dedent(script))
        assert told.returncode == 0, f"{told.stdout}\n{told.stderr}\n{self.log.read_text()}"
        return told.stdout

    def path(self, inside: str) -> Path:
        """A file of its own mounts, as this side sees it."""
        return Path(f"/proc/{self.first}/root{inside}")
