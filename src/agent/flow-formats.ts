/**
 * A line of the flow log in the form of three systems.
 *
 * - `native`: the record of `margay schema`, with `flow_id`, `generation`, `is_open`, `node`, and `finding` where there is one.
 * - `goldmane`: names and enumerations of Goldmane's Flow, one line a reporter: what the source's node would report of an egress check, what the
 *   destination's would of an ingress check. `-` stands for what is absent. A connection's packets are not counted by direction here, so all of
 *   them are `packets_out` of the source's line and `packets_in` of the destination's.
 * - `hubble`: the line of Hubble's exporter. Numeric identities do not exist outside of Cilium and are left out.
 *
 * Packets and bytes are those since the flow's last line, so that lines add up to what was judged.
 */
import type { ConnectionRecord } from '../analyze/connections.ts';
import type { CheckRecord } from '../model/flow.ts';

export interface FlowLine {
  readonly id: string;
  readonly isOpen: boolean;
  /** Whether it had no line before. */
  readonly isFirst: boolean;
  readonly generation: number;
  readonly finding: 'leak' | 'blocked' | undefined;
  /** Totals of the flow. */
  readonly record: ConnectionRecord;
  /** Since the last line. */
  readonly startTime: string;
  readonly packets: number;
  readonly bytes: number;
  readonly packetsByAction: Readonly<Record<string, number>> | undefined;
}

export type FlowFormat = 'native' | 'goldmane' | 'hubble';

/** The objects to write for `line`, a JSON line each. */
export function formatFlow(format: FlowFormat, line: FlowLine, node: string | undefined): readonly object[] {
  switch (format) {
    case 'native':
      return [nativeLine(line, node)];
    case 'goldmane':
      return goldmaneLines(line);
    case 'hubble':
      return [hubbleLine(line, node)];
    default:
      return format satisfies never;
  }
}

function nativeLine(line: FlowLine, node: string | undefined): object {
  const { record, packets, bytes, startTime, packetsByAction, id, generation, isOpen, finding } = line;
  const { packets_by_action: _, ...rest } = record;
  return {
    ...rest,
    start_time: startTime,
    packets,
    bytes,
    ...(packetsByAction === undefined ? {} : { packets_by_action: packetsByAction }),
    flow_id: id,
    generation,
    is_open: isOpen,
    ...(node === undefined ? {} : { node }),
    ...(finding === undefined ? {} : { finding }),
  };
}

/* ---- Goldmane ---- */

const ENDPOINT_TYPES: Readonly<Record<string, string>> = {
  wep: 'WorkloadEndpoint',
  hep: 'HostEndpoint',
  ns: 'NetworkSet',
  net: 'Network',
};

const POLICY_KINDS: Readonly<Record<string, string>> = {
  np: 'CalicoNetworkPolicy',
  gnp: 'GlobalNetworkPolicy',
  snp: 'StagedNetworkPolicy',
  sgnp: 'StagedGlobalNetworkPolicy',
  sknp: 'StagedKubernetesNetworkPolicy',
  knp: 'NetworkPolicy',
  kcnp: 'ClusterNetworkPolicy',
  pro: 'Profile',
};

const ACTIONS: Readonly<Record<string, string>> = { allow: 'Allow', deny: 'Deny', pass: 'Pass' };

function goldmaneLines(line: FlowLine): object[] {
  const { record } = line;
  const lines: object[] = [];
  if (record.egress !== undefined) lines.push(goldmaneLine(line, 'Src', record.egress, record.pending?.egress));
  // What the source's node drops, the destination's never sees.
  const isDropped = record.action === 'deny' && record.direction === 'egress';
  if (record.ingress !== undefined && !isDropped) {
    lines.push(goldmaneLine(line, 'Dst', record.ingress, record.pending?.ingress));
  }
  // No pod at either end: the host endpoint's side, or nobody's.
  if (lines.length === 0) {
    const action = record.action === 'deny' ? 'deny' : 'allow';
    const check: CheckRecord = record.forward ?? { action, trace: [] };
    lines.push(goldmaneLine(line, record.dest_type === 'net' ? 'Src' : 'Dst', check, record.pending?.forward));
  }
  return lines;
}

function goldmaneLine(
  line: FlowLine,
  reporter: 'Src' | 'Dst',
  check: CheckRecord,
  pending: readonly string[] | undefined,
): object {
  const { record, packets, bytes, startTime, isFirst, isOpen } = line;
  const isSource = reporter === 'Src';
  return {
    Key: {
      source_name: nameOf(record, 'source'),
      source_namespace: record.source_namespace ?? ABSENT,
      source_type: ENDPOINT_TYPES[record.source_type],
      dest_name: nameOf(record, 'dest'),
      dest_namespace: record.dest_namespace ?? ABSENT,
      dest_type: ENDPOINT_TYPES[record.dest_type],
      dest_port: record.dest_port ?? 0,
      dest_service_name: ABSENT,
      dest_service_namespace: ABSENT,
      dest_service_port_name: ABSENT,
      dest_service_port: 0,
      proto: record.proto,
      reporter,
      action: ACTIONS[check.action] ?? 'ActionUnspecified',
      policies: {
        enforced_policies: check.trace.map((entry) => policyHit(entry, check)),
        pending_policies: (pending ?? check.trace).map((entry) => policyHit(entry, check)),
      },
    },
    start_time: seconds(startTime),
    end_time: seconds(record.end_time),
    source_labels: labelList(record.source_labels),
    dest_labels: labelList(record.dest_labels),
    packets_in: isSource ? 0 : packets,
    packets_out: isSource ? packets : 0,
    bytes_in: isSource ? 0 : bytes,
    bytes_out: isSource ? bytes : 0,
    num_connections_started: isFirst ? 1 : 0,
    num_connections_completed: isOpen ? 0 : 1,
    num_connections_live: isOpen ? 1 : 0,
  };
}

