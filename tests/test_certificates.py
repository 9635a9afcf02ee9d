"""Laws of certificates: fetched once, from where the scheme says, and not as often as strangers like."""

from __future__ import annotations

from dataclasses import replace

from tests.sender_keys import CERTIFICATES, keys_of, signed
from tests.test_receive import Desk
from webspool.certificates import FETCHES_A_MINUTE, KEPT, Certificates, fetched
from webspool.records import Headers, WebhookRequest
from webspool.source import Source


class House:
    """Answers by address, a clock that stands still, and what was fetched."""

    def __init__(self, answers: dict[str, str | None]) -> None:
        self.answers, self.asked, self.now = answers, [], 0.0  # type: ignore[var-annotated]

    def fetch(self, address: str) -> str | None:
        self.asked.append(address)
        return self.answers.get(address)

    def made(self) -> Certificates:
        return Certificates(self.fetch, lambda: self.now)


def test_a_certificate_is_fetched_once():
    """Until a day has passed."""
    house = House({"a": "A"})
    certificates = house.made()
    assert [certificates.get("a"), certificates.get("a")] == ["A", "A"]
    house.now += 25 * 3600
    assert certificates.get("a") == "A"
    assert house.asked == ["a", "a"]


def test_one_that_failed_is_not_tried_at_every_webhook():
    """But again after a minute."""
    house = House({})
    certificates = house.made()
    assert [certificates.get("a"), certificates.get("a")] == [None, None]
    house.answers["a"] = "A"
    house.now += 61
    assert certificates.get("a") == "A"
    assert house.asked == ["a", "a"]


def test_strangers_do_not_make_us_fetch_without_end():
    """Nor fill the memory."""
    house = House({})
    certificates = house.made()
    for number in range(1000):
        certificates.get(f"a{number}")
    assert len(house.asked) == FETCHES_A_MINUTE
    for number in range(1000):
        house.now += 60
        certificates.get(f"b{number}")
    assert len(certificates._kept) <= KEPT


def test_only_https_is_fetched():
    """The scheme says so before; twice is better here."""
    assert fetched("http://127.0.0.1:1/c") is None
    assert fetched("file:///etc/passwd") is None
    assert fetched("https://127.0.0.1:1/c") is None


def test_a_webhook_is_checked_with_the_certificate_its_sender_names(tmp_path):
    """Without it the sender is told to come again; from another host nothing is fetched."""
    desk = Desk(tmp_path)
    source = Source("paypal", verify="paypal", secrets=["literal:WH-19973"])
    request = signed("paypal", WebhookRequest("POST", "/hooks/paypal", {}, b'{"id":"WH-1","event_type":"A.B"}'), 0)
    house = House({})
    desk.receiver.verifier.certificates = house.made()
    assert desk.receiver.receive(source, request, None).status == 503
    house.answers |= keys_of("paypal").certificates
    house.now += 61
    assert desk.receiver.receive(source, request, None).status == 200
    assert (desk.accepted["event_id"], desk.accepted["event_type"]) == ("WH-1", "A.B")
    others = [pair for pair in request.headers.pairs if pair[0] != "PAYPAL-CERT-URL"]  # type: ignore[attr-defined]
    foreign = replace(request, headers=Headers([*others, ("PAYPAL-CERT-URL", "https://evil.test/c")]))
    assert desk.receiver.receive(source, foreign, None).status == 401
    assert set(house.asked) == {CERTIFICATES["paypal"]}
