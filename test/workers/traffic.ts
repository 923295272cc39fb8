/**
 * A world in which packets share all the state that they can, and random traffic through it: conversations, service addresses, ICMP
 * questions and errors (about known and unknown connections, and about errors), fragments whole, late, lost and overlapping, tunnels,
 * both IP versions, frames that cannot be decoded. Few addresses and ports, so that everything meets everything.
 */
import { parseAddress } from '../../src/base/ip.ts';
import {
  buildFragments,
  buildPacket,
  type FrameSpec,
  type SyntheticAddress,
  wrapEthernet,
  Xorshift32,
} from '../../src/packets/synthetic.ts';
import type { CaptureRecord } from '../../src/packets/write.ts';
import { CLUSTER, DB, DB6, HOST1, HOST2, OUTSIDE, OUTSIDE6 } from '../rows/cluster.ts';
import {
  type Document,
  endpointSlice,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
  staged,
} from '../rows/objects.ts';

const NEAR = '10.0.0.2';
const FAR = '10.0.1.1';
const TWIN = '10.0.1.9';
const SERVICE = '10.96.0.1';

/** Two nodes, a service with two backends, an address that two pods claim, staged and host policy. */
export const WORLD: readonly Document[] = [
  ...CLUSTER,
  pod('app/near', { ip: [NEAR, 'fd00::2'], labels: { role: 'near' } }),
  pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } }),
  pod('app/twin-a', { ip: TWIN, labels: { role: 'twin' } }),
  pod('app/twin-b', { ip: TWIN, node: 'n2', labels: { role: 'far' } }),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'app' },
    spec: { clusterIP: SERVICE, clusterIPs: [SERVICE], ports: [{ port: 80, protocol: 'TCP' }] },
  },
  endpointSlice('app/web-x', [{ addresses: [DB, FAR] }], [{ port: 80 }]),
  networkPolicy('app/p', {
    selector: 'app == "db" || role == "far"',
    types: ['Ingress'],
    ingress: [
      { action: 'Allow', protocol: 'TCP', destination: { ports: [80] } },
      { action: 'Deny', protocol: 'UDP', source: { selector: 'role == "near"' } },
      { action: 'Allow', protocol: 'ICMP' },
      { action: 'Allow', protocol: 'UDP', destination: { ports: [53, 4789] } },
    ],
  }),
  staged('StagedNetworkPolicy', 'app/try', { selector: 'role == "near"', types: ['Egress'], egress: [] }),
  hostEndpoint('h1', { host: 'n1' }, { node: 'n1', interfaceName: 'eth0', expectedIPs: [HOST1] }),
  globalPolicy('h', { selector: 'host == "n1"', ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] }),
];

const IPV4 = [DB, NEAR, FAR, TWIN, SERVICE, HOST1, HOST2, OUTSIDE, '198.51.100.7'];
const IPV6 = [DB6, 'fd00::2', OUTSIDE6];
const PORTS = [80, 53, 443, 40_000, 40_001, 4789];
const TCP_FLAGS = [2, 2, 18, 16, 16, 24, 17, 4];

/** `count` records or a few more, the same for the same seed. Times run forward, with a gap of half a minute and more now and then. */
export function randomTraffic(seed: number, count: number): CaptureRecord[] {
  return new Traffic(seed).records(count);
}

class Traffic {
  readonly #random: Xorshift32;
  readonly #sent: FrameSpec[] = [];
  /** Fragments to come, by how many packets from now. */
  readonly #late: { readonly at: number; readonly packet: Uint8Array }[] = [];
  readonly #records: CaptureRecord[] = [];
  #ms = 1_000_000;

  constructor(seed: number) {
    this.#random = new Xorshift32(seed);
  }

  records(count: number): CaptureRecord[] {
    while (this.#records.length < count) {
      this.#ms += this.#random.below(400) === 0 ? 35_000 + this.#random.below(700_000) : this.#random.below(20);
      const due = this.#late.findIndex(({ at }) => at <= this.#records.length);
      if (due >= 0) this.#put(wrapEthernet(this.#late.splice(due, 1)[0]!.packet));
      else this.#next();
    }
    return this.#records;
  }

