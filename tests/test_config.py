"""The configuration: what is read, what wins, and that every fault is told at once."""

import base64
import os
import stat
from pathlib import Path

import pytest

from webspool import dotenv
from webspool.config import Address, Config, load, make_env
from webspool.errors import ConfigurationError
from webspool.settings import SETTINGS


def faults_of(directory: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, environ)
    return caught.value.faults


def refused(config: Config, reference: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        config.secret(reference)
    return str(caught.value)


def test_an_empty_environment_is_a_usable_configuration(tmp_path):
    """The defaults of the contract hold when nothing is set."""
    config = load(tmp_path, {})
    assert (config.bind, config.app) == ("127.0.0.1:8000", "app:app")
    assert (config.workers, config.threads, config.spoolers) == (4, 4, 4)
    assert (config.max_body, config.retention_days, config.min_free_bytes) == (26214400, 30, 2**30)
    assert (config.drain_seconds, config.trusted_proxies, config.engine) == (60.0, 0, "auto")
    assert config.ledger_path == tmp_path / "var/ledger.db"
    assert config.password is None


def test_a_setting_that_is_set_to_nothing_is_absent(tmp_path):
    """Compose files pass empty variables; they mean the default."""
    assert load(tmp_path, {"WEBSPOOL_WORKERS": "", "WEBSPOOL_PASSWORD": ""}).workers == 4


def test_every_fault_is_told_at_once(tmp_path):
    """One start tells all that is to be mended."""
    (tmp_path / ".env").write_text('WEBSPOOL_BIND=8000\nno equals sign\nX="open\n')
    told = faults_of(
        tmp_path,
        WEBSPOOL_WORKERS="0",
        WEBSPOOL_SPOOLERS="many",
        WEBSPOOL_WORKER="4",
        WEBSPOOL_DRAIN_SECONDS="-1",
        WEBSPOOL_DATABASE_URL="postgresql://user:hunter2@host/db",
        WEBSPOOL_APP="app",
    )
    text = "\n".join(told)
    for expected in ("line 2", "line 3", "WEBSPOOL_BIND", "from 1 to 512", "'many'", "did you mean WEBSPOOL_WORKERS?"):
        assert expected in text
    for expected in ("WEBSPOOL_DRAIN_SECONDS", "WEBSPOOL_DATABASE_URL", "WEBSPOOL_APP"):
        assert expected in text
    assert len(told) == 9
    assert "hunter2" not in text


def test_the_real_environment_wins_over_the_file(tmp_path):
    """An operator's `WEBSPOOL_WORKERS=2 uwsgi ...` means what it says."""
    (tmp_path / ".env").write_text("WEBSPOOL_WORKERS=3\nWEBSPOOL_SPOOLERS=3\n")
    config = load(tmp_path, {"WEBSPOOL_WORKERS": "2"})
    assert (config.workers, config.spoolers) == (2, 3)
    assert config.environ["WEBSPOOL_SPOOLERS"] == "3"


@pytest.mark.parametrize("named", ["other.env", "{absolute}"])
def test_another_file_can_be_named(tmp_path, named):
    """WEBSPOOL_ENV_FILE is absolute, or relative to the instance."""
    (tmp_path / ".env").write_text("WEBSPOOL_WORKERS=3\n")
    (tmp_path / "other.env").write_text("WEBSPOOL_WORKERS=7\n")
    named = named.replace("{absolute}", str(tmp_path / "other.env"))
    assert load(tmp_path, {"WEBSPOOL_ENV_FILE": named}).workers == 7


def test_a_named_file_must_exist(tmp_path):
    """A typing error in WEBSPOOL_ENV_FILE must not start an instance with defaults."""
    assert "does not exist" in faults_of(tmp_path, WEBSPOOL_ENV_FILE="nothere")[0]


def test_what_only_the_real_environment_can_say_is_refused_in_the_file(tmp_path):
    """The file is read too late to choose itself."""
    (tmp_path / ".env").write_text("WEBSPOOL_ENV_FILE=x\n")
    assert "real environment only" in faults_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("# nothing but a comment", ""),
        ("a b # comment", "a b"),
        ("a#b", "a#b"),
        ("'a # \\n b'", "a # \\n b"),
        ('"a \\"b\\" \\\\ \\n"', 'a "b" \\ \n'),
        ('"x" # comment', "x"),
        ("$HOME ${HOME}", "$HOME ${HOME}"),
        ("a=b=c", "a=b=c"),
        ("나의 비밀 방", "나의 비밀 방"),
    ],
)
def test_values_are_read_without_surprises(text, value):
    """Nothing is interpolated; quotes and comments mean what they mean in other .env files."""
    assert dotenv.parse(f"KEY={text}\r\n") == ({"KEY": value}, [])


@pytest.mark.parametrize(
    "line", ["KEY", "KEY =x", "KEY= x", "1KEY=x", "KEY='x", 'KEY="x', 'KEY="\\', 'KEY="\\q"', "KEY='a' b", "KEY=a\0"]
)
def test_a_line_that_is_not_clear_is_a_fault(line):
    """The fault names the line."""
    values, faults = dotenv.parse(f"# first\n{line}")
    assert not values
    assert [fault.partition(":")[0] for fault in faults] == ["line 2"]


