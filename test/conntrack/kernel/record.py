#!/usr/bin/env python3
"""Records what the Linux kernel's connection tracking says of random packet sequences.

Run as root: python3 test/conntrack/kernel/record.py SEED SEQUENCES [fragments] | gzip -9n > test/conntrack/kernel/NAME.txt.gz
Needs ip, nft and conntrack. Makes two network namespaces of its own and deletes them afterwards.

A router namespace forwards between two interfaces and writes the state of every packet (new 1, established 2, related 3,
invalid 4, untracked 5) into its DSCP field; packets sent with time-to-live 33 are dropped after they were tracked and
before they are confirmed. This process sends the packets by raw socket and reads the states from what comes out. Each
sequence uses an address pair of its own. Sequences take milliseconds, so no time-out expires in them.

Output: a comment, then one line a packet: sequence number, state (`-` if dropped), packet in hex from the IP header on;
and behind the packets of a sequence one line an entry that it left: sequence number, `=`, protocol number, seconds left,
state (`-` if the protocol has none), flags. With `fragments`, parts of datagrams are sent instead, and the second word of a
line is the number of whole datagrams that came out in the sequence.
"""
import os
import platform
import random
import socket
import struct
import subprocess
import sys
import time

A_MAC, RA_MAC = b'\x02\0\0\0\0\x0a', b'\x02\0\0\0\0\x1a'
B_MAC, RB_MAC = b'\x02\0\0\0\0\x0b', b'\x02\0\0\0\0\x1b'
STATES = {1: 'new', 2: 'established', 3: 'related', 4: 'invalid', 5: 'untracked'}
DROP_TTL = 33
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
RULES = '''
table inet t {
  chain pre {
    type filter hook prerouting priority -150;
    ip ttl 33 meta mark set 1
    ip6 hoplimit 33 meta mark set 1
    ct state new ip dscp set 1
    ct state established ip dscp set 2
    ct state related ip dscp set 3
    ct state invalid ip dscp set 4
    ct state untracked ip dscp set 5
    ct state new ip6 dscp set 1
    ct state established ip6 dscp set 2
    ct state related ip6 dscp set 3
    ct state invalid ip6 dscp set 4
    ct state untracked ip6 dscp set 5
  }
  chain drops { type filter hook forward priority 0; meta mark 1 drop; }
}
'''


def run(*command, text=None):
    subprocess.run(command, check=True, input=text, text=True, stdout=subprocess.DEVNULL, stderr=None if text else subprocess.DEVNULL)


def set_up(driver, router):
    run('ip', 'netns', 'add', driver)
    run('ip', 'netns', 'add', router)
    for side, mac, peer_mac in (('a', A_MAC, RA_MAC), ('b', B_MAC, RB_MAC)):
        run('ip', '-n', driver, 'link', 'add', side + '0', 'address', mac.hex(':'), 'type', 'veth',
            'peer', 'name', 'r' + side, 'address', peer_mac.hex(':'), 'netns', router)
        run('ip', '-n', driver, 'link', 'set', side + '0', 'up')
        run('ip', '-n', router, 'link', 'set', 'r' + side, 'up')
        number = 1 if side == 'a' else 2
        # One neighbour stands for every address of its side: all are routed through it.
        run('ip', '-n', router, 'addr', 'add', f'172.31.{number}.1/24', 'dev', 'r' + side)
        run('ip', '-n', router, 'neigh', 'add', f'172.31.{number}.2', 'lladdr', mac.hex(':'), 'dev', 'r' + side)
        run('ip', '-n', router, 'route', 'add', f'10.{number}.0.0/16', 'via', f'172.31.{number}.2')
        run('ip', '-n', router, 'addr', 'add', f'fd31:{number}::1/64', 'dev', 'r' + side, 'nodad')
        run('ip', '-n', router, 'neigh', 'add', f'fd31:{number}::2', 'lladdr', mac.hex(':'), 'dev', 'r' + side)
        run('ip', '-n', router, 'route', 'add', f'fd00:{number}::/32', 'via', f'fd31:{number}::2')
    for name, value in (('net.ipv4.ip_forward', 1), ('net.ipv6.conf.all.forwarding', 1),
                        ('net.ipv4.conf.all.rp_filter', 0), ('net.ipv4.conf.ra.rp_filter', 0),
                        ('net.ipv4.conf.rb.rp_filter', 0), ('net.ipv4.conf.all.send_redirects', 0)):
        run('ip', 'netns', 'exec', router, 'sysctl', '-q', '-w', f'{name}={value}')
    run('ip', 'netns', 'exec', router, 'nft', '-f', '-', text=RULES)
    run('ip', 'netns', 'exec', router, 'sysctl', '-q', '-w', 'net.netfilter.nf_conntrack_checksum=0')


