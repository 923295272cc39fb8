/** A record in words: its ends, what decided, and why. For tables, and for the answer to a single `eval`. */

import { decidingCheck } from '../analyze/read-record.ts';
import type { FlowRecord } from '../analyze/record.ts';
import { escapeControls } from '../base/errors.ts';
import type { Output } from './output.ts';
import { paint } from './render.ts';

/** What a table leaves out because its legend says it once: the namespace of most ends, the directory of all files. */
export interface Brevity {
  readonly namespace: string;
  readonly directory: string;
  /** Set where only the endpoints of this node are judged. */
  readonly node?: string | undefined;
}

export const IN_FULL: Brevity = { namespace: '', directory: '' };

/** Any record: packets and undecoded ones have fewer fields. */
export type AnyRecord = Partial<FlowRecord> & { readonly action: string; readonly state?: string };

type Side = 'source' | 'dest';

/** `prod/web-0 (web)`, `203.0.113.9 (set feeds)`, `10.0.0.9`. The account stands in parentheses. */
export function endText(record: AnyRecord, side: Side, brevity: Brevity = IN_FULL, hasAccount = true): string {
  const name = record[`${side}_name`];
  const address = record[`${side}_ip`] ?? '';
  if (name === undefined) return address;
  const full = qualified(record[`${side}_namespace`], name, brevity);
  if (record[`${side}_type`] === 'ns') return `${address} (set ${full})`;
  if (record[`${side}_type`] === 'hep') return `hep:${full}`;
  const account = record[`${side}_service_account`];
  return account === undefined || !hasAccount ? full : `${full} (${account})`;
}

/** The receiver with protocol and port: `prod/db-0 tcp 5432`. Its account does not matter for most questions. */
export function targetText(record: AnyRecord, brevity: Brevity = IN_FULL): string {
  return `${endText(record, 'dest', brevity, false)} ${serviceText(record)}`.trim();
}

/** `tcp 5432`, `icmp echo`, `gre` by number: `proto 47`. */
export function serviceText(record: AnyRecord): string {
  const { proto, dest_port: port, icmp_type: type } = record;
  if (proto === undefined) return '';
  if (type !== undefined) return `${proto} ${ICMP_NAMES[`${proto} ${type}`] ?? `type ${type}`}`;
  if (port !== undefined) return `${proto} ${port}`;
  return /^\d+$/.test(proto) ? `protocol ${proto}` : proto;
}

const ICMP_NAMES: Readonly<Record<string, string>> = {
  'icmp 0': 'echo-reply',
  'icmp 3': 'unreachable',
  'icmp 8': 'echo',
  'icmp 11': 'time-exceeded',
  'icmpv6 1': 'unreachable',
  'icmpv6 3': 'time-exceeded',
  'icmpv6 128': 'echo',
  'icmpv6 129': 'echo-reply',
  'icmpv6 135': 'neighbour-solicitation',
  'icmpv6 136': 'neighbour-advertisement',
};

function qualified(namespace: string | undefined, name: string, brevity: Brevity): string {
  return namespace === undefined || namespace === brevity.namespace ? name : `${namespace}/${name}`;
}

/** One entry of a trace, taken apart. */
export interface TraceEntry {
  readonly tier: string;
  /** `np:prod/web`, `pro:kns.prod`. */
  readonly policy: string;
  readonly action: string;
  /** -1 = end of tier. */
  readonly index: number;
}

function parseTraceEntry(text: string): TraceEntry {
  const [, tier = '', policy = '', action = '', index = ''] = text.split('|');
  return { tier, policy, action, index: Number(index) };
}

