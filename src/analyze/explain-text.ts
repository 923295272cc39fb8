/** An explanation in plain sentences, a line each; names are as they come, so a terminal gets them escaped. */
import type { CheckExplanation, EndExplanation, Explanation, OwnerExplanation } from './explain.ts';
import type { Change } from './explain-change.ts';
import { orList } from './explain-selector.ts';
import type { PolicyWalk, ProfileWalk, RuleWalk, TierWalk } from './explain-walk.ts';
import type { FlowRecord } from './record.ts';

/** Rules of one policy that are spelled out; the others are counted. */
const RULES_SHOWN_MAX = 12;

/** Lines longer than `width` broken between words, what follows indented by four more than the line. */
export function wrapLines(lines: readonly string[], width: number): readonly string[] {
  return lines.flatMap((line) => (line.length <= width || line.startsWith('       ') ? [line] : wrapLine(line, width)));
}

function wrapLine(line: string, width: number): string[] {
  const indent = `${/^ */.exec(line)![0]}    `;
  const out: string[] = [];
  let current = '';
  for (const word of line.trimStart().split(' ')) {
    const start = current === '' && out.length === 0 ? indent.slice(4) : current === '' ? indent : `${current} `;
    if (current !== '' && `${start}${word}`.length > width) {
      out.push(current);
      current = indent + word;
    } else current = start + word;
  }
  return [...out, current];
}

/** The whole chain: verdict, ends, checks with every rule that was tried, and what would change the verdict. */
export function explanationLines(explanation: Explanation): readonly string[] {
  const { record, source, destination, checks, changes } = explanation;
  return [
    headline(record, checks),
    '',
    ...endLines('From', source),
    ...endLines('To', destination),
    ...checks.flatMap((check) => ['', ...checkLines(check, record)]),
    ...changesLines(changes),
    ...pendingLines(record),
  ];
}

/** `tcp 10.0.0.1:49152 -> 10.0.0.2:5432 is denied: …`. */
function flowText(record: FlowRecord): string {
  const { proto, icmp_type, icmp_code } = record;
  const icmp = icmp_type === undefined ? '' : ` type ${icmp_type} code ${icmp_code}`;
  const from = socketText(record.source_ip, record.source_port);
  const to = socketText(record.dest_ip, record.dest_port);
  return `${/^\d+$/.test(proto) ? `protocol ${proto}` : proto}${icmp} ${from} -> ${to}`;
}

