import pytest

from wordcount import Counts, count, top
from wordcount.counter import words


def test_an_empty_text_has_nothing():
    assert count("") == Counts(lines=0, words=0, characters=0)


def test_lines_words_and_characters():
    assert count("one two\nthree\n") == Counts(lines=2, words=3, characters=14)


@pytest.mark.parametrize(("text", "expected"), [
    ("Don't panic", ["don't", "panic"]),
    ("a-b, c.", ["a", "b", "c"]),
    ("Äpfel und Öl", ["äpfel", "und", "öl"]),
])
def test_what_a_word_is(text, expected):
    assert words(text) == expected


def test_case_does_not_matter():
    assert top("Rauha rauha RAUHA") == [("rauha", 3)]


def test_equal_counts_are_in_alphabetical_order():
    assert top("b a c b a") == [("a", 2), ("b", 2), ("c", 1)]


def test_the_limit_holds():
    assert len(top("a b c d e", limit=2)) == 2


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit is 0"):
        top("a", limit=0)
