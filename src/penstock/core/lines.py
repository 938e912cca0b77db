"""From a JSON pointer into a YAML or JSON text to its line, so that a problem can be shown where it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def lines_of(text: str) -> Callable[[str], int | None]:
    """From a JSON pointer to its line, counted from one; where it leads nowhere, to that of the innermost thing there is."""
    try:
        root = yaml.compose(text, Loader=_LOADER) if text else None
    except (yaml.YAMLError, ValueError, RecursionError):
        root = None
    if root is None:
        return _nowhere

    def line(pointer: str) -> int:
        node, mark = root, root.start_mark
        for token in pointer.split("/")[1:]:
            step = _step(node, token.replace("~1", "/").replace("~0", "~"))
            if step is None:
                break
            mark, node = step
        return int(mark.line) + 1

    return line


def _nowhere(_: str) -> int | None:
    return None


def _step(node: Any, token: str) -> tuple[Any, Any] | None:
    """Where the member stands, and what it is."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == token), None)
    if isinstance(node, yaml.SequenceNode) and token.isdigit() and int(token) < len(node.value):
        element = node.value[int(token)]
        return element.start_mark, element
    return None
