/**
 * The way of one packet through the nodes it crosses, and the checks on it (semantics 6.1-6.6, 6.9).
 *
 * A packet crosses the node of its source, then that of its destination; on each it comes in by a pod's interface, by
 * the uplink, or from a process of the host, and goes out by one of the three. That triple says which checks run:
 *
 *     pod 10.0.0.1 on n1 -> pod 10.0.1.1 on n2, a host endpoint with apply-on-forward policy on n1:
 *       n1: pod -> uplink    pod egress, apply-on-forward egress of the host endpoint
 *       n2: uplink -> pod    pod ingress
 *
 * Connection tracking (6.7) belongs to a node, so the caller is asked for the packet's state on each node in turn; a
 * judgement without history answers `new` everywhere.
 */
import type { IpPrefix } from '../base/ip.ts';
import {
  type Dataplane,
  PROTOCOL_ICMPV6,
  PROTOCOL_IPIP,
  PROTOCOL_UDP,
  REASON_ENDPOINT_TO_HOST,
  REASON_FAILSAFE,
  REASON_INVALID,
  REASON_IPIP,
  REASON_NAMES,
  REASON_SERVICE_LOOP,
  REASON_SPOOFED,
  REASON_VXLAN,
} from '../model/flow.ts';
import type { ChainResult, Chains, Purpose } from './chains.ts';
import type { Endpoint } from './endpoints.ts';
import type { Place, ReferenceNode } from './nodes.ts';
import { isInAny, type Packet } from './packet.ts';
import type { Direction } from './policies.ts';
import type { Failsafe } from './settings.ts';

/** What connection tracking says of a packet on one node. */
export type ConnectionState = 'new' | 'established' | 'related' | 'invalid' | 'untracked';

/** The history that a node has of the packet's connection. */
export interface Connections {
  /** Asked once for each node that the packet reaches, unless a doNotTrack policy took it there. */
  stateOn(node: string): ConnectionState;
  /** The packet left the node, or reached its process. */
  passedOn(node: string): void;
}

export const NO_HISTORY: Connections = { stateOn: () => 'new', passedOn: () => undefined };

export interface Check {
  readonly action: 'allow' | 'deny';
  readonly trace: readonly string[];
}

/** The checks by the names that records give them: pod and normal host endpoint policy, then the three special kinds. */
export type CheckName = 'egress' | 'ingress' | 'forward' | 'untracked' | 'prednat';

export interface Judgement {
  readonly action: 'allow' | 'deny' | 'unpoliced';
  readonly reason: string;
  /** The check that decided, the last one that ran if all allowed. */
  readonly direction: CheckName | '';
  readonly checks: Readonly<Partial<Record<CheckName, Check>>>;
}

/** One node on the way, and the interfaces there. */
interface Crossing {
  readonly node: ReferenceNode;
  readonly from: Endpoint | 'uplink' | 'host';
  readonly to: Endpoint | 'uplink' | 'host';
  /** The other end is a host process of the cluster. */
  readonly isPeerHost: boolean;
}

export interface PathContext {
  readonly chains: Chains;
  readonly serviceLoops: readonly IpPrefix[];
  readonly isPending: boolean;
  readonly onlyNode: string | undefined;
  readonly dataplane: Dataplane;
}

export function judgePath(
  context: PathContext,
  packet: Packet,
  src: Place,
  dst: Place,
  connections: Connections,
): Judgement {
  const run = new Run(context, packet, connections);
  for (const crossing of crossingsOf(src, dst)) {
    if (context.onlyNode !== undefined && crossing.node.name !== context.onlyNode) continue;
    run.cross(crossing);
    if (run.isDenied) break;
    connections.passedOn(crossing.node.name);
  }
  return run.judgement();
}

/** Nothing for what only passes by outside. A host that talks to itself is not policed (semantics 10.11), but its node tracks it. */
function crossingsOf(src: Place, dst: Place): Crossing[] {
  const to = dst.kind === 'pod' ? dst.pod : 'host';
  const arrival: Crossing[] =
    dst.kind === 'outside' ? [] : [{ node: dst.node, from: 'uplink', to, isPeerHost: src.kind === 'host' }];
  if (src.kind === 'outside') return arrival;
  const from = src.kind === 'pod' ? src.pod : 'host';
  const isPeerHost = dst.kind === 'host';
  if (dst.kind === 'outside' || dst.node !== src.node) {
    return [{ node: src.node, from, to: 'uplink', isPeerHost }, ...arrival];
  }
  return [{ node: src.node, from, to, isPeerHost }];
}

