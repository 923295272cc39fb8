/**
 * Corners of what the API servers take, each read in their sources: what one field allows where a reader of the rule
 * would expect another answer.
 */
import { describe, expect, it } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import { at, calicoObject, clusterPolicy, errorsOf, kubernetesPolicy, load, warningsOf } from './support.ts';

const KNP = 'NetworkPolicy app/k';

describe('null as an entry of a list', () => {
  // Go's encoding/json leaves such an element at its zero value (networking/v1 types.go: slices of structs, not of
  // pointers), and ValidateNetworkPolicySpec finds nothing wrong with an empty rule or an empty port.
  it('is an empty rule of a Kubernetes policy, which matches everything', () => {
    for (const direction of ['ingress', 'egress']) {
      const [warning, ...others] = warningsOf(kubernetesPolicy({ podSelector: {}, [direction]: [null] }));
      const field = `spec.${direction}[0]`;
      expect(warning).toBe(
        `${at(KNP, field)}: the API takes an empty entry as {}, which has no field; write {} or remove it`,
      );
      expect(others).toEqual([]);
    }
    const written = load(kubernetesPolicy({ podSelector: {}, ingress: [null] })).resources.policies;
    expect(written).toEqual(load(kubernetesPolicy({ podSelector: {}, ingress: [{}] })).resources.policies);
  });

  it('is an empty port of a Kubernetes policy', () => {
    expect(errorsOf(kubernetesPolicy({ podSelector: {}, ingress: [{ ports: [null] }] }))).toEqual([]);
  });

  it('is an empty text, which may be the value of a label', () => {
    const withValue = (operator: string) => ({ matchExpressions: [{ key: 'a', operator, values: [null] }] });
    expect(errorsOf(kubernetesPolicy({ podSelector: withValue('In') }))).toEqual([]);
  });

  it('is refused where an empty entry is: a peer, an expression, a type, an exception', () => {
    const wrong = [
      { ingress: [{ from: [null] }] },
      { egress: [{ to: [null] }] },
      { podSelector: { matchExpressions: [null] } },
      { policyTypes: [null] },
      { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: [null] } }] }] },
    ];
    for (const spec of wrong) expect(errorsOf(kubernetesPolicy(spec)), JSON.stringify(spec)).not.toEqual([]);
  });

  // k8s.io/apiextensions-apiserver checks a custom resource by its OpenAPI schema: null is not of type object.
  it('is refused in custom resources', () => {
    const rules = calicoObject('GlobalNetworkPolicy', { ingress: [null] });
    expect(errorsOf(rules)).toEqual([
      `${at('GlobalNetworkPolicy x', 'spec.ingress[0]')}: must be a map of fields, got null; write a map of fields`,
    ]);
    expect(errorsOf(calicoObject('GlobalNetworkSet', { nets: [null] }))).not.toEqual([]);
  });
});

describe('exceptions of an ipBlock as IPv4-mapped CIDRs', () => {
  // ValidateIPBlock: net.IPNet.Contains sees through the mapping, and the lengths of the masks are compared as written.
  const withBlock = (cidr: string, except: string): string =>
    kubernetesPolicy({ podSelector: {}, egress: [{ to: [{ ipBlock: { cidr, except: [except] } }] }] });

  it('count as longer than the IPv4 CIDR they lie in', () => {
    expect(errorsOf(withBlock('10.0.0.0/8', '::ffff:10.0.0.0/104'))).toEqual([]);
    expect(errorsOf(withBlock('10.0.0.0/8', '::ffff:10.1.0.0/112'))).toEqual([]);
  });

  it('are refused outside of it, and an IPv4 exception is never longer than a mapped CIDR', () => {
    expect(errorsOf(withBlock('10.0.0.0/8', '::ffff:11.0.0.0/112'))).toHaveLength(1);
    expect(errorsOf(withBlock('::ffff:10.0.0.0/104', '10.1.0.0/16'))).toHaveLength(1);
    expect(errorsOf(withBlock('::ffff:10.0.0.0/104', '::ffff:10.1.0.0/112'))).toEqual([]);
  });
});

describe('ports beside the services of a destination', () => {
  // A CEL rule of the type Rule (policy_common.go), and so of profiles too, on either direction.
  it('are refused in the rules of a profile', () => {
    const destination = { services: { name: 's', namespace: 'app' }, ports: [80] };
    for (const direction of ['ingress', 'egress']) {
      const rule = { action: 'Allow', protocol: 'TCP', destination };
      const { errors } = loadResources([calicoObject('Profile', { [direction]: [rule] })]);
      expect(errors.map(({ field }) => field)).toEqual([`spec.${direction}[0].destination.ports`]);
    }
  });
});

describe('networks of a ClusterNetworkPolicy', () => {
  // isCIDR(self) of the CRD: k8s.io/apiserver/pkg/cel/library/cidr.go reads with netip.ParsePrefix, which is stricter
  // than net.ParseCIDR, but lets bits stand after the length.
  const to = (network: string): string =>
    clusterPolicy({ egress: [{ action: 'Deny', to: [{ networks: [network] }] }] });

  it('are CIDRs with or without bits after their length', () => {
    for (const network of ['10.0.0.0/8', '10.0.0.1/8', '0.0.0.0/0', 'fd00::/8', 'fd00::1/8', '::/0']) {
      expect(errorsOf(to(network)), network).toEqual([]);
    }
  });

  it('have no leading zeros in the length, and no mapped addresses', () => {
    const subject = at('ClusterNetworkPolicy c', 'spec.egress[0].to[0].networks[0]');
    for (const [network, plain] of [
      ['10.0.0.0/08', '10.0.0.0/8'],
      ['fd00::/08', 'fd00::/8'],
      ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
      ['::ffff:0:0/32', '::/32'],
    ]) {
      expect(errorsOf(to(network!))).toEqual([
        `${subject}: '${network}' has leading zeros in its length, or is an IPv4 address in IPv6 form; write '${plain}'`,
      ]);
    }
  });
});

describe('an object where a list has texts', () => {
  it('is one error, and does not stop the checks of the rest', () => {
    const expression = { key: '', operator: 'In', values: [{ a: 1 }, 'x y'] };
    const spec = { podSelector: { matchExpressions: [expression] }, policyTypes: ['x'] };
    expect(load(kubernetesPolicy(spec)).errors.map(({ field }) => field)).toEqual([
      'spec.podSelector.matchExpressions[0].values[0]',
      'spec.policyTypes[0]',
    ]);
    const { errors } = load(calicoObject('GlobalNetworkSet', { nets: [1, { a: 1 }, 'x'] }, { labels: { a: 'x y' } }));
    expect(errors.map(({ field }) => field)).toEqual(['spec.nets[0]', 'spec.nets[1]', 'metadata.labels.a']);
  });
});
