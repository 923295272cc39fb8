/**
 * `explain`: why a flow gets its verdict, from the ends of the flow to the part of the rule that decided, and the smallest
 * change that would turn the verdict round.
 *
 * The verdict is that of the tables, as everywhere. The plan is then walked rule by rule to say what was asked and what the
 * flow had; both must name the same policies and rules, which is asserted.
 */
import { assert } from '../base/assert.ts';
import { formatAddress, type IpAddress } from '../base/ip.ts';
import type { Plan } from '../compile/plan.ts';
import { judgeNewPacket } from '../match/judge.ts';
import {
  CAPTURE_POINT_NAMES,
  CHECK_ENDPOINT,
  CHECK_KIND,
  CHECK_STEP_COUNT,
  CHECK_STEPS,
  CHECK_WORDS,
  createJudge,
  type Judge,
} from '../match/state.ts';
import { CHECK_NAMES, type Dataplane, type Flow, REASON_NAMES } from '../model/flow.ts';
import type { Resources } from '../model/resources.ts';
import * as layout from '../tables/layout.ts';
import { field, type Tables } from '../tables/tables.ts';
import {
  FLAG_IPV6,
  FLAG_L4_PORTS,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_WORDS,
} from '../wire/record.ts';
import { chainDirection } from './counters.ts';
import { type EvaluateOptions, writeFlow } from './evaluate-flow.ts';
import { type Change, smallestChanges } from './explain-change.ts';
import { type Owner, ownersOf } from './explain-owners.ts';
import type { Probe } from './explain-rule.ts';
import { type CheckKind, type CheckWalk, type Direction, walkCheck } from './explain-walk.ts';
import { addPending, type FlowRecord, flowRecord, traceOf } from './record.ts';

/** One end of the flow. Everything but the address is absent where it does not apply. */
export interface EndExplanation {
  readonly address: string;
  readonly owners: readonly OwnerExplanation[];
}

export interface OwnerExplanation {
  readonly kind: Owner['kind'];
  readonly name: string;
  readonly namespace?: string;
  readonly node?: string;
  readonly service_account?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Absent where no object describes the account, or the namespace. */
  readonly service_account_labels?: Readonly<Record<string, string>>;
  readonly namespace_labels?: Readonly<Record<string, string>>;
  readonly file: string;
  readonly line: number;
}

export interface CheckExplanation extends CheckWalk {
  /** `egress`, `ingress`, `forward`, `untracked`, `prednat`. */
  readonly check: string;
  readonly direction: Direction;
  readonly endpoint: string;
  /** Set where something ends the check before any policy: `vxlan`, `ipip`, `failsafe`, `exempt`. */
  readonly before_policy?: string;
}

export interface Explanation {
  /** The verdict and the traces, as `eval` prints them. */
  readonly record: FlowRecord;
  readonly source: EndExplanation;
  readonly destination: EndExplanation;
  /** The checks that ran, in order. */
  readonly checks: readonly CheckExplanation[];
  /** What would turn the verdict round, smallest first; empty where no policy decided. */
  readonly changes: readonly Change[];
}

/** Explains `flow` as the first packet of a new connection. `tables` must be those of `plan`, and `plan` that of `resources`. */
export function explainFlow(
  resources: Resources,
  plan: Plan,
  tables: Tables,
  flow: Flow,
  options: EvaluateOptions & { readonly dataplane?: Dataplane } = {},
): Explanation {
  const packet = new Int32Array(PACKET_WORDS);
  writeFlow(flow, packet);
  const judge = createJudge(tables);
  judge.capturePoint = CAPTURE_POINT_NAMES.indexOf(options.capturePoint ?? 'unknown');
  judgeNewPacket(judge, packet, 0);
  const record = flowRecord(judge, packet, 0);
  const probe = probeOf(resources, plan, packet, options.dataplane ?? 'iptables');
  const checks = record.action === 'uncertain' ? [] : explainChecks(plan, judge, probe);
  const explanation = {
    record,
    source: endOf(probe.src, probe.srcOwners),
    destination: endOf(probe.dst, probe.dstOwners),
    checks,
    changes: smallestChanges(resources, plan, record, checks, probe),
  };
  addPending(record, judge, judge, packet, 0);
  return explanation;
}