/** ICMPv6 that a pod may always send to its node (semantics 6.5): MLD, router and neighbour solicitation, neighbour advertisement. */
const ICMPV6_TO_HOST: ReadonlySet<number> = new Set([130, 131, 132, 133, 135, 136]);

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** The packet under way: what was checked so far. */
class Run {
  isDenied = false;
  private readonly context: PathContext;
  private readonly packet: Packet;
  private readonly connections: Connections;
  private readonly checks: Partial<Record<CheckName, Check>> = {};
  private reason = '';
  private direction: CheckName | '' = '';

  constructor(context: PathContext, packet: Packet, connections: Connections) {
    this.context = context;
    this.packet = packet;
    this.connections = connections;
  }

  judgement(): Judgement {
    const action = this.isDenied ? 'deny' : this.direction === '' ? 'unpoliced' : 'allow';
    return { action, reason: this.reason, direction: this.direction, checks: this.checks };
  }

  cross(crossing: Crossing): void {
    const { node, from, to } = crossing;
    const isPoliced = this.packet.version === 4 || node.settings.ipv6;
    const isAccepted = isPoliced && this.untracked(crossing);
    if (this.isDenied) return;
    const tracked = isAccepted || this.isVxlan(node) ? 'untracked' : this.connections.stateOn(node.name);
    const state = tracked === 'invalid' && node.settings.ignoreInvalid ? 'new' : tracked;
    if (!isPoliced) return;
    if (from === 'host') {
      // To the host's own pods, nothing: kubelet's probes must pass (6.1).
      if (to === 'uplink' && !isAccepted) this.hostCheck(node, 'egress', state, crossing.isPeerHost);
      return;
    }
    const isPreAccepted = this.preDnat(crossing, isAccepted, state) || isAccepted;
    if (this.isDenied) return;
    if (to !== 'host') this.forwarded(crossing, isPreAccepted, state);
    else if (from !== 'uplink') this.podToHost(node, from, state);
    else if (!isPreAccepted || this.ownTunnel(node) !== 0) this.hostCheck(node, 'ingress', state, crossing.isPeerHost);
  }

  /** Raw: doNotTrack of an explicit host endpoint (6.6). True if a policy allowed the packet. */
  private untracked({ node, from, to }: Crossing): boolean {
    if (node.explicit === undefined) return false;
    if (from === 'uplink') {
      // BPF enforces this by XDP, and that for a single tier alone (6.10).
      const tiers = new Set(DIRECTIONS.flatMap((way) => this.tierNames(node.explicit!, 'untracked', way)));
      if (this.context.dataplane === 'bpf' && tiers.size > 1) return false;
      return this.specialCheck(node, node.explicit, 'untracked', 'ingress', to !== 'host');
    }
    return from === 'host' && to === 'uplink' && this.specialCheck(node, node.explicit, 'untracked', 'egress', false);
  }

  /** Mangle: preDNAT of the host endpoint on the way in, a wildcard's for pods, too. True if a policy allowed the packet. */
  private preDnat({ node, from, to }: Crossing, isAccepted: boolean, state: ConnectionState): boolean {
    const hep = governing(node, from);
    if (hep === undefined || isAccepted || state === 'established' || state === 'related') return false;
    if (!this.governs(hep, 'prednat', 'ingress')) return false;
    if (state === 'invalid') {
      this.enter('prednat', invalid());
      return false;
    }
    if (this.isExempt()) {
      this.enter('prednat', { action: 'none', reason: '', trace: [] });
      return false;
    }
    return this.specialCheck(node, hep, 'prednat', 'ingress', from === 'uplink' && to !== 'host');
  }

  /** The chain of a doNotTrack or preDNAT check: failsafes, then tiers; a failsafe hit ends the chain but accepts nothing. */
  private specialCheck(
    node: ReferenceNode,
    hep: Endpoint,
    purpose: 'untracked' | 'prednat',
    direction: Direction,
    isForwarded: boolean,
  ): boolean {
    if (!this.governs(hep, purpose, direction)) return false;
    // Under BPF a failsafe port is one for the host alone (6.10).
    const hasFailsafes = this.context.dataplane !== 'bpf' || !isForwarded;
    if (hasFailsafes && this.isFailsafe(node, direction, purpose === 'untracked')) {
      this.enter(purpose, failsafe());
      return false;
    }
    const result = this.run(hep, purpose, direction);
    this.enter(purpose, result);
    return result.action === 'allow';
  }

