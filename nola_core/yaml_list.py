"""One item more or less in a list of a YAML file, with every other character left as it is."""

from __future__ import annotations

import re

import yaml
from yaml.nodes import MappingNode, SequenceNode


def with_item(text: str, key: str, item: str) -> str:
    """The text with `item` at the end of the list `key`, in the list's own style: `[a, b]`, or a line each.

    Raises:
        ValueError: there is no such list at the top of the file.
    """
    found = _list(text, key)
    start, end = found.start_mark.index, found.end_mark.index
    if found.flow_style:
        if not found.value:
            return f"{text[: start + 1]}{item}{text[end - 1 :]}"
        last = found.value[-1].end_mark.index
        return f"{text[:last]}, {item}{text[last:]}"
    line_end = text.find("\n", found.value[-1].end_mark.index)
    before, after = (text + "\n", "") if line_end < 0 else (text[: line_end + 1], text[line_end + 1 :])
    return f"{before}{' ' * found.start_mark.column}- {item}\n{after}"


def without_item(text: str, key: str, item: str) -> str:
    """The text without `item` in the list `key`; a line of its own goes with the comment behind it.

    Raises:
        ValueError: there is no such list at the top of the file, or no such item in it.
    """
    found = _list(text, key)
    values = [node.value for node in found.value]
    if item not in values:
        raise ValueError(f"`{key}` lists no {item}")
    place = values.index(item)
    node = found.value[place]
    start, end = node.start_mark.index, node.end_mark.index
    if not found.flow_style:
        start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        return text[:start] + ("" if line_end < 0 else text[line_end + 1 :])
    between = text[found.value[place - 1].end_mark.index : start] if place else "#"
    if place == len(values) - 1 and "#" not in between:  # the comma before the last one goes, unless a comment stands there
        start -= len(between)
    elif behind := re.match(r"(\s|#.*\n)*,[ \t]*", text[end:]):
        end += behind.end()
    return text[:start] + text[end:]


def _list(text: str, key: str) -> SequenceNode:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, MappingNode) else []
    found = next((value for name, value in reversed(pairs) if name.value == key), None)
    if not isinstance(found, SequenceNode):
        raise ValueError(f"there is no list `{key}`")
    return found
