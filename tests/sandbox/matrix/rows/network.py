"""Connections: to servers of this machine and others, past the proxy and through it, and to local sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from agentpane.domain.sandbox import Network, NetworkMode, Tier

from ..attempt import Guarantee
from ..commands import REACHED, Command, connected, python, reached, thread
from ..features import outer_address
from ..scene import Scene

AS_YOU = {Tier.NONE: "a command may connect to whatever you may"}
X86 = ("x86_64",)
LISTED = "lists in /proc can be read; nothing in them can be reached"
TCP = "import socket; s=socket.create_connection(('%s', %s), 2); s.send(b'x')"


def _visited(scene: Scene) -> AbstractContextManager[None]:
    """Somebody outside who tries to get in, again and again."""
    port = int(scene.part("free"))

    def knock(over: threading.Event) -> None:
        while not over.wait(0.01):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                pass

    return thread(knock)


def _at_outer_address(scene: Scene) -> None:
    scene.lay("outer", outer_address())


NONE = Guarantee(
    "the network",
    "Where no network is allowed, nothing is reached: no address, no name, not this machine itself",
    (
        Command("TCP to this machine", "echo x > /dev/tcp/127.0.0.1/@tcp@", connected),
        Command("TCP by name", "echo x > /dev/tcp/localhost/@tcp@", connected),
        Command("TCP to any address", "echo x > /dev/tcp/0.0.0.0/@tcp@", connected),
        Command("TCP to another loopback address", "echo x > /dev/tcp/127.9.9.9/@tcp_any@", connected),
        Command(
            "TCP to the machine's own address",
            "echo x > /dev/tcp/@outer@/@tcp_any@",
            connected,
            prepare=_at_outer_address,
            needs=("address",),
        ),
        Command("TCP by version 6", "echo x > /dev/tcp/::1/@tcp6@", connected, needs=("ipv6",)),
        Command(
            "TCP by version 6 for version 4", python(TCP % ("::ffff:127.0.0.1", "@tcp@")), connected, needs=("ipv6",)
        ),
        Command(
            "TCP with data in its first packet",
            python("import socket; socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', @tcp@))"),
            connected,
        ),
        Command(
            "several paths",
            python("import socket; s=socket.socket(2, 1, 262); s.connect(('127.0.0.1', @tcp@))"),
            connected,
            needs=("mptcp",),
        ),
        Command(
            "an old connection's address",
            python("""
import socket
s=socket.socket(); s.bind(('127.0.0.1', 0)); s.connect(('127.0.0.1', @tcp@))
"""),
            connected,
        ),
        Command("UDP", "echo x > /dev/udp/127.0.0.1/@udp@", connected),
        Command("UDP by version 6", "echo x > /dev/udp/::1/@udp6@", connected, needs=("ipv6",)),
        Command(
            "UDP without connecting",
            python("import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', @udp@))"),
            connected,
        ),
        Command(
            "a question to a name server",
            python("""
import socket
q=b'\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4leak\\7example\\0\\0\\1\\0\\1'
socket.socket(2, 2).sendto(q, ('127.0.0.1', @udp@))
"""),
            connected,
        ),
        Command(
            "a raw packet",
            python(
                "import socket; s=socket.socket(2, 3, 255); s.sendto(b'E' + bytes(27), ('127.0.0.1', 0)); reached()"
            ),
            reached,
            needs=("raw",),
        ),
        Command(
            "a ping",
            python("""
import socket, struct
s=socket.socket(2, 3, 1); s.settimeout(2)
s.sendto(struct.pack('!BBHHH', 8, 0, 0xf7fe, 1, 0), ('127.0.0.1', 0)); s.recv(99); reached()
"""),
            reached,
            needs=("raw",),
        ),
        Command(
            "packets below IP", python("import socket; socket.socket(17, 3, 0x300); reached()"), reached, needs=("raw",)
        ),
        Command(
            "the list of the machine's networks",
            python("import socket; len(socket.if_nameindex()) > 1 and reached()"),
            reached,
            needs=("address",),
        ),
        Command(
            "the table of connections",
            f"grep -qi $(printf :%04X @tcp@) /proc/net/tcp && {REACHED}",
            reached,
            gaps={Tier.LANDLOCK: LISTED},
        ),
        Command(
            "virtual machines' sockets",
            python("import socket; s=socket.socket(40, 1); s.bind((0xffffffff, 0xffffffff)); reached()"),
            reached,
            needs=("vsock",),
        ),
        Command(
            "letting somebody in",
            python("""
import socket
s=socket.socket(); s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', @free@)); s.listen(); s.settimeout(.4)
s.accept(); reached()
"""),
            reached,
            beside=_visited,
        ),
        Command(
            "letting somebody in without choosing a port",
            python("""
