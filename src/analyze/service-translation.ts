/**
 * Translation of service addresses between two places of capture (semantics 6.9).
 *
 *   at the client        10.0.0.5:40312 ─► 10.96.0.10:80        the service's address
 *   behind kube-proxy    10.0.0.5:40312 ─► 10.0.1.7:8080        one of its backends, which policy sees
 *
 * All but the destination stays the same, so the two are one packet if they agree in everything else (fingerprint.ts) and the
 * second goes to a backend of the first's service. What is learned of one packet holds for its connection: `rewrite` puts the
 * backend in place of the service's address, in both directions. A client whose own address is replaced (SNAT) is not found.
 *
 * Learned in a reading of its own before packets are judged, so that the first packet is judged by its backend already.
 */
import type { Plan } from '../compile/plan.ts';
import {
  FLAG_FRAGMENT,
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_IP_OFFSET,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_TRANSPORT_OFFSET,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/record.ts';
import type { Fingerprints } from './fingerprint.ts';

/** Packets that wait for their other half, and connections learned. Past it the oldest goes. */
const LEARNED_MAX = 65_536;

interface Socket {
  readonly version: number;
  readonly words: readonly number[];
  readonly port: number;
}

interface Half {
  readonly packet: Socket;
  /** Of the packet to the service; absent for one to a backend. */
  readonly service?: { readonly backends: ReadonlySet<string>; readonly tuple: string };
}

export class ServiceTranslation {
  /** By service address, protocol and port, the backends. */
  readonly #services = new Map<string, ReadonlySet<string>>();
  readonly #backends = new Set<string>();
  readonly #waiting = new Map<number, Half[]>();
  /** By client, protocol and service: the backend that took the connection. */
  readonly #learned = new Map<string, Socket>();

  constructor(plan: Pick<Plan, 'services'>) {
    for (const { addresses, ports } of plan.services) {
      for (const { protocol, port, backends } of ports) {
        const texts = backends.map(({ address, port: backendPort }) =>
          socketKey(protocol, address.version, address.words, 0, backendPort),
        );
        for (const { version, words } of addresses) {
          this.#services.set(socketKey(protocol, version, words, 0, port), new Set(texts));
        }
        for (const text of texts) this.#backends.add(text);
      }
    }
  }

  /** Whether there is anything that could be translated. */
  get isEmpty(): boolean {
    return this.#backends.size === 0;
  }

  get learnedCount(): number {
    return this.#learned.size;
  }

  /** Learns from a packet of the first reading. */
  learn(records: Int32Array, at: number, view: DataView, fingerprints: Fingerprints): void {
    if (!isTranslated(records, at)) return;
    const key = keyOf(records, at, PACKET_DST, PACKET_DST_PORT);
    const backends = this.#services.get(key);
    if (backends === undefined && !this.#backends.has(key)) return;
    const tuple = tupleOf(records, at, PACKET_SRC, PACKET_SRC_PORT, key);
    if (backends !== undefined && this.#learned.has(tuple)) return;
    const fingerprint = fingerprints.withoutDestination(records, at, view);
    const half: Half = {
      packet: socketOf(records, at),
      ...(backends === undefined ? {} : { service: { backends, tuple } }),
    };
    const others = this.#waiting.get(fingerprint) ?? [];
    for (const other of others) {
      const [front, back] = half.service === undefined ? [other, half] : [half, other];
      if (front.service === undefined || back.service !== undefined) continue;
      if (!front.service.backends.has(textOf(records[at + PACKET_PROTOCOL]!, back.packet))) continue;
      remember(this.#learned, front.service.tuple, back.packet);
      return;
    }
    if (others.length < 4) remember(this.#waiting, fingerprint, [...others, half]);
  }

  /** Forgets what waits; called between the two readings. */
  settle(): void {
    this.#waiting.clear();
  }

  /**
   * The frame with the backend in place of the service's address, if its connection is known, else undefined. A copy; checksums are
   * not corrected, as nobody here looks at them.
   *
   * @param frame  what `records[at]` was decoded from; it lies at `offset` of the decoder's view
   */
  rewrite(records: Int32Array, at: number, frame: Uint8Array, offset: number): Uint8Array | undefined {
    if (this.#learned.size === 0 || !isTranslated(records, at)) return undefined;
    const forward = keyOf(records, at, PACKET_DST, PACKET_DST_PORT);
    const toService = this.#learned.get(tupleOf(records, at, PACKET_SRC, PACKET_SRC_PORT, forward));
    if (toService !== undefined) return replaced(records, at, frame, offset, toService, false);
    const backward = keyOf(records, at, PACKET_SRC, PACKET_SRC_PORT);
    const fromService = this.#learned.get(tupleOf(records, at, PACKET_DST, PACKET_DST_PORT, backward));
    return fromService === undefined ? undefined : replaced(records, at, frame, offset, fromService, true);
  }
}

/** Ports are there, and in this packet. */
function isTranslated(records: Int32Array, at: number): boolean {
  const protocol = records[at + PACKET_PROTOCOL];
  const flags = records[at + PACKET_FLAGS]!;
  return (
    (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) &&
    (flags & FLAG_L4_PORTS) !== 0 &&
    (flags & FLAG_FRAGMENT) === 0
  );
}

function keyOf(records: Int32Array, at: number, address: number, port: number): string {
  const version = (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
  return socketKey(records[at + PACKET_PROTOCOL]!, version, records, at + address, records[at + port]!);
}

function tupleOf(records: Int32Array, at: number, address: number, port: number, service: string): string {
  return `${keyOf(records, at, address, port)}>${service}`;
}

function socketOf(records: Int32Array, at: number): Socket {
  return {
    version: (records[at + PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4,
    words: Array.from(records.subarray(at + PACKET_DST, at + PACKET_DST + 4)),
    port: records[at + PACKET_DST_PORT]!,
  };
}

function textOf(protocol: number, { version, words, port }: Socket): string {
  return socketKey(protocol, version, words, 0, port);
}

function socketKey(protocol: number, version: number, words: ArrayLike<number>, at: number, port: number): string {
  return `${protocol}/${version}/${words[at]},${words[at + 1]},${words[at + 2]},${words[at + 3]}/${port}`;
}

function replaced(
  records: Int32Array,
  at: number,
  frame: Uint8Array,
  offset: number,
  { version, words, port }: Socket,
  isSource: boolean,
): Uint8Array {
  const copy = frame.slice();
  const view = new DataView(copy.buffer);
  const ip = records[at + PACKET_IP_OFFSET]! - offset;
  const transport = records[at + PACKET_TRANSPORT_OFFSET]! - offset;
  if (version === 4) view.setInt32(ip + (isSource ? 12 : 16), words[0]!);
  else for (let i = 0; i < 4; i++) view.setInt32(ip + (isSource ? 8 : 24) + 4 * i, words[i]!);
  view.setUint16(transport + (isSource ? 0 : 2), port);
  return copy;
}

function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > LEARNED_MAX) map.delete(map.keys().next().value as K);
}
