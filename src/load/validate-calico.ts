/**
 * Checks of Calico's kinds beyond their shape.
 *
 * Sources: Calico libcalico-go/lib/validator/v3/validator.go, the CEL rules in api/pkg/apis/projectcalico/v3/*.go, and
 * the tier label that api/pkg/defaults sets on every policy, whose value must be one of a label.
 */
import { quoteText } from '../base/errors.ts';
import { parseAddress, parsePrefix, parsePrefixOrAddress } from '../base/ip.ts';
import {
  ENDPOINT_TO_HOST_ACTIONS,
  LOOP_PREVENTION,
  type RawBGPConfiguration,
  type RawFelixConfiguration,
  type RawHostEndpoint,
  type RawNetworkSet,
  type RawPolicy,
  type RawPolicySpec,
  type RawProfile,
  type RawTier,
  SOURCE_SPOOFING,
} from './convert-calico.ts';
import { convertProtocol, type RawRule } from './convert-rule.ts';
import { BUILT_IN_TIERS } from './defaults.ts';
import { labelValueProblem, portNameProblem, subdomainProblem } from './names.ts';
import type { ObjectContext } from './object.ts';
import type { FieldPath } from './problem.ts';
import { listOf, type Opt } from './raw.ts';
import { checkLabels, checkMeta, labelName, type NameRule, NO_EFFECT, subdomainName } from './validate-meta.ts';
import {
  checkNoGlobal,
  checkRule,
  checkSelector,
  type Direction,
  hasHostBits,
  POLICY_DROPPED,
} from './validate-rule.ts';

/** One label, or two with a dot; what Kubernetes policies and OpenStack groups become has a longer form. */
const policyName: NameRule = (name) => {
  const problem = subdomainProblem(name);
  if (problem !== undefined || /^(?:knp|ossg)\.default\../.test(name) || name.split('.').length <= 2) return problem;
  return 'of more than two parts with dots';
};

const globalPolicyName: NameRule = (name) => {
  const problem = subdomainProblem(name);
  if (problem !== undefined || name.split('.').length <= 2) return problem;
  return 'of more than two parts with dots';
};

export function checkNetworkPolicy(raw: RawPolicy, context: ObjectContext): void {
  checkMeta(raw, true, policyName, context);
  if (raw.spec) checkPolicySpec(raw.spec, context);
}

export function checkGlobalNetworkPolicy(raw: RawPolicy, context: ObjectContext): void {
  checkMeta(raw, false, globalPolicyName, context);
  if (!raw.spec) return;
  checkPolicySpec(raw.spec, context);
  checkSpecialPolicy(raw.spec, context);
}

/** Calico ignores a policy-level selector of these two that does not parse, and so widens the policy. */
const POLICY_WIDENED = 'Calico ignores the selector, so the policy applies to more endpoints';

const DELETE_FIELDS = new Set(['tier', 'stagedAction']);

function checkPolicySpec(spec: RawPolicySpec, context: ObjectContext): void {
  checkTierName(spec.tier ?? '', context);
  if (spec.stagedAction === 'Delete') checkDelete(spec, DELETE_FIELDS, context);
  checkSelector(spec.selector, ['spec', 'selector'], POLICY_DROPPED, context);
  checkNoGlobal(spec.selector, ['spec', 'selector'], context);
  for (const field of ['serviceAccountSelector', 'namespaceSelector'] as const) {
    checkSelector(spec[field], ['spec', field], POLICY_WIDENED, context);
    checkNoGlobal(spec[field], ['spec', field], context);
  }
  checkTypes(spec, context);
  checkHints(spec, context);
  checkRules(spec.ingress, 'ingress', context);
  checkRules(spec.egress, 'egress', context);
}

function checkTierName(tier: string, context: ObjectContext): void {
  if (tier === '') return;
  const problem = subdomainProblem(tier) ?? labelValueProblem(tier);
  if (problem === undefined) return;
  context.refuse(['spec', 'tier'], `tier name ${quoteText(tier)} is ${problem}`, 'correct it', NO_EFFECT);
}

