"""What threads of one process hand each other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from webspool.mailbox import Mailbox


def test_all_that_was_put_in_is_taken_out_once_in_order() -> None:
    """Nothing is waited for where something is there."""
    mailbox: Mailbox[int] = Mailbox()
    for number in range(5):
        mailbox.put(number)
    assert len(mailbox) == 5
    assert mailbox.take(60) == [0, 1, 2, 3, 4]
    assert mailbox.take(0) == []


def test_who_waits_is_woken() -> None:
    """Also where the last look found all that had been told of."""
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    assert mailbox.take(0) == [1]
    with ThreadPoolExecutor(1) as other:
        taken = other.submit(mailbox.take, 60)
        mailbox.put(2)
        assert taken.result(30) == [2]


def test_many_may_put_in_at_once() -> None:
    """Of each the order is kept, and nothing is lost between a look and a wait."""
    mailbox: Mailbox[tuple[int, int]] = Mailbox()
    found: list[tuple[int, int]] = []

    def put(who: int) -> None:
        for number in range(500):
            mailbox.put((who, number))

    threads = [threading.Thread(target=put, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    while len(found) < 2000:
        taken = mailbox.take(30)
        assert taken
        found += taken
    for who in range(4):
        assert [number for each, number in found if each == who] == list(range(500))


def test_a_time_that_is_over_is_not_waited_for() -> None:
    """A wait that begins where something was there before and is gone ends at once (SimpleQueue's may never end)."""
    mailbox: Mailbox[int] = Mailbox()
    with ThreadPoolExecutor(1) as other:
        for number in range(200):
            mailbox.put(number)
            assert mailbox.take(0) == [number]
            assert other.submit(mailbox.take, 0.000_001).result(30) == []
            assert other.submit(mailbox.take, -1.0).result(30) == []