def tear_down(driver, router):
    for name in (driver, router):
        subprocess.run(('ip', 'netns', 'del', name), check=False, stderr=subprocess.DEVNULL)


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip4(src, dst, protocol, payload, ident=0, ttl=64):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), ident, 0, ttl, protocol, 0, src, dst)
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + payload


def ip6(src, dst, protocol, payload, ident=0, ttl=64):
    return struct.pack('!IHBB16s16s', 0x60000000 | ident, len(payload), protocol, ttl, src, dst) + payload


class Sequence:
    """One random conversation between an address of side a and one of side b."""

    def __init__(self, rng, number):
        self.rng = rng
        self.is6 = rng.random() < 0.3
        high, low = number >> 8 & 255, number & 255
        if self.is6:
            self.a = bytes.fromhex('fd000001') + bytes(10) + bytes([high, low])
            self.b = bytes.fromhex('fd000002') + bytes(10) + bytes([high, low])
            self.middle = bytes.fromhex('fd000002') + bytes(8) + bytes([9, 9, high, low])
        else:
            self.a, self.b = bytes([10, 1, high, low]), bytes([10, 2, high, low])
            self.middle = bytes([10, 2, 255, 254])
        self.sent = []

    def make(self, from_a, protocol, payload, src=None):
        src = src or (self.a if from_a else self.b)
        dst = self.b if from_a else self.a
        return (ip6 if self.is6 else ip4), src, dst, protocol, payload

    def packets(self):
        kind = self.rng.choices(('tcp', 'udp', 'icmp', 'sctp', 'gre', 'other'), (60, 8, 14, 20, 4, 3))[0]
        for from_a, protocol, payload in getattr(self, kind)():
            make, src, dst, protocol, payload = self.make(from_a, protocol, payload)
            self.sent.append((from_a, make(src, dst, protocol, payload)))
            yield from_a, make, src, dst, protocol, payload
            if self.rng.random() < 0.08 and kind != 'icmp':
                yield self.error()

    def error(self):
        """An ICMP error about a packet that was sent, or one that was not."""
        rng = self.rng
        from_a, quoted = rng.choice(self.sent)
        if rng.random() < 0.15:
            quoted = bytearray(quoted)
            quoted[-rng.randrange(1, min(len(quoted), 40))] ^= 1
            quoted = bytes(quoted)
        head = 40 if self.is6 else 20
        quoted = quoted[:head + rng.choice((8, 8, 8, 28, 4, 2))]
        if self.is6:
            kind, protocol = rng.choice((1, 2, 3, 4)), 58
        else:
            kind, protocol = rng.choice((3, 3, 4, 11, 12)), 1
        payload = bytes([kind, rng.randrange(3), 0, 0, 0, 0, 0, 0]) + quoted
        src = None
        to_sender = rng.random() < 0.9
        sent_from_a = not from_a if to_sender else from_a
        if sent_from_a is False and rng.random() < 0.3:
            src = self.middle
        make, src, dst, protocol, payload = self.make(sent_from_a, protocol, payload, src)
        return sent_from_a, make, src, dst, protocol, payload

    def tcp(self):
        rng = self.rng
        ports = {True: rng.randrange(1024, 65536), False: rng.randrange(1, 1024)}
        nxt = {True: rng.choice((1000, 0xfffffff0, rng.randrange(1 << 32))), False: rng.choice((5000, 0, rng.randrange(1 << 32)))}
        mss = rng.random()
        script = self.tcp_script()
        scales = {side: rng.choice((None, 0, 2, 7, 14, 15)) for side in (True, False)}
        sack = {side: rng.random() < 0.6 for side in (True, False)}
        for from_a, flags in script:
            length = rng.choice((0, 0, 1, 100, 1400)) if flags & ACK and not flags & (SYN | RST) else 0
            if rng.random() < 0.02:
                length = 10
            seq, ack = nxt[from_a], nxt[not from_a]
            odd = rng.random()
            if odd < 0.12:
                seq += rng.choice((-1, 1, -100, 100, -2000, 2000, -70000, 70000, 1 << 31, -1400, 65535, 65536))
            elif odd < 0.18:
                ack += rng.choice((-1, 1, -100, 100, -2000, 2000, -70000, 70000, 1 << 31, 66000, -66000))
            elif odd < 0.2:
                seq = 0
            seq &= 0xffffffff
            ack = ack & 0xffffffff if flags & ACK else rng.choice((0, 0, ack & 0xffffffff))
            if flags & RST and rng.random() < 0.3:
                ack = rng.choice((0, ack))
            window = rng.choice((0, 1, 1000, 1000, 8192, 65535, 65535))
            options = b''
            if flags & SYN:
                if mss < 0.7:
                    options += b'\x02\x04\x05\xb4'
                if scales[from_a] is not None:
                    options += bytes([1, 3, 3, scales[from_a]])
                if sack[from_a]:
                    options += b'\x01\x01\x04\x02'
                if rng.random() < 0.05:
                    options += rng.choice((b'\x03\x02\x00\x00', b'\x08\x20\x00\x00', b'\x00\x00\x00\x00', b'\x03\x01\x01\x01'))
            elif flags & ACK and rng.random() < 0.12:
                edge = (ack + rng.choice((100, 1400, 5000, 70000))) & 0xffffffff
                options += b'\x01\x01\x05\x0a' + struct.pack('!II', (edge - 50) & 0xffffffff, edge)
            elif rng.random() < 0.2:
                options += b'\x01\x01\x08\x0a' + bytes(8)
            offset = 5 + len(options) // 4
            if rng.random() < 0.01:
                offset = rng.choice((4, 15, 6))
            header = struct.pack('!HHIIBBHHH', ports[from_a], ports[not from_a], seq, ack, offset << 4, flags, window, 0, 0)
            yield from_a, 6, header + options + bytes(length)
            if odd >= 0.2 or rng.random() < 0.3:
                nxt[from_a] = (seq + length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)) & 0xffffffff

    def tcp_script(self):
        rng = self.rng
        a, b = True, False
        opening = rng.choice((
            [(a, SYN), (b, SYN | ACK), (a, ACK)], [(a, SYN), (b, SYN | ACK), (a, ACK)],
            [(a, SYN), (b, SYN | ACK)], [(a, SYN)], [(a, SYN), (a, SYN)], [(a, SYN), (b, RST | ACK)],
            [(a, SYN), (b, SYN), (a, SYN | ACK), (b, SYN | ACK)], [(a, SYN), (b, SYN), (b, ACK)], [(a, ACK)],
            [(a, ACK), (b, ACK)], [(a, SYN), (b, ACK)], [(a, SYN), (b, ACK), (a, RST)], []))
        closing = rng.choice((
            [(a, FIN | ACK), (b, ACK), (b, FIN | ACK), (a, ACK)], [(a, FIN | ACK), (b, FIN | ACK), (a, ACK)],
            [(b, FIN | ACK), (a, ACK), (a, FIN | ACK), (b, ACK)], [(a, RST)], [(b, RST | ACK)], [(a, FIN | ACK)], [],
            [(a, FIN | ACK), (b, FIN | ACK), (a, ACK), (a, SYN), (b, SYN | ACK), (a, ACK)],
            [(a, FIN | ACK), (b, FIN | ACK), (a, ACK), (b, SYN), (a, SYN | ACK), (b, ACK)],
            [(a, FIN | ACK), (b, FIN | ACK), (a, SYN), (b, ACK), (a, RST)],
            [(a, SYN), (b, SYN | ACK), (a, ACK)], [(a, SYN), (b, ACK), (a, RST)], [(a, RST), (a, SYN), (b, SYN | ACK)]))
        data = [(rng.random() < 0.5, ACK | PSH) for _ in range(rng.randrange(4))]
        script = opening + data + closing
        out = []
        for step in script:
            if rng.random() < 0.08:
                continue
            out.append(step)
            if rng.random() < 0.06:
                out.append(step)
            if rng.random() < 0.10:
                flags = rng.choice((SYN, SYN | ACK, FIN | ACK, ACK, RST, RST | ACK, ACK | PSH, 0, SYN | FIN, FIN, PSH, URG | ACK,
                                    SYN | RST, SYN | URG, FIN | RST | ACK, 0xff, 0xc2))
                out.append((rng.random() < 0.5, flags))
        return out

    def udp(self):
        rng = self.rng
        ports = {True: rng.randrange(1024, 65536), False: 53}
        protocol = rng.choice((17, 17, 17, 136))
        for _ in range(rng.randrange(2, 6)):
            from_a = rng.random() < 0.6
            length = rng.choice((0, 4, 20))
            declared = 8 + length
            if rng.random() < 0.06:
                declared = rng.choice((7, 8 + length + 1, 0, 3))
            check = 0 if protocol == 17 or rng.random() < 0.1 else 1
            yield from_a, protocol, struct.pack('!HHHH', ports[from_a], ports[not from_a], declared, check) + bytes(length)

    def icmp(self):
        rng = self.rng
        ident = rng.randrange(65536)
        for _ in range(rng.randrange(2, 8)):
            from_a = rng.random() < 0.6
            other = rng.random() < 0.1
            if self.is6:
                kind = rng.choice((128, 128, 128, 129, 129, 139, 140, 130, 131, 132, 133, 134, 135, 136, 137, 143, 138, 200, 255))
            else:
                kind = rng.choice((8, 8, 8, 0, 0, 13, 14, 15, 16, 17, 18, 9, 10, 19, 40, 255))
            code = 0 if rng.random() < 0.85 else 1
            protocol = (58 if self.is6 else 1) if rng.random() < 0.97 else (1 if self.is6 else 58)
            payload = bytes([kind, code, 0, 0]) + struct.pack('!HH', ident + other & 0xffff, 1) + bytes(rng.choice((0, 8, 16)))
            yield from_a, protocol, payload
            if rng.random() < 0.15:
                _, make, src, dst, protocol, payload = self.error()
                yield dst == self.b, protocol, payload

    def gre(self):
        rng = self.rng
        for _ in range(rng.randrange(2, 6)):
            from_a = rng.random() < 0.6
            version = rng.choice((0, 0, 1))
            body = struct.pack('!BBHHH', 0x30 if version else 0, 1 if version else 0,
                               0x880b if version and rng.random() < 0.9 else 0x0800, 4, rng.choice((7, 8))) + bytes(8)
            yield from_a, 47, body[:rng.choice((16, 16, 16, 6))]

    def other(self):
        rng = self.rng
        protocol = rng.choice((4, 33, 50, 51, 89, 103, 253))
        if protocol == 51 and self.is6:
            protocol = 253
        for _ in range(rng.randrange(2, 6)):
            yield rng.random() < 0.6, protocol, bytes(rng.choice((1, 20, 40)))

    def sctp(self):
        rng = self.rng
        ports = {True: rng.randrange(1024, 65536), False: 3868}
        tags = {True: rng.randrange(1, 1 << 32), False: rng.randrange(1, 1 << 32)}

        def chunk(kind, body=b'', flags=0, length=None):
            return struct.pack('!BBH', kind, flags, 4 + len(body) if length is None else length) + body + bytes(-len(body) % 4)

        def init(kind, tag):
            return chunk(kind, struct.pack('!IIHHI', tag, 65535, 1, 1, 1)[:rng.choice((16, 16, 16, 16, 16, 8))])

        a, b = True, False
        steps = [(a, 'init'), (b, 'init_ack'), (a, 'cookie_echo'), (b, 'cookie_ack'), (a, 'data'), (b, 'sack')]
        steps = steps[:rng.choice((1, 2, 3, 4, 6, 6, 6))]
        steps += rng.choice(([(a, 'shutdown'), (b, 'shutdown_ack'), (a, 'shutdown_complete')], [(b, 'abort')], [(a, 'abort')], [],
                             [(b, 'shutdown'), (a, 'shutdown_ack'), (b, 'shutdown_complete')], [(a, 'heartbeat'), (b, 'heartbeat_ack')],
                             [(b, 'init'), (a, 'init_ack'), (b, 'cookie_echo'), (a, 'cookie_ack')], [(a, 'init'), (b, 'init_ack')]))
        if rng.random() < 0.2:
            steps = [(a, 'heartbeat'), (b, 'heartbeat_ack'), (a, 'data')]
        names = ['init', 'init_ack', 'cookie_echo', 'cookie_ack', 'data', 'sack', 'shutdown', 'shutdown_ack', 'shutdown_complete',
                 'abort', 'abort_t', 'heartbeat', 'heartbeat_ack', 'error', 'two', 'zero', 'echo_data', 'bad_order']
        out = []
        for step in steps:
            if rng.random() < 0.08:
                continue
            out.append(step)
            if rng.random() < 0.15:
                out.append((rng.random() < 0.5, rng.choice(names)))
        for from_a, name in out:
            tag = tags[not from_a]
            if name == 'init':
                tag = 0
            if name == 'abort_t':
                tag = tags[from_a]
            if rng.random() < 0.08:
                tag = rng.choice((0, 1, tags[from_a]))
            if name in ('init', 'init_ack') and rng.random() < 0.08:
                tags[from_a] = rng.randrange(1, 1 << 32)
            body = {
                'init': lambda: init(1, tags[from_a]), 'init_ack': lambda: init(2, tags[from_a]),
                'cookie_echo': lambda: chunk(10, b'cookie'), 'cookie_ack': lambda: chunk(11),
                'data': lambda: chunk(0, bytes(13), 3), 'sack': lambda: chunk(3, bytes(12)), 'shutdown': lambda: chunk(7, bytes(4)),
                'shutdown_ack': lambda: chunk(8), 'shutdown_complete': lambda: chunk(14), 'abort': lambda: chunk(6),
                'abort_t': lambda: chunk(6, b'', 1), 'heartbeat': lambda: chunk(4, bytes(8)), 'heartbeat_ack': lambda: chunk(5, bytes(8)),
                'error': lambda: chunk(9, bytes(4)), 'two': lambda: chunk(3, bytes(12)) + chunk(rng.choice((0, 7, 4, 5, 193, 31))),
                'zero': lambda: chunk(0, b'', 0, 0), 'echo_data': lambda: chunk(10, b'cook') + chunk(0, bytes(12)),
                'bad_order': lambda: chunk(0, bytes(12)) + chunk(rng.choice((10, 1, 11, 14))),
            }[name]()
            yield from_a, 132, struct.pack('!HHII', ports[from_a], ports[not from_a], tag, 0) + body


