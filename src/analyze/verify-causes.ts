/**
 * Likely causes of a finding, from what the manifests and the captures hold. Each is a hint with its reason, none a proof; most likely
 * first. An empty list means that nothing in the input explains it.
 */
import { type IpPrefix, parseAddress, parsePrefix } from '../base/ip.ts';
import { formatMoment } from '../base/time.ts';
import type { Plan } from '../compile/plan.ts';
import type { Resources } from '../model/resources.ts';
import type { Connection, OutcomeName } from './outcome.ts';
import type { FlowRecord } from './record.ts';
import type { FindingKind, ReportCause } from './report-data.ts';
import { decidingPolicy, enforcingEnd } from './verify-record.ts';

/** Of one endpoint whose policy decides: how many connections it should have dropped or let pass, and how many of them it did not. */
export interface EnforcementCount {
  denied: number;
  leaked: number;
  allowed: number;
  blocked: number;
}

export interface CauseInputs {
  readonly finding: FindingKind;
  readonly outcome: OutcomeName;
  readonly connection: Connection;
  readonly enforcement: EnforcementCount | undefined;
  readonly isPeerAlive: boolean;
  readonly isServiceAlive: boolean;
  /** It is missing at an uplink that shows packets of others. */
  readonly isUplinkKnown: boolean;
}

export class Causes {
  readonly #plan: Plan;
  /** By `file:line` of a policy: when it was stored. */
  readonly #created = new Map<string, number>();
  readonly #policyOrigins = new Map<string, string>();
  readonly #nodeOf = new Map<string, string>();
  readonly #networks: readonly { readonly node: string; readonly prefix: IpPrefix }[];
  readonly #nodesWithAddress: ReadonlySet<string>;
  readonly #podNode = new Map<string, string>();