def test_a_key_given_twice_is_a_fault():
    """Which of two values holds should not be guessed."""
    assert "line 1" in dotenv.parse("A=1\nA=2")[1][0]


def test_make_env_writes_fresh_secrets_for_the_owner_only(tmp_path):
    """The file is private also under a generous umask, and makes a usable configuration."""
    before = os.umask(0)
    try:
        assert make_env(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    config = load(tmp_path, {})
    secrets = [config.secret_key, config.password, config.metrics_token, config.webhook_key]
    secrets.append(config.secret("env:GITHUB_SECRET"))
    assert len(set(secrets)) == 5
    assert all(secret and len(secret) == 48 for secret in secrets)


@pytest.mark.parametrize("kind", ["file", "empty", "dangling link"])
def test_make_env_never_touches_what_is_there(tmp_path, kind):
    """Somebody's .env stays as it is, byte for byte."""
    path = tmp_path / ".env"
    path.symlink_to("nowhere") if kind == "dangling link" else path.write_text("A=1\n" if kind == "file" else "")
    assert not make_env(tmp_path)
    if kind == "dangling link":
        assert not (tmp_path / "nowhere").exists()
    else:
        assert path.read_text() == ("A=1\n" if kind == "file" else "")


def test_make_env_says_why_it_cannot_write(tmp_path):
    """A fault of the disk is told as a fault of the configuration."""
    with pytest.raises(ConfigurationError, match="cannot be written"):
        make_env(tmp_path / "nothere")


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:8000", Address(host="127.0.0.1", port=8000)),
        ("[::1]:80", Address(host="::1", port=80)),
        ("localhost:9", Address(host="localhost", port=9)),
        ("/run/x.sock", Address(path=Path("/run/x.sock"))),
        ("fd://3", Address(descriptor=3)),
    ],
)
def test_an_address_is_read_and_written_back(tmp_path, bind, address):
    """What uWSGI is told is what was configured."""
    assert load(tmp_path, {"WEBSPOOL_BIND": bind}).address == address
    assert str(address) == bind


def test_a_relative_socket_lies_in_the_instance(tmp_path):
    """Relative paths are relative to the instance directory."""
    assert load(tmp_path, {"WEBSPOOL_BIND": "var/x.sock"}).address.path == tmp_path / "var/x.sock"


@pytest.mark.parametrize(
    "bind",
    ["8000", ":8000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:80", "a b:80", "$(X)", "/" + "x" * 200],
)
def test_an_address_that_uwsgi_would_misread_is_refused(tmp_path, bind):
    """uWSGI takes what it cannot read as the name of a unix socket, silently."""
    assert "WEBSPOOL_BIND" in faults_of(tmp_path, WEBSPOOL_BIND=bind)[0]


def test_secrets_are_references(tmp_path):
    """Each kind of reference is followed; a final line end of a file is no part of the secret."""
    (tmp_path / "key").write_bytes("schlüssel\r\n".encode())
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/token").write_text("t")
    config = load(tmp_path, {"A": "one", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert config.secret("env:A") == "one"
    assert config.secret("file:key") == config.secret(f"file:{tmp_path}/key") == "schlüssel"
    assert config.secret("credential:token") == "t"
    assert config.secret("literal:a:b") == "a:b"


def test_a_bare_secret_is_refused_with_a_hint_and_not_shown(tmp_path):
    """A secret in code is a mistake; the message must not spread it further."""
    config = load(tmp_path, {})
    for bare in ("hunter2", "sk:hunter2"):
        told = refused(config, bare)
        assert "env:NAME" in told
        assert "hunter2" not in told


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("env:NOTHERE", "add NOTHERE=..."),
        ("env:", "name of a variable"),
        ("env:EMPTY", "empty"),
        ("literal: ", "empty"),
        ("file:nothere", "No such file"),
        ("file:.", "directory"),
        ("file:binary", "UTF-8"),
        ("credential:x", "CREDENTIALS_DIRECTORY"),
        ("credential:../x", "without a slash"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_to_do(tmp_path, reference, expected):
    """An unresolvable secret never becomes an empty one."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert expected in refused(load(tmp_path, {"EMPTY": ""}), reference)


def test_no_secret_stands_in_the_configuration_as_text(tmp_path):
    """A configuration may be logged."""
    given = {setting.key: "hunter2" for setting in SETTINGS if setting.secret}
    given |= {"WEBSPOOL_DATABASE_URL": "sqlite:///hunter2", "WEBSPOOL_ALERT_URLS": "x://hunter2", "OTHER": "hunter2"}
    given["WEBSPOOL_ENCRYPTION_KEY"] = key = "hunter22" * 5 + "hun"
    told = repr(load(tmp_path, given))
    assert "hunter2" not in told
    assert repr(base64.b64decode(key + "=")) not in told


def test_every_setting_is_a_field_of_the_configuration(tmp_path):
    """The table and the record cannot drift apart."""
    config = load(tmp_path, {})
    assert {setting.name for setting in SETTINGS} == set(vars(config)) - {"directory", "environ"}
    assert all(getattr(config, setting.name) == setting.default for setting in SETTINGS)