/** A staged deletion says which policy would go, and nothing else. */
export function checkDelete(spec: object, allowed: ReadonlySet<string>, context: ObjectContext): void {
  for (const [field, value] of Object.entries(spec) as [string, unknown][]) {
    if (allowed.has(field) || value === '' || value === false || (field === 'types' && Array.isArray(value))) continue;
    if (field === 'podSelector' && typeof value === 'object' && Object.keys(value as object).length === 0) continue;
    const message = `${field} in a policy with stagedAction Delete`;
    context.refuse(['spec', field], message, 'remove it', 'Calico ignores policies with stagedAction Delete');
  }
}

function checkTypes(spec: RawPolicySpec, context: ObjectContext): void {
  const types = listOf(spec.types);
  for (const [index, type] of types.entries()) {
    if (types.indexOf(type) === index) continue;
    context.refuse(['spec', 'types', index], `type ${type} twice`, 'remove one', NO_EFFECT);
  }
  if (types.length === 0 && spec.egress?.length === 0) {
    const message =
      'types are not given and egress is an empty list: calicoctl then takes the policy as Ingress alone, which is followed here, while the admission policy of plain CRDs takes it as Ingress and Egress';
    context.warn(['spec', 'egress'], message, 'give the types');
  }
}

function checkHints(spec: RawPolicySpec, context: ObjectContext): void {
  const hints = listOf(spec.performanceHints);
  if (hints.length === new Set(hints).size) return;
  context.refuse(['spec', 'performanceHints'], 'a hint twice', 'remove one', 'hints change no verdict');
}

function checkRules(rules: Opt<readonly RawRule[]>, direction: Direction, context: ObjectContext): void {
  for (const [index, rule] of listOf(rules).entries()) {
    const path = ['spec', direction, index];
    checkRule(rule, path, context);
    checkRuleServices(rule, direction, path, context);
    if (direction === 'egress' && rule.http) {
      const effect = 'the network layer ignores http, so the rule matches without it';
      context.refuse([...path, 'http'], 'http in an egress rule', 'use it in ingress rules only', effect);
    }
  }
}

/** Services stand on the far side alone: source of ingress, destination of egress. */
function checkRuleServices(rule: RawRule, direction: Direction, path: FieldPath, context: ObjectContext): void {
  const [far, near] =
    direction === 'ingress' ? (['source', 'destination'] as const) : (['destination', 'source'] as const);
  if (rule[near]?.services) {
    const message = `services in the ${near} of an ${direction} rule`;
    const fix = `use it in the ${far}`;
    context.refuse([...path, near, 'services'], message, fix, 'the rule matches the addresses of the service there');
  }
  const services = rule[far]?.services;
  if (context.id.namespace === '' && services && !services.namespace && services.name) {
    const message = 'services without a namespace in a global policy';
    context.refuse([...path, far, 'services', 'namespace'], message, 'add the namespace', 'it matches nothing');
  }
}

/** doNotTrack, preDNAT and applyOnForward. */
function checkSpecialPolicy(spec: RawPolicySpec, context: ObjectContext): void {
  if (spec.doNotTrack && spec.preDNAT) {
    context.refuse(
      ['spec', 'preDNAT'],
      'preDNAT and doNotTrack in one policy',
      'use one of them',
      'Calico applies both',
    );
  }
  if (spec.preDNAT && listOf(spec.egress).length > 0) {
    context.refuse(['spec', 'egress'], 'egress rules in a preDNAT policy', 'remove them', 'Calico ignores them');
  }
  if (spec.preDNAT && listOf(spec.types).includes('Egress')) {
    context.refuse(['spec', 'types'], 'type Egress in a preDNAT policy', 'remove it', 'Calico ignores it');
  }
  if ((spec.preDNAT || spec.doNotTrack) && !spec.applyOnForward) {
    const field = spec.preDNAT ? 'preDNAT' : 'doNotTrack';
    context.refuse(['spec', field], `${field} without applyOnForward`, 'set applyOnForward: true', NO_EFFECT);
  }
}

