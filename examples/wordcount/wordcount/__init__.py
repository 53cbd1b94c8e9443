"""Counts words in text."""

from wordcount.counter import Counts, count, top

__all__ = ["Counts", "count", "top"]