function socketText(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const VERDICTS: Readonly<Record<string, string>> = {
  allow: 'is allowed',
  deny: 'is denied',
  unpoliced: 'is not policed',
  uncertain: 'has no certain verdict',
};

function headline(record: FlowRecord, checks: readonly CheckExplanation[]): string {
  const verdict = `${flowText(record)} ${VERDICTS[record.action] ?? record.action}`;
  const last = checks.at(-1);
  if (record.action === 'unpoliced') return `${verdict}: ${unpolicedText(record)}.`;
  if (record.action === 'uncertain') return `${verdict}: ${UNCERTAIN[record.reason ?? ''] ?? record.reason}.`;
  if (last === undefined) return `${verdict}: ${REASONS[record.reason ?? ''] ?? record.reason ?? 'no check applies'}.`;
  const others =
    record.action === 'allow' && checks.length > 1 ? `all ${checks.length} checks allow it, the last one because ` : '';
  return `${verdict}: ${others}${outcomeText(last, record)}.`;
}

function unpolicedText(record: FlowRecord): string {
  return record.dest_type === 'wep'
    ? 'Calico never polices what a node sends to its own pods'
    : 'no pod and no host endpoint is at either end';
}

const UNCERTAIN: Readonly<Record<string, string>> = {
  'shared-address': 'several pods claim one of its addresses, and their answers differ',
  fragment: 'it is a fragment of a datagram whose first part was not seen',
  truncated: 'the capture kept too little of the packet',
};

const REASONS: Readonly<Record<string, string>> = {
  vxlan: 'a pod may not send VXLAN packets, whatever the policies say',
  ipip: 'a pod may not send IP-in-IP packets, whatever the policies say',
  failsafe: 'the port is one of the failsafe ports of the host',
  exempt: 'such ICMPv6 packets pass before policy',
  'service-loop': 'the address is a service address that nothing serves: dropped against routing loops',
  'endpoint-to-host': 'DefaultEndpointToHostAction drops what pods send to their own node',
  invalid: 'it belongs to no connection that the node knows',
};

/** Why a check ended as it did, without a full stop. */
function outcomeText(check: CheckExplanation, record: FlowRecord): string {
  if (check.before_policy !== undefined) return REASONS[check.before_policy] ?? check.before_policy;
  const fixed = record.action === 'deny' && check.action === 'allow' ? REASONS[record.reason ?? ''] : undefined;
  if (fixed !== undefined) return fixed;
  const tier = check.tiers.find(({ outcome }) => outcome === check.action);
  if (tier?.decided_by !== undefined) {
    const { policy, rule } = tier.decided_by;
    const place = placeOfRule(tier, policy, rule);
    if (rule >= 0) return `rule ${rule} of ${policy} (${place}) ${check.action === 'allow' ? 'allows' : 'denies'} it`;
    return `no rule matched in tier ${tier.tier}, which then denies (last policy: ${policy}, ${place})`;
  }
  const profile = check.profiles.at(-1);
  if (profile === undefined) return 'no policy of this kind denies it';
  if (!profile.exists) return `profile ${profile.profile} does not exist, and a missing profile denies everything`;
  if (profile.outcome === 'continue') return 'no profile allows it';
  return `no policy decides, and profile ${profile.profile} ${profile.outcome === 'allow' ? 'allows' : 'denies'} it`;
}

function placeOfRule(tier: TierWalk, id: string, index: number): string {
  const policy = tier.policies.find((candidate) => candidate.policy === id)!;
  const rule = index < 0 ? undefined : policy.rules[index];
  return rule === undefined ? `${policy.file}:${policy.line}` : `${rule.file}:${rule.line}`;
}

/* ---- ends ---- */

function endLines(label: string, end: EndExplanation): string[] {
  const head = label.padEnd(5);
  if (end.owners.length === 0) {
    return [`${head} ${end.address}, which belongs to no pod, host endpoint or network set of the input`];
  }
  return end.owners.map((owner, i) => `${i === 0 ? head : '  and'} ${ownerText(owner, end.address)}`);
}

function ownerText(owner: OwnerExplanation, address: string): string {
  const path = owner.namespace === undefined ? owner.name : `${owner.namespace}/${owner.name}`;
  const parts = [`${owner.kind} ${path} (${owner.file}:${owner.line}), ${address}`];
  if (owner.service_account !== undefined) {
    parts.push(`service account ${owner.service_account}${accountText(owner)}`);
  }
  parts.push(labelsText('own labels', owner.labels));
  if (owner.node !== undefined) parts.push(`on node ${owner.node}`);
  return parts.join(', ');
}

function accountText({ service_account_labels: labels }: OwnerExplanation): string {
  if (labels === undefined) return ' (no object describes it)';
  return Object.keys(labels).length === 0 ? '' : ` (${labelsText('labels', labels)})`;
}

function labelsText(word: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? `no ${word}` : `${word} ${pairs.join(' ')}`;
}

/* ---- checks ---- */

function checkLines(check: CheckExplanation, record: FlowRecord): string[] {
  const name = `${check.check[0]!.toUpperCase()}${check.check.slice(1)} of ${endpointText(check.endpoint)}`;
  const turned = check.action === 'allow' && record.direction === check.check ? turnedText(record) : undefined;
  const lines = [`${name}: ${turned === undefined ? ACTIONS[check.action] : `allowed, but ${turned}`}.`];
  if (check.before_policy !== undefined) {
    lines.push(`  Decided before any policy: ${REASONS[check.before_policy] ?? check.before_policy}.`);
    return lines;
  }
  if (check.tiers.length === 0) {
    const rest = check.profiles.length > 0 ? ', so its profiles decide' : '';
    lines.push(`  No policy selects it for ${check.direction}${rest}.`);
  }
  for (const tier of check.tiers) lines.push(...tierLines(tier));
  if (check.tiers.length > 0 && check.profiles.length > 0) lines.push('  No tier decided, so the profiles do.');
  for (const profile of check.profiles) lines.push(...profileLines(profile));
  if (check.profiles.at(-1)?.outcome === 'continue') lines.push('  No profile allows it: denied.');
  return lines;
}

/** A check may allow what something that is no policy then drops. */
function turnedText(record: FlowRecord): string | undefined {
  return record.action === 'deny' ? REASONS[record.reason ?? ''] : undefined;
}

/** `pod prod/web-0`, `host endpoint eth0`. */
function endpointText(key: string): string {
  return key.startsWith('wep:') ? `pod ${key.slice('wep:'.length)}` : `host endpoint ${key.slice('hep:'.length)}`;
}

const ACTIONS: Readonly<Record<string, string>> = { allow: 'allowed', deny: 'denied', pass: 'passed on' };

function tierLines(tier: TierWalk): string[] {
  const count = tier.policies.length;
  const lines = [`  Tier ${tier.tier}: ${count === 1 ? '1 policy selects' : `${count} policies select`} it.`];
  let isDecided = false;
  for (const policy of tier.policies) {
    if (isDecided) {
      lines.push(`    ${policy.policy} (${policy.file}:${policy.line}): not reached.`);
      continue;
    }
    lines.push(...policyLines(policy));
    isDecided = policy.rules.some(({ outcome }) => outcome === 'matches');
  }
  if (tier.decided_by?.rule === -1) {
    const what = tier.outcome === 'pass' ? 'passes the flow on to the next tier' : 'denies the flow';
    lines.push(`    No rule matched: the end of tier ${tier.tier} ${what}.`);
  } else if (tier.outcome === 'pass') {
    lines.push('    Passed: the rest of the tier is skipped, and the next one decides.');
  } else if (tier.outcome === 'continue') {
    lines.push('    No rule matched, and a tier of this kind has no end action.');
  }
  return lines;
}

function policyLines(policy: PolicyWalk): string[] {
  const lines = [`    ${policy.policy} (${policy.file}:${policy.line}), which selects ${bare(policy.selector)}`];
  if (policy.rules.length === 0) lines.push('      has no rules.');
  return [...lines, ...rulesLines(policy.rules)];
}

/** A conjunction without the parentheses of its canonical text. */
function bare(selector: string): string {
  return /^\([^()]*\)$/.test(selector) ? selector.slice(1, -1) : selector;
}

function profileLines(profile: ProfileWalk): string[] {
  if (!profile.exists) return [`  Profile ${profile.profile} does not exist: everything is denied.`];
  const head = `  Profile ${profile.profile} (${profile.file}:${profile.line})`;
  if (profile.rules.length === 0) return [`${head} has no rules.`];
  const [first] = profile.rules;
  if (first?.outcome === 'matches' && first.parts.length === 0)
    return [`${head} ${first.action === 'deny' ? 'denies' : `${first.action}s`} everything.`];
  return [head, ...rulesLines(profile.rules)];
}

function rulesLines(rules: readonly RuleWalk[]): string[] {
  const lines: string[] = [];
  const reached = rules.filter(({ outcome }) => outcome !== 'not-reached');
  const misses = reached.filter(({ outcome }) => outcome === 'does-not-match');
  const hidden = new Set(misses.slice(RULES_SHOWN_MAX));
  for (const rule of reached) if (!hidden.has(rule)) lines.push(...ruleLines(rule));
  if (hidden.size > 0) lines.push(`      … and ${hidden.size} more rules that do not match (-o json has them all)`);
  return lines;
}

function ruleLines(rule: RuleWalk): string[] {
  const action = `${rule.action[0]!.toUpperCase()}${rule.action.slice(1)}`;
  const head = `      rule ${rule.index}, ${action} (${rule.file}:${rule.line})`;
  if (rule.outcome === 'does-not-match') {
    const misses = rule.parts.filter(({ holds }) => !holds).map(({ text }) => text);
    return [`${head}: does not match, since ${misses.join('; ')}.`];
  }
  const verb = rule.outcome === 'logs' ? 'logs and goes on' : 'matches';
  const reasons = rule.parts.map(({ text }) => text);
  return [`${head}: ${verb}${reasons.length === 0 ? ', it asks for nothing' : `, since ${reasons.join('; ')}`}.`];
}

/* ---- changes ---- */

function changesLines(changes: readonly Change[]): string[] {
  const [first] = changes;
  if (first === undefined) return [];
  const lines = ['', `What would ${first.to === 'allow' ? 'allow' : 'deny'} it, the smallest change first:`];
  changes.forEach((change, i) => {
    lines.push(`  ${i + 1}. ${change.text}${change.at === undefined ? '' : `, at ${change.at}`}`);
    for (const line of change.yaml?.split('\n') ?? []) lines.push(`       ${line}`);
  });
  if (first.but !== undefined) lines.push(`  That is not enough: ${first.but}.`);
  return lines;
}

function pendingLines({ action, pending }: FlowRecord): string[] {
  if (pending === undefined) return [];
  const staged = [...(pending.egress ?? []), ...(pending.ingress ?? []), ...(pending.forward ?? [])];
  const answer = pending.action === action ? `it would still be ${pending.action}` : `it would be ${pending.action}`;
  return ['', `If every staged policy were enforced, ${answer}: ${orList(staged)}.`];
}
