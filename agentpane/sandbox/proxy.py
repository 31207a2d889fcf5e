"""A proxy in the engine that lets a command reach the hosts that it may reach, and no other.

It speaks CONNECT and plain HTTP, and looks names up itself: a command needs no resolver. Where a name leads is checked
after it was looked up, and exactly that address is connected to. What is refused is kept for the person.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from agentpane.domain.sandbox import Network, is_loopback, plain_host

HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024
HEAD_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 20.0
CONNECTIONS = 256  # of one command at once
REFUSED_KEPT = 100
OWN_HEADERS = frozenset({b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive"})

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """The way of one command to the network. Sockets to listen on are handed to it; `close` closes them all."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._servers: list[asyncio.Server] = []
        self._jobs: set[asyncio.Task[None]] = set()
        self._refused: dict[str, None] = {}

    @property
    def refused(self) -> tuple[str, ...]:
        """`host:port` of each that was asked for and refused, in that order, once."""
        return tuple(self._refused)

    async def serve(self, listener: socket.socket) -> None:
        """Be a proxy to whoever connects there."""
        await self._listen(listener, self._answer)

    async def forward(self, listener: socket.socket, host: str, port: int) -> None:
        """Hand what connects there to one server, byte by byte."""

        async def hand_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                there = await asyncio.open_connection(host, port, limit=CHUNK)
            await _join((reader, writer), there)

        await self._listen(listener, hand_over)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def _listen(self, listener: socket.socket, serve: Serve) -> None:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._jobs) >= CONNECTIONS:
                writer.close()
                return
            job = asyncio.get_running_loop().create_task(_served(serve, reader, writer))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)

        self._servers.append(await asyncio.start_server(accepted, sock=listener, limit=HEAD_LIMIT))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            return
        try:
            host, port, onwards = _request(head)
        except ValueError:
            await _say(writer, 400, "This is a proxy: it takes CONNECT and requests for http:// addresses.")
            return
        if not self._network.allows(host, port):
            await self._refuse(writer, host, port, f"{host}:{port} is not among the hosts that this project may reach.")
            return
        try:
            there = await self._connect(host, port)
        except PermissionError:
            await self._refuse(writer, host, port, f"{host} leads into a private network, and is not listed for that.")
            return
        except (OSError, TimeoutError):
            await _say(writer, 502, f"{host}:{port} could not be reached.")
            return
        if onwards is None:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there[1].write(onwards)
        await _join((reader, writer), there)

    async def _refuse(self, writer: asyncio.StreamWriter, host: str, port: int, why: str) -> None:
        if len(self._refused) < REFUSED_KEPT:
            self._refused[f"{host}:{port}"] = None
        await _say(writer, 403, why)

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises PermissionError when the host leads only to where it may not."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            allowed = [address for address in addresses if self._may_lead_to(host, port, address)]
            if addresses and not allowed:
                raise PermissionError(host)
            failure: OSError = OSError(f"{host} has no address")
            for address in allowed:
                try:
                    return await asyncio.open_connection(address, port, limit=CHUNK)
                except OSError as error:
                    failure = error
            raise failure

    def _may_lead_to(self, host: str, port: int, address: str) -> bool:
        """A public address always; a private one when the host is listed by name, this machine when it is itself."""
        ip = _real(ip_address(address.partition("%")[0]))
        if ip.is_global and not ip.is_multicast:
            return True
        if not self._network.names(host, port):
            return False
        if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
            return is_loopback(plain_host(host)) or _is_address(host)
        return True


def _real(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address of version 4 that one of version 6 stands for."""
    mapped = (ip.ipv4_mapped or ip.sixtofour) if isinstance(ip, IPv6Address) else None
    return mapped or ip


def _is_address(host: str) -> bool:
    try:
        ip_address(plain_host(host))
    except ValueError:
        return False
    return True


def _request(head: bytes) -> tuple[str, int, bytes | None]:
    """Host, port, and the request as it goes on to the host; None for CONNECT. Raises ValueError."""
    first, _, rest = head.partition(b"\r\n")
    method, target, version = first.decode("ascii").split(" ")
    if method == "CONNECT":
        parts = urlsplit(f"//{target}")
        if not parts.hostname or not parts.port:
            raise ValueError(target)
        return parts.hostname, parts.port, None
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [line for line in rest.split(b"\r\n") if line]
    kept = [line for line in headers if line.partition(b":")[0].strip().lower() not in OWN_HEADERS]
    onwards = [f"{method} {path} {version}".encode("ascii"), *kept, b"Connection: close", b"", b""]
    return parts.hostname, parts.port or 80, b"\r\n".join(onwards)


async def _served(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError, TimeoutError):
            await serve(reader, writer)
    finally:
        writer.transport.abort() if writer.is_closing() else writer.close()


async def _say(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    words = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}[status]
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {words}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    await writer.drain()


async def _join(
    here: tuple[asyncio.StreamReader, asyncio.StreamWriter], there: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Carry bytes both ways until both sides have said all they had to say."""
    try:
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_carry(here[0], there[1]))
            ways.create_task(_carry(there[0], here[1]))
    except* OSError:
        pass
    finally:
        there[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
