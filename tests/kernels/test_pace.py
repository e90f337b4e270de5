"""The number of threads, on a machine whose time is played."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.kernels.pace import LONGEST_WAIT, PATIENCE, SPARING_WAIT, Pace, ladder


class Machine:
    """Pieces take what one thread takes over the number of threads; with more threads than free
    cores, a time slice more."""

    def __init__(self, cores, free=None, one=0.001, slice_s=0.004):
        self.cores, self.free, self.one, self.slice_s = cores, free or cores, one, slice_s
        self.now, self.taken = 0.0, []
        self.pace = Pace(clock=lambda: self.now)

    def piece(self, kind="layer", size=1.0, sparing=False):
        threads = self.pace.threads(kind, self.cores, sparing)
        late = self.slice_s if threads > self.free else 0.0
        seconds = size * self.one / threads + late
        self.now += seconds
        self.taken.append(threads)
        self.pace.tell(kind, threads, seconds)

    def run(self, seconds, **options):
        """How often each number of threads was taken meanwhile, and how many pieces there were."""
        end, first = self.now + seconds, len(self.taken)
        while self.now < end:
            self.piece(**options)
        return Counter(self.taken[first:])


@given(most=st.integers(1, 300))
def test_the_ladder_goes_from_one_to_all(most):
    rungs = ladder(most)
    assert (rungs[0], rungs[-1]) == (1, most)
    assert rungs == sorted(set(rungs))
    assert max(1, most - 1) in rungs
    assert len(rungs) <= 2 * most.bit_length() + 2


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_a_quiet_machine_gives_all_it_has(cores):
    machine = Machine(cores)
    taken = machine.run(2.0)
    assert taken[cores] > 0.9 * taken.total()
    assert machine.pace.best(cores) == cores


def test_a_busy_core_is_left_alone():
    machine = Machine(2, free=1)
    machine.run(2.0)  # the waits have grown
    taken = machine.run(10.0)
    assert 0.9 < taken.total() * machine.one / 10.0 <= 1  # of what one thread alone would do
    assert taken[2] < 0.01 * taken.total()


def test_of_eight_cores_one_that_is_busy_costs_one_thread():
    machine = Machine(8, free=7)
    machine.run(2.0)
    assert machine.run(5.0).most_common(1)[0][0] == 7


def test_it_follows_the_load_both_ways_within_a_second():
    machine = Machine(2)
    machine.run(1.0)
    machine.free = 1
    taken = machine.run(0.05)
    assert machine.pace.best(2) == 1 and taken[2] * machine.slice_s < 3 * PATIENCE
    machine.run(20.0)
    machine.free = 2
    machine.run(LONGEST_WAIT + 0.2)
    assert machine.pace.best(2) == 2
    assert machine.run(5.0)[1] < 0.02 * len(machine.taken)


def test_a_short_disturbance_is_forgotten_at_once():
    machine = Machine(2)
    machine.run(1.0)
    for _ in range(10):
        machine.free = 1
        machine.run(0.03)
        machine.free = 2
        taken = machine.run(0.5)
        assert taken[1] < 0.2 * taken.total()


def test_one_late_piece_changes_nothing():
    machine = Machine(2)
    machine.run(1.0)
    machine.slice_s, machine.free = 0.8 * PATIENCE, 1
    machine.piece()
    machine.free = 2
    assert machine.pace.best(2) == 2


def test_kinds_are_compared_with_themselves_alone():
    machine = Machine(2)
    for _ in range(200):
        machine.run(0.005, kind=1, size=1.0)
        machine.run(0.005, kind=8, size=40.0)
    assert machine.pace.best(2) == 2


def test_a_reference_that_was_late_does_not_blind_it():
    machine = Machine(2, free=1)
    threads = machine.pace.threads("layer", 2)
    machine.pace.tell("layer", threads, 1.0)  # the first look met something else
    machine.run(0.1)
    assert machine.pace.best(2) == 1


def test_fewer_threads_that_are_allowed_hold_at_once():
    machine = Machine(8)
    machine.run(0.5)
    machine.cores = machine.free = 2
    assert max(machine.run(0.5)) == 2
    assert machine.pace.best(1) == 1


def test_sparing_comparisons_cost_a_quiet_machine_nothing():
    machine = Machine(2)
    for size in (4, 9, 100):
        machine.pace.forget("prompt")
        for _ in range(30):
            machine.piece(kind="prompt", size=size, sparing=True)
    assert set(machine.taken) == {2}


def test_sparing_comparisons_find_a_busy_core_by_pieces_that_are_late():
    machine = Machine(2, slice_s=0.04)
    machine.piece(kind="prompt", size=8, sparing=True)
    machine.free = 1
    for _ in range(29):
        machine.piece(kind="prompt", size=8, sparing=True)
    assert machine.taken[:6] == [2, 2, 1, 1, 2, 1]
    assert set(machine.taken[6:]) == {1}
    machine.free = 2
    machine.now += SPARING_WAIT
    machine.piece(kind="prompt", size=8, sparing=True)
    assert machine.taken[-1] == 2
