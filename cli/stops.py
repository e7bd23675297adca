"""Lets a process do something the moment that it is told to stop, whoever handles the signal."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

from cli.announcement import STOPS


def when_told_to_stop(act: Callable[[], object]) -> None:
    """Call `act` once, on a thread of its own, when a signal to stop comes; from the main thread.

    The server handles these signals itself: it waits for what is being answered, and an answer that goes on until it is
    told to end must be told. Python also writes the number of each signal that has a handler, any handler, to one file
    descriptor of the process, and that is what is listened to.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while not set(STOPS) & set(heard.recv(64)):
            pass
        act()
        for end in (heard, told):
            end.detach()  # left open: the next signals are written there still

    threading.Thread(target=listen, name="stops", daemon=True).start()
