"""Real programs in the namespaces of the kernel lab: servers that answer, clients that ask, all of them sockets of the kernel.

Standard input is one JSON document:

    hosts     [{id, netns}]     namespaces
    attempts  [{id, from, to, src, dst, protocol, src_port, dst_port, listens}]    protocol 6, 17, or 1 and 58 for a ping;
              `src_port` is unique; with `listens` false nobody listens at the port, so that the host refuses

and standard output one: {"answered": [id, …], "refused": [id, …], "silent": [id, …]}.

A TCP client sends a line and waits for it to come back; a UDP client sends a datagram twice unless it is answered; a ping is sent twice.
All run at the same time. A SYN that is dropped is sent again by the kernel after a second, so clients wait for longer than that.
"""

import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
WAIT_S = 1.6
AGAIN_S = 0.5
TCP, UDP = 6, 17

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    """Moves this thread into a namespace; sockets stay where they were opened."""
    with open(f"/run/netns/{netns}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {netns}")


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Servers:
    """Everything that listens, and the connections taken."""

    def __init__(self, poll, attempts, netns):
        self.poll = poll
        self.sockets = {}
        seen = set()
        for each in attempts:
            key = (each["to"], each["dst"], each["protocol"], each["dst_port"])
            if not each["listens"] or each["protocol"] not in (TCP, UDP) or key in seen:
                continue
            seen.add(key)
            enter(netns[each["to"]])
            kind = socket.SOCK_STREAM if each["protocol"] == TCP else socket.SOCK_DGRAM
            sock = socket.socket(family(each["dst"]), kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((each["dst"], each["dst_port"]))
            if kind == socket.SOCK_STREAM:
                sock.listen(1024)
            self.add(sock, "listen" if kind == socket.SOCK_STREAM else "datagrams")

    def add(self, sock, role):
        sock.setblocking(False)
        self.sockets[sock.fileno()] = (sock, role)
        self.poll.register(sock, select.POLLIN)

    def serve(self, fd):
        sock, role = self.sockets[fd]
        try:
            if role == "listen":
                self.add(sock.accept()[0], "stream")
            elif role == "datagrams":
                data, address = sock.recvfrom(65535)
                sock.sendto(data, address)
            else:
                data = sock.recv(65535)
                if data:
                    sock.send(data)
                else:
                    self.close(fd)
        except BlockingIOError:
            pass
        except OSError:
            self.close(fd)

    def close(self, fd):
        sock, _ = self.sockets.pop(fd)
        self.poll.unregister(fd)
        sock.close()


class Client:
    def __init__(self, each, netns):
        self.attempt = each
        self.asked = 0
        self.outcome = "silent"
        enter(netns[each["from"]])
        dst = each["dst"]
        if each["protocol"] == TCP:
            self.sock = socket.socket(family(dst), socket.SOCK_STREAM)
            self.sock.setblocking(False)
            self.sock.bind((each["src"], each["src_port"]))
            code = self.sock.connect_ex((dst, each["dst_port"]))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, f"connect {each}")
            self.events = select.POLLOUT
            return
        if each["protocol"] == UDP:
            self.sock = socket.socket(family(dst), socket.SOCK_DGRAM)
            self.sock.bind((each["src"], each["src_port"]))
            self.sock.connect((dst, each["dst_port"]))
        else:
            self.sock = socket.socket(family(dst), socket.SOCK_DGRAM, each["protocol"])
            self.sock.bind((each["src"], each["src_port"]))
            self.sock.connect((dst, 0))
        self.sock.setblocking(False)
        self.events = select.POLLIN

    def ask(self):
        self.asked += 1
        each = self.attempt
        try:
            if each["protocol"] == UDP:
                self.sock.send(b"attempt %d try %d" % (each["id"], self.asked))
            elif each["protocol"] != TCP:
                kind = 8 if each["protocol"] == 1 else 128
                self.sock.send(struct.pack("!BBHHH", kind, 0, 0, 0, self.asked) + b"attempt %d" % each["id"])
        except ConnectionRefusedError:
            self.outcome = "refused"
        except PermissionError:
            pass  # the sender's own host drops it

    def ready(self):
        """What the socket tells; true when it is all."""
        try:
            if self.events == select.POLLOUT:
                error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error != 0:
                    self.outcome = "refused" if error == errno.ECONNREFUSED else "silent"
                    return True
                self.sock.send(b"attempt %d\n" % self.attempt["id"])
                self.events = select.POLLIN
                return False
            if self.sock.recv(65535):
                self.outcome = "answered"
            return True
        except BlockingIOError:
            return False
        except ConnectionRefusedError:
            self.outcome = "refused"
            return True
        except OSError:
            return True


def main():
    spec = json.load(sys.stdin)
    netns = {host["id"]: host["netns"] for host in spec["hosts"]}
    for each in set(netns.values()):
        enter(each)
        # Pings by unprivileged sockets, whose identifier the kernel keeps.
        with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
            file.write("0 2147483647")
    poll = select.poll()
    servers = Servers(poll, spec["attempts"], netns)
    clients = {}
    for each in spec["attempts"]:
        client = Client(each, netns)
        clients[client.sock.fileno()] = client
        poll.register(client.sock, client.events)
    for client in clients.values():
        client.ask()
    start = time.monotonic()
    has_asked_again = False
    waiting = dict(clients)
    while waiting and time.monotonic() - start < WAIT_S:
        if not has_asked_again and time.monotonic() - start > AGAIN_S:
            has_asked_again = True
            for client in waiting.values():
                client.ask()
        for fd, _ in poll.poll(20):
            client = waiting.get(fd)
            if client is None:
                if fd in servers.sockets:
                    servers.serve(fd)
                continue
            if client.ready():
                del waiting[fd]
                poll.unregister(fd)
                client.sock.close()
            else:
                poll.modify(fd, client.events)
    # What was closed goes out, and is answered.
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        for fd, _ in poll.poll(20):
            if fd in servers.sockets:
                servers.serve(fd)
    outcome = {"answered": [], "refused": [], "silent": []}
    for client in clients.values():
        outcome[client.outcome].append(client.attempt["id"])
    json.dump(outcome, sys.stdout)


if os.geteuid() != 0:
    sys.exit("traffic.py needs root")
main()
