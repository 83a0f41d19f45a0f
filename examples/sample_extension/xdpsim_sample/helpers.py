"""The helpers of sample programs: what each takes and gives, and the native that carries it out."""

from errno import ENOENT

from runtime.maps import MAX_ENTRIES_AT
from runtime.native import clz64, load8, load64, memeq, memzero, native, store8, udiv, zext32
from runtime.spec import Arg, ArgType, Helper, Prototype
from xdpsim_sample.context import Record
from xdpsim_sample.window import WINDOW, window_mean, window_push

NUMBER_AT = int(Record.NUMBER)
GRADES = 8


@native
def share(env: int, number: int, percent: int) -> int:
    """Plain numbers: so many hundredths of a number."""
    return udiv(zext32(number) * zext32(percent), 100)


@native
def checksum(env: int, data: int, size: int) -> int:
    """Memory in: the sum of its bytes."""
    total = 0
    for at in range(size):
        total += load8(data + at)
    return total


@native
def name(env: int, out: int, size: int) -> int:
    """Memory out: "sample", cut to the size, the rest zero."""
    memzero(out, size)
    word = 0x656C706D6173
    at = 0
    while at < size - 1 and word != 0:
        store8(out + at, word & 0xFF)
        word = word >> 8
        at += 1
    return at


@native
def window_add(env: int, window: int, number: int) -> int:
    """A map in: remember a number in a window; the mean of what it holds then."""
    entries = load64(window + MAX_ENTRIES_AT)
    window_push(window, entries, number)
    return window_mean(window, entries)


@native
def event_number(env: int, context: int) -> int:
    """The context in: how many events the hook has had, this one counted."""
    return load64(context + NUMBER_AT)


@native
def grade(env: int, number: int) -> int:
    """A promise out, 0 to 7: how large a 32-bit number is, by its number of bits."""
    bits = 64 - clz64(zext32(number))
    return min(udiv(bits, 4), GRADES - 1)


@native
def find(env: int, data: int, size: int, pattern: int, pattern_size: int) -> int:
    """Where a pattern begins in memory for the first time; -ENOENT without one."""
    at = 0
    while at + pattern_size <= size:
        if memeq(data + at, pattern, pattern_size) != 0:
            return at
        at += 1
    return -ENOENT


NUMBER = Arg(ArgType.ANYTHING)
MEMORY = Arg(ArgType.MEMORY)
SIZE = Arg(ArgType.CONST_SIZE)

SAMPLE_HELPERS = (
    Helper(id=0x20001, name="sample_share", native=share, prototype=Prototype(args=(NUMBER, NUMBER))),
    Helper(
        id=0x20002,
        name="sample_checksum",
        native=checksum,
        prototype=Prototype(args=(MEMORY, SIZE), packet_access=True),
    ),
    Helper(
        id=0x20003,
        name="sample_name",
        native=name,
        prototype=Prototype(args=(Arg(ArgType.UNINIT_MEMORY, writes=True), SIZE)),
    ),
    Helper(
        id=0x20004,
        name="sample_window_add",
        native=window_add,
        prototype=Prototype(args=(Arg(ArgType.CONST_MAP), NUMBER)),
        map_types=(WINDOW,),
    ),
    Helper(
        id=0x20005,
        name="sample_event_number",
        native=event_number,
        prototype=Prototype(args=(Arg(ArgType.CONTEXT),)),
    ),
    Helper(
        id=0x20006,
        name="sample_grade",
        native=grade,
        prototype=Prototype(args=(NUMBER,), returns=(0, GRADES - 1)),
    ),
    Helper(
        id=0x20007,
        name="sample_find",
        native=find,
        prototype=Prototype(args=(MEMORY, SIZE, MEMORY, SIZE), packet_access=True),
    ),
)