def fragment_sequence(rng, number):
    """Parts of a UDP datagram, shuffled, some of them twice, missing, overlapping or damaged."""
    is6 = rng.random() < 0.5
    high, low = number >> 8 & 255, number & 255
    if is6:
        src, dst = bytes.fromhex('fd000001') + bytes(10) + bytes([high, low]), bytes.fromhex('fd000002') + bytes(10) + bytes([high, low])
    else:
        src, dst = bytes([10, 1, high, low]), bytes([10, 2, high, low])
    units = rng.randrange(3, 12)
    size = units * 8 + rng.randrange(8)
    cuts = sorted(rng.sample(range(1, units + 1), rng.randrange(1, min(4, units) + 1)))
    edges = [0] + [cut * 8 for cut in cuts if cut * 8 < size] + [size]
    datagram = struct.pack('!HHHH', 1234, 53, size, 0) + bytes(range(size - 8))
    parts = [[start, end, end < size] for start, end in zip(edges, edges[1:])]
    if rng.random() < 0.3:
        parts.append(list(rng.choice(parts)))
    rng.shuffle(parts)
    if rng.random() < 0.5:
        start = rng.randrange(units) * 8
        parts.insert(rng.randrange(len(parts) + 1), [start, min(size, start + rng.choice((8, 16, 24, 32))), rng.random() < 0.8])
    if rng.random() < 0.15:
        parts.insert(rng.randrange(len(parts) + 1), [rng.choice(edges), 0, rng.random() < 0.5])
    if rng.random() < 0.15:
        part = rng.choice(parts)
        part[1] += rng.choice((-3, 5, 8))
    if rng.random() < 0.1:
        parts.pop(rng.randrange(len(parts)))
    for start, end, more in parts:
        end = max(start, end)
        if is6 and start == 0 and not more:
            # An atomic fragment is a whole packet to us, and to the kernel one part more of what waits under its id.
            more = True
        data = datagram[start:end] + bytes(max(0, end - max(start, len(datagram))))
        if is6:
            header = struct.pack('!BBHI', 17, 0, start | more, number + 1)
            yield True, ip6(src, dst, 44, header + data)
        else:
            head = bytearray(ip4(src, dst, 17, data, number & 0xffff or 1))
            head[6:8] = struct.pack('!H', start >> 3 | (0x2000 if more else 0))
            head[10:12] = b'\0\0'
            head[10:12] = struct.pack('!H', checksum(bytes(head[:20])))
            yield True, bytes(head)


