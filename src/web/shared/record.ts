/**
 * What the page shows of a record: who the ends are, on which port, and what decided. Pure functions over text that anybody may have
 * written; whoever shows the result puts it into text nodes.
 */

import type { ApiCheck, ApiRecord } from '../../agent/api.ts';

export type Side = 'src' | 'dst';

export interface EndView {
  /** `prod/web`, or the name of a network set or host, or the address of somebody outside. */
  readonly title: string;
  /** `prod/`, to be shown quieter than the rest of the title; empty when the title has no namespace. */
  readonly namespace: string;
  readonly name: string;
  /** Pod and address with port, the second line. */
  readonly detail: string;
  readonly kind: 'account' | 'pod' | 'host' | 'network-set' | 'outside';
}

/** What is known of one end, whatever the form of the record. */
export interface EndFacts {
  readonly ip: string;
  readonly port?: number | undefined;
  /** `wep`, `hep`, `ns` or `net`. */
  readonly type: string;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly account?: string | undefined;
}

export function viewEnd(record: ApiRecord, side: Side): EndView {
  return viewFacts(
    side === 'src'
      ? {
          ip: record.source_ip,
          port: record.source_port,
          type: record.source_type,
          namespace: record.source_namespace,
          name: record.source_name,
          account: record.source_service_account,
        }
      : {
          ip: record.dest_ip,
          port: record.dest_port,
          type: record.dest_type,
          namespace: record.dest_namespace,
          name: record.dest_name,
          account: record.dest_service_account,
        },
  );
}

export function viewFacts({ ip, port, type, namespace, name, account }: EndFacts): EndView {
  const address = joinAddress(ip, port);
  if (type === 'wep') {
    const shown = account ?? name ?? ip;
    return end(namespace, shown, [account === undefined ? undefined : name, address], account ? 'account' : 'pod');
  }
  if (type === 'ns') return end(namespace, name ?? ip, ['network set', address], 'network-set');
  if (type === 'hep') return end(undefined, name ?? ip, ['host', address], 'host');
  return end(undefined, ip, ['outside', port === undefined ? undefined : `port ${port}`], 'outside');
}

function end(
  namespace: string | undefined,
  name: string,
  detail: readonly (string | undefined)[],
  kind: EndView['kind'],
): EndView {
  const prefix = namespace ? `${namespace}/` : '';
  const words = detail.filter((word) => word !== undefined && word !== '');
  return { title: `${prefix}${name}`, namespace: prefix, name, detail: words.join(' · '), kind };
}

/** `10.0.0.1:80`, `[fd00::1]:80`, or the address alone. */
export function joinAddress(ip: string, port: number | undefined): string {
  if (port === undefined) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** `tcp/5432`, `icmp 8/0`, `gre`. */
export function formatService(record: ApiRecord): string {
  if (record.icmp_type !== undefined) return `${record.proto} ${record.icmp_type}/${record.icmp_code ?? 0}`;
  return record.dest_port === undefined ? record.proto : `${record.proto}/${record.dest_port}`;
}

/** A line of a trace in Calico's wording, `0|default|np:app/web|allow|0`, taken apart. */
export interface TraceLine {
  readonly tier: string;
  readonly policy: string;
  readonly action: string;
  /** -1 at the end of a tier. */
  readonly rule: number;
}

/** Undefined for text of another form. Policy names hold no bar; what is between the ends belongs to them all the same. */
export function parseTrace(line: string): TraceLine | undefined {
  const parts = line.split('|');
  if (parts.length < 5) return undefined;
  const rule = Number(parts.at(-1));
  if (!Number.isInteger(rule)) return undefined;
  return { tier: parts[1]!, policy: parts.slice(2, -2).join('|'), action: parts.at(-2)!, rule };
}

/** The check that decided, by the record's `direction`. */
export function decidingCheck(record: ApiRecord): ApiCheck | undefined {
  switch (record.direction) {
    case 'egress':
      return record.egress;
    case 'ingress':
      return record.ingress;
    case 'forward':
      return record.forward;
    case 'untracked':
      return record.untracked;
    case 'prednat':
      return record.prednat;
    default:
      return record.ingress ?? record.egress;
  }
}

/** The policy and rule that decided, for one cell of a table; only the reason when no policy did. */
export function viewDecision(record: ApiRecord): { readonly policy: string; readonly detail: string } {
  const check = decidingCheck(record);
  const last = check?.trace.at(-1);
  const line = last === undefined ? undefined : parseTrace(last);
  const direction = record.direction ?? '';
  if (line === undefined) return { policy: record.reason ?? '–', detail: direction };
  const place = line.rule < 0 ? `end of tier ${line.tier}` : `rule ${line.rule}`;
  const isProfile = line.tier === '__PROFILE__';
  return {
    policy: isProfile ? line.policy.replace(/^pro:/, 'profile ') : line.policy,
    detail: [direction, isProfile ? 'no tier decided' : place].filter(Boolean).join(' · '),
  };
}

/** What would be if every staged policy were enforced. */
export interface PendingView {
  readonly action: string;
  readonly traces: readonly { readonly check: string; readonly trace: readonly string[] }[];
}

/** The record's `pending` as far as it has the form of design's section 5: `action`, and lines of traces by check. */
export function viewPending(pending: unknown): PendingView | undefined {
  if (typeof pending !== 'object' || pending === null) return undefined;
  const { action, ...checks } = pending as Readonly<Record<string, unknown>>;
  if (typeof action !== 'string') return undefined;
  const traces = Object.entries(checks).flatMap(([check, trace]) =>
    Array.isArray(trace) ? [{ check, trace: trace.filter((line) => typeof line === 'string') }] : [],
  );
  return { action, traces };
}