/** Why, in a few words: `rule 0 of web`, `no rule of web`, `no policy applies`. */
export function reasonText(record: AnyRecord, brevity: Brevity = IN_FULL): string {
  const fixed = FIXED_REASONS[record.reason ?? ''];
  if (fixed !== undefined) return fixed;
  if (record.state === 'established') return 'open connection';
  if (record.state === 'related') return 'about an open connection';
  const check = decidingCheck(record);
  const last = check?.trace.at(-1);
  if (check === undefined) return uncheckedText(record, brevity);
  if (last === undefined) return record.reason ?? 'before any policy';
  const { tier, policy, index } = parseTraceEntry(last);
  if (policy === 'pro:__NO_MATCH__') return 'no profile allows';
  if (policy.startsWith('pro:kns.'))
    return record.reason === 'profile-missing' ? 'namespace is unknown' : 'no policy applies';
  if (policy.startsWith('pro:')) return `profile ${policy.slice('pro:'.length)}`;
  if (index >= 0) return `rule ${index} of ${policyText(policy, brevity)}`;
  const selected = check.selected_by ?? [];
  return `no rule of ${selected.length > 1 ? `tier ${tier}` : policyText(policy, brevity)}`;
}

/** Calico never polices what a node sends to its own pods (semantics 6.1); open connections pass without policy. */
function uncheckedText(record: AnyRecord, { node }: Brevity): string {
  if (record.action === 'allow') return 'open connection';
  if (record.action !== 'unpoliced') return record.reason ?? '';
  if (node !== undefined) return `no check on ${node}`;
  return record.dest_type === 'wep' ? 'node to its own pod' : 'no pod at either end';
}

const FIXED_REASONS: Readonly<Record<string, string>> = {
  invalid: 'no open connection',
  failsafe: 'failsafe port',
  vxlan: 'VXLAN from a pod',
  ipip: 'IP-in-IP from a pod',
  spoofed: 'source is not the pod',
  'service-loop': 'service loop',
  'endpoint-to-host': 'endpoint to host',
  fragment: 'fragment: rest unseen',
  'shared-address': 'shared address',
  truncated: 'truncated',
  'stale-identity': 'identity too old',
  'no-identity': 'identity unknown',
  'masked-source': 'source is masked',
  evicted: 'connection forgotten',
};

/** `np:prod/web` as a table shows it: without its kind, and without a namespace that goes without saying. */
export function policyText(id: string, brevity: Brevity): string {
  const path = id.slice(id.indexOf(':') + 1);
  const slash = path.indexOf('/');
  return slash < 0 ? path : qualified(path.slice(0, slash), path.slice(slash + 1), brevity);
}

/** `file:line` of the deciding rule, or `''`. */
export function ruleText(record: AnyRecord, brevity: Brevity = IN_FULL): string {
  const rule = decidingCheck(record)?.rule ?? '';
  return brevity.directory !== '' && rule.startsWith(brevity.directory) ? rule.slice(brevity.directory.length) : rule;
}

/** The answer to a single `eval`: a few aligned lines. */
export function renderRecord(record: FlowRecord, output: Output, node?: string): string {
  const clean = escapeControls;
  const lines: [string, string][] = [
    ['verdict', `${paint(record.action, output)}  ${clean(reasonText(record, { ...IN_FULL, node }))}`],
    ['from', clean(`${endText(record, 'source')}  ${portText(record.source_ip, record.source_port)}`)],
    ['to', clean(`${endText(record, 'dest')}  ${portText(record.dest_ip, record.dest_port)}  ${serviceText(record)}`)],
  ];
  for (const name of ['untracked', 'prednat', 'forward', 'egress', 'ingress'] as const) {
    const check = record[name];
    if (check === undefined) continue;
    const trace = check.trace.length === 0 ? 'before any policy' : check.trace.join(', ');
    const rule = check.rule === undefined ? '' : `  at ${check.rule}`;
    lines.push([name, `${paint(check.action, output)}  ${clean(trace + rule)}`]);
  }
  if (record.pending !== undefined) {
    lines.push(['staged', `${paint(record.pending.action, output)} if the staged policies were enforced`]);
  }
  const width = Math.max(...lines.map(([label]) => label.length));
  return lines.map(([label, text]) => `${label.padEnd(width)}  ${text}\n`).join('');
}

function portText(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
