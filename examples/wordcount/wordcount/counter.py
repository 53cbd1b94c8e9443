"""Words are runs of letters and digits, with apostrophes inside; case does not matter."""

import collections
import dataclasses
import re

WORD = re.compile(r"\w+(?:'\w+)*")


@dataclasses.dataclass(frozen=True)
class Counts:
    lines: int
    words: int
    characters: int


def words(text):
    return [match.group().casefold() for match in WORD.finditer(text)]


def count(text):
    return Counts(lines=len(text.splitlines()), words=len(words(text)), characters=len(text))


def top(text, limit=10):
    """The most frequent words with their counts; equal counts in alphabetical order."""
    if limit < 1:
        raise ValueError(f"limit is {limit}, must be at least 1")
    counted = collections.Counter(words(text))
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
