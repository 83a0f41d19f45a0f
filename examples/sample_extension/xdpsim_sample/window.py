"""A kind of map that remembers the last numbers it was given: key 0 is the newest, max_entries - 1 the oldest.

Its memory is a count of all numbers ever given, then max_entries words that are written in turn.
"""

from errno import EINVAL, ENOENT

from runtime.maps import HEADER_SIZE
from runtime.native import atomic_add64, load32, load64, native, store32, store64, udiv, ule, ult, urem
from runtime.spec import MapKind, MapOp

WINDOW = 0x20001

GIVEN = HEADER_SIZE
NUMBERS = HEADER_SIZE + 8


@native
def window_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes behind the header, or a negative errno for maps that cannot be."""
    if key_size != 4 or value_size != 8 or max_entries == 0 or flags != 0:
        return -EINVAL
    return 8 + 8 * max_entries


@native
def window_init(window: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Memory is zero when a map is made, which is an empty window."""
    return 0


@native
def kept(window: int, max_entries: int) -> int:
    """How many numbers there are."""
    given = load64(window + GIVEN)
    if ult(given, max_entries):
        return given
    return max_entries


@native
def place_of(window: int, max_entries: int, age: int) -> int:
    """Where the number of that age is."""
    return window + NUMBERS + 8 * urem(load64(window + GIVEN) - 1 - age, max_entries)


@native
def window_push(window: int, max_entries: int, number: int) -> int:
    """Remember a number; the oldest goes. Workers that do so at once each write a word of their own."""
    turn = atomic_add64(window + GIVEN, 1)
    return store64(window + NUMBERS + 8 * urem(turn, max_entries), number)


@native
def window_lookup(window: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of a number, or 0 for an age that there is not yet."""
    age = load32(key)
    if ule(kept(window, max_entries), age):
        return 0
    return place_of(window, max_entries, age)


@native
def window_update(
    window: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
) -> int:
    """Only the newest is written, and by that becomes the second newest: any other key is -EINVAL."""
    if load32(key) != 0 or update_flags != 0:
        return -EINVAL
    window_push(window, max_entries, load64(value))
    return 0


@native
def window_next_key(
    window: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int
) -> int:
    """The age after an age, from 0 when key is 0; -ENOENT after the last."""
    age = 0
    if key != 0:
        age = load32(key) + 1
    if ule(kept(window, max_entries), age):
        return -ENOENT
    store32(out, age)
    return 0


@native
def window_mean(window: int, max_entries: int) -> int:
    """The mean of all numbers that are remembered, rounded down; 0 without any."""
    count = kept(window, max_entries)
    if count == 0:
        return 0
    total = 0
    for age in range(count):
        total += load64(place_of(window, max_entries, age))
    return udiv(total, count)


WINDOW_KIND = MapKind(
    id=WINDOW,
    name="window",
    size=window_size,
    init=window_init,
    next_key=window_next_key,
    ops={MapOp.LOOKUP: window_lookup, MapOp.UPDATE: window_update},
    fixed_key_size=4,
    fixed_value_size=8,
)
"""0x20001: above the numbers of Linux, and of the extensions that come with xdpsim."""
