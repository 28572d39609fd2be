from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inference_fleet.sandbox import namespaces
from inference_fleet.sandbox.forwarders import forwarding, listen_outside, to_port, to_socket

# Needs the machine's own sockets, so no virtual clock.
pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def _shouting() -> AsyncIterator[int]:
    """A server that answers only once the caller has said all."""
    async with asyncio.TaskGroup() as answers:

        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                writer.write((await reader.read()).upper())
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers.create_task(shout(reader, writer))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


async def _ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_both_directions_pass_and_an_end_passes_too() -> None:
    listener = listen_outside()
    port = listener.getsockname()[1]
    async with _shouting() as target, forwarding(listener, dial=to_port("127.0.0.1", target)):
        assert await _ask(port, b"abc") == b"ABC"
        long = os.urandom(1) * 1_000_000
        answers = await asyncio.gather(_ask(port, long), _ask(port, b"x" * 7))
        assert answers == [long.upper(), b"XXXXXXX"]


async def test_a_socket_in_the_file_system_is_reached_as_well(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    listener = listen_outside()
    path = tmp_path / "socket"
    async with await asyncio.start_unix_server(greet, path), forwarding(listener, dial=to_socket(path)):
        assert await _ask(listener.getsockname()[1], b"") == b"hello"


async def test_a_caller_sees_an_end_while_nobody_listens_behind() -> None:
    listener = listen_outside()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    async with forwarding(listener, dial=to_port("127.0.0.1", nobody)):
        assert await _ask(listener.getsockname()[1], b"") == b""


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_open_connections_are_cut_at_the_end() -> None:
    listener = listen_outside()
    async with _shouting() as target:
        async with forwarding(listener, dial=to_port("127.0.0.1", target)):
            before = len(asyncio.all_tasks())
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            await _until(lambda: len(asyncio.all_tasks()) > before)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


_INSIDE = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
connection, _ = listener.accept()
names = [name for _, name in socket.if_nameindex()]
connection.sendall(repr(names).encode())
"""


async def test_a_socket_made_outside_is_answered_from_inside_the_namespace() -> None:
    listener = listen_outside()
    number = listener.fileno()
    command = namespaces.unshare_command((sys.executable, "-c", _INSIDE, str(number)))
    with subprocess.Popen(command, pass_fds=(number,)) as inside:
        try:
            answer = await asyncio.wait_for(_ask(listener.getsockname()[1], b""), 20)
        finally:
            inside.kill()
            listener.close()
    assert answer == b"['lo']"  # the machine's own namespace has more, or this tells nothing