import socket
s=socket.socket(); s.listen(); s.settimeout(.4)
import subprocess; socket.create_connection(('127.0.0.1', @tcp@), 1).send(str(s.getsockname()[1]).encode())
"""),
            connected,
        ),
    ),
    AS_YOU,
)

AGENT = "import socket; s=socket.socket(1, %s); s.connect(%s); s.send(b'x')"


def _unix(name: str, place: str, kind: int = 1, **more: object) -> Command:
    return Command(name, python(AGENT % (kind, place)), connected, **more)  # type: ignore[arg-type]


def _named(name: str) -> Callable[[Scene], object]:
    """A server of the session, where it usually has its socket."""

    def lay(scene: Scene) -> None:
        path = scene.run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene.listening(path)

    return lay


SESSION = (
    "bus",
    "docker.sock",
    "podman/podman.sock",
    "ssh-agent.sock",
    "gnupg/S.gpg-agent",
    "wayland-0",
    "pulse/native",
    "keyring/control",
)

LOCAL = Guarantee(
    "local sockets",
    "No socket of this machine is reached: not the engine's door, not the session's bus, agents and displays",
    (
        _unix("the engine's door", "'@door@'"),
        Command("the engine's door through a link", "ln -s @door@ d; " + python(AGENT % (1, "'d'")), connected),
        *(_unix(name, f"'@run@/{name}'", prepare=_named(name)) for name in SESSION),
        _unix("the display of X11", "'@x11@'"),
        _unix("a socket in /tmp", "'@tmp_unix@'"),
        _unix("a socket by the root of a process", "'/proc/self/root@unix@'"),
        _unix(
            "a socket by a folder's descriptor",
            "f'/proc/self/fd/{os.open(\"@run@\", os.O_PATH)}/service.sock'",
            prepare=lambda scene: scene.part("unix"),
        ),
        _unix("a socket by climbing", "'../../../run/service.sock'", prepare=lambda scene: scene.part("unix")),
        _unix("a datagram", "'@datagram@'", 2),
        _unix("packets", "'@packets@'", 5),
        _unix("a socket without a file", "'\\0@abstract@'"),
        _unix("a datagram without a file", "'\\0@abstract_datagram@'", 2),
        Command(
            "a pair that is connected anew",
            python("import socket; a, b = socket.socketpair(1, 2); a.connect('@datagram@'); a.send(b'x')"),
            connected,
        ),
        Command(
            "a pair that is connected anew without a file",
            python("import socket; a, b = socket.socketpair(1, 2); a.connect('\\0@abstract_datagram@'); a.send(b'x')"),
            connected,
        ),
        Command(
            "the list of sockets",
            f"grep -q @mark@ /proc/net/unix && {REACHED}",
            reached,
            prepare=lambda scene: scene.part("abstract"),
            gaps={Tier.LANDLOCK: LISTED},
        ),
    ),
    AS_YOU,
)


def _hosts(*listed: str) -> Callable[[Scene], Network]:
    return lambda scene: Network(NetworkMode.HOSTS, tuple(scene.filled(one) for one in listed))


ELSEWHERE = _hosts("listed.example", "*.listed.example")
PROXY = """
import socket
def ask(*lines, plain=None):
    p = os.environ.get('http_proxy', '').rpartition('/')[2]
    host, _, port = p.rpartition(':')
    if not host.startswith('127.'):
        s = socket.create_connection(plain or ('127.0.0.1', @tcp@), 2); s.send(b'x'); return
    s = socket.create_connection((host, int(port)), 2); s.settimeout(2)
    s.sendall('\\r\\n'.join(lines).encode() + b'\\r\\n\\r\\n')
    while s.recv(4096): pass
