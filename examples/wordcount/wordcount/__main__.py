"""python3 -m wordcount [FILE…]: counts of each file, or of standard input."""

import sys

from wordcount.counter import count


def main(paths):
    sources = [(path, open(path, encoding="utf-8")) for path in paths] or [("-", sys.stdin)]
    for name, source in sources:
        with source:
            counts = count(source.read())
        print(f"{counts.lines:8} {counts.words:8} {counts.characters:8} {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
