/**
 * Connection tracking, a table for each node (semantics 6.7): the twin of `src/conntrack`, on plain maps.
 *
 * An entry has two directions, each under the key of the packets it expects; a packet is looked up by its own key. What
 * a node's table says is one of:
 *
 *     new          no entry, and the packet may open one; or an entry that nobody has answered yet
 *     established  an answer, or anything after one
 *     related      an ICMP error about a flow that has an entry
 *     invalid      what cannot be explained
 *     untracked    neighbour discovery and MLD
 *
 * A new entry is kept only if the packet gets through the node. Nothing is ever evicted here; entries end by time alone.
 * Differs: SCTP and GRE are tracked by addresses and ports alone, where the kernel reads their chunks and call numbers.
 */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDPLITE } from '../model/flow.ts';
import type { Reference, ReferenceVerdict } from './evaluate.ts';
import { type Address, type AddressBook, type Packet, protocolHasPorts } from './packet.ts';
import type { ConnectionState, Connections } from './path.ts';
import { advanceTcp, openTcp, tcpTimeoutSeconds } from './tcp.ts';
import type { TcpConnection, TcpSegment } from './tcp-window.ts';

/** Addresses, protocol and what stands for ports: of a packet, or of one that an ICMP error quotes. */
export interface TrackerTuple {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** Identifier of an ICMP question or answer. */
  readonly icmpId?: number;
}

/** A decoded whole datagram at a time. */
export interface TrackerPacket extends TrackerTuple {
  readonly timeMs: number;
  readonly tcpFlags?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly windowScale?: number;
  readonly payloadLengthBytes?: number;
  /** Highest right edge of the selective acknowledgement option. */
  readonly sack?: number;
  /** The SYN permits selective acknowledgements. */
  readonly permitsSack?: boolean;
  /** What an ICMP error quotes, if that could be read. */
  readonly quoted?: TrackerTuple;
}

export interface TrackedVerdict extends ReferenceVerdict {
  /** What each node that the packet reached knew of it, in order; a doNotTrack policy that accepted it leaves no entry here. */
  readonly states: readonly { readonly node: string; readonly state: ConnectionState }[];
}

export interface ReferenceTracker {
  packet(packet: TrackerPacket): TrackedVerdict;
}

export function createReferenceTracker(reference: Reference): ReferenceTracker {
  const tables = new Map<string, NodeTable>();
  return {
    packet(packet) {
      const decoded = decodedPacket(reference, packet);
      const tuple = tupleOf(packet, reference.addresses);
      const answers = new Map<string, Lookup>();
      const connections: Connections = {
        stateOn(node) {
          let answer = answers.get(node);
          if (answer === undefined) {
            const table = tables.get(node) ?? new NodeTable();
            tables.set(node, table);
            const quoted = packet.quoted && tupleOf(packet.quoted, reference.addresses);
            const known = table.look(tuple, packet, quoted);
            answer = reference.dataplane === 'bpf' ? bpfLookup(known, packet) : known;
            answers.set(node, answer);
          }
          return answer.state;
        },
        passedOn(node) {
          const opened = answers.get(node)?.opened;
          if (opened !== undefined) tables.get(node)!.keep(opened);
        },
      };
      const verdict = reference.judge(decoded, connections);
      return { ...verdict, states: [...answers].map(([node, { state }]) => ({ node, state })) };
    },
  };
}

/** A tuple with its answer's tuple; keys are texts. `expects` is the key of what would answer it. */
export interface Tuple {
  readonly src: Address;
  readonly dst: Address;
  readonly protocol: number;
  readonly icmpType: number;
  readonly key: string;
  readonly expects: string;
}

export interface Entry {
  /** Of the originator's packets, of the responder's. */
  readonly keys: readonly [string, string];
  readonly protocol: number;
  readonly tcp: TcpConnection | undefined;
  isAnswered: boolean;
  expiresMs: number;
}

export interface Lookup {
  readonly state: ConnectionState;
  /** The entry to keep if the packet gets through. */
  readonly opened?: Entry;
}

/**
 * TCP under BPF (semantics 6.10): a SYN runs policy again whatever the entry says, and what belongs to no connection is
 * dropped unless it is a SYN.
 */
function bpfLookup(known: Lookup, { protocol, tcpFlags = 0 }: TrackerPacket): Lookup {
  if (protocol !== PROTOCOL_TCP) return known;
  // RST 4, SYN 2, ACK 16.
  const isSyn = (tcpFlags & 22) === 2;
  if (isSyn) return known.state === 'new' ? known : { state: 'new' };
  return known.state === 'new' && known.opened !== undefined ? { state: 'invalid' } : known;
}

/** ICMP questions and their answers (6.7). */
const ICMP_ANSWERS: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [13, 14],
  [15, 16],
  [17, 18],
]);
const ICMPV6_ANSWERS: ReadonlyMap<number, number> = new Map([
  [128, 129],
  [139, 140],
]);

/** ICMP messages about another packet: unreachable, source quench, redirect, time exceeded, parameter problem. */
const ICMP_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);

/** MLD and neighbour discovery. */
const ICMPV6_UNTRACKED: ReadonlySet<number> = new Set([130, 131, 132, 133, 134, 135, 136, 143]);

/** The connections that one node knows. */
export class NodeTable {
  private readonly entries = new Map<string, Entry>();

