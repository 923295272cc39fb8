/**
 * Records: what a judgement looks like to people and programs (design, section 5).
 *
 * The packet path leaves numbers in a `Judge`; here they become names, traces and `file:line`. One record form serves
 * `eval`, `replay`, the flow log and the page. Text is made once a connection or once a flow, never once a packet.
 */
import { formatIpv4, formatIpv6 } from '../base/ip.ts';
import { judgePending } from '../match/judge.ts';
import { claimPod, findOwner, ownerHostEndpoint } from '../match/lookup.ts';
import { CHECK_KIND, CHECK_STEP_COUNT, CHECK_STEPS, CHECK_WORDS, type Judge } from '../match/state.ts';
import {
  CHECK_NAMES,
  type CheckRecord,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  REASON_FAILSAFE,
  REASON_NAMES,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_NAMES,
  VERDICT_UNCERTAIN,
} from '../model/flow.ts';
import * as layout from '../tables/layout.ts';
import { endpointName, field, type Tables, templateField, templateText, textField } from '../tables/tables.ts';
import {
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
} from '../wire/record.ts';

export type EndType = 'wep' | 'hep' | 'ns' | 'net';

/** The answer if every staged policy were enforced; traces of the checks that would run. */
export interface PendingRecord {
  action: string;
  egress?: readonly string[];
  ingress?: readonly string[];
  forward?: readonly string[];
  untracked?: readonly string[];
  prednat?: readonly string[];
}

/** The part of a record that a single flow has; field meanings are in `record-schema.ts`. */
export interface FlowRecord {
  proto: string;
  source_ip: string;
  source_port?: number;
  dest_ip: string;
  dest_port?: number;
  icmp_type?: number;
  icmp_code?: number;
  source_type: EndType;
  source_namespace?: string;
  source_name?: string;
  source_service_account?: string;
  source_labels?: Record<string, string>;
  dest_type: EndType;
  dest_namespace?: string;
  dest_name?: string;
  dest_service_account?: string;
  dest_labels?: Record<string, string>;
  action: string;
  reason?: string;
  direction?: string;
  egress?: CheckRecord;
  ingress?: CheckRecord;
  forward?: CheckRecord;
  untracked?: CheckRecord;
  prednat?: CheckRecord;
  pending?: PendingRecord;
  /** What a tunnel packet carries, judged by itself. */
  inner?: FlowRecord;
}

type Verdict = Pick<FlowRecord, 'action' | 'reason' | 'direction' | CheckName>;

type CheckName = 'egress' | 'ingress' | 'forward' | 'untracked' | 'prednat';

/** The record of the packet that `judge` has just judged; `records[at]` is its packet record. */
export function flowRecord(judge: Judge, records: Int32Array, at: number): FlowRecord {
  const record = tupleRecord(judge.tables, records, at);
  fillVerdict(record, judge);
  return record;
}

/** Action, reason and checks of what `judge` has just judged. */
function fillVerdict(record: Verdict, judge: Judge): void {
  record.action = VERDICT_NAMES[judge.verdict]!;
  const isFailsafe = judge.reason === REASON_FAILSAFE;
  if (judge.reason !== 0 && (judge.verdict !== VERDICT_ALLOW || isFailsafe))
    record.reason = REASON_NAMES[judge.reason]!;
  if (judge.deciding >= 0) record.direction = checkName(judge, judge.deciding);
  for (let check = 0; check < judge.checkCount; check++) {
    const name = checkName(judge, check);
    const next = checkRecord(judge, check);
    const before = record[name];
    record[name] = before === undefined ? next : joinChecks(before, next);
  }
  // What comes after policy (DefaultEndpointToHostAction, service loops) denies in a check whose policy allowed.
  if (judge.verdict === VERDICT_DENY && record.direction !== undefined) {
    const name = record.direction as CheckName;
    if (record[name]!.action !== 'deny') record[name] = { ...record[name]!, action: 'deny' };
  }
}

/**
 * Adds `pending` to `record`, that of the packet which `of` has just judged, if staged policies change anything in it. Judges the
 * packet once more by `judge`, which may be `of` if its answer is no longer needed. Where evidence is missing, nothing is added.
 */
