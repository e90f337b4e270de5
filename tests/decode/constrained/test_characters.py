import itertools

from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode.constrained.characters import utf8_spans
from decodeloop.decode.constrained.syntax import ANY, all_but, chars

points = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF))
BORDERS = [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF, 0xD7FF, 0xE000]


def read(spans, data: bytes) -> bool:
    return any(
        len(one) == len(data) and all(a <= b <= z for (a, z), b in zip(one, data, strict=True))
        for one in spans
    )


@given(points, st.integers(0, 3000))
def test_exactly_the_code_points_of_a_range_are_written(first, more):
    last = min(first + more, 0x10FFFF if first >= 0xE000 else 0xD7FF)
    written = [
        bytes(data)
        for spans in utf8_spans(first, last)
        for data in itertools.product(*(range(a, z + 1) for a, z in spans))
    ]
    assert sorted(written) == sorted(chr(point).encode() for point in range(first, last + 1))


@given(points, points)
def test_the_ends_and_their_neighbours_are_told_apart(one, other):
    first, last = sorted((one, other))
    if first < 0xD800 <= last:  # ranges never hold surrogates
        last = 0xD7FF
    spans = utf8_spans(first, last)
    assert len(spans) < 20
    for point in {first - 1, first, last, last + 1, *BORDERS}:
        if 0 <= point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF:
            assert read(spans, chr(point).encode()) == (first <= point <= last)


def test_surrogates_are_no_characters():
    assert ANY.ranges == ((0, 0xD7FF), (0xE000, 0x10FFFF))
    assert chars((0xD000, 0xE000)).ranges == ((0xD000, 0xD7FF), (0xE000, 0xE000))


@given(st.lists(st.tuples(points, st.integers(0, 99)), max_size=5), points)
def test_all_but_some_are_the_others(pairs, point):
    ranges = [(first, first + more) for first, more in pairs]
    inside = any(first <= point <= last for first, last in ranges)
    among = any(first <= point <= last for first, last in chars(*ranges).ranges)
    others = any(first <= point <= last for first, last in all_but(ranges).ranges)
    assert among == inside and others == (not inside)