def record_fragments(seed, count, router, socks):
    """Sends each sequence and counts the datagrams that come out: their parts at offset 0."""
    rng = random.Random(seed)
    print(f'# seed {seed}, {count} sequences of fragments, kernel {platform.release()}')
    for number in range(count):
        frames = list(fragment_sequence(rng, number))
        # An echo request behind them says when all have been through.
        frames.append((True, ip4(bytes([10, 1, 255, 1]), bytes([10, 2, 255, 1]), 1, bytes([8, 0, 0, 0]) + struct.pack('!HH', number & 0xffff, 1))))
        for from_a, data in frames:
            socks[True].send(RA_MAC + A_MAC + (b'\x86\xdd' if data[0] >> 4 == 6 else b'\x08\x00') + data)
        whole, done, deadline = 0, False, time.monotonic() + 1
        while not done and time.monotonic() < deadline:
            try:
                frame, address = socks[False].recvfrom(65536)
            except TimeoutError:
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if frame[12:14] == b'\x08\x00' and frame[23] == 1:
                done = True
            elif frame[12:14] == b'\x08\x00' and frame[23] == 17:
                whole += struct.unpack('!H', frame[20:22])[0] & 0x1fff == 0
            elif frame[12:14] == b'\x86\xdd' and frame[20] in (17, 44):
                whole += frame[20] == 17 or struct.unpack('!H', frame[56:58])[0] & 0xfff8 == 0
        for from_a, data in frames[:-1]:
            print(f'{number} {whole if done else "?"} {data.hex()}')