  /** Filter FORWARD. A connection that is known is accepted by the first chain that the packet meets. */
  private forwarded({ node, from, to }: Crossing, isAccepted: boolean, state: ConnectionState): void {
    const hepIn = isAccepted ? undefined : governing(node, from);
    const hepOut = governing(node, to);
    const steps: (() => boolean)[] = [
      () => hepIn !== undefined && this.forwardCheck(hepIn, 'ingress', state),
      () => typeof from !== 'string' && this.podCheck(node, from, 'egress', state),
      () => typeof to !== 'string' && this.podCheck(node, to, 'ingress', state),
      () => hepOut !== undefined && this.forwardCheck(hepOut, 'egress', state),
    ];
    for (const step of steps) {
      const isFinal = step();
      if (this.isDenied || isFinal) return;
    }
    this.serviceLoop(node);
  }

  /** Apply-on-forward policy; there is no chain where no such policy governs the direction. True if the hook ended here. */
  private forwardCheck(hep: Endpoint, direction: Direction, state: ConnectionState): boolean {
    if (!this.governs(hep, 'forward', direction)) return false;
    return this.trackedCheck('forward', state, () => this.run(hep, 'forward', direction));
  }

  /** Policy of a pod (6.3): nothing is asked for a connection that is known, and tunnels out of pods are cut before any policy. */
  private podCheck(node: ReferenceNode, pod: Endpoint, direction: Direction, state: ConnectionState): boolean {
    if (pod.isRejected) {
      this.enter(direction, denied(REASON_SPOOFED));
      return true;
    }
    return this.trackedCheck(direction, state, () => {
      const tunnel = direction === 'egress' ? this.tunnelReason(node) : 0;
      return tunnel !== 0 ? denied(tunnel) : this.run(pod, 'workload', direction);
    });
  }

  /** Filter INPUT from a pod (6.5). */
  private podToHost(node: ReferenceNode, pod: Endpoint, state: ConnectionState): void {
    if (this.isNeighbourDiscovery()) {
      this.enter('egress', { action: 'allow', reason: '', trace: [] });
      return;
    }
    // The INPUT chain looks at tunnels before it looks at pods, and a pod is none of Calico's hosts (6.2, 6.8).
    const isJudged = state !== 'established' && state !== 'related' && state !== 'invalid';
    const tunnel = isJudged && this.context.dataplane !== 'bpf' ? this.ownTunnel(node) : 0;
    if (tunnel !== 0) {
      this.enter('egress', denied(tunnel));
      return;
    }
    const isFinal = this.podCheck(node, pod, 'egress', state);
    if (this.isDenied || isFinal || node.settings.defaultEndpointToHostAction !== 'Drop') return;
    this.enter('egress', denied(REASON_ENDPOINT_TO_HOST));
  }

  /** Normal policy of the host endpoint that governs the uplink, to or from a process of the host. */
  private hostCheck(node: ReferenceNode, direction: Direction, state: ConnectionState, isOtherHost: boolean): void {
    const hep = governing(node, 'uplink');
    const tunnel = state === 'established' || state === 'invalid' ? 0 : this.ownTunnel(node);
    if (tunnel !== 0 && (isOtherHost || direction === 'ingress')) {
      // Between Calico's hosts they pass, from others they do not, before policy (6.8).
      if (!isOtherHost) this.enter(direction, denied(tunnel));
      else if (hep !== undefined) this.enter(direction, { action: 'allow', reason: '', trace: [] });
      return;
    }
    if (hep === undefined) return;
    this.trackedCheck(direction, state, () =>
      this.isFailsafe(node, direction, false) ? failsafe() : this.run(hep, 'normal', direction),
    );
  }

  /** Step 2 of every chain but the untracked ones (6.3). True if it ended the hook. */
  private trackedCheck(name: CheckName, state: ConnectionState, check: () => ChainResult): boolean {
    if (state === 'established' || state === 'related') {
      this.enter(name, { action: 'allow', reason: '', trace: [] });
      return true;
    }
    if (state === 'invalid') this.enter(name, invalid());
    else this.enter(name, this.isExempt() ? { action: 'allow', reason: '', trace: [] } : check());
    return false;
  }

  /** Semantics 6.9: what still goes to a service's address after policy allowed it would bounce for ever. */
  private serviceLoop(node: ReferenceNode): void {
    if (!node.settings.blocksServiceLoops || !isInAny(this.context.serviceLoops, this.packet.dst)) return;
    this.enter('forward', denied(REASON_SERVICE_LOOP));
  }

