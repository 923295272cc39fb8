/** The form of the reference's verdicts (design, section 5): which checks are there, who decided, pending, one node. */
import { describe, expect, test } from 'vitest';
import { loadResources } from '../../src/load/load.ts';
import { createReference, type Reference, type ReferenceOptions } from '../../src/reference/evaluate.ts';
import { CLUSTER, DB, HOST1, HOST2, OUTSIDE } from '../rows/cluster.ts';
import {
  type Document,
  documents,
  felixConfiguration,
  globalPolicy,
  hostEndpoint,
  networkPolicy,
  pod,
  profile,
  staged,
  tier,
} from '../rows/objects.ts';
import { flow } from '../rows/row.ts';

const FAR = '10.0.1.1';
const ALLOW = [{ action: 'Allow' }];
const KNS = '0|__PROFILE__|pro:kns.app|allow|0';
const OPEN = { profiles: ['projectcalico-default-allow'] };

function world(objects: readonly Document[], options?: ReferenceOptions): Reference {
  const far = pod('app/far', { ip: FAR, node: 'n2', labels: { role: 'far' } });
  const loaded = loadResources([{ name: 'w', text: documents(...CLUSTER, far, ...objects) }]);
  expect(loaded.errors).toEqual([]);
  return createReference(loaded.resources, options);
}

function host(name: string, address: string, spec: object = OPEN): Document {
  return hostEndpoint(name, { host: name }, { node: name, interfaceName: 'eth0', expectedIPs: [address], ...spec });
}

