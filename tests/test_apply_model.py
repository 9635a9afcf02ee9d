"""`apply` under a machine that tries everything, and the proof that the machine would notice a missing fence."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger_machine import LedgerMachine

EXAMPLES = int(os.environ.get("WEBSPOOL_MODEL_EXAMPLES", "150"))
STEPS = 40
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_whatever_happens_to_a_ledger_its_laws_hold_and_every_job_can_end() -> None:
    """No order of operations, crashes, lost answers and passing time breaks a law (WEBSPOOL_MODEL_EXAMPLES: how long)."""
    wanted = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=QUIET)
    run_state_machine_as_test(LedgerMachine, settings=wanted)