function probeOf(resources: Resources, plan: Plan, packet: Int32Array, dataplane: Dataplane): Probe {
  const version = (packet[PACKET_FLAGS]! & FLAG_IPV6) !== 0 ? 6 : 4;
  const address = (at: number): IpAddress => ({
    version,
    words: [packet[at]!, packet[at + 1]!, packet[at + 2]!, packet[at + 3]!],
  });
  const protocol = packet[PACKET_PROTOCOL]!;
  const hasPorts = (packet[PACKET_FLAGS]! & FLAG_L4_PORTS) !== 0;
  const isIcmp = protocol === (version === 4 ? 1 : 58);
  const src = address(PACKET_SRC);
  const dst = address(PACKET_DST);
  const [first, second] = hasPorts ? [packet[PACKET_SRC_PORT]!, packet[PACKET_DST_PORT]!] : [undefined, undefined];
  return {
    src,
    dst,
    protocol,
    srcPort: isIcmp ? undefined : first,
    dstPort: isIcmp ? undefined : second,
    icmpType: isIcmp ? first : undefined,
    icmpCode: isIcmp ? second : undefined,
    srcOwners: ownersOf(plan, resources, src),
    dstOwners: ownersOf(plan, resources, dst),
    dataplane,
  };
}

/** The checks that `judge` ran, each walked. */
function explainChecks(plan: Plan, judge: Judge, probe: Probe): CheckExplanation[] {
  const checks: CheckExplanation[] = [];
  for (let check = 0; check < judge.checkCount; check++) {
    const at = check * CHECK_WORDS;
    const name = CHECK_NAMES[judge.checks[at + CHECK_KIND]!]!;
    // Checks that nothing of the plan stands for: spoofed sources, refused pods, service loops.
    const endpoint = plan.endpoints[judge.checks[at + CHECK_ENDPOINT]!];
    if (endpoint === undefined) continue;
    const start = judge.checks[at + CHECK_STEPS]!;
    const count = judge.checks[at + CHECK_STEP_COUNT]!;
    const direction = directionOf(judge, name, start, count);
    const before = reasonBeforePolicy(judge, start, count);
    const group = plan.groups[endpoint.group]!;
    const head = { check: name, direction, endpoint: endpoint.key };
    if (before !== undefined) {
      const action = count > 0 && isDeny(judge, start + count - 1) ? 'deny' : 'allow';
      checks.push({ ...head, before_policy: before, tiers: [], profiles: [], action, trace: [] });
      continue;
    }
    const walk = walkCheck(plan, group, kindOf(name, endpoint.kind), direction, probe);
    const trace = traceOf(judge.tables, judge.path, start, count);
    const agrees = walk.trace.join(' ') === trace.join(' ');
    assert(
      agrees,
      `explain walks the rules to where the tables end: [${walk.trace.join(' ')}], not [${trace.join(' ')}]`,
    );
    checks.push({ ...head, ...walk });
  }
  return checks;
}

function kindOf(name: string, endpointKind: 'wep' | 'hep'): CheckKind {
  if (name === 'forward' || name === 'prednat' || name === 'untracked') return name;
  return endpointKind === 'wep' ? 'wep' : 'normal';
}

function directionOf(judge: Judge, name: string, start: number, count: number): Direction {
  if (name === 'egress' || name === 'ingress') return name;
  if (count === 0) return 'ingress';
  return chainDirection(judge.tables, judge.path[start]!) === 'egress' ? 'egress' : 'ingress';
}

/** The reason of a check that ended at a step which is neither a rule nor the end of a tier or of the profiles. */
function reasonBeforePolicy(judge: Judge, start: number, count: number): string | undefined {
  if (count === 0) return 'exempt';
  const reason = REASON_NAMES[field(judge.tables, layout.SECTION_STEPS, judge.path[start]!, layout.STEP_REASON)]!;
  // BPF's own step for neighbour discovery.
  if (
    reason === '' &&
    field(judge.tables, layout.SECTION_STEPS, judge.path[start]!, layout.STEP_ACTION) === layout.STEP_ALLOW
  )
    return 'exempt';
  return reason === 'vxlan' || reason === 'ipip' || reason === 'failsafe' ? reason : undefined;
}

function isDeny(judge: Judge, at: number): boolean {
  return field(judge.tables, layout.SECTION_STEPS, judge.path[at]!, layout.STEP_ACTION) === layout.STEP_DENY;
}

function endOf(address: IpAddress, owners: readonly Owner[]): EndExplanation {
  return { address: formatAddress(address), owners: owners.map(ownerExplanation) };
}

function ownerExplanation(owner: Owner): OwnerExplanation {
  const { kind, name, namespace, node, serviceAccount, labels, accountLabels, namespaceLabels, origin } = owner;
  return {
    kind,
    name,
    ...(namespace === '' ? {} : { namespace }),
    ...(node === '' ? {} : { node }),
    ...(serviceAccount === '' ? {} : { service_account: serviceAccount }),
    labels: Object.fromEntries(labels),
    ...(accountLabels === undefined ? {} : { service_account_labels: Object.fromEntries(accountLabels) }),
    ...(namespaceLabels === undefined ? {} : { namespace_labels: Object.fromEntries(namespaceLabels) }),
    file: origin.file,
    line: origin.line,
  };
}
