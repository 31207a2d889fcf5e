"""Listed hosts are reached and no others, by programs that know of a proxy and by those that do not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from agentpane.domain.sandbox import EVERYWHERE, NO_NETWORK, Network, NetworkMode
from agentpane.sandbox import BubblewrapSandbox, LandlockSandbox, Sandbox
from agentpane.sandbox.proxy import Proxy
from tests.web import web_server

from .conftest import Order

FETCH = "python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())' "


@pytest.fixture
def page() -> Iterator[int]:
    """A web server of this machine; its port."""
    with web_server() as port:
        yield port


def hosts(*listed: str) -> Network:
    return Network(NetworkMode.HOSTS, listed)


@pytest.fixture
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Proxy, int]]:
    made = Proxy(hosts(*request.param))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await made.serve(listener)
    yield made, port
    await made.close()


async def ask(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("listed", "host", "port", "allowed"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 80, True),
        ("example.com", "example.com", 22, False),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "badexample.com", 443, False),
        ("example.com", "example.com.evil.org", 443, False),
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "badexample.com", 443, False),
        ("*.example.com", ".example.com", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "localhost", 8080, False),
        ("[::1]:8080", "::1", 8080, True),
        ("::1", "::1", 80, True),
    ],
)
def test_what_a_listed_host_covers(listed: str, host: str, port: int, allowed: bool) -> None:
    assert hosts(listed).allows(host, port) is allowed


def test_the_other_modes_ask_for_no_list() -> None:
    assert EVERYWHERE.allows("example.com", 22) and not NO_NETWORK.allows("example.com", 443)
    assert not Network(NetworkMode.NONE, ("example.com",)).allows("example.com", 443)


@pytest.mark.parametrize("proxy", [["127.0.0.1:9", "example.invalid"]], indirect=True)
async def test_a_host_that_is_not_listed_is_refused_and_told_once(proxy: tuple[Proxy, int]) -> None:
    made, port = proxy
    for request in (
        "CONNECT evil.example:443 HTTP/1.1\n\n",
        "CONNECT evil.example:443 HTTP/1.1\n\n",
        "GET http://other.example/x HTTP/1.1\nHost: example.invalid\n\n",
        "CONNECT example.invalid:22 HTTP/1.1\n\n",
    ):
        assert (await ask(port, request)).startswith(b"HTTP/1.1 403 ")
    assert made.refused == ("evil.example:443", "other.example:80", "example.invalid:22")


@pytest.mark.parametrize("proxy", [["*.localhost:80", "127.0.0.1:9"]], indirect=True)
async def test_a_name_that_leads_to_this_machine_is_refused_unless_listed_as_it(proxy: tuple[Proxy, int]) -> None:
    made, port = proxy
    answer = await ask(port, "CONNECT inner.localhost:80 HTTP/1.1\n\n")
    assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 "))  # not every resolver knows the name
    assert (await ask(port, "CONNECT 127.0.0.1:9 HTTP/1.1\n\n")).startswith(b"HTTP/1.1 502 ")
    assert "127.0.0.1:9" not in made.refused


@pytest.mark.parametrize(
    ("listed", "host", "address", "may"),
    [
        ("a.example", "a.example", "93.184.216.34", True),
        ("a.example", "a.example", "127.0.0.1", False),
        ("a.example", "a.example", "::1", False),
        ("a.example", "a.example", "::ffff:127.0.0.1", False),
        ("a.example", "a.example", "169.254.169.254", False),
        ("a.example", "a.example", "fe80::1%eth0", False),
        ("a.example", "a.example", "0.0.0.0", False),
        ("a.example", "a.example", "224.0.0.1", False),
        ("a.example", "a.example", "10.0.0.1", True),
        ("*.example", "a.example", "10.0.0.1", False),
        ("*.example", "a.example", "93.184.216.34", True),
        ("localhost:443", "localhost", "127.0.0.1", True),
        ("127.0.0.1:443", "127.0.0.1", "127.0.0.1", True),
        ("169.254.169.254:443", "169.254.169.254", "169.254.169.254", True),
    ],
)
def test_where_a_listed_name_may_lead(listed: str, host: str, address: str, may: bool) -> None:
    assert Proxy(hosts(listed))._may_lead_to(host, 443, address) is may


@pytest.mark.parametrize("proxy", [["127.0.0.1:1"]], indirect=True)
@pytest.mark.parametrize(
    "request_", ["GET / HTTP/1.1\n\n", "nonsense\n\n", "CONNECT nowhere HTTP/1.1\n\n", "GET ftp://a/ HTTP/1.1\n\n"]
)
async def test_what_is_no_request_for_a_proxy_is_told_so(proxy: tuple[Proxy, int], request_: str) -> None:
    assert (await ask(proxy[1], request_)).startswith(b"HTTP/1.1 400 ")


async def test_a_listed_server_of_this_machine_is_reached_as_itself(sandbox: Sandbox, order: Order, page: int) -> None:
    network = hosts(f"127.0.0.1:{page}")
    outcome = await sandbox.run(order(f"{FETCH} http://127.0.0.1:{page}/hello", network=network))
    assert outcome.output == f"/hello None 127.0.0.1:{page}\n".encode()
    assert outcome.refused_hosts == ()


async def test_a_listed_server_is_reached_through_the_proxy(sandbox: Sandbox, order: Order, page: int) -> None:
    script = f"no_proxy= NO_PROXY= {FETCH} http://localhost:{page}/proxied"
    outcome = await sandbox.run(order(script, network=hosts(f"localhost:{page}")))
    assert outcome.output == f"/proxied None localhost:{page}\n".encode()


async def test_a_tunnel_carries_bytes_both_ways(sandbox: Sandbox, order: Order, page: int) -> None:
    script = f"""
        exec 3<>/dev/tcp/127.0.0.1/${{http_proxy##*:}}
        printf 'CONNECT localhost:{page} HTTP/1.1\\r\\n\\r\\n' >&3; head -2 <&3 >/dev/null
        printf 'GET /deep HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3; tail -1 <&3
    """
    outcome = await sandbox.run(order(script, network=hosts(f"localhost:{page}")))
    assert outcome.output == b"/deep None x"


async def test_what_was_refused_is_told(sandbox: Sandbox, order: Order) -> None:
    script = f"{FETCH} http://evil.example/; true"
    outcome = await sandbox.run(order(script, network=hosts("good.example")))
    assert outcome.refused_hosts == ("evil.example:80",) and b"403" in outcome.output


async def test_a_conversation_reaches_what_is_listed_and_tells_what_is_not(
    sandbox: Sandbox, order: Order, page: int
) -> None:
    script = f"{FETCH} http://127.0.0.1:{page}/a; {FETCH} http://evil.example/ 2>/dev/null"
    process = await sandbox.open(order(script, network=hosts(f"127.0.0.1:{page}")))
    try:
        assert (await process.stdout.readline()).startswith(b"/a ")
        await process.wait()
        assert process.refused_hosts == ("evil.example:80",)
    finally:
        await process.end()


async def test_in_tier_a_nothing_but_the_proxy_is_there(bubblewrap: BubblewrapSandbox, order: Order, page: int) -> None:
    script = f"exec 3<>/dev/tcp/127.0.0.1/{page} && echo connected"
    outcome = await bubblewrap.run(order(script, network=hosts("example.com")))
    assert b"connected\n" not in outcome.output and outcome.exit_code != 0


async def test_in_tier_b_no_other_port_can_be_connected_to(landlock: LandlockSandbox, order: Order, page: int) -> None:
    script = f"exec 3<>/dev/tcp/127.0.0.1/{page} && echo connected"
    outcome = await landlock.run(order(script, network=hosts("example.com")))
    assert b"Permission denied" in outcome.output and outcome.exit_code != 0
    everywhere = await landlock.run(order(script, network=EVERYWHERE))
    assert everywhere.output == b"connected\n"


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",  # MPTCP
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "socket.create_server(('127.0.0.1', 0))",
        "socket.socket().setsockopt(6, 30, 1)",  # TCP_FASTOPEN_CONNECT
        "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', 9))",  # MSG_FASTOPEN
    ],
)
async def test_in_tier_b_there_is_no_way_round_the_proxy(landlock: LandlockSandbox, order: Order, attempt: str) -> None:
    """Each of them works without the sandbox, or fails for another reason than a lack of permission."""
    code = f"import socket\ntry: {attempt}\nexcept OSError as e: print(e.errno in (1, 13, 97))\nelse: print('free')"
    outcome = await landlock.run(order(f'python3 -c "{code}"', network=hosts("example.com")))
    assert outcome.output == b"True\n"


async def test_many_connections_at_once_are_served(sandbox: Sandbox, order: Order, page: int) -> None:
    code = f"""
import concurrent.futures, urllib.request
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    read = lambda n: urllib.request.urlopen('http://127.0.0.1:{page}/' + str(n)).read()
    print(len(set(pool.map(read, range(64)))))
"""
    outcome = await sandbox.run(order(f'python3 -c "{code}"', network=hosts(f"127.0.0.1:{page}")))
    assert outcome.output == b"64\n"
