"""Ports of this machine that lead into a sandbox.

A listening socket belongs to the network namespace it was made in, whoever holds it. So it is made outside, inherited
by the sandbox's first process, and accepts there what was dialled here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

_BLOCK_BYTES = 65536
_BACKLOG = 128


def listen_outside(host: str = "127.0.0.1") -> socket.socket:
    """A listening socket on a free port of this machine's loopback, which a child process may inherit."""
    listener = socket.create_server((host, 0), backlog=_BACKLOG)
    listener.set_inheritable(True)
    return listener


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Stream]]


def to_port(host: str, port: int) -> Dial:
    """Dial a TCP port."""
    return lambda: asyncio.open_connection(host, port)


def to_socket(path: Path) -> Dial:
    """Dial a socket in the file system, which all namespaces share."""
    return lambda: asyncio.open_unix_connection(path)


@contextlib.asynccontextmanager
async def forwarding(listener: socket.socket, *, dial: Dial) -> AsyncIterator[None]:
    """Lead every connection to `listener` on to what `dial` reaches, until the block ends; then all are cut."""
    open_connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_carry(reader, writer, dial=dial))
        open_connections[task] = writer
        task.add_done_callback(open_connections.pop)

    server = await asyncio.start_server(accept, sock=listener)
    try:
        yield
    finally:
        server.close()
        for task, writer in open_connections.items():
            task.cancel()
            writer.close()  # a task that has not begun yet closes nothing
        await asyncio.gather(*open_connections, return_exceptions=True)


async def _carry(near: asyncio.StreamReader, back: asyncio.StreamWriter, *, dial: Dial) -> None:
    try:
        far, on = await dial()
    except OSError:
        back.close()  # nobody is there yet: the caller sees the connection end
        return
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_copy(near, on))
            directions.create_task(_copy(far, back))
    except* OSError:
        pass  # one end is gone; both are closed below
    finally:
        back.close()
        on.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then say so to the target, which may still have something to send."""
    while block := await source.read(_BLOCK_BYTES):
        target.write(block)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
