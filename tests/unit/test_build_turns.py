"""How much of its time a build waited for the processors, by what the kernel counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.build.turns import Clock


class Kernel:
    """proc(5) of process 7, whose threads are 7 and 8."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self._threads = proc / "7" / "task"

    def counts(self, **threads: tuple[float, float]) -> None:
        """Of each thread: the seconds that it ran, and that it waited."""
        for name, (ran, waited) in threads.items():
            thread = self._threads / name.removeprefix("t")
            thread.mkdir(parents=True, exist_ok=True)
            (thread / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 99\n")

    def clock(self, seconds: float = 10) -> Clock:
        return Clock(7, started=100, seconds=seconds, proc=self.proc)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_waiting_takes_none_of_its_time(kernel: Kernel) -> None:
    kernel.counts(t7=(4, 5), t8=(1, 90))
    clock = kernel.clock()
    assert not clock.over(115)
    assert clock.over(115.1)


def test_but_not_for_ever_as_it_may_be_its_own_processes_that_it_waits_for(kernel: Kernel) -> None:
    kernel.counts(t7=(4, 500))
    clock = kernel.clock()
    assert not clock.over(140)
    assert clock.over(140.1)


def test_where_the_kernel_counts_nothing_it_is_the_time_that_passed(kernel: Kernel) -> None:
    clock = kernel.clock()
    assert not clock.over(110)
    assert clock.over(110.1)
    assert not clock.starved(200)


def test_one_that_waits_and_hardly_runs_starves(kernel: Kernel) -> None:
    clock = kernel.clock()
    kernel.counts(t7=(2, 0.1), t8=(2, 0.1))
    assert not clock.starved(104)
    kernel.counts(t7=(2.1, 4))
    assert not clock.starved(108)
    kernel.counts(t8=(2.1, 1.1))  # together 0.2 s in 4.9
    assert not clock.starved(109)
    kernel.counts(t8=(2.1, 1.4))
    assert not clock.starved(109.9)  # it is looked once a second
    assert clock.starved(110)


def test_one_that_gets_on_slowly_does_not(kernel: Kernel) -> None:
    clock = kernel.clock()
    for second in range(60):
        # A ninth of the time.
        kernel.counts(t7=(second / 9, second * 8 / 9))
        assert not clock.starved(100 + second)


def test_nor_one_whose_threads_wait_for_one_another(kernel: Kernel) -> None:
    clock = kernel.clock()
    for second in range(60):
        kernel.counts(t7=(second, second * 50), t8=(second, second * 50))
        assert not clock.starved(100 + second)


def test_nor_one_that_waits_for_something_else(kernel: Kernel) -> None:
    clock = kernel.clock()
    kernel.counts(t7=(1, 1))
    for second in range(60):
        assert not clock.starved(100 + second)


def test_where_a_thread_has_ended_counting_begins_anew(kernel: Kernel) -> None:
    clock = kernel.clock()
    kernel.counts(t7=(1, 1), t8=(3, 3))
    assert not clock.starved(102)
    (kernel.proc / "7" / "task" / "8" / "schedstat").unlink()
    kernel.counts(t7=(1, 5.9))
    assert not clock.starved(104)
    kernel.counts(t7=(1, 10.8))
    assert not clock.starved(106)
    kernel.counts(t7=(1, 10.9))
    assert clock.starved(108)