  constructor(plan: Plan, resources: Resources) {
    this.#plan = plan;
    for (const { meta } of resources.policies) {
      if (meta.createdMs !== undefined) this.#created.set(`${meta.origin.file}:${meta.origin.line}`, meta.createdMs);
    }
    for (const { id, origin } of plan.policies) this.#policyOrigins.set(id, `${origin.file}:${origin.line}`);
    for (const { meta, addresses } of resources.nodes) {
      for (const address of addresses) this.#nodeOf.set(address, meta.name);
    }
    this.#networks = resources.nodes.flatMap(({ meta, podCIDRs }) =>
      podCIDRs.flatMap((text) => {
        const prefix = parsePrefix(text);
        return prefix === undefined ? [] : [{ node: meta.name, prefix }];
      }),
    );
    this.#nodesWithAddress = new Set(this.#nodeOf.values());
    for (const { kind, namespace, name, node } of plan.endpoints) {
      if (kind === 'wep') this.#podNode.set(`${namespace}/${name}`, node);
    }
  }

  of(inputs: CauseInputs): readonly ReportCause[] {
    const causes = inputs.finding === 'leak' ? this.#ofLeak(inputs) : this.#ofBlocked(inputs);
    return causes.filter((cause) => cause !== undefined);
  }

  #ofLeak({ connection, outcome, enforcement }: CauseInputs): (ReportCause | undefined)[] {
    const { record } = connection;
    return [
      this.#younger(connection, 'it did not exist when the connection was opened'),
      outcome === 'midstream'
        ? {
            cause: 'established-before',
            text: 'it was open before the capture began: who let it in is not known, and policy does not cut what is open',
          }
        : undefined,
      this.#fromNode(record),
      this.#unknownEnd(record),
      outcome === 'answered' && !connection.hasProvenAnswer && record.source_port === record.dest_port
        ? { cause: 'own-traffic', text: 'both ends use one port, so what comes back may be no answer' }
        : undefined,
      enforcement !== undefined && enforcement.leaked > 1 && enforcement.leaked === enforcement.denied
        ? {
            cause: 'not-enforced',
            text: `none of ${enforcement.denied} connections that policy denies at ${enforcingEnd(record)} was dropped: its node may not enforce policy there at all`,
          }
        : undefined,
    ];
  }

  #ofBlocked({
    connection,
    outcome,
    enforcement,
    isPeerAlive,
    isServiceAlive,
    isUplinkKnown,
  }: CauseInputs): (ReportCause | undefined)[] {
    const { record, forward, rejection } = connection;
    return [
      this.#younger(connection, 'what it allows was not allowed yet when the connection was opened'),
      record.pending?.action === 'deny'
        ? { cause: 'staged-enforced', text: 'staged policies would deny it: they may be enforced already' }
        : undefined,
      outcome === 'rejected'
        ? { cause: 'rejected', text: `${this.#whoIs(rejection!.by)} rejects it by an ICMP error: a filter there` }
        : undefined,
      outcome === 'lost' && isUplinkKnown && forward.missingAtSource > 0
        ? { cause: 'dropped-at-source', text: "it was not seen behind its source's node" }
        : undefined,
      outcome === 'lost' && forward.missingAtSource === 0 && forward.passedSource > 0
        ? { cause: 'dropped-at-destination', text: "it was seen behind its source's node, so it was lost after that" }
        : undefined,
      this.#unknownEnd(record),
      outcome === 'no-answer' && !isServiceAlive && !isPeerAlive
        ? {
            cause: 'peer-silent',
            text: 'no packet of the destination is in these captures: it may be down, or out of reach; a capture taken there tells (--delivered)',
          }
        : undefined,
      outcome === 'no-answer' && !isServiceAlive && isPeerAlive
        ? { cause: 'port-silent', text: 'nobody got an answer from this port: its program may not run' }
        : undefined,
      enforcement !== undefined && enforcement.blocked > 1 && enforcement.blocked === enforcement.allowed
        ? {
            cause: 'all-blocked',
            text: `none of ${enforcement.allowed} connections that policy allows at ${enforcingEnd(record)} came through: its node may not know it, or not these policies`,
          }
        : undefined,
    ];
  }

  /** The policy that decides was stored after the connection was opened. */
  #younger(connection: Connection, effect: string): ReportCause | undefined {
    const policy = decidingPolicy(connection.record);
    const origin = policy === undefined ? undefined : this.#policyOrigins.get(policy);
    const createdMs = origin === undefined ? undefined : this.#created.get(origin);
    if (createdMs === undefined || createdMs <= connection.startMs) return undefined;
    return {
      cause: 'policy-younger',
      text: `${policy} was created at ${formatMoment(createdMs)}, after the first packet: ${effect}`,
    };
  }

  /** The source is a node, or may be one: what a node sends to its own pods passes no policy, and what it masquerades hides who sent it. */
  #fromNode(record: FlowRecord): ReportCause | undefined {
    if (record.source_type === 'wep' || record.dest_type !== 'wep') return undefined;
    const destNode = this.#podNode.get(`${record.dest_namespace}/${record.dest_name}`) ?? '';
    const node = this.#nodeOf.get(record.source_ip) ?? this.#networkNode(record.source_ip);
    if (node !== undefined && node !== destNode) {
      return {
        cause: 'masked-source',
        text: `the source is an address of node ${node}, which may stand for somebody behind it (a NodePort, masquerading): the rules see another source than the packet had at first`,
      };
    }
    if (node === destNode && destNode !== '') {
      return {
        cause: 'host-to-own-pod',
        text: `the source is an address of node ${node}, where the pod runs: what a node sends to its own pods passes no policy`,
      };
    }
    if (record.source_type === 'net' && !this.#nodesWithAddress.has(destNode)) {
      return {
        cause: 'host-to-own-pod',
        text: `no address of the pod's node ${destNode === '' ? '' : `${destNode} `}is in the input: if the source is that node, nothing is policed; add the Node object`,
      };
    }
    return undefined;
  }

  /** An address of the pod network that no pod of the input has. */
  #unknownEnd(record: FlowRecord): ReportCause | undefined {
    for (const side of ['source', 'dest'] as const) {
      if (record[`${side}_type`] !== 'net') continue;
      const ip = record[`${side}_ip`];
      const node = this.#networkNode(ip);
      if (node === undefined || this.#nodeOf.has(ip)) continue;
      return {
        cause: 'missing-identity',
        text: `${ip} belongs to the pod network of node ${node} and to no pod of the input: manifests and captures may be of different times`,
      };
    }
    return undefined;
  }

  #networkNode(ip: string): string | undefined {
    const address = parseAddress(ip);
    if (address === undefined) return undefined;
    return this.#networks.find(({ prefix }) => covers(prefix, address))?.node;
  }

  #whoIs(ip: string): string {
    const node = this.#nodeOf.get(ip);
    if (node !== undefined) return `node ${node} (${ip})`;
    const pod = this.#plan.endpoints.find(
      ({ kind, addresses }) => kind === 'wep' && addresses.some((own) => isAddress(own, ip)),
    );
    return pod === undefined ? ip : `pod ${pod.namespace}/${pod.name} (${ip})`;
  }
}

function isAddress(prefix: IpPrefix, ip: string): boolean {
  const address = parseAddress(ip);
  return address !== undefined && covers(prefix, address);
}

function covers(
  prefix: IpPrefix,
  { version, words }: { readonly version: 4 | 6; readonly words: readonly number[] },
): boolean {
  if (prefix.version !== version) return false;
  for (let word = 0, left = prefix.length; left > 0; word++, left -= 32) {
    const mask = left >= 32 ? -1 : -1 << (32 - left);
    if (((prefix.words[word]! ^ words[word]!) & mask) !== 0) return false;
  }
  return true;
}
