"""Recipe strings against an expansion by hand and by a tree."""

from __future__ import annotations

import tracemalloc
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bcdi.recipe import ALGORITHMS, MAX_ITERATIONS, format_recipe, parse_recipe

Expanded = tuple[str, tuple[str, ...]]


def joined(terms: list[Expanded]) -> Expanded:
    return "+".join(text for text, _ in terms), sum((schedule for _, schedule in terms), ())


def repeated(count: int, inner: Expanded) -> Expanded:
    return f"{count}*({inner[0]})", inner[1] * count


algorithms = st.sampled_from(ALGORITHMS).map(lambda name: (name, (name,)))
terms = st.builds(lambda count, one: (f"{count}*{one[0]}", one[1] * count), st.integers(1, 9), algorithms)
recipes = st.recursive(
    algorithms | terms,
    lambda inner: st.builds(repeated, st.integers(1, 3), inner) | st.lists(inner, min_size=1, max_size=3).map(joined),
    max_leaves=8,
)


def test_the_notation_of_cohere_unfolds() -> None:
    assert parse_recipe("3*(20*ER+180*HIO)+20*ER") == (("ER",) * 20 + ("HIO",) * 180) * 3 + ("ER",) * 20


@pytest.mark.parametrize("text", ["2*er+Hio", " 2 * ER + HIO ", "(2*(ER))+(HIO)", "2*ER+1*HIO", "ER+ER+HIO"])
def test_case_spaces_and_parentheses_do_not_matter(text: str) -> None:
    assert parse_recipe(text) == ("ER", "ER", "HIO")


@given(recipes)
def test_any_tree_unfolds_as_built(recipe: Expanded) -> None:
    text, schedule = recipe
    assert parse_recipe(text) == schedule


@given(st.lists(st.sampled_from(ALGORITHMS), min_size=1, max_size=30).map(tuple))
def test_format_is_the_inverse_and_the_shortest(schedule: tuple[str, ...]) -> None:
    text = format_recipe(schedule)
    assert parse_recipe(text) == schedule
    assert text.count("*") == len(list(groupby(schedule)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got the end at character 1"),
        ("   ", "got the end at character 1"),
        ("ER+", "got the end at character 4"),
        ("20*ERR", "one of ER, HIO, RAAR, got 'ERR' at character 4"),
        ("20ER", r"'\*' after a count, got 'ER' at character 3"),
        ("20", r"'\*' after a count, got the end"),
        ("2*3*ER", "got '3' at character 3"),
        ("(ER", r"expected '\)', got the end"),
        ("ER)", r"an end or '\+', got '\)' at character 3"),
        ("()", r"got '\)' at character 2"),
        ("ER-HIO", "cannot read '-' at character 3"),
        ("-2*ER", "cannot read '-' at character 1"),
        ("1.5*ER", "cannot read '.' at character 2"),
        ("20*ER + 3*RAR", "got 'RAR' at character 11"),
        ("  20 ER", r"'\*' after a count, got 'ER' at character 6"),
        ("ER +  - HIO", "cannot read '-' at character 7"),
        ("ER +  ", "got the end at character 5"),
        ("0*ER", "a count of 0 does nothing"),
        (f"{MAX_ITERATIONS + 1}*ER", f"more than {MAX_ITERATIONS} iterations"),
        (f"{MAX_ITERATIONS}*ER+HIO", f"more than {MAX_ITERATIONS} iterations"),
        ("9999*(9999*(9999*(9999*ER)))", f"more than {MAX_ITERATIONS} iterations"),
        ("1000000000*ER", f"more than {MAX_ITERATIONS} iterations"),
        ("9" * 5000 + "*ER", "5003 characters, expected 4000 at most"),
        ("+".join(["ER"] * 10**6), "2999999 characters"),
        ("(" * 5000 + "ER" + ")" * 5000, "more than 50 parentheses"),
    ],
)
def test_an_error_is_one_line_that_shows_the_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_recipe(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["1000000000*ER", "999999*(999999*ER)", "9999*(ER+9999*(HIO+9999*RAAR))"])
def test_an_absurd_count_is_refused_before_memory_is_filled(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="iterations"):
            parse_recipe(text)
        assert tracemalloc.get_traced_memory()[1] < 100 * MAX_ITERATIONS
    finally:
        tracemalloc.stop()


@given(st.text(alphabet="ERHIOA0123456789*+() ", max_size=25))
def test_any_text_is_a_schedule_or_a_value_error(text: str) -> None:
    try:
        schedule = parse_recipe(text)
    except ValueError:
        return
    assert schedule
    assert set(schedule) <= set(ALGORITHMS)
