"""Sockets that ordinary programs do not offer: services that never answer, and a sender of one datagram.

    sockets.py serve-silent PORT      UDP: takes every datagram and never answers.
                                      TCP: a listener whose socket filter discards every segment, so that a SYN gets neither
                                      SYN-ACK nor RST, as from a hung machine. No firewall is involved.
    sockets.py send-udp SRC SRC_PORT DST DST_PORT
                                      sends one datagram and waits half a second for an answer; exit status 1 without one.
"""

import ctypes
import socket
import struct
import sys

SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; Python has no name for it


def discard_everything(sock):
    """Attaches the classic BPF program `ret #0`: keep no byte of any packet (Linux net/core/filter.c)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def serve_silent(port):
    tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    tcp.bind(("::", port))
    discard_everything(tcp)
    tcp.listen()
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    print("ready", flush=True)
    while True:
        udp.recv(65535)


def send_udp(src, src_port, dst, dst_port):
    family = socket.AF_INET6 if ":" in dst else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((src, src_port))
    sock.settimeout(0.5)
    sock.sendto(b"orders.placed:1|c\n", (dst, dst_port))
    try:
        sock.recv(65535)
    except socket.timeout:
        sys.exit(1)


if sys.argv[1] == "serve-silent":
    serve_silent(int(sys.argv[2]))
elif sys.argv[1] == "send-udp":
    send_udp(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
else:
    sys.exit(__doc__)
