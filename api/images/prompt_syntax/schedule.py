"""What a prompt says at each step, in AUTOMATIC1111's notation.

`[from:to:when]` changes at a step, or at a share of the steps where `when` has a point; `[to:when]` appears then, `[from::when]` is gone
then. `[a|b]` takes turns step by step. Brackets that are none of these stay in the text, for weights.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_MARK = re.compile(r"\\.|[\[\]():|]", re.DOTALL)
_NUMBER = re.compile(r"\s*(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_AND = re.compile(r"(?:(?<!\s)\s+)?(?::\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*)?\bAND\b\s*")
_LAST_WEIGHT = re.compile(r"(?<!\s)\s*:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*$")
_SPLIT = re.compile(r"\bAND\b")
LAST = 10**9
"""A step behind every change."""
CLOSING = {"]": "[", ")": "("}


@dataclass(frozen=True)
class Edit:
    """`before` up to and with the step `when`, then `after`."""

    before: list[Node]
    after: list[Node]
    when: float
    is_share: bool

    def last_step(self, steps: int) -> int:
        """The last step that has `before`; 0 where none has."""
        return int(min(steps, self.when * steps if self.is_share else self.when))


@dataclass(frozen=True)
class Alternation:
    options: list[list[Node]]


Node = str | Edit | Alternation | list["Node"]


@dataclass(frozen=True)
class Stretch:
    """The prompt is `text` up to and with step `last`, counted from 1."""

    last: int
    text: str


def make_schedule(prompt: str, steps: int) -> list[Stretch]:
    """In the order of the steps; the last one ends at `steps`."""
    tree = _parse(prompt)
    ends = sorted({*_changes(tree, steps), steps})
    stretches: list[Stretch] = []
    for end in ends:
        text = _render(tree, end, steps)
        if stretches and stretches[-1].text == text:
            stretches.pop()
        stretches.append(Stretch(end, text))
    return stretches


def final_text(prompt: str) -> str:
    return _render(_parse(prompt), LAST, LAST)


def join_compositions(prompt: str) -> tuple[str, bool]:
    """`a AND b :0.5` as one prompt, `a, b`; and whether there was an AND."""
    first, *others = _AND.split(prompt)
    if not others:
        return prompt, False
    return ", ".join(part for part in (first, *others[:-1], _LAST_WEIGHT.sub("", others[-1])) if part.strip()), True


def split_compositions(prompt: str) -> list[tuple[str, float]]:
    """`a AND b :0.5` as its parts, each with its weight; a prompt without AND is one part, whole."""
    parts = _SPLIT.split(prompt)
    return [_split_weight(part) for part in parts] if len(parts) > 1 else [(prompt, 1.0)]


def _split_weight(part: str) -> tuple[str, float]:
    found = _LAST_WEIGHT.search(part)
    return (part[: found.start()].strip(), float(found["weight"])) if found else (part.strip(), 1.0)


@dataclass
class _Bracket:
    """An open one, and what it holds so far: fields between `:` and `|`."""

    opener: str
    fields: list[list[Node]] = field(default_factory=lambda: [[]])
    separators: list[str] = field(default_factory=list)

    def add(self, node: Node) -> None:
        self.fields[-1].append(node)

    def as_text(self, closer: str) -> Node:
        """What was written, with what is inside."""
        nodes: list[Node] = [self.opener, self.fields[0]]
        for separator, inside in zip(self.separators, self.fields[1:], strict=True):
            nodes += [separator, inside]
        return [*nodes, closer]

    def close(self, closer: str) -> Node:
        kinds = set(self.separators)
        if kinds == {"|"}:
            return Alternation(self.fields)
        if kinds == {":"} and len(self.separators) <= 2 and (when := self.number()):
            before = self.fields[0] if len(self.separators) == 2 else []
            return Edit(before, self.fields[-2], float(when), "." in when)
        return self.as_text(closer)

    def number(self) -> str:
        last = self.fields[-1]
        match = _NUMBER.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
        return match["number"] if match else ""


def _parse(prompt: str) -> list[Node]:
    stack = [_Bracket("")]
    end = 0
    for match in _MARK.finditer(prompt):
        if words := prompt[end : match.start()]:
            stack[-1].add(words)
        end = match.end()
        _read_mark(stack, match[0])
    if words := prompt[end:]:
        stack[-1].add(words)
    while len(stack) > 1:
        unclosed = stack.pop()
        stack[-1].add(unclosed.as_text(""))
    return stack[0].fields[0]


def _read_mark(stack: list[_Bracket], mark: str) -> None:
    bracket = stack[-1]
    if mark in CLOSING.values():
        stack.append(_Bracket(mark))
    elif mark in CLOSING and bracket.opener == CLOSING[mark]:
        stack.pop()
        stack[-1].add(bracket.close(mark))
    elif mark in ":|" and bracket.opener == "[":
        bracket.separators.append(mark)
        bracket.fields.append([])
    else:
        bracket.add(mark)


def _moving_nodes(tree: list[Node]) -> Iterator[Edit | Alternation]:
    waiting: list[Node] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, Edit):
            yield node
            waiting += [node.before, node.after]
        elif isinstance(node, Alternation):
            yield node
            waiting += node.options


def _changes(tree: list[Node], steps: int) -> set[int]:
    """The steps after which the text may change."""
    ends: set[int] = set()
    for node in _moving_nodes(tree):
        if isinstance(node, Alternation):
            return set(range(1, steps + 1))
        if (last := node.last_step(steps)) >= 1:
            ends.add(last)
    return ends


def _render(tree: list[Node], step: int, steps: int) -> str:
    texts: list[str] = []
    waiting: list[Node] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, Edit):
            waiting.append(node.before if step <= node.last_step(steps) else node.after)
        elif isinstance(node, Alternation):
            waiting.append(node.options[(step - 1) % len(node.options)])
        else:
            waiting += reversed(node)
    return "".join(texts)
