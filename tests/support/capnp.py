"""Cap'n Proto by hand: enough to speak to rauhad honestly, and to lie to it. Written from the encoding and rpc.capnp specifications.

Every message here is one segment. `encode` lays out a tree of Struct, Text, Texts, Structs, Cap and Raw.
"""

import hashlib
import re
import struct

from .instance import REPOSITORY

WORD = 8


class Struct:
    """data: the bytes of the data section (whole words); pointers: values or None."""

    def __init__(self, data=b"", pointers=()):
        self.data, self.pointers = data + bytes(-len(data) % WORD), list(pointers)


class Text:
    def __init__(self, text):
        self.data = (text.encode() if isinstance(text, str) else text) + b"\0"


class Texts(list):
    """A list of Text, or of anything that is behind a pointer."""


class Structs(list):
    """A list of Struct, all of one size."""


class Cap(int):
    """Index into the message's table of capabilities."""


class Flat(bytes):
    """A message of one segment that somebody else encoded (`capnp encode --flat`): its root is placed."""


class Raw(int):
    """A pointer as a bare number: for lies."""


def _struct_pointer(offset, value):
    return (offset & 0x3FFFFFFF) << 2 | (len(value.data) // WORD) << 32 | len(value.pointers) << 48


class _Layout:
    def __init__(self):
        self.words = bytearray()

    def allocate(self, data):
        index = len(self.words) // WORD
        self.words += data + bytes(-len(data) % WORD)
        return index

    def set(self, index, number):
        struct.pack_into("<Q", self.words, index * WORD, number & 0xFFFFFFFFFFFFFFFF)

    def place(self, at, value):
        """Writes `value` behind the pointer word `at`."""
        if value is None:
            return
        if isinstance(value, Raw):
            self.set(at, value)
        elif isinstance(value, Cap):
            self.set(at, 3 | int(value) << 32)
        elif isinstance(value, Struct):
            index = self.allocate(value.data + bytes(WORD * len(value.pointers)))
            self.set(at, _struct_pointer(index - at - 1, value))
            self._pointers(index, value)
        elif isinstance(value, Flat):
            # Pointers within are relative: the whole segment moves. Its first word is the root's pointer.
            index = self.allocate(value)
            root = struct.unpack_from("<Q", value)[0]
            self.set(at, (index - at + (root >> 2 & 0x3FFFFFFF)) << 2 | root & ~0xFFFFFFFF)
        elif isinstance(value, Text):
            index = self.allocate(value.data)
            self.set(at, (index - at - 1) << 2 | 1 | 2 << 32 | len(value.data) << 35)
        elif isinstance(value, Texts):
            index = self.allocate(bytes(WORD * len(value)))
            self.set(at, (index - at - 1) << 2 | 1 | 6 << 32 | len(value) << 35)
            for number, item in enumerate(value):
                self.place(index + number, item)
        elif isinstance(value, Structs):
            first = value[0]
            each = len(first.data) // WORD + len(first.pointers)
            index = self.allocate(bytes(WORD * (1 + each * len(value))))
            self.set(at, (index - at - 1) << 2 | 1 | 7 << 32 | each * len(value) << 35)
            self.set(index, _struct_pointer(len(value), first))
            for number, item in enumerate(value):
                start = index + 1 + number * each
                self.words[start * WORD:start * WORD + len(item.data)] = item.data
                self._pointers(start, item)
        else:
            raise TypeError(value)

    def _pointers(self, index, value):
        first = index + len(value.data) // WORD
        for number, item in enumerate(value.pointers):
            self.place(first + number, item)


def frame(segment):
    """The stream header of a message of one segment."""
    assert len(segment) % WORD == 0
    return struct.pack("<II", 0, len(segment) // WORD) + bytes(segment)


def encode(root):
    layout = _Layout()
    layout.allocate(bytes(WORD))
    layout.place(0, root)
    return frame(layout.words)


def interface_id(schema, name):
    """The id of a top-level declaration: derived from the file's id, as the schema compiler does."""
    text = (REPOSITORY / "schemas" / schema).read_text()
    parent = int(re.match(r"@(0x[0-9a-f]+);", text).group(1), 16)
    return int.from_bytes(hashlib.md5(parent.to_bytes(8, "little") + name.encode()).digest()[:8], "big") | 1 << 63


RAUHA = interface_id("client.capnp", "Rauha")
TASK_HANDLE = interface_id("client.capnp", "TaskHandle")
METHODS = dict(hello=0, sandbox=1, createZone=2, listZones=3, showZone=4, deleteZone=5, applyPolicy=6, validatePolicy=7, listImages=8, inspectImage=9,
               removeImage=10, importImage=11, listPlugins=12, doctor=13, events=14, shutdown=15)


def message(tag, body):
    return encode(Struct(struct.pack("<H", tag), [body]))


def bootstrap(question=0):
    return message(8, Struct(struct.pack("<I", question), [None]))


def promised(question, field=None):
    """The target "answer of an earlier question", or one pointer field of it."""
    transform = None if field is None else Structs([Struct(struct.pack("<HH", 1, field))])
    return Struct(struct.pack("<IH", 0, 1), [Struct(struct.pack("<I", question), [transform])])


def imported(number):
    return Struct(struct.pack("<IH", number, 0), [None])


def sender_hosted(number):
    return Struct(struct.pack("<HBxI", 1, 255, number), [None])


def call(question, target, method, content=None, capabilities=(), interface=None):
    payload = Struct(b"", [content, Structs(capabilities) if capabilities else None])
    data = struct.pack("<IHHQQ", question, METHODS.get(method, method), 0, RAUHA if interface is None else interface, 0)
    return message(2, Struct(data, [target, payload, None]))


def hello(question, bootstrap_question=0, version="test"):
    return call(question, promised(bootstrap_question), "hello", Struct(b"", [Text(version)]))


def sandbox_request(image="host", argv=("true",), repo_mode=0, timeout_ms=20_000, stdin=False, keep=False, name=None, policy=None, env=(), workdir=None,
                    user=None, terminal=False, degraded=(), rows=0, columns=0):
    def text(value):
        return None if value is None else value if isinstance(value, (Text, Raw)) else Text(value)

    def texts(values):
        return values if isinstance(values, Raw) else Texts(text(value) for value in values)
    data = struct.pack("<HHHHQ", repo_mode, int(keep) | int(terminal) << 1 | int(stdin) << 2, rows, columns, timeout_ms)
    return Struct(data, [text(image), text(name), text(policy), None, None, None, text(workdir), texts(env), texts(argv), None, text(user), texts(degraded)])


def sandbox(question, request, bootstrap_question=0, sinks=()):
    """sinks: export numbers for stdout and stderr."""
    content = Struct(bytes(8), [request, *[Cap(index) for index in range(len(sinks))], *[None] * (2 - len(sinks))])
    return call(question, promised(bootstrap_question), "sandbox", content, [sender_hosted(number) for number in sinks])


def finish(question, release=True):
    # releaseResultCaps is true by default: the bit is inverted
    return message(4, Struct(struct.pack("<IB", question, 0 if release else 1)))


def release(number, count):
    return message(6, Struct(struct.pack("<II", number, count)))


def return_of(answer, tag=2):
    """A Return that nobody asked for; tag 2 is "canceled"."""
    return message(3, Struct(struct.pack("<IHHQ", answer, 0, tag, 0), [None]))


def abort():
    return message(1, Struct(bytes(8), [Text("go away")]))


def disembargo(target, loopback=0):
    return message(13, Struct(struct.pack("<IH", loopback, 0), [target]))


def resolve(promise):
    return message(5, Struct(struct.pack("<IH", promise, 0), [sender_hosted(1)]))


def messages(data):
    """The complete messages at the start of `data`, and what is left. Segments are not interpreted."""
    found = []
    while len(data) >= 8:
        count = struct.unpack_from("<I", data)[0] + 1
        header = 4 * (count + 1)
        header += -header % WORD
        if len(data) < header:
            break
        size = header + WORD * sum(struct.unpack_from(f"<{count}I", data, 4))
        if len(data) < size:
            break
        found.append(data[header:size])
        data = data[size:]
    return found, data