const ABSENT = '-';

/** Outside of the cluster: `pub` or `pvt`, as Felix's collector has it. */
function nameOf(record: ConnectionRecord, end: 'source' | 'dest'): string {
  const name = record[`${end}_name`];
  if (name !== undefined) return name;
  if (record[`${end}_type`] !== 'net') return ABSENT;
  return isPrivate(record[`${end}_ip`]) ? 'pvt' : 'pub';
}

function isPrivate(address: string): boolean {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|f[cd])/i.test(address);
}

/** `0|default|np:app/web|allow|0` as a hit; at the end of a tier the policy that it is attributed to is the trigger. */
function policyHit(entry: string, check: CheckRecord): object {
  const [position = '0', tier = '', policy = '', action = '', rule = '0'] = entry.split('|');
  const hit = { ...policyName(policy), tier: tier === '__PROFILE__' ? '' : tier, action: ACTIONS[action] ?? action };
  const index = Number(rule);
  const places = { policy_index: Number(position), rule_index: index };
  if (index >= 0) return { ...hit, ...places, trigger: null };
  const trigger = { ...policyName(check.selected_by?.at(-1) ?? policy), tier: hit.tier, action: 'ActionUnspecified' };
  return { kind: 'EndOfTier', namespace: '', name: '', tier: hit.tier, action: hit.action, ...places, trigger };
}

function policyName(id: string): { readonly kind: string; readonly namespace: string; readonly name: string } {
  const colon = id.indexOf(':');
  const rest = id.slice(colon + 1);
  const slash = rest.indexOf('/');
  return {
    kind: POLICY_KINDS[id.slice(0, colon)] ?? 'KindUnspecified',
    namespace: slash < 0 ? '' : rest.slice(0, slash),
    name: rest.slice(slash + 1),
  };
}

function labelList(labels: Readonly<Record<string, string>> | undefined): string[] {
  return Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
}

function seconds(time: string): number {
  return Math.floor(Date.parse(time) / 1000);
}

/* ---- Hubble ---- */

const VERDICTS: Readonly<Record<string, string>> = {
  allow: 'FORWARDED',
  deny: 'DROPPED',
  unpoliced: 'FORWARDED',
  uncertain: 'VERDICT_UNKNOWN',
};

function hubbleLine({ record, id, packets, bytes, generation }: FlowLine, node: string | undefined): object {
  const time = record.end_time;
  const isDenied = record.action === 'deny';
  const direction = record.direction === 'egress' ? 'EGRESS' : 'INGRESS';
  const flow = {
    time,
    uuid: id,
    verdict: VERDICTS[record.action] ?? 'VERDICT_UNKNOWN',
    ...(isDenied ? { drop_reason_desc: 'POLICY_DENIED' } : {}),
    IP: {
      source: record.source_ip,
      destination: record.dest_ip,
      ipVersion: record.source_ip.includes(':') ? 'IPv6' : 'IPv4',
    },
    l4: layer4(record),
    source: hubbleEnd(record, 'source'),
    destination: hubbleEnd(record, 'dest'),
    Type: 'L3_L4',
    ...(node === undefined ? {} : { node_name: node }),
    is_reply: false,
    traffic_direction: record.direction === undefined ? 'TRAFFIC_DIRECTION_UNKNOWN' : direction,
    extensions: { 'margay.generation': generation, 'margay.packets': packets, 'margay.bytes': bytes },
    Summary: `${record.proto.toUpperCase()} ${record.observed}`,
  };
  return { flow, ...(node === undefined ? {} : { node_name: node }), time };
}

function layer4({ proto, source_port, dest_port, icmp_type, icmp_code }: ConnectionRecord): object {
  const ports = { source_port: source_port ?? 0, destination_port: dest_port ?? 0 };
  if (proto === 'tcp') return { TCP: ports };
  if (proto === 'udp') return { UDP: ports };
  if (proto === 'sctp') return { SCTP: ports };
  const icmp = { type: icmp_type ?? 0, code: icmp_code ?? 0 };
  if (proto === 'icmp') return { ICMPv4: icmp };
  return proto === 'icmpv6' ? { ICMPv6: icmp } : {};
}

function hubbleEnd(record: ConnectionRecord, end: 'source' | 'dest'): object {
  const namespace = record[`${end}_namespace`];
  const name = record[`${end}_name`];
  const labels = labelList(record[`${end}_labels`]).map((label) => `k8s:${label}`);
  const account = record[`${end}_service_account`];
  const isPod = record[`${end}_type`] === 'wep';
  const own = isPod
    ? [
        ...labels,
        `k8s:io.kubernetes.pod.namespace=${namespace ?? ''}`,
        ...(account === undefined ? [] : [`k8s:io.cilium.k8s.policy.serviceaccount=${account}`]),
      ]
    : [record[`${end}_type`] === 'net' ? 'reserved:world' : 'reserved:host'];
  return {
    ...(isPod && namespace !== undefined ? { namespace } : {}),
    labels: own,
    ...(isPod && name !== undefined ? { pod_name: name } : {}),
  };
}