export function addPending(record: FlowRecord, judge: Judge, of: Judge, records: Int32Array, at: number): void {
  if (!hasStagedPolicies(judge.tables) || of.verdict === VERDICT_UNCERTAIN) return;
  if (judgePending(judge, of, records, at) === VERDICT_UNCERTAIN) return;
  const other: Verdict = { action: '' };
  fillVerdict(other, judge);
  const names: readonly CheckName[] = ['egress', 'ingress', 'forward', 'untracked', 'prednat'];
  const text = (check: CheckRecord | undefined): string => (check === undefined ? '-' : check.trace.join('\n'));
  if (other.action === record.action && names.every((name) => text(other[name]) === text(record[name]))) return;
  const pending: PendingRecord = { action: other.action };
  for (const name of names) {
    const check = other[name];
    if (check !== undefined) pending[name] = check.trace;
  }
  record.pending = pending;
}

/** Protocol and ends of a packet, with an empty action. */
function tupleRecord(tables: Tables, records: Int32Array, at: number): FlowRecord {
  const protocol = records[at + PACKET_PROTOCOL]!;
  const flags = records[at + PACKET_FLAGS]!;
  const version = (flags & FLAG_IPV6) !== 0 ? 6 : 4;
  const src = endRecord(tables, version, records, at + PACKET_SRC);
  const dst = endRecord(tables, version, records, at + PACKET_DST);
  const record: FlowRecord = {
    proto: protocolName(protocol),
    source_ip: addressText(version, records, at + PACKET_SRC),
    dest_ip: addressText(version, records, at + PACKET_DST),
    source_type: src.type,
    dest_type: dst.type,
    action: '',
  };
  if ((flags & FLAG_L4_PORTS) !== 0) {
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
      record.icmp_type = records[at + PACKET_SRC_PORT]!;
      record.icmp_code = records[at + PACKET_DST_PORT]!;
    } else {
      record.source_port = records[at + PACKET_SRC_PORT]!;
      record.dest_port = records[at + PACKET_DST_PORT]!;
    }
  }
  if (src.namespace !== '') record.source_namespace = src.namespace;
  if (src.name !== '') record.source_name = src.name;
  if (src.serviceAccount !== '') record.source_service_account = src.serviceAccount;
  if (src.labels !== undefined) record.source_labels = src.labels;
  if (dst.namespace !== '') record.dest_namespace = dst.namespace;
  if (dst.name !== '') record.dest_name = dst.name;
  if (dst.serviceAccount !== '') record.dest_service_account = dst.serviceAccount;
  if (dst.labels !== undefined) record.dest_labels = dst.labels;
  return record;
}

/** Names as Calico's flow logs print them; numbers for the rest. */
export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? String(protocol);
}

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);

