/**
 * Checks of Kubernetes NetworkPolicy beyond its shape, as the API server makes them, and of Calico's staged form, which
 * is checked as the policy it would become.
 *
 * Sources: Kubernetes pkg/apis/networking/validation (ValidateNetworkPolicySpec) and
 * k8s.io/apimachinery/pkg/apis/meta/v1/validation (ValidateLabelSelector); what Calico does with what they refuse:
 * libcalico-go/lib/backend/k8s/conversion/conversion.go.
 */
import { quoteText } from '../base/errors.ts';
import { type IpPrefix, parsePrefix, prefixContains } from '../base/ip.ts';
import type {
  RawKubernetesPeer,
  RawKubernetesPolicy,
  RawKubernetesPort,
  RawKubernetesRule,
  RawLabelSelector,
} from './convert-kubernetes.ts';
import { labelKeyProblem, labelValueProblem, portNameProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt } from './raw.ts';
import { checkDelete } from './validate-calico.ts';
import { checkMeta, NO_EFFECT, subdomainName } from './validate-meta.ts';
import type { Direction } from './validate-rule.ts';

export function checkKubernetesPolicy(raw: RawKubernetesPolicy, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
  checkSpec(raw, context);
  const types = listOf(raw.spec?.policyTypes);
  if (types.length <= 2) return;
  const message = `${types.length} policy types, and there are two`;
  context.refuse(['spec', 'policyTypes'], message, 'remove the repeated ones', NO_EFFECT);
}

const DELETE_FIELDS = new Set(['stagedAction']);

export function checkStagedKubernetesPolicy(raw: RawKubernetesPolicy, context: ObjectContext): void {
  checkMeta(raw, true, subdomainName, context);
  if (raw.spec?.stagedAction === 'Delete') checkDelete(raw.spec, DELETE_FIELDS, context);
  checkSpec(raw, context);
  const types = listOf(raw.spec?.policyTypes);
  if (types.length > 0 || listOf(raw.spec?.egress).length === 0) return;
  const message =
    'policyTypes are not given, and nothing fills them in for the staged kind: the egress rules have no effect';
  context.warn(['spec', 'egress'], message, 'give policyTypes');
}

function checkSpec(raw: RawKubernetesPolicy, context: ObjectContext): void {
  const spec = raw.spec ?? {};
  checkLabelSelector(spec.podSelector, ['spec', 'podSelector'], context);
  checkRules(spec.ingress, 'ingress', context);
  checkRules(spec.egress, 'egress', context);
  for (const [index, type] of listOf(spec.policyTypes).entries()) {
    if (type === 'Ingress' || type === 'Egress') continue;
    const path = ['spec', 'policyTypes', index];
    context.refuse(path, `${quoteText(type)} is not a policy type`, "use 'Ingress' or 'Egress'", 'Calico ignores it');
  }
}

function checkRules(rules: Opt<readonly RawKubernetesRule[]>, direction: Direction, context: ObjectContext): void {
  const side = direction === 'ingress' ? 'from' : 'to';
  for (const [index, rule] of listOf(rules).entries()) {
    const path = ['spec', direction, index];
    for (const [at, peer] of listOf(rule[side]).entries()) checkPeer(peer, [...path, side, at], context);
    for (const [at, port] of listOf(rule.ports).entries()) checkPort(port, [...path, 'ports', at], context);
  }
}

const RULE_DROPPED = 'Calico drops the whole rule';

function checkPort(raw: RawKubernetesPort, path: FieldPath, context: ObjectContext): void {
  const { protocol, port, endPort } = raw;
  if (protocol !== undefined && protocol !== null && !['TCP', 'UDP', 'SCTP'].includes(protocol)) {
    const message = `${quoteText(protocol)} is not a protocol with ports`;
    context.refuse(
      [...path, 'protocol'],
      message,
      'use TCP, UDP or SCTP',
      'Calico takes it as written, and drops the policy if it does not know it',
    );
  }
  if (typeof port === 'number' && !isPort(port)) {
    context.refuse([...path, 'port'], `port ${port} is not between 1 and 65535`, 'correct it', RULE_DROPPED);
  }
  if (typeof port === 'string') {
    const problem = portNameProblem(port);
    if (problem !== undefined) {
      const fix = /^[0-9]+$/.test(port) ? 'remove the quotes' : 'use the name of a port, or a number';
      context.refuse(
        [...path, 'port'],
        `port name ${quoteText(port)} is ${problem}`,
        fix,
        'Calico takes it as a port or a name if it can',
      );
    }
  }
  if (endPort !== undefined && endPort !== null) checkEndPort(port, endPort, [...path, 'endPort'], context);
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65535;
}

function checkEndPort(port: Opt<number | string>, endPort: number, path: FieldPath, context: ObjectContext): void {
  if (port === undefined || port === null) {
    context.refuse(path, 'endPort without port', 'add port', 'Calico ignores endPort');
  } else if (typeof port === 'string') {
    context.refuse(path, 'endPort beside the name of a port', 'use a number for port', RULE_DROPPED);
  } else if (endPort < port) {
    context.refuse(path, `endPort ${endPort} is less than port ${port}`, 'correct one of them', RULE_DROPPED);
  }
  if (!isPort(endPort)) {
    context.refuse(path, `endPort ${endPort} is not between 1 and 65535`, 'correct it', RULE_DROPPED);
  }
}

