"""Sends one packet a flow through the namespaces of the kernel lab and says which arrived.

Standard input is one JSON document (packets.mjs writes it):

    links    [{id, netns, device}]     ends of cables: pods, and the machine that stands for everything outside
    nodes    [{id, netns}]             nodes; conntrack tables are theirs
    rounds   [[packet, …], …]          packets of one round share no connection; conntrack is emptied between rounds
    connects [connect, …]              real TCP connections, tried all at once after the rounds

    packet   {id, from, to, mac, src, dst, protocol, src_port, dst_port, icmp_type, icmp_code}
             `from` and `to` are ids of links or nodes; `mac` is the frame's destination for senders on a link
    connect  {id, from, to, src, dst, src_port, dst_port}    between links

and standard output one: {"arrived": [id, …], "connected": [id, …], "refused": [id, …]}.

A sender on a link writes a whole frame to its device, a node sends through a raw socket, so that the packet takes the
way of host processes. Arrival at a link is seen by a packet socket on its device, at a node by a raw socket, behind the INPUT
hook. Every packet carries its flow's id in eight bytes of its own, and addresses and protocol are compared too, so that an error message
quoting it is not taken for it. All sockets are opened by one process, which enters each namespace to open them.
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
PACKET_HOST = 0  # <linux/if_packet.h>: a frame to this device
IPV6_HDRINCL = 36  # <linux/in6.h>
SO_RCVBUFFORCE = 33
NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_DELETE = (1 << 8) | 2  # subsystem ctnetlink, message delete: without a tuple, everything
NLM_F_REQUEST_ACK = 5
BATCH = 64
QUIET_S = 0.03
CONNECT_S = 0.4

MARK = b"mrgy"
TCP, UDP, ICMP, ICMPV6, GRE, SCTP, UDPLITE = 6, 17, 1, 58, 47, 132, 136

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    """Moves this thread into a namespace; sockets stay where they were opened."""
    with open(f"/run/netns/{netns}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {netns}")


def trust_checksums():
    """Linux checks UDP-Lite in conntrack with UDP's number in the pseudo-header (net/netfilter/nf_conntrack_proto_udp.c,
    udplite_error), so that every correct UDP-Lite packet is invalid to it. The lab's checksums are right: not to check them changes nothing else."""
    path = "/proc/sys/net/netfilter/nf_conntrack_checksum"
    if os.path.exists(path):  # not before the module is there, which the first ruleset loads
        with open(path, "w") as file:
            file.write("0")


# ---- packets ----


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


CRC32C = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
    CRC32C.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def pseudo_header(src, dst, protocol, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, protocol)


def transport(packet, src, dst):
    """The first packet of a connection: a SYN, a datagram, an INIT, a question."""
    protocol = packet["protocol"]
    tag = MARK + struct.pack("!I", packet["id"])
    ports = (packet.get("src_port", 0), packet.get("dst_port", 0))
    if protocol == TCP:
        body = struct.pack("!HHIIBBHHH", *ports, packet["id"] + 1, 0, 5 << 4, 2, 64240, 0, 0) + tag
        total = checksum(pseudo_header(src, dst, TCP, len(body)) + body)
        return body[:16] + struct.pack("!H", total) + body[18:]
    if protocol in (UDP, UDPLITE):
        length = 8 + len(tag) if protocol == UDP else 8  # UDP-Lite: the checksum covers the header alone
        body = struct.pack("!HHHH", *ports, length, 0) + tag
        total = checksum(pseudo_header(src, dst, protocol, len(body)) + (body if protocol == UDP else body[:8])) or 0xFFFF
        return body[:6] + struct.pack("!H", total) + body[8:]
    if protocol == SCTP:
        init = struct.pack("!BBHIIHHI", 1, 0, 20 + len(tag), packet["id"] + 1, 65536, 1, 1, 1) + tag
        body = struct.pack("!HHII", *ports, 0, 0) + init
        return body[:8] + struct.pack("<I", crc32c(body)) + body[12:]
    if protocol in (ICMP, ICMPV6):
        body = struct.pack("!BBHHH", packet["icmp_type"], packet["icmp_code"], 0, packet["id"] & 0xFFFF, 1) + bytes(8) + tag
        total = checksum((pseudo_header(src, dst, ICMPV6, len(body)) if protocol == ICMPV6 else b"") + body)
        return body[:2] + struct.pack("!H", total) + body[4:]
    return bytes(8) + tag  # GRE takes the zeros for a plain header


def datagram(packet):
    family = socket.AF_INET6 if ":" in packet["src"] else socket.AF_INET
    src = socket.inet_pton(family, packet["src"])
    dst = socket.inet_pton(family, packet["dst"])
    body = transport(packet, src, dst)
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(body), packet["protocol"], 255) + src + dst + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), packet["id"] & 0xFFFF, 0, 64, packet["protocol"], 0) + src + dst
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


# ---- sockets ----


class Link:
    """A device of a pod or of the machine outside."""

    def __init__(self, spec):
        enter(spec["netns"])
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        self.sock.bind((spec["device"], 0))
        self.sock.setblocking(False)
        self.mac = self.sock.getsockname()[4]
        self.receivers = [self.sock]

    def send(self, packet, data):
        kind = 0x86DD if ":" in packet["src"] else 0x0800
        self.sock.send(bytes.fromhex(packet["mac"].replace(":", "")) + self.mac + struct.pack("!H", kind) + data)

    def receive(self, sock):
        data, address = sock.recvfrom(65535)
        if address[2] != PACKET_HOST:
            return None
        data = data[14:]
        if address[1] == 0x0800 and len(data) >= 20:
            return data, data[9], socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
        if address[1] == 0x86DD and len(data) >= 40:
            return data, data[6], socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
        return None