export function addressText(version: number, words: Int32Array, at: number): string {
  return version === 4
    ? formatIpv4(words[at]!)
    : formatIpv6(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

/** `file:line` of what a step stands for: its rule, or at the end of a tier the policy it is attributed to. */
export function stepOrigin(tables: Tables, step: number): string | undefined {
  const rule = field(tables, layout.SECTION_STEPS, step, layout.STEP_RULE);
  if (rule !== layout.NONE) {
    return originText(tables, layout.SECTION_RULES, rule, layout.RULE_FILE);
  }
  const owner = field(tables, layout.SECTION_STEPS, step, layout.STEP_POLICY);
  return owner >= 0 ? originText(tables, layout.SECTION_POLICIES, owner, layout.POLICY_FILE) : undefined;
}

/** Trace entries of the steps `path[start .. start + count)`; `pos` counts from 0 (semantics 7.4). */
export function traceOf(tables: Tables, path: Int32Array, start: number, count: number): string[] {
  const trace: string[] = [];
  for (let i = 0; i < count; i++) {
    const step = path[start + i]!;
    const name = textField(tables, layout.SECTION_STEPS, step, layout.STEP_TRACE_NAME);
    if (name === '') continue;
    const tier = field(tables, layout.SECTION_STEPS, step, layout.STEP_TIER);
    const tierName =
      tier === layout.NONE ? '__PROFILE__' : textField(tables, layout.SECTION_TIERS, tier, layout.TIER_NAME);
    const action = STEP_ACTIONS[field(tables, layout.SECTION_STEPS, step, layout.STEP_ACTION)]!;
    trace.push(
      `${trace.length}|${tierName}|${name}|${action}|${field(tables, layout.SECTION_STEPS, step, layout.STEP_TRACE_INDEX)}`,
    );
  }
  return trace;
}

const STEP_ACTIONS: readonly ('allow' | 'deny' | 'pass')[] = ['allow', 'deny', 'pass', 'allow'];

interface End {
  type: EndType;
  namespace: string;
  name: string;
  serviceAccount: string;
  labels: Record<string, string> | undefined;
}

function endRecord(tables: Tables, version: number, words: Int32Array, at: number): End {
  const [w0, w1, w2, w3] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
  const owner = findOwner(tables, version, w0, w1, w2, w3);
  const pod = claimPod(tables, owner, 0);
  const endpoint = pod === layout.NONE ? ownerHostEndpoint(tables, owner) : pod;
  if (endpoint !== layout.NONE) return endpointEnd(tables, endpoint);
  const end: End = { type: 'net', namespace: '', name: '', serviceAccount: '', labels: undefined };
  const set = longestNetworkSet(tables, version, words, at);
  if (set !== undefined) {
    end.type = 'ns';
    const [kind, rest] = [set.slice(0, set.indexOf(':')), set.slice(set.indexOf(':') + 1)];
    const slash = rest.indexOf('/');
    end.namespace = kind === 'ns' ? rest.slice(0, slash) : '';
    end.name = kind === 'ns' ? rest.slice(slash + 1) : rest;
  }
  return end;
}

function endpointEnd(tables: Tables, endpoint: number): End {
  const { ends } = memoOf(tables);
  const known = ends.get(endpoint);
  if (known !== undefined) return known;
  const end = makeEnd(tables, endpoint);
  ends.set(endpoint, end);
  return end;
}

function makeEnd(tables: Tables, endpoint: number): End {
  const start = templateField(tables, endpoint, layout.TEMPLATE_LABELS);
  const count = templateField(tables, endpoint, layout.TEMPLATE_LABELS + 1);
  const pairs: [string, string][] = [];
  for (let i = 0; i < count; i++) {
    pairs.push([tables.string(tables.ints[start + 2 * i]!), tables.string(tables.ints[start + 2 * i + 1]!)]);
  }
  const isPod = templateField(tables, endpoint, layout.TEMPLATE_KIND) === layout.KIND_WEP;
  return {
    type: isPod ? 'wep' : 'hep',
    namespace: templateText(tables, endpoint, layout.TEMPLATE_NAMESPACE),
    name: endpointName(tables, endpoint),
    serviceAccount: templateText(tables, endpoint, layout.TEMPLATE_SERVICE_ACCOUNT),
    // fromEntries defines own properties, so a label named `__proto__` stays a label.
    labels: Object.freeze(Object.fromEntries(pairs)),
  };
}

/** The name of the network set with the longest prefix around an address. Off the packet path: a scan. */
function longestNetworkSet(tables: Tables, version: number, words: Int32Array, at: number): string | undefined {
  let best = -1;
  let name: string | undefined;
  for (let set = 0; set < tables.counts[layout.SECTION_NETWORK_SETS]!; set++) {
    const start = field(tables, layout.SECTION_NETWORK_SETS, set, layout.NETWORK_SET_PREFIXES);
    const count = field(tables, layout.SECTION_NETWORK_SETS, set, layout.NETWORK_SET_PREFIXES + 1);
    for (let prefix = start; prefix < start + count; prefix++) {
      const form = tables.prefixes[prefix * layout.PREFIX_SIZE + layout.PREFIX_FORM]!;
      const length = form & 255;
      if (form >> 8 !== version || length <= best || !prefixCovers(tables, prefix, length, words, at)) continue;
      best = length;
      name = textField(tables, layout.SECTION_NETWORK_SETS, set, layout.NETWORK_SET_NAME);
    }
  }
  return name;
}

function prefixCovers(tables: Tables, prefix: number, length: number, words: Int32Array, at: number): boolean {
  for (let word = 0, left = length; left > 0; word++, left -= 32) {
    const mask = left >= 32 ? -1 : -1 << (32 - left);
    if ((words[at + word]! & mask) !== tables.prefixes[prefix * layout.PREFIX_SIZE + layout.PREFIX_WORDS + word])
      return false;
  }
  return true;
}

function checkName(judge: Judge, check: number): CheckName {
  return CHECK_NAMES[judge.checks[check * CHECK_WORDS + CHECK_KIND]!] as CheckName;
}

function checkRecord(judge: Judge, check: number): CheckRecord {
  const tables = judge.tables;
  const start = judge.checks[check * CHECK_WORDS + CHECK_STEPS]!;
  const count = judge.checks[check * CHECK_WORDS + CHECK_STEP_COUNT]!;
  if (count === 0) return { action: 'allow', trace: [] };
  if (count > 1) return makeCheck(tables, judge.path, start, count);
  const { checks } = memoOf(tables);
  const step = judge.path[start]!;
  const known = checks.get(step);
  if (known !== undefined) return known;
  const record = Object.freeze(makeCheck(tables, judge.path, start, count));
  checks.set(step, record);
  return record;
}

function makeCheck(tables: Tables, path: Int32Array, start: number, count: number): CheckRecord {
  const last = path[start + count - 1]!;
  const action = STEP_ACTIONS[field(tables, layout.SECTION_STEPS, last, layout.STEP_ACTION)]!;
  const rule = stepOrigin(tables, last);
  const selectedBy = selectedPolicies(tables, last);
  return {
    action,
    trace: traceOf(tables, path, start, count),
    ...(rule === undefined ? {} : { rule }),
    ...(selectedBy.length === 0 ? {} : { selected_by: selectedBy }),
  };
}

/** At an end of tier: every policy that selected the endpoint in that tier and direction. */
function selectedPolicies(tables: Tables, step: number): string[] {
  const start = field(tables, layout.SECTION_STEPS, step, layout.STEP_SELECTED_BY);
  const count = field(tables, layout.SECTION_STEPS, step, layout.STEP_SELECTED_BY + 1);
  return Array.from(tables.ints.subarray(start, start + count), (policy) =>
    textField(tables, layout.SECTION_POLICIES, policy, layout.POLICY_ID),
  );
}

/** Two checks of one kind (apply-on-forward in and out): traces one after the other, the later action. */
function joinChecks(first: CheckRecord, second: CheckRecord): CheckRecord {
  return { ...second, trace: [...first.trace, ...second.trace] };
}

function originText(tables: Tables, section: number, record: number, fileWord: number): string {
  return `${textField(tables, section, record, fileWord)}:${field(tables, section, record, fileWord + 1)}`;
}

/** Parts of records that many flows share, made once and frozen, so that their JSON is made once, too (record-json.ts). */
interface Memo {
  readonly ends: Map<number, End>;
  /** Checks that one step decided, by step. */
  readonly checks: Map<number, CheckRecord>;
  hasStaged: boolean | undefined;
}

const memos = new WeakMap<Tables, Memo>();

function memoOf(tables: Tables): Memo {
  let memo = memos.get(tables);
  if (memo === undefined) {
    memo = { ends: new Map(), checks: new Map(), hasStaged: undefined };
    memos.set(tables, memo);
  }
  return memo;
}

function hasStagedPolicies(tables: Tables): boolean {
  const memo = memoOf(tables);
  memo.hasStaged ??= Array.from({ length: tables.counts[layout.SECTION_POLICIES]! }, (_, policy) =>
    field(tables, layout.SECTION_POLICIES, policy, layout.POLICY_FLAGS),
  ).some((flags) => (flags & layout.POLICY_IS_STAGED) !== 0);
  return memo.hasStaged;
}
