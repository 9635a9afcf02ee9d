"""Slow, silent, half gone and deaf clients: webhooks beside them are acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import needs_uwsgi
from tests.hostile import MANNERS, bare, crowd
from tests.instances import Instance, signed_headers
from tests.nginx_house import Nginx, needs_nginx
from tests.test_nginx_site import Site

WORKERS = 3
MAX_BODY = 26214400


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One instance, and the site of `webspool init --nginx` in front of it."""
    needs_uwsgi()
    needs_nginx()
    instance = Instance(tmp_path_factory.mktemp("i"), WEBSPOOL_WORKERS=str(WORKERS), WEBSPOOL_TRUSTED_PROXIES="1")
    with instance, Nginx(tmp_path_factory.mktemp("nginx"), f"127.0.0.1:{instance.port}", MAX_BODY) as nginx:
        yield Site(instance, nginx)


def all_are_acknowledged(site: Site, post: Callable[[bytes], int]) -> None:
    """Ten in a row, each run to its end."""
    assert [post(b'{"n": %d}' % number) for number in range(10)] == [202] * 10


def straight(site: Site) -> Callable[[bytes], int]:
    return lambda body: site.instance.webhook(body).status


def through_nginx(site: Site) -> Callable[[bytes], int]:
    return lambda body: site.request("POST", "/hooks/github", body, signed_headers(body, event="ping")).status


@pytest.mark.parametrize(("manner", "number"), [*((manner, 40) for manner in MANNERS), ("idle", 1000)])
def test_behind_nginx_hostile_clients_hold_up_nobody(site: Site, manner: str, number: int) -> None:
    """More of them than there are workers; each request reaches the instance whole or not at all."""
    connect = site.connect if number < 100 else bare(site.nginx.port)
    with crowd(connect, manner, number):
        all_are_acknowledged(site, through_nginx(site))


@pytest.mark.parametrize(
    ("manner", "number"), [*((manner, WORKERS - 1) for manner in MANNERS), ("idle", 1000), ("deaf", 100)]
)
def test_without_a_proxy_one_free_worker_is_enough(site: Site, manner: str, number: int) -> None:
    """The kernel keeps silent connections from the workers, and a short answer fits into any buffer."""
    with crowd(bare(site.instance.port), manner, number):
        all_are_acknowledged(site, straight(site))
