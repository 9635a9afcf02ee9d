"""What somebody should be told at night: found out by looking, told once, in one message for all that goes wrong."""

from webspool.alerts.conditions import Alert, Facts, conditions

__all__ = ["Alert", "Facts", "conditions"]