  #next(): void {
    const kind = this.#random.below(100);
    if (kind < 45) this.#send(this.#flow());
    else if (kind < 60) this.#answer();
    else if (kind < 70) this.#send(this.#question());
    else if (kind < 80) this.#send(this.#error());
    else if (kind < 90) this.#fragments();
    else if (kind < 94) this.#send(this.#tunnel());
    else this.#odd();
  }

  #put(frame: Uint8Array, wireBytes = frame.length): void {
    this.#records.push({
      bytes: frame,
      wireBytes,
      seconds: Math.floor(this.#ms / 1000),
      nanos: (this.#ms % 1000) * 1e6,
    });
  }

  #send(spec: FrameSpec): void {
    this.#sent.push(spec);
    this.#put(wrapEthernet(buildPacket(spec)));
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)]!;
  }

  #ends(): { src: SyntheticAddress; dst: SyntheticAddress } {
    const pool = this.#random.below(5) === 0 ? IPV6 : IPV4;
    return { src: addressOf(this.#pick(pool)), dst: addressOf(this.#pick(pool)) };
  }

  #flow(): FrameSpec {
    const protocol = this.#pick([6, 6, 6, 17, 17, 132, 136, 47, 50]);
    const seq = this.#random.below(4) * 1000;
    return {
      ...this.#ends(),
      protocol,
      srcPort: this.#pick(PORTS),
      dstPort: this.#pick(PORTS),
      tcpFlags: this.#pick(TCP_FLAGS),
      tcpSeq: seq,
      tcpAck: seq,
      payload: new Uint8Array(this.#random.below(30)),
    };
  }

  #answer(): void {
    const of = this.#pick(this.#sent);
    if (of === undefined) return;
    const { src, dst, srcPort, dstPort } = of;
    const ports = srcPort === undefined || dstPort === undefined ? {} : { srcPort: dstPort, dstPort: srcPort };
    const isEcho = of.protocol === 1 || of.protocol === 58;
    const icmpType = of.icmpType === 8 ? 0 : of.icmpType === 128 ? 129 : of.icmpType;
    this.#send({
      ...of,
      ...ports,
      src: dst,
      dst: src,
      ...(isEcho && icmpType !== undefined ? { icmpType } : {}),
      ...(of.protocol === 6 ? { tcpFlags: this.#pick([18, 16, 20, 17]), tcpAck: (of.tcpSeq ?? 0) + 1 } : {}),
    });
  }

  #question(): FrameSpec {
    const { src, dst } = this.#ends();
    const isIpv6 = typeof src !== 'number';
    return {
      src,
      dst,
      protocol: isIpv6 ? 58 : 1,
      icmpType: isIpv6 ? this.#pick([128, 129, 135]) : this.#pick([8, 8, 0, 13, 14]),
      icmpCode: this.#random.below(2),
      icmpRest: this.#random.below(3) << 16,
    };
  }

  /** About a packet that was sent, or about one that never was; from its receiver or from a router on the way. */
  #error(): FrameSpec {
    const about = this.#random.below(3) === 0 || this.#sent.length === 0 ? this.#flow() : this.#pick(this.#sent);
    const isIpv6 = typeof about.src !== 'number';
    const router = addressOf(isIpv6 ? OUTSIDE6 : this.#pick(['198.51.100.7', HOST2]));
    const quoted = buildPacket(about);
    return {
      src: this.#random.below(2) === 0 ? about.dst : router,
      dst: this.#random.below(8) === 0 ? router : about.src,
      protocol: isIpv6 ? 58 : 1,
      icmpType: isIpv6 ? this.#pick([1, 3]) : this.#pick([3, 3, 11]),
      icmpCode: this.#random.below(3),
      payload: quoted.subarray(0, this.#pick([quoted.length, quoted.length, 28, 24, 10])),
    };
  }

  #fragments(): void {
    const spec: FrameSpec = {
      ...this.#ends(),
      ...(this.#random.below(4) === 0 ? { protocol: 6, tcpFlags: 16 } : { protocol: 17 }),
      srcPort: this.#pick(PORTS),
      dstPort: this.#pick(PORTS),
      ipId: this.#random.below(50),
      payload: new Uint8Array(60 + this.#random.below(100)),
    };
    for (const packet of buildFragments(spec, 48)) {
      if (this.#random.below(12) === 0) continue;
      if (this.#random.below(3) === 0) this.#late.push({ at: this.#records.length + this.#random.below(40), packet });
      else this.#put(wrapEthernet(packet));
    }
  }

  #tunnel(): FrameSpec {
    const inner = buildPacket(this.#random.below(3) === 0 ? this.#question() : this.#flow());
    const [src, dst] = [addressOf(HOST1), addressOf(this.#pick([HOST2, FAR]))];
    if (this.#random.below(2) === 0) return { src, dst, protocol: inner[0]! >> 4 === 4 ? 4 : 41, payload: inner };
    const header = Uint8Array.from([8, 0, 0, 0, 0, 0, 7, 0]);
    const payload = Uint8Array.from([...header, ...wrapEthernet(inner)]);
    return { src, dst, protocol: 17, srcPort: 50_000, dstPort: 4789, payload };
  }

  /** ARP, frames of other types, frames that are cut, and garbage. */
  #odd(): void {
    const frame = wrapEthernet(buildPacket(this.#flow()));
    const kind = this.#random.below(4);
    if (kind === 0) this.#put(Uint8Array.from([...frame.subarray(0, 12), 8, 6, ...new Uint8Array(28)]));
    else if (kind === 1) this.#put(frame.subarray(0, 14 + this.#random.below(frame.length - 14)), frame.length);
    else if (kind === 2) this.#put(this.#random.bytes(20 + this.#random.below(60)));
    else this.#put(Uint8Array.from([...frame.subarray(0, 12), 0x88, 0x47, ...frame.subarray(14)]));
  }
}

function addressOf(text: string): SyntheticAddress {
  const { version, words } = parseAddress(text)!;
  return version === 4 ? words[0] : words;
}