export function checkTier(raw: RawTier, context: ObjectContext): void {
  checkMeta(raw, false, labelName, context);
  const builtIn = BUILT_IN_TIERS.find((tier) => tier.name === context.id.name);
  if (builtIn === undefined) return;
  const { order, defaultAction } = raw.spec ?? {};
  if (order !== builtIn.order) {
    const message = `the built-in tier ${context.id.name} has order ${builtIn.order}`;
    context.refuse(['spec', 'order'], message, `set order: ${builtIn.order}`, NO_EFFECT);
  }
  if ((defaultAction ?? 'Deny') !== builtIn.defaultAction) {
    const message = `the built-in tier ${context.id.name} has defaultAction ${builtIn.defaultAction}`;
    context.refuse(['spec', 'defaultAction'], message, `set defaultAction: ${builtIn.defaultAction}`, NO_EFFECT);
  }
}

export function checkNetworkSet(raw: RawNetworkSet, context: ObjectContext): void {
  checkMeta(raw, context.id.kind === 'NetworkSet', subdomainName, context);
  if (raw.metadata?.labels && Object.hasOwn(raw.metadata.labels, NAMESPACE_LABEL)) {
    const effect = context.id.kind === 'NetworkSet' ? 'Calico overrides it' : NO_EFFECT;
    const message = `label ${NAMESPACE_LABEL} is Calico's own`;
    context.refuse(['metadata', 'labels', NAMESPACE_LABEL], message, 'remove it', effect);
  }
  for (const [index, text] of listOf(raw.spec?.nets).entries()) {
    const path = ['spec', 'nets', index];
    if (text === '') context.warn(path, 'an empty entry is ignored', 'remove it');
    else if (parsePrefixOrAddress(text) === undefined) {
      const message = `${quoteText(text)} is neither a CIDR nor an address`;
      context.refuse(path, message, 'correct it', 'Calico skips it');
    }
  }
}

const NAMESPACE_LABEL = 'projectcalico.org/namespace';

/** Felix's own check of the converted endpoint is stricter than the API's. */
const ENDPOINT_DROPPED = 'Calico ignores the whole host endpoint';

export function checkHostEndpoint(raw: RawHostEndpoint, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  const spec = raw.spec ?? {};
  const node = spec.node ?? '';
  if (node === '') context.refuse(['spec', 'node'], 'no node', 'add the name of the node', ENDPOINT_DROPPED);
  else checkReference(node, ['spec', 'node'], context);
  const interfaceName = spec.interfaceName ?? '';
  if (interfaceName === '' && listOf(spec.expectedIPs).length === 0) {
    const message = 'neither interfaceName nor expectedIPs';
    context.refuse(['spec'], message, 'add one of them', ENDPOINT_DROPPED);
  }
  if (interfaceName !== '' && interfaceName !== '*' && !/^[a-zA-Z0-9_.-]{1,15}$/.test(interfaceName)) {
    const message = `${quoteText(interfaceName)} is no name of an interface`;
    context.refuse(['spec', 'interfaceName'], message, "correct it, or use '*' for all interfaces", ENDPOINT_DROPPED);
  }
  for (const [index, text] of listOf(spec.expectedIPs).entries()) {
    if (parseAddress(text) !== undefined) continue;
    const message = `${quoteText(text)} is not an IP address`;
    context.refuse(['spec', 'expectedIPs', index], message, 'write an address without a length', 'Calico skips it');
  }
  for (const [index, name] of listOf(spec.profiles).entries())
    checkReference(name, ['spec', 'profiles', index], context);
  checkEndpointPorts(raw, context);
}

function checkReference(name: string, path: FieldPath, context: ObjectContext): void {
  const problem = subdomainProblem(name);
  if (problem !== undefined) context.refuse(path, `name ${quoteText(name)} is ${problem}`, 'correct it', NO_EFFECT);
}