  /** What the node knows of the packet (`quoted`: of what it quotes); an entry that exists moves on, whatever becomes of the packet (the kernel asks before Calico). */
  look(tuple: Tuple, packet: TrackerPacket, quoted: Tuple | undefined): Lookup {
    const special = this.icmpState(tuple, quoted, packet.timeMs);
    if (special !== undefined) return { state: special };
    const entry = this.find(tuple.key, packet.timeMs);
    if (entry === undefined) return this.open(tuple, packet);
    const direction = entry.keys[0] === tuple.key ? 0 : 1;
    const outcome = entry.tcp === undefined ? 'ok' : advanceTcp(entry.tcp, direction, segmentOf(packet));
    if (outcome === 'invalid') return { state: 'invalid' };
    if (outcome === 'reopen') {
      this.forget(entry);
      return this.open(tuple, packet);
    }
    if (direction === 1) entry.isAnswered = true;
    if (outcome === 'closed') this.forget(entry);
    if (outcome === 'ok') refresh(entry, packet.timeMs);
    return { state: entry.isAnswered ? 'established' : 'new' };
  }

  keep(entry: Entry): void {
    for (const key of entry.keys) this.entries.set(key, entry);
  }

  /** The state of ICMP that neither opens nor continues a flow; `undefined` for questions and answers and everything else. */
  private icmpState(tuple: Tuple, quoted: Tuple | undefined, timeMs: number): ConnectionState | undefined {
    const isV4 = tuple.protocol === PROTOCOL_ICMP;
    const isV6 = tuple.protocol === PROTOCOL_ICMPV6;
    if (!isV4 && !isV6) return undefined;
    // ICMP of the other family.
    if (isV4 !== (tuple.src.version === 4)) return 'invalid';
    if (isV6 && ICMPV6_UNTRACKED.has(tuple.icmpType)) return 'untracked';
    if (isV4 ? !ICMP_ERRORS.has(tuple.icmpType) : tuple.icmpType >= 128) return undefined;
    // The error must go back to the sender of what it quotes.
    const isRelated = quoted !== undefined && quoted.src === tuple.dst && this.find(quoted.key, timeMs) !== undefined;
    return isRelated ? 'related' : 'invalid';
  }

  private open(tuple: Tuple, packet: TrackerPacket): Lookup {
    const tcp = tuple.protocol === PROTOCOL_TCP ? openTcp(segmentOf(packet)) : undefined;
    const isTcpRefused = tuple.protocol === PROTOCOL_TCP && tcp === undefined;
    if (isTcpRefused || tuple.expects === '') return { state: 'invalid' };
    const { key, expects, protocol } = tuple;
    const opened: Entry = { keys: [key, expects], protocol, tcp, isAnswered: false, expiresMs: 0 };
    refresh(opened, packet.timeMs);
    return { state: 'new', opened };
  }

  private find(key: string, timeMs: number): Entry | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.expiresMs > timeMs) return entry;
    this.forget(entry);
    return undefined;
  }

  private forget(entry: Entry): void {
    for (const key of entry.keys) this.entries.delete(key);
  }
}

function refresh(entry: Entry, timeMs: number): void {
  entry.expiresMs = timeMs + 1000 * timeoutSeconds(entry);
}

function timeoutSeconds({ protocol, tcp, isAnswered }: Entry): number {
  if (tcp !== undefined) return tcpTimeoutSeconds(tcp);
  if (protocol === PROTOCOL_UDP || protocol === PROTOCOL_UDPLITE) return isAnswered ? 120 : 30;
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? 30 : 600;
}

function segmentOf(packet: TrackerPacket): TcpSegment {
  return {
    flags: packet.tcpFlags ?? 0,
    seq: packet.seq ?? 0,
    ack: packet.ack ?? 0,
    window: packet.window ?? 0,
    payloadLengthBytes: packet.payloadLengthBytes ?? 0,
    windowScale: packet.windowScale,
    sack: packet.sack,
    permitsSack: packet.permitsSack ?? false,
  };
}

/** ICMP that is no question expects nothing, and so opens nothing. */
export function tupleOf(text: TrackerTuple, addresses: AddressBook): Tuple {
  const src = addressOf(text.src, addresses);
  const dst = addressOf(text.dst, addresses);
  const { protocol, icmpType = 0, icmpCode = 0, icmpId = 0 } = text;
  const key = (from: Address, to: Address, a: number, b: number): string =>
    `${protocol} ${from.text} ${a} ${to.text} ${b}`;
  const base = { src, dst, protocol, icmpType };
  const answers = icmpAnswers(protocol, src.version);
  if (answers !== undefined) {
    // Type and code stand for ports, the identifier beside them.
    const message = (type: number): number => type * 256 + icmpCode;
    const answer = answers.get(icmpType);
    const expects = answer === undefined ? '' : key(dst, src, message(answer), icmpId);
    return { ...base, key: key(src, dst, message(icmpType), icmpId), expects };
  }
  const srcPort = protocolHasPorts(protocol) ? (text.srcPort ?? 0) : 0;
  const dstPort = protocolHasPorts(protocol) ? (text.dstPort ?? 0) : 0;
  return { ...base, key: key(src, dst, srcPort, dstPort), expects: key(dst, src, dstPort, srcPort) };
}

function icmpAnswers(protocol: number, version: 4 | 6): ReadonlyMap<number, number> | undefined {
  if (protocol === PROTOCOL_ICMP && version === 4) return ICMP_ANSWERS;
  return protocol === PROTOCOL_ICMPV6 && version === 6 ? ICMPV6_ANSWERS : undefined;
}

function decodedPacket(reference: Reference, packet: TrackerPacket): Packet {
  const src = addressOf(packet.src, reference.addresses);
  const { protocol, srcPort = 0, dstPort = 0, icmpType = 0, icmpCode = 0 } = packet;
  const dst = addressOf(packet.dst, reference.addresses);
  return { src, dst, version: src.version, protocol, srcPort, dstPort, icmpType, icmpCode };
}

function addressOf(text: string, addresses: AddressBook): Address {
  const address = addresses.find(text);
  if (address === undefined) throw new TypeError(`packet: ${text} is no address`);
  return address;
}
