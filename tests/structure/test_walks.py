"""A test over many cases names all that fail."""

import pytest

from tests.walks import check_each


def test_every_case_that_fails_is_named_and_the_others_are_checked() -> None:
    checked = []

    def check(number: int) -> None:
        checked.append(number)
        assert number % 2, "it is even"

    with pytest.raises(AssertionError, match=r"2 of 5 fail:\n2: AssertionError: it is even.*\n(.*\n)*4: AssertionError"):
        check_each(range(1, 6), check)
    assert checked == [1, 2, 3, 4, 5]


def test_a_walk_over_nothing_fails() -> None:
    with pytest.raises(AssertionError, match="nothing to check"):
        check_each([], print)