function checkEndpointPorts(raw: RawHostEndpoint, context: ObjectContext): void {
  for (const [index, { name: writtenName, protocol: written }] of listOf(raw.spec?.ports).entries()) {
    const path = ['spec', 'ports', index];
    const name = writtenName ?? '';
    const problem = portNameProblem(name);
    if (problem !== undefined) {
      context.refuse(
        [...path, 'name'],
        `port name ${quoteText(name)} is ${name === '' ? 'empty' : problem}`,
        'correct it',
        ENDPOINT_DROPPED,
      );
    }
    const protocol = convertProtocol(written);
    if (protocol === 6 || protocol === 17 || protocol === 132) {
      const message = `protocol ${protocol} as a number: the API takes it, and then ${ENDPOINT_DROPPED}`;
      context.warn([...path, 'protocol'], message, 'write TCP, UDP or SCTP');
    } else if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') {
      const message = `protocol ${quoteText(String(written))} has no ports`;
      context.refuse([...path, 'protocol'], message, 'write TCP, UDP or SCTP', ENDPOINT_DROPPED);
    }
  }
}

export function checkProfile(raw: RawProfile, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  for (const direction of ['ingress', 'egress'] as const) {
    for (const [index, rule] of listOf(raw.spec?.[direction]).entries()) {
      checkRule(rule, ['spec', direction, index], context);
    }
  }
  checkLabels(raw.spec?.labelsToApply, ['spec', 'labelsToApply'], context);
}

export function checkFelixConfiguration(raw: RawFelixConfiguration, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  const spec = raw.spec ?? {};
  checkWord(spec.defaultEndpointToHostAction, ENDPOINT_TO_HOST_ACTIONS, 'defaultEndpointToHostAction', context);
  checkWord(spec.workloadSourceSpoofing, SOURCE_SPOOFING, 'workloadSourceSpoofing', context);
  checkWord(spec.serviceLoopPrevention, LOOP_PREVENTION, 'serviceLoopPrevention', context);
  for (const field of ['failsafeInboundHostPorts', 'failsafeOutboundHostPorts'] as const) {
    for (const [index, { protocol, net }] of listOf(spec[field]).entries()) {
      const path = ['spec', field, index];
      if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') {
        const message = `protocol ${quoteText(protocol ?? '')} of a failsafe port`;
        context.refuse([...path, 'protocol'], message, 'write TCP, UDP or SCTP', 'Felix ignores the setting');
      }
      if ((net ?? '') !== '' && parsePrefixOrAddress(net!) === undefined) {
        const message = `${quoteText(net!)} is not a CIDR`;
        context.refuse([...path, 'net'], message, 'write ADDRESS/LENGTH', 'Felix ignores the setting');
      }
    }
  }
}

function checkWord(text: Opt<string>, words: readonly string[], field: string, context: ObjectContext): void {
  if (!text || words.some((word) => word.toLowerCase() === text.toLowerCase())) return;
  const message = `${quoteText(text)} is not one of ${words.join(', ')}`;
  context.error(['spec', field], message, `use '${words[0]}' or another of them`);
}

export function checkBGPConfiguration(raw: RawBGPConfiguration, context: ObjectContext): void {
  checkMeta(raw, false, subdomainName, context);
  for (const field of ['serviceClusterIPs', 'serviceExternalIPs', 'serviceLoadBalancerIPs'] as const) {
    for (const [index, { cidr }] of listOf(raw.spec?.[field]).entries()) {
      const text = cidr ?? '';
      if (text === '') continue;
      const prefix = parsePrefix(text);
      if (prefix !== undefined ? !hasHostBits(text, prefix) : parseAddress(text) !== undefined) continue;
      const message = `${quoteText(text)} is not a CIDR without host bits`;
      context.refuse(['spec', field, index, 'cidr'], message, 'write ADDRESS/LENGTH', 'it is ignored');
    }
  }
}
