"""From a JSON pointer into a YAML or JSON text to its line, so that a problem can be shown where it is written."""

from __future__ import annotations

from typing import Any


class Locator:
    """Of one text. One that cannot be parsed has no lines: the server says what is wrong with it."""

    def __init__(self, text: str) -> None:
        from ruamel.yaml import YAML  # noqa: PLC0415 - only where there is a problem to show
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415

        try:
            # JSON is YAML 1.2, so one composer does for both.
            self._root: Any = YAML(typ="safe", pure=True).compose(text)
        except (YAMLError, ValueError, RecursionError):
            self._root = None

    def line(self, pointer: str) -> int | None:
        """Counted from one; of the innermost thing there is, where the pointer's own is missing."""
        node = self._root
        if node is None:
            return None
        mark = node.start_mark
        for token in pointer.split("/")[1:]:
            step = _step(node, token.replace("~1", "/").replace("~0", "~"))
            if step is None:
                break
            key, node = step
            mark = key.start_mark
        return int(mark.line) + 1


def _step(node: Any, token: str) -> tuple[Any, Any] | None:
    """The node a token leads to, and the one that stands for it in the text (a member's name)."""
    if node.id == "mapping":
        return next(((key, value) for key, value in node.value if str(key.value) == token), None)
    if node.id == "sequence" and token.isdigit() and int(token) < len(node.value):
        element = node.value[int(token)]
        return element, element
    return None