def open_socket(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    sock.bind((interface, 0))
    sock.settimeout(0.2)
    return sock


def collect(socks, states, wanted):
    """Reads what the router forwarded until every wanted packet is there or nothing comes any more."""
    deadline = time.monotonic() + 1
    while wanted - states.keys() and time.monotonic() < deadline:
        for sock in socks:
            sock.setblocking(False)
            while True:
                try:
                    frame, address = sock.recvfrom(65536)
                except BlockingIOError:
                    break
                if address[2] == socket.PACKET_OUTGOING or len(frame) < 34:
                    continue
                kind = frame[12:14]
                if kind == b'\x08\x00':
                    states[struct.unpack('!H', frame[18:20])[0]] = frame[15] >> 2
                elif kind == b'\x86\xdd':
                    first = struct.unpack('!I', frame[14:18])[0]
                    states[first & 0xfffff] = first >> 22 & 63


def entries(router):
    """What the sequence left in the router's table, which is emptied."""
    found = []
    for family in ('ipv4', 'ipv6'):
        command = ('nsenter', f'--net=/run/netns/{router}', 'conntrack', '-L', '-f', family, '-o', 'extended')
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            words = line.split()
            state = '-' if '=' in words[5] or words[5].startswith('[') else words[5]
            flags = ''.join(word for word in words if word in ('[ASSURED]', '[UNREPLIED]')) or '-'
            found.append(f'{words[3]} {words[4]} {state} {flags}')
    run('nsenter', f'--net=/run/netns/{router}', 'conntrack', '-F')
    return sorted(found)


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    os.sched_setaffinity(0, {0})
    driver, router = f'ctd{os.getpid()}', f'ctr{os.getpid()}'
    lines = []
    try:
        set_up(driver, router)
        fd = os.open(f'/run/netns/{driver}', os.O_RDONLY)
        libc = __import__('ctypes').CDLL(None)
        if libc.setns(fd, 0x40000000) != 0:
            raise OSError('setns failed')
        socks = {True: open_socket('a0'), False: open_socket('b0')}
        if sys.argv[3:] == ['fragments']:
            record_fragments(seed, count, router, socks)
            return
        rng = random.Random(seed)
        missing = 0
        for number in range(count):
            frames = []
            for from_a, make, src, dst, protocol, payload in Sequence(rng, number).packets():
                ident = len(frames) + 1
                dropped = rng.random() < 0.08
                data = make(src, dst, protocol, payload, ident, DROP_TTL if dropped else 64)
                frames.append((from_a, dropped, data))
            for from_a, _, data in frames:
                macs = RA_MAC + A_MAC if from_a else RB_MAC + B_MAC
                socks[from_a].send(macs + (b'\x86\xdd' if data[0] >> 4 == 6 else b'\x08\x00') + data)
            states = {}
            wanted = {index + 1 for index, frame in enumerate(frames) if not frame[1]}
            collect(socks.values(), states, wanted)
            for index, (from_a, dropped, data) in enumerate(frames):
                state = STATES.get(states.get(index + 1, 0), '?')
                missing += state == '?' and not dropped
                lines.append(f'{number} {"-" if dropped else state} {data.hex()}')
            lines.extend(f'{number} = {entry}' for entry in entries(router))
        print(f'# seed {seed}, {count} sequences, kernel {platform.release()}, {missing} without an answer')
        print('\n'.join(lines))
    finally:
        tear_down(driver, router)


main()
