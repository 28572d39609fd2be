"""Only one process prepares a thing at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.progress import silent


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "not" / "yet" / ".lock"
    told: list[str] = []
    waiting = threading.Event()
    order: list[str] = []

    def second() -> None:
        def progress(message: str, fraction: float | None) -> None:
            told.append(message)
            waiting.set()

        with file_lock(lock, waiting_for="etcd 3.7.3", progress=progress):
            order.append("second")

    with file_lock(lock, waiting_for="etcd 3.7.3", progress=silent):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert told == ["etcd 3.7.3: another process is preparing it"]


def test_it_is_free_again_after_a_failure(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        try:
            with file_lock(tmp_path / ".lock", waiting_for="x", progress=lambda message, _: told.append(message)):
                raise RuntimeError
        except RuntimeError:
            pass
    assert told == []