describe('checks', () => {
  test('pod to pod: egress, then ingress, which decides', () => {
    expect(world([]).evaluate(flow(FAR, DB))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'ingress',
      egress: { action: 'allow', trace: [KNS] },
      ingress: { action: 'allow', trace: [KNS] },
    });
  });

  test('the first deny ends it', () => {
    const closed = networkPolicy('app/p', { selector: 'role == "far"', types: ['Egress'], egress: [] });
    expect(world([closed]).evaluate(flow(FAR, DB))).toEqual({
      action: 'deny',
      reason: 'end-of-tier',
      direction: 'egress',
      egress: { action: 'deny', trace: ['0|default|np:app/p|deny|-1'] },
    });
  });

  test('two apply-on-forward checks are concatenated, each numbered from 0', () => {
    const policies = ['n1', 'n2'].map((name) =>
      globalPolicy(name, {
        selector: `host == "${name}"`,
        applyOnForward: true,
        ingress: ALLOW,
        egress: [{ action: 'Allow', protocol: 'TCP' }],
      }),
    );
    const verdict = world([host('n1', HOST1), host('n2', HOST2), ...policies]).evaluate(flow(FAR, DB));
    expect(verdict.forward).toEqual({
      action: 'allow',
      trace: ['0|default|gnp:n2|allow|0', '0|default|gnp:n1|allow|0'],
    });
    expect(verdict.direction).toBe('ingress');
  });

  test('doNotTrack and preDNAT: accepted packets skip the host policy, never the pod policy', () => {
    const untracked = globalPolicy('raw', {
      selector: 'has(host)',
      doNotTrack: true,
      applyOnForward: true,
      ingress: [{ action: 'Allow', protocol: 'UDP' }],
    });
    const preDnat = globalPolicy('pre', {
      selector: 'has(host)',
      preDNAT: true,
      applyOnForward: true,
      types: ['Ingress'],
      ingress: [{ action: 'Allow', protocol: 'TCP' }, { action: 'Pass' }],
    });
    const closed = globalPolicy('host', { selector: 'has(host)', types: ['Ingress'], ingress: [] });
    const reference = world([host('n1', HOST1), untracked, preDnat, closed]);
    expect(reference.evaluate(flow(OUTSIDE, HOST1, { protocol: 'udp' }))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'untracked',
      untracked: { action: 'allow', trace: ['0|default|gnp:raw|allow|0'] },
    });
    expect(reference.evaluate(flow(OUTSIDE, HOST1))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'prednat',
      untracked: { action: 'allow', trace: [] },
      prednat: { action: 'allow', trace: ['0|default|gnp:pre|allow|0'] },
    });
    expect(reference.evaluate({ src: OUTSIDE, dst: HOST1, protocol: 'icmp' })).toMatchObject({
      action: 'deny',
      reason: 'end-of-tier',
      direction: 'ingress',
      prednat: { action: 'allow', trace: ['0|default|gnp:pre|pass|1'] },
    });
    expect(reference.evaluate(flow(OUTSIDE, DB))).toMatchObject({ direction: 'ingress', ingress: { trace: [KNS] } });
  });

  test('accepted packets skip apply-on-forward ingress, not apply-on-forward egress', () => {
    const preDnat = globalPolicy('pre', {
      selector: 'has(host)',
      preDNAT: true,
      applyOnForward: true,
      types: ['Ingress'],
      ingress: [{ action: 'Allow', protocol: 'TCP' }],
    });
    const closed = (type: string): Document =>
      globalPolicy('forward', { selector: 'has(host)', applyOnForward: true, types: [type] });
    const wildcard = hostEndpoint('w1', { host: 'w1' }, { node: 'n1', interfaceName: '*' });
    const ingress = world([wildcard, preDnat, closed('Ingress')]);
    expect(ingress.evaluate(flow(OUTSIDE, DB))).toMatchObject({ action: 'allow', direction: 'ingress' });
    expect(ingress.evaluate(flow(OUTSIDE, DB, { protocol: 'udp' }))).toMatchObject({
      action: 'deny',
      direction: 'forward',
    });
    expect(world([wildcard, preDnat, closed('Egress')]).evaluate(flow(OUTSIDE, DB))).toEqual({
      action: 'deny',
      reason: 'end-of-tier',
      direction: 'forward',
      prednat: { action: 'allow', trace: ['0|default|gnp:pre|allow|0'] },
      ingress: { action: 'allow', trace: [KNS] },
      forward: { action: 'deny', trace: ['0|default|gnp:forward|deny|-1'] },
    });
  });

  test('Drop from pod to host names the egress check', () => {
    const reference = world([felixConfiguration({ defaultEndpointToHostAction: 'Drop' })]);
    expect(reference.evaluate(flow(DB, HOST1))).toEqual({
      action: 'deny',
      reason: 'endpoint-to-host',
      direction: 'egress',
      egress: { action: 'deny', trace: [KNS] },
    });
  });

  test('IPv6 is not policed without Ipv6Support', () => {
    const closed = networkPolicy('app/p', { selector: 'all()', types: ['Ingress', 'Egress'] });
    expect(world([closed]).evaluate(flow('2001:db8::9', 'fd00::1')).action).toBe('deny');
    const reference = world([closed, felixConfiguration({ ipv6Support: false })]);
    expect(reference.evaluate(flow('2001:db8::9', 'fd00::1'))).toEqual({
      action: 'unpoliced',
      reason: '',
      direction: '',
    });
    expect(reference.evaluate(flow(OUTSIDE, DB)).action).toBe('deny');
  });

  test('profiles: Pass goes on to the next one, Log to the next rule', () => {
    const profiles = [
      profile('first', {
        ingress: [{ action: 'Log' }, { action: 'Pass', protocol: 'TCP' }, { action: 'Deny', protocol: 'TCP' }],
      }),
      profile('second', { ingress: [{ action: 'Deny', protocol: 'UDP' }, { action: 'Allow' }] }),
    ];
    const reference = world([host('n1', HOST1, { profiles: ['first', 'second', 'third'] }), ...profiles]);
    expect(reference.evaluate(flow(OUTSIDE, HOST1)).ingress?.trace).toEqual(['0|__PROFILE__|pro:second|allow|1']);
    const udp = reference.evaluate(flow(OUTSIDE, HOST1, { protocol: 'udp' }));
    expect(udp).toMatchObject({ reason: 'rule', ingress: { trace: ['0|__PROFILE__|pro:second|deny|0'] } });
    expect(reference.evaluate(flow(HOST1, OUTSIDE))).toMatchObject({
      reason: 'profile-missing',
      egress: { trace: ['0|__PROFILE__|pro:third|deny|0'] },
    });
  });
});