class Conntrack:
    """The connection table of a node."""

    def __init__(self, spec):
        enter(spec["netns"])
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)

    def flush(self):
        self.netlink.send(struct.pack("=IHHIIBBH", 20, IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST_ACK, 1, 0, socket.AF_UNSPEC, 0, 0))
        reply = self.netlink.recv(65535)
        code = struct.unpack_from("=i", reply, 16)[0]
        if code not in (0, -errno.ENOENT):
            raise OSError(-code, "cannot empty the conntrack table")


class Node:
    """A node's own processes."""

    def __init__(self, spec, protocols):
        enter(spec["netns"])
        trust_checksums()
        self.senders = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }
        self.senders[6].setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        self.conntrack = Conntrack(spec)
        self.protocols = {}
        for family, protocol in sorted(protocols):
            sock = socket.socket(family, socket.SOCK_RAW, protocol)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setblocking(False)
            self.protocols[sock] = protocol
        self.receivers = list(self.protocols)

    def send(self, packet, data):
        version = 6 if ":" in packet["dst"] else 4
        try:
            self.senders[version].sendto(data, (packet["dst"], 0))
        except PermissionError:
            pass  # the OUTPUT hook dropped it: it does not arrive

    def receive(self, sock):
        if sock.family == socket.AF_INET:
            data = sock.recv(65535)
            return data, data[9], socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
        data, ancillary, _, address = sock.recvmsg(65535, 64)
        dst = ""
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                dst = socket.inet_ntop(socket.AF_INET6, value[:16])
        return data, self.protocols[sock], address[0].split("%")[0], dst



def canonical(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address))


class Lab:
    def __init__(self, spec):
        packets = {packet["id"]: packet for each in spec["rounds"] for packet in each}
        self.packets = packets
        self.ends = {}
        for link in spec["links"]:
            self.ends[link["id"]] = Link(link)
        node_ids = {node["id"] for node in spec["nodes"]}
        for node in spec["nodes"]:
            protocols = {
                (socket.AF_INET6 if ":" in p["dst"] else socket.AF_INET, p["protocol"])
                for p in packets.values()
                if p["to"] == node["id"]
            }
            self.ends[node["id"]] = Node(node, protocols)
        self.nodes = [self.ends[each] for each in sorted(node_ids)]
        self.owner = {}
        self.poll = select.poll()
        for end_id, end in self.ends.items():
            for sock in end.receivers:
                self.owner[sock.fileno()] = (end_id, sock)
                self.poll.register(sock, select.POLLIN)
        self.arrived = set()

    def take(self, timeout_s):
        """Reads what is there; false if nothing came in time."""
        ready = self.poll.poll(timeout_s * 1000)
        for fd, _ in ready:
            end_id, sock = self.owner[fd]
            while True:
                try:
                    received = self.ends[end_id].receive(sock)
                except BlockingIOError:
                    break
                if received is not None:
                    self.note(end_id, *received)
        return bool(ready)

    def note(self, end_id, data, protocol, src, dst):
        at = data.rfind(MARK)
        if at < 0 or at + 8 > len(data):
            return
        packet = self.packets.get(struct.unpack_from("!I", data, at + 4)[0])
        if packet is None or packet["to"] != end_id or packet["protocol"] != protocol:
            return
        if canonical(packet["src"]) == src and canonical(packet["dst"]) == dst:
            self.arrived.add(packet["id"])

    def run(self, rounds):
        for packets in rounds:
            for node in self.nodes:
                node.conntrack.flush()
            for i in range(0, len(packets), BATCH):
                for packet in packets[i : i + BATCH]:
                    self.ends[packet["from"]].send(packet, datagram(packet))
                while self.take(0.001):
                    pass
            while self.take(QUIET_S):
                pass


# ---- real connections ----


def connect_all(spec):
    """Tries every connection at once. Who is listening answers; who was dropped on the way hears nothing."""
    netns = {link["id"]: link["netns"] for link in spec["links"]}
    for node in spec["nodes"]:
        Conntrack(node).flush()
    listeners = {}
    for each in spec["connects"]:
        key = (each["to"], each["dst"], each["dst_port"])
        if key in listeners:
            continue
        enter(netns[each["to"]])
        listeners[key] = open_tcp(each["dst"])
        listeners[key].bind((each["dst"], each["dst_port"]))
        listeners[key].listen(1024)
    waiting = {}
    outcome = {"connected": [], "refused": []}
    poll = select.poll()
    for each in spec["connects"]:
        enter(netns[each["from"]])
        sock = open_tcp(each["dst"])
        sock.setblocking(False)
        sock.bind((each["src"], each["src_port"]))
        code = sock.connect_ex((each["dst"], each["dst_port"]))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, f"connect {each}")
        waiting[sock.fileno()] = (sock, each)
        poll.register(sock, select.POLLOUT)
    deadline = time.monotonic() + CONNECT_S
    while waiting and time.monotonic() < deadline:
        for fd, _ in poll.poll(50):
            sock, each = waiting.pop(fd)
            poll.unregister(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            outcome["refused" if error else "connected"].append(each["id"])
            sock.close()
    return outcome


def open_tcp(address):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Closing resets, so that the next ruleset meets no connection in TIME_WAIT.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def main():
    spec = json.load(sys.stdin)
    outcome = {"arrived": [], "connected": [], "refused": []}
    if spec["rounds"]:
        lab = Lab(spec)
        lab.run(spec["rounds"])
        outcome["arrived"] = sorted(lab.arrived)
    if spec["connects"]:
        outcome.update(connect_all(spec))
    json.dump(outcome, sys.stdout)


if os.geteuid() != 0:
    sys.exit("packets.py needs root")
main()