function checkPeer(peer: RawKubernetesPeer, path: FieldPath, context: ObjectContext): void {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  if (podSelector) checkLabelSelector(podSelector, [...path, 'podSelector'], context);
  if (namespaceSelector) checkLabelSelector(namespaceSelector, [...path, 'namespaceSelector'], context);
  if (!podSelector && !namespaceSelector && !ipBlock) {
    const fix = 'add podSelector, namespaceSelector or ipBlock';
    context.refuse(path, 'a peer without a selector', fix, "Calico takes it as all pods of the policy's namespace");
  } else if (ipBlock && (podSelector || namespaceSelector)) {
    const fix = 'make two peers of it';
    context.refuse([...path, 'ipBlock'], 'ipBlock beside a selector in one peer', fix, 'Calico ignores the selectors');
  }
  if (ipBlock) checkIpBlock(ipBlock.cidr ?? '', listOf(ipBlock.except), [...path, 'ipBlock'], context);
}

const ANY_ADDRESS = 'Calico cannot read it, and the peer matches any address';

function checkIpBlock(text: string, except: readonly string[], path: FieldPath, context: ObjectContext): void {
  const cidr = text === '' ? undefined : parseLegacyPrefix(text);
  const field = [...path, 'cidr'];
  if (text === '') context.refuse(field, 'ipBlock without cidr', 'add the CIDR', ANY_ADDRESS);
  else if (cidr === undefined) {
    context.refuse(field, `${quoteText(text)} is not a CIDR`, 'write ADDRESS/LENGTH', ANY_ADDRESS);
  } else if (parsePrefix(text) === undefined) {
    const message = `the API takes ${quoteText(text)} in spite of its leading zeros, but ${ANY_ADDRESS}`;
    context.warn(field, message, 'remove the leading zeros');
  }
  for (const [index, exception] of except.entries()) {
    checkException(exception, text, cidr, [...path, 'except', index], context);
  }
}

function checkException(
  text: string,
  cidrText: string,
  cidr: IpPrefix | undefined,
  path: FieldPath,
  context: ObjectContext,
): void {
  const exception = parseLegacyPrefix(text);
  if (exception === undefined) {
    const effect = 'Calico leaves out this entry and those after it';
    context.refuse(path, `${quoteText(text)} is not a CIDR`, 'write ADDRESS/LENGTH', effect);
    return;
  }
  if (parsePrefix(text) === undefined) {
    const message = `the API takes ${quoteText(text)} in spite of its leading zeros, but Calico leaves out this entry and those after it`;
    context.warn(path, message, 'remove the leading zeros');
  }
  if (cidr === undefined) return;
  if (prefixContains(cidr, exception) && writtenLength(text) > writtenLength(cidrText)) return;
  const message = `${quoteText(text)} is not a part of ${quoteText(cidrText)} smaller than the whole`;
  context.refuse(path, message, 'correct it, or remove it', 'Calico excludes it from the CIDR');
}

/**
 * The length of a CIDR as written, which is what the API compares: `::ffff:10.0.0.0/104` is `10.0.0.0/8`, but stands
 * for a part of it (ValidateIPBlock compares the sizes of the masks, and the mask of a mapped address has 128 bits).
 */
function writtenLength(text: string): number {
  return Number(text.slice(text.indexOf('/') + 1));
}

/**
 * A CIDR as Kubernetes reads it in this old field: as Go does today, and with leading zeros in IPv4 octets, which are
 * decimal all the same.
 */
function parseLegacyPrefix(text: string): IpPrefix | undefined {
  return parsePrefix(text) ?? parsePrefix(text.replace(/(^|[.:])0+(?=[0-9]+(?:\.|\/))/g, '$1'));
}

/** A Kubernetes label selector: operators, and the keys and values of labels. */
export function checkLabelSelector(raw: Opt<RawLabelSelector>, path: FieldPath, context: ObjectContext): void {
  if (!raw) return;
  for (const [key, value] of Object.entries(raw.matchLabels ?? {})) {
    checkKey(key, [...path, 'matchLabels', key], context);
    checkValue(value ?? '', [...path, 'matchLabels', key], context);
  }
  for (const [index, expression] of listOf(raw.matchExpressions).entries()) {
    const at = [...path, 'matchExpressions', index];
    const key = expression.key ?? '';
    checkKey(key, [...at, 'key'], context);
    const values = listOf(expression.values);
    checkOperator(expression.operator ?? '', values.length, at, context);
    for (const [valueIndex, value] of values.entries()) checkValue(value, [...at, 'values', valueIndex], context);
  }
}

function checkKey(key: string, path: FieldPath, context: ObjectContext): void {
  const problem = labelKeyProblem(key);
  if (problem === undefined) return;
  const effect = 'Calico drops the policy if it cannot read the key';
  context.refuse(path, `label key ${quoteText(key)} is ${problem}`, 'correct the key', effect);
}

function checkValue(value: string, path: FieldPath, context: ObjectContext): void {
  const problem = labelValueProblem(value);
  if (problem === undefined) return;
  context.refuse(path, `label value ${quoteText(value)} is ${problem}`, 'correct the value', 'no label has this value');
}

function checkOperator(operator: string, valueCount: number, path: FieldPath, context: ObjectContext): void {
  if (operator === 'In' || operator === 'NotIn') {
    if (valueCount > 0) return;
    const effect = operator === 'In' ? 'it matches nothing' : 'it matches everything';
    context.refuse([...path, 'values'], `operator ${operator} without values`, 'add values', effect);
  } else if (operator === 'Exists' || operator === 'DoesNotExist') {
    if (valueCount === 0) return;
    context.refuse(
      [...path, 'values'],
      `operator ${operator} takes no values`,
      'remove them',
      'Calico ignores the values',
    );
  } else {
    const fix = 'use In, NotIn, Exists or DoesNotExist';
    const effect = 'Calico skips the expression, so the selector matches more';
    context.refuse([...path, 'operator'], `unknown operator ${quoteText(operator)}`, fix, effect);
  }
}
