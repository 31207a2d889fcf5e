"""How a command gets at its proxy: the sockets, the variables that name it, and what else of this machine it may reach.

In tier A the sockets lie inside the command's own network, where nothing else is: a helper makes them there, and the
engine takes its connections from them. In the other tiers they are on this machine's loopback.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from agentpane.domain.sandbox import Network, NetworkMode
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox import inside
from agentpane.sandbox.proxy import Proxy

HELPER = Path(inside.__file__)
HELPER_TIMEOUT_S = inside.LOOPBACK_TIMEOUT_S + 10.0
USUAL_PORT = 3128
NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Gateway:
    """The way to the listed hosts, for one command."""

    def __init__(self, network: Network) -> None:
        self._loopback = network.loopback()
        self._proxy = Proxy(network)
        taken = {port for _, port in self._loopback}
        self._port = next(port for port in range(USUAL_PORT, 65536) if port not in taken)

    @property
    def refused(self) -> tuple[str, ...]:
        return self._proxy.refused

    @property
    def ports(self) -> tuple[int, ...]:
        """All that the command has to connect to."""
        return (self._port, *(port for _, port in self._loopback))

    @property
    def environment(self) -> Mapping[str, str]:
        address = f"http://127.0.0.1:{self._port}"
        itself = "localhost,127.0.0.1,::1"  # listed servers of this machine are reached as such
        return {**dict.fromkeys(NAMES, address), "no_proxy": itself, "NO_PROXY": itself, "NODE_USE_ENV_PROXY": "1"}

    async def open_here(self) -> None:
        """Listen on this machine's loopback, at a port that the system chooses."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        await self._proxy.serve(listener)

    async def open_inside(self, pid: int) -> None:
        """Listen inside the network of a process. Raises AgentPaneError when that cannot be."""
        targets = [("127.0.0.1", self._port), *self._loopback]
        inner = [f"{'127.0.0.1' if host == 'localhost' else host}:{port}" for host, port in targets]
        listeners = await _made_inside(pid, inner)
        for index, (listener, (host, port)) in enumerate(zip(listeners, targets, strict=True)):
            if index == 0:
                await self._proxy.serve(listener)
            else:
                await self._proxy.forward(listener, host, port)

    async def close(self) -> None:
        await self._proxy.close()


def gateway(network: Network) -> Gateway | None:
    return Gateway(network) if network.mode is NetworkMode.HOSTS else None


async def _made_inside(pid: int, addresses: list[str]) -> list[socket.socket]:
    here, there = socket.socketpair()
    with here, there:
        helper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(HELPER), str(pid), str(there.fileno()), *addresses),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={},
            pass_fds=(there.fileno(),),
        )
        try:
            async with asyncio.timeout(HELPER_TIMEOUT_S):
                _, said = await helper.communicate()
        except TimeoutError:
            helper.kill()
            _, said = await helper.communicate()
        if helper.returncode:
            why = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise AgentPaneError(
                ErrorCode.SECURITY_SANDBOX_UNAVAILABLE,
                f"The way to the listed hosts could not be opened, and the command was not run: {why}",
                "`agentpane doctor` says what this machine offers.",
            )
        _, descriptors, _, _ = socket.recv_fds(here, 64, len(addresses))
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