"""


def _ask(name: str, *lines: str, network: Callable[[Scene], Network] = ELSEWHERE, **more: object) -> Command:
    asked = ", ".join(repr(line) for line in lines)
    return Command(name, python(PROXY + f"ask({asked})"), connected, network=network, **more)  # type: ignore[arg-type]


HOSTS = Guarantee(
    "listed hosts: others",
    "Where hosts are listed, no other host is reached, neither past the proxy nor through it",
    (
        Command("TCP past the proxy", "echo x > /dev/tcp/127.0.0.1/@tcp@", connected, network=ELSEWHERE),
        Command(
            "TCP past the proxy by version 6",
            "echo x > /dev/tcp/::1/@tcp6@",
            connected,
            network=ELSEWHERE,
            needs=("ipv6",),
        ),
        Command(
            "data in the first packet",
            python("import socket; socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', @tcp@))"),
            connected,
            network=ELSEWHERE,
        ),
        Command(
            "several paths past the proxy",
            python("import socket; s=socket.socket(2, 1, 262); s.connect(('127.0.0.1', @tcp@))"),
            connected,
            network=ELSEWHERE,
            needs=("mptcp",),
        ),
        Command("UDP past the proxy", "echo x > /dev/udp/127.0.0.1/@udp@", connected, network=ELSEWHERE),
        Command(
            "a question to a name server past the proxy",
            python("import socket; socket.socket(2, 2).sendto(b'leak', ('127.0.0.1', @udp@))"),
            connected,
            network=ELSEWHERE,
        ),
        _unix("the engine's door", "'@door@'", network=ELSEWHERE),
        _unix("a socket without a file", "'\\0@abstract@'", network=ELSEWHERE),
    ),
    {Tier.NONE: "a command is only told of the proxy there, and may go past it"},
)

THROUGH = Guarantee(
    "listed hosts: the proxy",
    "The proxy connects to listed hosts on their ports only, whatever it is asked and wherever names lead",
    (
        _ask("a tunnel to an address", "CONNECT 127.0.0.1:@tcp@ HTTP/1.1"),
        _ask("a tunnel by name", "CONNECT localhost:@tcp@ HTTP/1.1"),
        _ask("a name with a dot at its end", "CONNECT localhost.:@tcp@ HTTP/1.1"),
        _ask("an address as one number", "CONNECT 2130706433:@tcp@ HTTP/1.1"),
        _ask("an address in hexadecimal", "CONNECT 0x7f.1:@tcp@ HTTP/1.1"),
        _ask("the address of any", "CONNECT 0.0.0.0:@tcp@ HTTP/1.1"),
        _ask("version 6 for version 4", "CONNECT [::ffff:127.0.0.1]:@tcp@ HTTP/1.1"),
        _ask("a listed host's name as a user", "CONNECT listed.example@127.0.0.1:@tcp@ HTTP/1.1"),
        _ask("a listed host's name behind a NUL", "CONNECT 127.0.0.1:@tcp@\\0.listed.example:80 HTTP/1.1"),
        _ask("a page", "GET http://127.0.0.1:@tcp@/ HTTP/1.1"),
        _ask("a page under a listed host's name", "GET http://127.0.0.1:@tcp@/ HTTP/1.1", "Host: listed.example"),
        _ask("a page of a user that is named like a host", "GET http://listed.example@127.0.0.1:@tcp@/ HTTP/1.1"),
        _ask("a page by a fragment", "GET http://127.0.0.1:@tcp@#@listed.example/ HTTP/1.1"),
        _ask("a path with a listed host's Host", "GET / HTTP/1.1", "Host: 127.0.0.1:@tcp@"),
        _ask(
            "a second request behind the first",
            "GET http://listed.example/ HTTP/1.1",
            "",
            "CONNECT 127.0.0.1:@tcp@ HTTP/1.1",
        ),
        _ask(
            "a request in the length of another",
            "POST http://listed.example/ HTTP/1.1",
            "Content-Length: 0",
            "",
            "GET http://127.0.0.1:@tcp@/ HTTP/1.1",
        ),
        _ask("another port of a listed server", "CONNECT 127.0.0.1:@tcp@ HTTP/1.1", network=_hosts("127.0.0.1:9")),
        _ask(
            "an address that ends like a pattern", "CONNECT 127.0.0.1:@tcp@ HTTP/1.1", network=_hosts("*.0.0.1:@tcp@")
        ),
        _ask(
            "a listed name that leads to this machine",
            "CONNECT @host@:@tcp@ HTTP/1.1",
            network=_hosts("@host@:@tcp@"),
            needs=("hostname",),
        ),
        _ask(
            "a name that ends like a listed one",
            "CONNECT localhost:@tcp@ HTTP/1.1",
            network=_hosts("host:@tcp@", "*.host:@tcp@"),
        ),
    ),
)

BESIDE = Guarantee(
    "listed hosts: the port of a listed server",
    "A listed server of this machine is reached, and no other address at its port",
    (
        Command(
            "another loopback address",
            "echo x > /dev/tcp/127.0.0.2/@tcp@",
            lambda scene, ran, before: scene.heard(),
            prepare=lambda scene: scene.part("tcp_beside"),
            network=_hosts("127.0.0.1:@tcp@"),
            needs=("ports",),
        ),
    ),
    {**AS_YOU, Tier.LANDLOCK: "Landlock knows ports and no addresses: a listed server's port is open everywhere"},
)

GUARANTEES = (NONE, LOCAL, HOSTS, THROUGH, BESIDE)