  private isNeighbourDiscovery(): boolean {
    const { protocol, version, icmpType } = this.packet;
    return protocol === PROTOCOL_ICMPV6 && version === 6 && ICMPV6_TO_HOST.has(icmpType);
  }

  /** BPF lets neighbour discovery pass on every interface (6.10). */
  private isExempt(): boolean {
    return this.context.dataplane === 'bpf' && this.isNeighbourDiscovery();
  }

  private isVxlan({ settings }: ReferenceNode): boolean {
    const { version, protocol, dstPort } = this.packet;
    return version === 4 && settings.hasVxlan && protocol === PROTOCOL_UDP && dstPort === settings.vxlanPort;
  }

  /**
   * Calico's own tunnels (6.8), where they are on. IPv4 alone: IPIP has no other, and VXLAN over IPv6 is on by IP pools, not by the
   * setting (Calico felix/calc/encapsulation_resolver.go, VXLANEnabledV6).
   */
  private ownTunnel(node: ReferenceNode): number {
    if (this.isVxlan(node)) return REASON_VXLAN;
    const { version, protocol } = this.packet;
    return version === 4 && node.settings.hasIpip && protocol === PROTOCOL_IPIP ? REASON_IPIP : 0;
  }

  private tunnelReason({ settings }: ReferenceNode): number {
    const { protocol, dstPort } = this.packet;
    const isVxlan = protocol === PROTOCOL_UDP && dstPort === settings.vxlanPort;
    const isBpf = this.context.dataplane === 'bpf';
    if (isVxlan && !settings.allowVxlanFromWorkloads && !isBpf) return REASON_VXLAN;
    return protocol === PROTOCOL_IPIP && (isBpf || !settings.allowIpipFromWorkloads) ? REASON_IPIP : 0;
  }

  /** Semantics 6.6: by destination port; in raw also the answers to what the other list lets out or in, by source port. */
  private isFailsafe({ settings }: ReferenceNode, direction: Direction, withReplies: boolean): boolean {
    const { protocol, src, dst, srcPort, dstPort } = this.packet;
    const [questions, answers] =
      direction === 'ingress'
        ? [settings.failsafeInbound, settings.failsafeOutbound]
        : [settings.failsafeOutbound, settings.failsafeInbound];
    const remote = direction === 'ingress' ? src : dst;
    const hits = (list: readonly Failsafe[], port: number): boolean =>
      list.some((entry) => {
        const isNear = entry.net === undefined || isInAny([entry.net], remote);
        return entry.protocol === protocol && entry.port === port && isNear;
      });
    return hits(questions, dstPort) || (withReplies && hits(answers, srcPort));
  }

  private governs(hep: Endpoint, purpose: Purpose, direction: Direction): boolean {
    return this.tierNames(hep, purpose, direction).length > 0;
  }

  private tierNames(hep: Endpoint, purpose: Purpose, direction: Direction): string[] {
    return this.context.chains.tiersOf(hep, purpose, direction, this.context.isPending).map(({ name }) => name);
  }

  private run(endpoint: Endpoint, purpose: Purpose, direction: Direction): ChainResult {
    return this.context.chains.run(endpoint, purpose, direction, this.context.isPending, this.packet);
  }

  /** Checks of one name are concatenated; a chain that ended without a verdict let the packet through. */
  private enter(name: CheckName, result: ChainResult): void {
    const earlier = this.checks[name];
    const action = result.action === 'deny' ? 'deny' : 'allow';
    this.checks[name] = { action, trace: [...(earlier?.trace ?? []), ...result.trace] };
    this.direction = name;
    this.reason = result.reason;
    this.isDenied = action === 'deny';
  }
}

/** The host endpoint on an interface: on a pod's the wildcard alone, on the uplink the explicit one before it (2.4). */
function governing(node: ReferenceNode, side: Endpoint | 'uplink' | 'host'): Endpoint | undefined {
  if (side === 'host') return undefined;
  return side === 'uplink' ? (node.explicit ?? node.wildcard) : node.wildcard;
}

function denied(reason: number): ChainResult {
  return { action: 'deny', reason: REASON_NAMES[reason]!, trace: [] };
}

function invalid(): ChainResult {
  return denied(REASON_INVALID);
}

function failsafe(): ChainResult {
  return { action: 'none', reason: REASON_NAMES[REASON_FAILSAFE]!, trace: [] };
}
