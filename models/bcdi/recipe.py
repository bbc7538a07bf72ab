"""Recipe strings such as `3*(20*ER+180*HIO)+20*ER`, unfolded to one algorithm an iteration."""

from __future__ import annotations

import re

ALGORITHMS = ("ER", "HIO", "RAAR")
MAX_ITERATIONS = 1_000_000  # a slip of the keyboard must not fill the memory
MAX_PARENTHESES = 50
MAX_CHARACTERS = 4000  # so that a count has no more digits than Python reads

_TOKEN = re.compile(r"\d+|[A-Za-z]+|[()*+]")


def parse_recipe(text: str) -> tuple[str, ...]:
    """Return the algorithm of each iteration, in order.

    A recipe is a sum of terms; a term is an algorithm (ER, HIO, RAAR) or a recipe in parentheses, either with a count
    before it: `3*(20*ER+180*HIO)+20*ER` (the notation of cohere). Raises ValueError, one line, that shows the place.
    """
    if text.count("(") > MAX_PARENTHESES:
        raise ValueError(f"recipe: more than {MAX_PARENTHESES} parentheses")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"recipe: {len(text)} characters, expected {MAX_CHARACTERS} at most")
    reader = _Reader(text)
    schedule = reader.sum_of_terms()
    if reader.token is not None:
        raise reader.error("an end or '+'")
    return schedule


def format_recipe(schedule: tuple[str, ...]) -> str:
    """Return the shortest flat recipe of a schedule: `20*ER+180*HIO`."""
    runs: list[tuple[str, int]] = []
    for algorithm in schedule:
        if runs and runs[-1][0] == algorithm:
            runs[-1] = (algorithm, runs[-1][1] + 1)
        else:
            runs.append((algorithm, 1))
    return "+".join(f"{count}*{algorithm}" for algorithm, count in runs)


class _Reader:
    """Reads one recipe from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text = text.rstrip()
        self.start = self.end = 0
        self.token: str | None = None
        self.advance()

    def advance(self) -> None:
        self.start = len(self.text) - len(self.text[self.end :].lstrip())
        found = _TOKEN.match(self.text, self.start)
        if found is None and self.start < len(self.text):
            got = self.text[self.start]
            raise ValueError(f"recipe {self.text!r}: cannot read {got!r} at character {self.start + 1}")
        self.token = found.group() if found else None
        self.end = found.end() if found else self.start

    def error(self, expected: str) -> ValueError:
        got = "the end" if self.token is None else repr(self.token)
        return ValueError(f"recipe {self.text!r}: expected {expected}, got {got} at character {self.start + 1}")

    def sum_of_terms(self) -> tuple[str, ...]:
        schedule = self.term()
        while self.token == "+":
            self.advance()
            schedule += self.term()
            self.refuse_beyond_limit(len(schedule))
        return schedule

    def term(self) -> tuple[str, ...]:
        if self.token is None or not self.token.isdigit():
            return self.factor()
        count = int(self.token)
        self.advance()
        if self.token != "*":
            raise self.error("'*' after a count")
        if count == 0:
            raise ValueError(f"recipe {self.text!r}: a count of 0 does nothing; leave the term out")
        self.advance()
        factor = self.factor()
        self.refuse_beyond_limit(len(factor) * count)
        return factor * count

    def factor(self) -> tuple[str, ...]:
        if self.token == "(":
            self.advance()
            schedule = self.sum_of_terms()
            if self.token != ")":
                raise self.error("')'")
            self.advance()
            return schedule
        name = (self.token or "").upper()
        if name not in ALGORITHMS:
            raise self.error(f"a count, '(' or one of {', '.join(ALGORITHMS)}")
        self.advance()
        return (name,)

    def refuse_beyond_limit(self, iterations: int) -> None:
        if iterations > MAX_ITERATIONS:
            raise ValueError(f"recipe {self.text!r}: more than {MAX_ITERATIONS} iterations")
