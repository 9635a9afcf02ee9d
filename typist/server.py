"""The page on servers, typed line by line as root of a fresh Debian.

The Debian is unpacked by debootstrap, once; each run types into a copy that is thrown away. From the second step on it
is booted: its own systemd, in namespaces of its own, with a network in which there is nothing but itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conditions import wait_until
from typist import ready
from typist.pages import ROOT, Block, Script, blocks
from typist.terminal import Stumbled, Terminal

PAGE = ROOT / "docs" / "how-to" / "server.md"
DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
SUITE = "bookworm"
STANDARD = "systemd-sysv,dbus,cron,logrotate,ca-certificates,iproute2,procps"
INSTALL_SECONDS = 900.0
BOOT_SECONDS = 60.0
NAME = "hooks.example.com"
CLONE = "/usr/local/src/webspool"
DROP_IN = "/etc/systemd/system/webspool.service.d"
FORGED = f"curl -s https://{NAME}/hooks/github -H 'X-Hub-Signature-256: sha256=00' -H 'X-GitHub-Event: push' -d '{{}}'"
WHEELS = "/root/wheels"
UPGRADE = f"pip install --upgrade --force-reinstall --no-deps --no-index --find-links {WHEELS} webspool"

# What a machine gives to the system on it; the directory becomes the root of a mount namespace of its own.
BOOT = """
set -eu
mount --make-rprivate /
mount --bind {root} {root}
cd {root}
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
ip link set lo up
mkdir -p .before
pivot_root . .before
umount -l .before
mount --make-rshared /
export container=other
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
"""


class Fresh:
    """A Debian as its installer leaves it, on a layer that is thrown away."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self._base = base
        self._manager: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Fresh:
        for name in ("root", "upper", "work"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={self._base},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        _run("mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", self.folder / "upper")
        for name in ("up", "work"):
            (self.folder / "upper" / name).mkdir()
        layers = f"lowerdir={self._base},upperdir={self.folder}/upper/up,workdir={self.folder}/upper/work"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        self._take_over()
        return self

    def __exit__(self, *_: object) -> None:
        if self._manager is not None:
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(self.first, signal.SIGKILL)
            self._manager.wait(30)
        _run("umount", "-l", self.root)
        _run("umount", "-l", self.folder / "upper")

    def _take_over(self) -> None:
        """How this machine reaches Debian and PyPI, and the clone."""
        for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
            if Path(path).exists():
                shutil.copy(path, self.root / path[1:])
        source = self.root / CLONE[1:]
        source.parent.mkdir(parents=True, exist_ok=True)
        _run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", source)

    def inside(self) -> tuple[str, ...]:
        """The command that enters it; before it is booted that is chroot."""
        if self._manager is None:
            return ("chroot", str(self.root))
        return ("nsenter", "-t", str(self.first), "-m", "-p", "-i", "-u", "-n", "--")

    @property
    def first(self) -> int:
        """Its systemd's pid, as this side sees it."""
        assert self._manager is not None
        text = Path(f"/proc/{self._manager.pid}/task/{self._manager.pid}/children").read_text()
        return int(text.split()[0])

    def boot(self) -> None:
        script = self.folder / "boot.sh"
        script.write_text(BOOT.format(root=self.root))
        hosts = self.root / "etc/hosts"
        hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        own = ("--pid", "--mount", "--uts", "--ipc", "--net", "--mount-proc")
        self._manager = subprocess.Popen(
            ["unshare", "--kill-child", "--fork", *own, "sh", script],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "systemd.log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(self._has_booted, BOOT_SECONDS)

    def _has_booted(self) -> bool:
        assert self._manager is not None
        if self._manager.poll() is not None:
            raise Stumbled((self.folder / "systemd.log").read_text())
        with contextlib.suppress(IndexError, OSError):
            told = subprocess.run([*self.inside(), "systemctl", "is-system-running"], capture_output=True, text=True)
            return told.stdout.strip() in ("running", "degraded")
        return False


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def base(cache: Path) -> Path:
    """The unpacked Debian, made once. Its packages come from where this machine's do."""
    made = cache / SUITE
    if not (made / "etc/debian_version").exists():
        told = subprocess.run(["apt-cache", "policy", "base-files"], capture_output=True, text=True, check=True)
        (mirror, *_) = re.findall(r"https?://\S+", told.stdout)
        shutil.rmtree(made, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        _run("debootstrap", "--variant=minbase", f"--include={STANDARD}", SUITE, made, mirror)
    return made


class Administrator:
    """Root at the terminal of that machine, with the page before her."""

    def __init__(self, machine: Fresh) -> None:
        self.machine = machine
        self.told: list[tuple[str, float]] = []
        self._terminal: Terminal | None = None
        self._begun = time.monotonic()

    def go(self) -> None:
        page = Script(PAGE)
        with self._at_a_terminal():
            self.type(page.next("console", "apt-get"), INSTALL_SECONDS)
            self.reach("packages, user and webspool are installed")
            self.terminal.good(f"/srv/hooks/.venv/bin/pip wheel -q --no-deps -w {WHEELS} {CLONE}", INSTALL_SECONDS)
        self.machine.boot()
        self.reach("(booted)")
        with self._at_a_terminal():
            for part in (self._instance, self._nginx, self._look, self._more, self._operate):
                part(page)
        page.end()

    def reach(self, what: str) -> None:
        self.told.append((what, time.monotonic() - self._begun))

    @contextlib.contextmanager
    def _at_a_terminal(self) -> Iterator[None]:
        home = self.machine.root / "root"
        environ = ready.environ(home) | {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        with Terminal(Path("/"), environ, self.machine.inside()) as self._terminal:
            self._terminal.good("cd /root; export DEBIAN_FRONTEND=noninteractive")
            yield

    @property
    def terminal(self) -> Terminal:
        assert self._terminal is not None
        return self._terminal

    def type(self, block: Block, seconds: float = 120.0) -> list[str]:
        """Each command as it stands; where the page shows an answer, it is that."""
        answers = []
        for command, shown in block.dialogue:
            answers.append(self.terminal.good(command, seconds))
            if shown.strip():
                assert answers[-1].strip() == shown.strip(), f"{command}\n{answers[-1]}"
        return answers

    # ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _instance(self, page: Script) -> None:
        self.type(page.next("console", "webspool init"))
        self.type(page.next("console", "systemctl enable"))
        self.reach("the instance serves, and will at every boot")

    def _nginx(self, page: Script) -> None:
        """What cannot be had here: the certificate, which an authority gives for a name that the internet knows."""
        block = page.next("console", "certbot")
        certbot, *rest = block.commands
        assert certbot.startswith("certbot certonly --webroot --webroot-path /var/www/html")
        self.terminal.good("certbot --version")
        folder = f"/etc/letsencrypt/live/{NAME}"
        self.terminal.good(
            f"mkdir -p {folder} && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN={NAME} "
            f"-addext subjectAltName=DNS:{NAME} -keyout {folder}/privkey.pem -out {folder}/fullchain.pem 2>/dev/null "
            f"&& cp {folder}/fullchain.pem /usr/local/share/ca-certificates/{NAME}.crt && update-ca-certificates"
        )
        for command in rest:
            self.terminal.good(command)
        self.type(page.next("console", "WEBSPOOL_PUBLIC_URL"))
        self.terminal.good(f"curl -f https://{NAME}/healthz")
        self.reach("https")

    def _look(self, page: Script) -> None:
        """The clock of a machine without a network is nobody's; everything else must be well."""
        (command,) = page.next("console", "check --server").commands
        told = self.terminal.type(command)
        faults = [line for line in told.output.splitlines() if line.startswith("- ") and "clock" not in line]
        if faults:
            raise Stumbled("\n".join(faults))
        sent = self.terminal.good('cd /srv/hooks && webspool send github --event push --data \'{"after": "abc"}\'')
        (job,) = re.findall(r"j_[0-9a-f]{32}", sent)[:1]
        wait_until(lambda: "succeeded" in self.terminal.good(f"webspool job {job}"), 30)
        self.reach("the first signed webhook has run")

    def _more(self, page: Script) -> None:
        """`systemctl edit` opens an editor: what it would write is written."""
        drop_in = page.next("ini", "[Service]").text
        self.terminal.good(f"mkdir -p /srv/site && mkdir -p {DROP_IN}")
        self.terminal.good(f"cat > {DROP_IN}/override.conf <<'EOF'\n{drop_in}EOF")
        self.terminal.good("systemctl daemon-reload && systemctl restart webspool && systemctl is-active webspool")
        told = self.terminal.good("systemd-analyze verify --man=no /etc/systemd/system/webspool.service 2>&1")
        assert "webspool" not in told, told
        self.terminal.good(f"rm -r {DROP_IN} && systemctl daemon-reload && systemctl restart webspool")

    def _operate(self, page: Script) -> None:
        self.type(page.next("console", "/etc/cron.d/webspool"))
        (line,) = self.terminal.good("cat /etc/cron.d/webspool").splitlines()
        command = line.split(None, 6)[6].replace("\\%", "%")
        self.terminal.good(f"env -i HOME=/root PATH=/usr/bin:/bin sh -c {shlex.quote(command)}")
        (backup,) = self.terminal.good("ls -d /srv/backups/*").splitlines()
        self._forge()
        journal, tail = page.next("console", "journalctl").commands
        refused = self.terminal.good(journal)
        assert "signature_invalid" in refused, refused
        self.terminal.begin(tail)
        self._forge_from_outside()
        self.terminal.shows("refused")
        self.terminal.interrupt()
        page.next("ini", "touch-logreopen")
        self.type(page.next("console", "/etc/logrotate.d/webspool"))
        self.terminal.good("logrotate --debug /etc/logrotate.d/webspool")
        self._deploy(backup)
        self.reach("backed up, watched, upgraded, restored")

    def _forge(self) -> None:
        self.terminal.good(FORGED)

    def _forge_from_outside(self) -> None:
        subprocess.run([*self.machine.inside(), "sh", "-c", FORGED], check=True, capture_output=True)

    def _deploy(self, backup: str) -> None:
        """The commands of the page on deploying; a package of this version stands for the newer one."""
        for block in blocks(DEPLOY):
            if block.language != "sh":
                continue
            for command in block.commands:
                typed = re.sub(r"pip install --upgrade \S+", UPGRADE, command)
                self.terminal.good(f"cd /srv/hooks && {typed}", 300)
                self._serves()
        both = "systemctl {} webspool.socket webspool"
        self.terminal.good(f"{both.format('stop')} && webspool restore {backup} && {both.format('start')}")
        self._serves()

    def _serves(self) -> None:
        """Unless it was just stopped."""
        if self.terminal.type("systemctl is-active webspool").output.strip() == "active":
            self.terminal.good("curl -fsS 127.0.0.1:8000/healthz")