describe('pending', () => {
  const tiers = tier('t', { order: 1 });

  test('staged policies where they stand, and nothing where nothing differs', () => {
    const reference = world([
      tiers,
      networkPolicy('app/a', { selector: 'app == "db"', ingress: [{ action: 'Allow', protocol: 'TCP' }] }),
      staged('StagedNetworkPolicy', 'app/b', {
        selector: 'app == "db"',
        ingress: [{ action: 'Allow', protocol: 'UDP' }],
      }),
    ]);
    expect(reference.evaluate(flow(OUTSIDE, DB))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'ingress',
      ingress: { action: 'allow', trace: ['0|default|np:app/a|allow|0'] },
    });
    expect(reference.evaluate(flow(OUTSIDE, DB, { protocol: 'udp' }))).toMatchObject({
      action: 'deny',
      ingress: { trace: ['0|default|np:app/a|deny|-1'] },
      pending: { action: 'allow', ingress: ['0|default|snp:app/b|allow|0'] },
    });
    // The end of the tier belongs to the last policy, staged or not.
    expect(reference.evaluate({ src: OUTSIDE, dst: DB, protocol: 'icmp' }).pending).toEqual({
      action: 'deny',
      ingress: ['0|default|snp:app/b|deny|-1'],
    });
  });

  test('a check that only the pending answer reaches is in it', () => {
    const reference = world([
      networkPolicy('app/a', { selector: 'role == "far"', types: ['Egress'], egress: [] }),
      staged('StagedGlobalNetworkPolicy', 'open', {
        selector: 'role == "far"',
        order: 1,
        types: ['Egress'],
        egress: ALLOW,
      }),
    ]);
    expect(reference.evaluate(flow(FAR, DB))).toEqual({
      action: 'deny',
      reason: 'end-of-tier',
      direction: 'egress',
      egress: { action: 'deny', trace: ['0|default|np:app/a|deny|-1'] },
      pending: { action: 'allow', egress: ['0|default|sgnp:open|allow|0'], ingress: [KNS] },
    });
  });

  test('stagedAction Delete is no policy', () => {
    const reference = world([staged('StagedNetworkPolicy', 'app/b', { stagedAction: 'Delete' })]);
    expect(reference.evaluate(flow(OUTSIDE, DB)).pending).toBeUndefined();
  });
});

describe('one node', () => {
  const policies = [networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: [] })];

  test('keeps only the checks there, and every peer', () => {
    const peers = [
      networkPolicy('app/p', {
        selector: 'app == "db"',
        ingress: [{ action: 'Allow', source: { selector: 'role == "far"' } }],
      }),
    ];
    expect(world(peers, { node: 'n1' }).evaluate(flow(FAR, DB))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'ingress',
      ingress: { action: 'allow', trace: ['0|default|np:app/p|allow|0'] },
    });
    expect(world(policies, { node: 'n2' }).evaluate(flow(FAR, DB))).toEqual({
      action: 'allow',
      reason: '',
      direction: 'egress',
      egress: { action: 'allow', trace: [KNS] },
    });
    expect(world(policies, { node: 'n2' }).evaluate(flow(OUTSIDE, DB)).action).toBe('unpoliced');
  });
});

describe('shared addresses', () => {
  const twin = pod('dev/twin', { ip: DB, node: 'n2', labels: { role: 'twin' } });

  test('equal answers are the answer', () => {
    expect(world([twin]).evaluate(flow(OUTSIDE, DB))).toMatchObject({ action: 'allow', ingress: { trace: [KNS] } });
  });

  test('different answers are uncertain, and on one node its own', () => {
    const closed = networkPolicy('dev/p', { selector: 'role == "twin"', types: ['Ingress'], ingress: [] });
    const uncertain = { action: 'uncertain', reason: 'shared-address', direction: '' };
    expect(world([twin, closed]).evaluate(flow(OUTSIDE, DB))).toEqual(uncertain);
    expect(world([twin, closed], { node: 'n1' }).evaluate(flow(OUTSIDE, DB)).action).toBe('allow');
    expect(world([twin, closed], { node: 'n2' }).evaluate(flow(OUTSIDE, DB)).action).toBe('deny');
  });
});

test('flows: defaults, names and numbers of protocols, errors', () => {
  const echo = [{ action: 'Allow', protocol: 'ICMP', icmp: { type: 8, code: 0 } }];
  const reference = world([networkPolicy('app/p', { selector: 'app == "db"', types: ['Ingress'], ingress: echo })]);
  expect(reference.evaluate({ src: OUTSIDE, dst: DB, protocol: 'ICMP' }).action).toBe('allow');
  expect(reference.evaluate({ src: OUTSIDE, dst: DB, protocol: '1' }).action).toBe('allow');
  expect(reference.evaluate({ src: OUTSIDE, dst: DB, protocol: 1, icmp_type: 0 }).action).toBe('deny');
  expect(reference.evaluate({ src: OUTSIDE, dst: `::ffff:${DB}`, dst_port: 80 }).action).toBe('deny');
  expect(() => reference.evaluate({ src: OUTSIDE, dst: DB })).toThrow('no dst_port');
  expect(() => reference.evaluate({ src: 'x', dst: DB, dst_port: 1 })).toThrow('not an address');
  expect(() => reference.evaluate({ src: OUTSIDE, dst: 'fd00::1', dst_port: 1 })).toThrow('two families');
  expect(() => reference.evaluate({ src: OUTSIDE, dst: DB, protocol: 'no', dst_port: 1 })).toThrow('unknown protocol');
});
