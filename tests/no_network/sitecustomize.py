"""With this folder on PYTHONPATH no Python process reaches further than its own machine.

``make test`` runs the notebooks so: a connection or a look-up that leaves the machine fails as it does where
there is no network, and is named on stderr. Kernels and worker processes inherit it. It sees what goes
through Python's sockets; a library's compiled code may have sockets of its own (zmq's stay on the machine).
"""

import errno
import ipaddress
import socket
import sys

_HERE = {"", "localhost", "ip6-localhost", socket.gethostname().lower()}


def _is_here(host):
    """Whether a host's name or number is this machine's own."""
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host.lower() in _HERE:  # None, or the number of a kernel's own socket
        return True
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def _refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        place = arguments[1]
        if not isinstance(place, tuple):  # a socket of the file system, or one that is connected
            return
        host = place[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _is_here(host):
        print(f"no network: {event} {host!r} was refused", file=sys.stderr)
        raise OSError(errno.ENETUNREACH, f"no network: {event} to {host!r} is blocked by tests/no_network")


sys.addaudithook(_refuse)
