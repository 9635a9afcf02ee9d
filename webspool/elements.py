"""An XML tree of bounded depth and number of elements."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder


class BoundedTree(TreeBuilder):
    """Builds the tree; raises ValueError past `deepest` levels or `most` elements."""

    def __init__(self, deepest: int, most: int) -> None:
        super().__init__()
        self._deepest, self._most = deepest, most
        self._depth = 0

    def start(self, tag: Any, attrs: dict[Any, Any], /) -> Element:
        self._depth += 1
        self._most -= 1
        if self._depth > self._deepest:
            raise ValueError(f"it nests more than {self._deepest} levels deep")
        if self._most < 0:
            raise ValueError("it holds too many elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)
