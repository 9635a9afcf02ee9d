"""A value worked out when it is first asked for, and kept: functools.cached_property without the lock of Python 3.11.

That lock is the class's, so that two threads that ask different deliveries would wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functools import cached_property as kept
else:

    class kept:
        """Asked by two threads at once it may be worked out twice; the last stays."""

        def __init__(self, work):
            self._work = work
            self.__doc__ = work.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            found = instance.__dict__[self._name] = self._work(instance)
            return found


__all__ = ["kept"]
