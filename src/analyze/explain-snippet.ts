/** Rules and policies as YAML to paste, for the proposals of `explain`. */
import { formatPrefix, fullPrefix } from '../base/ip.ts';
import { sortedLabels } from '../compile/labels.ts';
import type { PlanEndpoint } from '../compile/plan.ts';
import { LABEL_NAME, LABEL_SERVICE_ACCOUNT } from '../compile/selectors.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../model/flow.ts';
import type { Owner } from './explain-owners.ts';
import type { Probe } from './explain-rule.ts';
import type { PolicyWalk } from './explain-walk.ts';

export interface Snippet {
  readonly text: string;
  readonly at?: string;
  readonly yaml: string;
}

/** A rule for this flow alone, before rule `before` of a policy, or after its last rule. */
export function insertion(
  direction: 'ingress' | 'egress',
  policy: PolicyWalk,
  before: number | undefined,
  action: 'Allow' | 'Deny',
  probe: Probe,
): Snippet {
  const namespace = policy.policy.startsWith('np:') ? policy.policy.slice(3, policy.policy.indexOf('/')) : '';
  const yaml = ruleLines(direction, namespace, action, probe).join('\n');
  const rule = before === undefined ? policy.rules.at(-1) : policy.rules[before];
  const where = before === undefined ? 'at the end of' : `before rule ${before} of`;
  const anchor = rule ?? policy;
  return {
    text: `add a rule ${where} spec.${direction} in ${policy.policy}`,
    at: `${anchor.file}:${anchor.line}`,
    yaml,
  };
}

/**
 * A policy that denies this flow and passes on the rest, for the pods that have all labels and the account of this one: they
 * have the same policies as it, so that no end of tier changes for others.
 */
export function newPolicy(direction: 'ingress' | 'egress', endpoint: PlanEndpoint, probe: Probe): Snippet {
  const account = endpoint.serviceAccount;
  // Calico drops or replaces such labels of pods (semantics 2.1).
  const own = sortedLabels(endpoint.labels).filter(([key]) => !/^(pcns|pcsa)\.|^projectcalico\.org\//.test(key));
  const labels = [...own, ...(account === '' ? [] : [[LABEL_SERVICE_ACCOUNT, account] as const])];
  const selector = labels.map(([key, value]) => `${key} == ${quoted(value)}`).join(' && ') || 'all()';
  const type = direction === 'ingress' ? 'Ingress' : 'Egress';
  const yaml = [
    'apiVersion: projectcalico.org/v3',
    'kind: NetworkPolicy',
    'metadata:',
    `  name: deny-one-${direction}`,
    `  namespace: ${scalar(endpoint.namespace)}`,
    'spec:',
    `  selector: ${scalar(selector)}`,
    `  types: [${type}]`,
    `  ${direction}:`,
    ...ruleLines(direction, endpoint.namespace, 'Deny', probe).map((line) => `  ${line}`),
    '  - action: Pass',
  ].join('\n');
  const who = `${endpoint.namespace}/${endpoint.name}`;
  return {
    text: `no policy decides ${direction} of ${who}: add one that denies this flow and passes on the rest`,
    yaml,
  };
}

function ruleLines(direction: 'ingress' | 'egress', namespace: string, action: string, probe: Probe): string[] {
  const lines = [`- action: ${action}`];
  const names: Readonly<Record<number, string>> = {
    1: 'ICMP',
    6: 'TCP',
    17: 'UDP',
    58: 'ICMPv6',
    132: 'SCTP',
    136: 'UDPLite',
  };
  lines.push(`  protocol: ${names[probe.protocol] ?? probe.protocol}`);
  if (probe.protocol === PROTOCOL_ICMP || probe.protocol === PROTOCOL_ICMPV6) {
    if (probe.icmpType !== undefined) lines.push('  icmp:', `    type: ${probe.icmpType}`);
  }
  const isIngress = direction === 'ingress';
  const peer = isIngress ? peerLines(probe.srcOwners, formatPrefix(fullPrefix(probe.src)), namespace) : [];
  const far = isIngress ? [] : peerLines(probe.dstOwners, formatPrefix(fullPrefix(probe.dst)), namespace);
  const hasPorts = [6, 17, 132].includes(probe.protocol) && probe.dstPort !== undefined;
  const ports = hasPorts ? [`    ports: [${probe.dstPort}]`] : [];
  if (peer.length > 0) lines.push('  source:', ...peer);
  if (far.length > 0 || ports.length > 0) lines.push('  destination:', ...far, ...ports);
  return lines;
}

/** The other end, in the narrowest words that stay true when its address changes: its account, or its network. */
function peerLines(owners: readonly Owner[], net: string, namespace: string): string[] {
  const pod = owners.find(({ kind }) => kind === 'pod');
  if (pod === undefined || pod.serviceAccount === '') return [`    nets: [${scalar(net)}]`];
  const lines = ['    serviceAccounts:', `      names: [${scalar(pod.serviceAccount)}]`];
  if (pod.namespace !== namespace) {
    lines.push(`    namespaceSelector: ${scalar(`${LABEL_NAME} == ${quoted(pod.namespace)}`)}`);
  }
  return lines;
}

function quoted(text: string): string {
  return text.includes("'") ? `"${text}"` : `'${text}'`;
}

/** A YAML scalar: as it is where that is safe, else in double quotes. */
function scalar(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);
}
