"""What a process waits on until it is told to stop: a signal may come at any point of the wait."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from ml.stop import Stop

ROOT = Path(__file__).resolve().parent.parent.parent

#: Waits over and over, as what looks at its children does, until the handler of a timer's signal ends it; many times,
#: since it is a matter of luck where the signal meets it. A second signal comes while the first is handled.
SIGNALS = """
import signal
from ml.stop import Stop

def tell(number, frame):
    if number == signal.SIGALRM:
        signal.setitimer(signal.ITIMER_VIRTUAL, 1e-6)
    stop.set()

for number in (signal.SIGALRM, signal.SIGVTALRM):
    signal.signal(number, tell)
for turn in range(300):
    stop = Stop()
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + turn % 50 * 1e-5)
    while not stop.wait(1e-5):
        pass
for number in (signal.SIGALRM, signal.SIGVTALRM):
    signal.signal(number, signal.SIG_IGN)
print("stopped each time")
"""

#: Sets it before each line, one after the other, that a wait runs of its own code, where a handler may come, too.
LINES = """
import faulthandler, sys, threading
from ml.stop import Stop

def wait(meet):
    seen = 0
    stop = {kind}()

    def trace(frame, event, arg):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == meet:
                stop.set()
        return trace

    sys.settrace(trace)
    stop.wait(0.001)
    sys.settrace(None)
    return stop.is_set()

faulthandler.dump_traceback_later({seconds}, exit=True)
lines = 0
while wait(lines + 1):
    lines += 1
print("stopped at each line" if lines > 2 else "saw no line")
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_signal_stops_wherever_it_meets_the_wait() -> None:
    done = run(SIGNALS)
    assert done.stdout.strip() == "stopped each time", done


def test_it_may_be_set_at_each_line_of_the_wait() -> None:
    done = run(LINES.replace("{kind}", "Stop").replace("{seconds}", "60"))
    assert done.stdout.strip() == "stopped at each line", done


def test_pythons_own_event_may_not() -> None:
    # Otherwise the test above says nothing.
    done = run(LINES.replace("{kind}", "threading.Event").replace("{seconds}", "1"))
    assert done.stdout == ""
    assert "Timeout" in done.stderr
    assert "in set" in done.stderr


def test_all_who_wait_are_told_and_who_comes_later_too() -> None:
    stop = Stop()
    heard: list[bool] = []
    threads = [threading.Thread(target=lambda: heard.append(stop.wait(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not stop.is_set()
    assert not stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert heard == [True] * 3
    assert stop.wait()
    assert stop.is_set()
