/** Calico's rule for tiers: get on the tier, and the verb on the policy under one of the forms of its name. */
import { describe, expect, test } from 'vitest';
import { parseAccessRequest } from '../../src/rbac/request.ts';
import { authorizeInTier, tierNames } from '../../src/rbac/tiers.ts';
import { binding, loadRbac, role, rule } from './support.ts';

const GET_TIER = 'get tiers.projectcalico.org security';

function answer(rules: readonly string[], fields: object = {}): boolean {
  const text = role('r', rules.map(rule)) + binding('b', 'ClusterRole/r', ['User/ann']);
  const request = parseAccessRequest({
    user: 'ann',
    verb: 'update',
    resource: 'networkpolicies',
    api_group: 'projectcalico.org',
    namespace: 'a',
    name: 'deny-all',
    ...fields,
  });
  return authorizeInTier(loadRbac(text).index, request, 'security').allowed;
}

describe('a policy in a tier', () => {
  test('needs both rights', () => {
    const write = 'update tier.networkpolicies.projectcalico.org';
    expect(answer([GET_TIER, write])).toBe(true);
    expect(answer([write])).toBe(false);
    expect(answer([GET_TIER])).toBe(false);
    expect(answer(['list tiers.projectcalico.org security', write])).toBe(false);
    expect(answer(['get tiers.projectcalico.org default', write])).toBe(false);
  });

  test.each([
    ['deny-all', true],
    ['security.deny-all', true],
    ['security.*', true],
    ['security', false],
    ['default.*', false],
    ['*', false],
    ['security.deny', false],
  ])('under the name %s: %s', (name, expected) => {
    expect(answer([GET_TIER, `update tier.networkpolicies.projectcalico.org ${name}`])).toBe(expected);
  });

  test('is not allowed by the plain resource, another kind, or another group', () => {
    expect(answer([GET_TIER, 'update networkpolicies.projectcalico.org'])).toBe(false);
    expect(answer([GET_TIER, 'update tier.globalnetworkpolicies.projectcalico.org'])).toBe(false);
    expect(answer([GET_TIER, 'update tier.networkpolicies.crd.projectcalico.org'])).toBe(false);
  });

  test('without a name needs all names, or all of the tier', () => {
    const list = { verb: 'list', name: '' };
    expect(answer([GET_TIER, 'list tier.networkpolicies.projectcalico.org'], list)).toBe(true);
    expect(answer([GET_TIER, 'list tier.networkpolicies.projectcalico.org security.*'], list)).toBe(true);
    expect(answer([GET_TIER, 'list tier.networkpolicies.projectcalico.org security.deny-all'], list)).toBe(false);
  });

  test('may be asked for with or without the prefix', () => {
    const write = 'update tier.networkpolicies.projectcalico.org';
    expect(answer([GET_TIER, write], { resource: 'tier.networkpolicies' })).toBe(true);
  });

  test('has a name that begins with its tier, or not', () => {
    expect(tierNames('t', 'p')).toEqual(['p', 't.p', 't.*']);
    expect(tierNames('t', 't.p')).toEqual(['t.p', 't.*']);
  });
});
