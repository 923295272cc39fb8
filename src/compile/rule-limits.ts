/**
 * What Felix refuses in a converted policy or profile.
 *
 * Felix runs a validator over every converted policy, and one failure anywhere drops the whole policy, as if nobody had
 * written it. The API refuses nearly all of this earlier; plain CRD writes (`--permissive`) do not pass there.
 * Source: Calico typha/pkg/validator/v1/validator.go, validateBackendRule and the tags of model.Rule; semantics 3.2.
 */
import type { EntityRule, IcmpMatch, Port, Protocol, Rule } from '../model/rule.ts';
import { hasRulePorts, protocolNumber } from './protocols.ts';
import { isSyntaxError, type SelectorCache } from './selectors.ts';

/** A reason to drop the object: the field below the rule, and what is wrong with it. */
export interface RuleProblem {
  readonly field: string;
  readonly problem: string;
}

/** All that the validator finds wrong in the raw fields of one rule. Combined selectors are checked where they are built. */
export function ruleProblems(rule: Rule, selectors: SelectorCache): RuleProblem[] {
  const problems = headProblems(rule);
  for (const side of ['source', 'destination'] as const) {
    checkSelectors(rule[side], side, selectors, problems);
    checkPorts(rule[side].ports, rule.protocol, `${side}.ports`, problems);
    checkPorts(rule[side].notPorts, rule.protocol, `${side}.notPorts`, problems);
  }
  return problems;
}

/** What is wrong in a rule beside its two sides. */
export function headProblems(rule: Rule): RuleProblem[] {
  const problems: RuleProblem[] = [];
  checkProtocol(rule.protocol, 'protocol', problems);
  checkProtocol(rule.notProtocol, 'notProtocol', problems);
  checkIcmp(rule.icmp, 'icmp', problems);
  checkIcmp(rule.notICMP, 'notICMP', problems);
  return problems;
}

function checkProtocol(protocol: Protocol | undefined, field: string, problems: RuleProblem[]): void {
  if (protocol === undefined || protocolNumber(protocol) !== undefined) return;
  problems.push({ field, problem: `'${protocol}' is no protocol that Felix knows` });
}

function checkIcmp(icmp: IcmpMatch | undefined, field: string, problems: RuleProblem[]): void {
  if (icmp?.type !== undefined && !isInRange(icmp.type, 0, 254)) {
    problems.push({ field: `${field}.type`, problem: `ICMP type ${icmp.type} is not from 0 to 254` });
  }
  if (icmp?.code !== undefined && !isInRange(icmp.code, 0, 255)) {
    problems.push({ field: `${field}.code`, problem: `ICMP code ${icmp.code} is not from 0 to 255` });
  }
}

function checkSelectors(entity: EntityRule, side: string, selectors: SelectorCache, problems: RuleProblem[]): void {
  const texts: readonly (readonly [string, string])[] = [
    ['selector', entity.selector],
    ['notSelector', entity.notSelector],
    ['namespaceSelector', entity.namespaceSelector],
    ['serviceAccounts.selector', entity.serviceAccounts?.selector ?? ''],
  ];
  for (const [field, text] of texts) {
    if (text === '') continue;
    const parsed = selectors.parse(text);
    if (isSyntaxError(parsed)) problems.push({ field: `${side}.${field}`, problem: parsed.message });
  }
}

function checkPorts(
  ports: readonly Port[],
  protocol: Protocol | undefined,
  field: string,
  problems: RuleProblem[],
): void {
  if (ports.length === 0) return;
  const number = protocol === undefined ? undefined : protocolNumber(protocol);
  if (protocol === undefined) {
    const hasNumeric = ports.some((port) => port.type === 'range');
    if (hasNumeric) problems.push({ field, problem: 'numeric ports without protocol TCP, UDP or SCTP' });
  } else if (number !== undefined && !hasRulePorts(number)) {
    problems.push({ field, problem: `ports with protocol '${protocol}', which has none in rules` });
  }
  for (const port of ports) {
    if (port.type === 'named') {
      if (!isPortName(port.name)) problems.push({ field, problem: `'${port.name}' is no valid name of a port` });
    } else if (!isInRange(port.min, 1, 65_535) || !isInRange(port.max, 1, 65_535) || port.min > port.max) {
      problems.push({ field, problem: `port range ${port.min}:${port.max} is empty or not within 1:65535` });
    }
  }
}

function isInRange(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

/** Kubernetes' rule for names of ports: 1-15 of `a-z 0-9 -`, at least one letter, no `-` at an end or beside another. */
function isPortName(name: string): boolean {
  return /^[a-z0-9-]{1,15}$/.test(name) && /[a-z]/.test(name) && !/^-|-$|--/.test(name);
}
