"""Leave new connections to another process on the same port, before this one stops to listen.

In: a listening socket with SO_REUSEPORT. Out: whether the kernel now gives new connections to
somebody else.

Linux resets the connections that wait to be accepted, or are half-way through the handshake,
when the socket they were assigned to is closed, even though another process listens on the
port (net.ipv4.tcp_migrate_req, off by default, is about this). So a process that leaves first
makes the kernel choose the other socket, by a program of one instruction attached to the
group of sockets (socket(7), SO_ATTACH_REUSEPORT_CBPF), then accepts what it was still given,
and only then closes. The program needs no privilege, and is ignored once it names a socket
that is gone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

SETTLE: Final = 0.25
"""Seconds until handshakes that had begun are done and their connections accepted."""
_ATTACH: Final = 51  # SO_ATTACH_REUSEPORT_CBPF
_DETACH: Final = 68  # SO_DETACH_REUSEPORT_BPF
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_LISTENING: Final = "0A"
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def steer_away(sock: socket.socket) -> bool:
    """Have new connections go to the other socket on the port of `sock`, if there is just one.

    Among more than two nobody can tell which is whose: a socket is known by its place in the
    group alone, and the place of the last one changes when another is closed. Of two, the one
    that came later, which is not the one that leaves, is the second.
    """
    if not sys.platform.startswith("linux") or sock.family == socket.AF_UNIX:
        return False
    try:
        if _listeners_beside(sock) != 2:
            return False
        program = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 1))
        filter_ = struct.pack("HL", 1, ctypes.addressof(program))
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH, filter_)
    except OSError:
        return False
    return True


def share_evenly(sock: socket.socket) -> None:
    """Have the kernel choose among all sockets on the port again, as `sock` now is one."""
    if sys.platform.startswith("linux") and sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _DETACH, 1)
        except OSError:
            return  # There was no program.


def _listeners_beside(sock: socket.socket) -> int:
    inode = str(os.fstat(sock.fileno()).st_ino)
    return listeners_of(inode, (line for table in _TABLES for line in _lines(table)))


def listeners_of(inode: str, lines: Iterable[str]) -> int:
    """How many sockets listen on the address of the one that `inode` is.

    `lines` are those of /proc/net/tcp: number, local address, remote address, state, …, and
    the inode as the tenth. 0 when the socket is not among them.
    """
    addresses: dict[str, str] = {}
    for line in lines:
        columns = line.split()
        if len(columns) > 9 and columns[3] == _LISTENING:
            addresses[columns[9]] = columns[1]
    own = addresses.get(inode)
    return 0 if own is None else list(addresses.values()).count(own)


def _lines(table: Path) -> Iterator[str]:
    try:
        yield from table.read_text().splitlines()
    except FileNotFoundError:
        return
