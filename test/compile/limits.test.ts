/** Profiles, built-in names, limits, and the branches that only odd input reaches. */
import { describe, expect, test } from 'vitest';
import { IncrementalCompiler } from '../../src/compile/incremental.ts';
import { portProtocolName } from '../../src/compile/protocols.ts';
import { sortByKey } from '../../src/compile/sort-by-key.ts';
import { loadResources } from '../../src/load/load.ts';
import {
  endpointOf,
  globalNetworkSet,
  globalPolicy,
  groupOf,
  hostEndpoint,
  ingressRule,
  joinDocuments,
  membersOf,
  namespace,
  networkPolicy,
  peers,
  permissivePlanOf,
  planOf,
  pod,
  prefixTexts,
  runs,
  UNCONSTRAINED,
  warningLines,
} from './cluster.ts';

const profile = (name: string, spec: string): string =>
  `{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: ${name}}, spec: {${spec}}}`;

describe('profiles', () => {
  const host = (profiles: string): string =>
    hostEndpoint('h', `node: n1, interfaceName: eth0, profiles: [${profiles}]`);

  test('rules of a Profile match as those of global policies do', () => {
    const plan = planOf(
      joinDocuments(
        host('p'),
        pod('a', '10.0.0.1', { labels: '{x: "1"}' }),
        profile('p', 'ingress: [{action: Allow, source: {selector: has(x)}}, {action: Pass}]'),
      ),
    );
    const [allow, pass] = plan.profiles.find(({ name }) => name === 'p')!.ingress;
    expect(peers(plan, allow!.source)).toEqual(['10.0.0.1/32']);
    expect(pass).toMatchObject({ action: 'pass', source: UNCONSTRAINED });
  });

  test('only those that an endpoint names are listed; network sets do not count', () => {
    const plan = planOf(joinDocuments(namespace('app'), namespace('web'), pod('a', '10.0.0.1'), profile('p', '')));
    expect(plan.profiles.map(({ name }) => name)).toEqual(['kns.app', 'ksa.app.default']);
    const [kns, ksa] = plan.profiles;
    expect([kns!.ingress.length, kns!.egress.length, ksa!.ingress.length, ksa!.egress.length]).toEqual([1, 1, 0, 0]);
  });

  test('projectcalico-default-allow is built in and allows everything', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        host('projectcalico-default-allow'),
        profile('projectcalico-default-allow', 'ingress: [{action: Deny}]'),
      ),
    );
    expect(plan.profiles).toHaveLength(1);
    expect(plan.profiles[0]!.ingress.map(({ action }) => action)).toEqual(['allow']);
    expect(warningLines(plan)).toEqual([
      'Profile projectcalico-default-allow metadata.name: the built-in profile of this name takes its place',
    ]);
  });

  test('a host that names a missing profile is warned about', () => {
    const plan = planOf(host('nobody'));
    expect(plan.profiles).toEqual([]);
    expect(warningLines(plan)).toEqual([
      "HostEndpoint h spec.profiles[0]: profile 'nobody' does not exist: what no policy decides is denied",
    ]);
  });

  test('one with a rule that Felix refuses keeps its labels and loses its rules', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        host('p'),
        profile('p', `labelsToApply: {x: "1"}, ingress: [{action: Allow, source: {selector: 'a = 1'}}]`),
        globalPolicy('g', 'selector: has(x)'),
      ),
    );
    expect(plan.profiles).toEqual([]);
    expect(runs(plan, 'hep:h')).toEqual(['default< gnp:g']);
    expect(warningLines(plan)[0]).toContain('Felix drops all rules of this profile');
  });

  test('a Profile object gives way to the Namespace of that name, but not to an invented one', () => {
    const documents = [
      pod('a', '10.0.0.1'),
      profile('kns.app', 'labelsToApply: {pcns.from: object}, ingress: [{action: Deny}]'),
    ];
    const actions = (...more: string[]): string[] =>
      planOf(joinDocuments(...documents, ...more))
        .profiles.find(({ name }) => name === 'kns.app')!
        .ingress.map(({ action }) => action);
    expect(actions()).toEqual(['deny']);
    expect(actions(namespace('app'))).toEqual(['allow']);
  });
});

describe('limits of ours', () => {
  test('a selector that only we cannot read is an error with its place, never a missing policy', () => {
    const names = Array.from({ length: 9000 }, (_, i) => `account-${i}`).join(', ');
    const { resources, errors } = loadResources([
      {
        name: 'big.yaml',
        text: networkPolicy('p', `ingress: [{action: Allow, source: {serviceAccounts: {names: [${names}]}}}]`),
      },
    ]);
    expect(errors).toEqual([]);
    const compiler = new IncrementalCompiler(resources);
    expect(() => compiler.plan()).toThrow(
      expect.objectContaining({ code: 'selector-limit', origin: expect.objectContaining({ file: 'big.yaml' }) }),
    );
    expect(() => compiler.plan()).toThrow('NetworkPolicy app/p');
  });
});

describe('odd input', () => {
  test('a bad entry among expectedIPs or nets is skipped with a warning', () => {
    const plan = permissivePlanOf(
      joinDocuments(
        hostEndpoint('h', 'node: n1, expectedIPs: [banana, 192.168.1.1]'),
        globalNetworkSet('s', '[banana, 192.0.2.0/24]'),
      ),
    );
    expect(prefixTexts(endpointOf(plan, 'hep:h').addresses)).toEqual(['192.168.1.1/32']);
    expect(prefixTexts(plan.groups[1]!.prefixes)).toEqual(['192.0.2.0/24']);
    expect(warningLines(plan)).toEqual([
      "HostEndpoint h spec.expectedIPs[0]: 'banana' is no address and is skipped",
      "GlobalNetworkSet s spec.nets[0]: 'banana' is no CIDR and is skipped",
    ]);
  });

  test('a label key that only grows too long by its prefix drops the policy, as Calico finds it when it parses again', () => {
    const key = 'k'.repeat(510);
    const plan = permissivePlanOf(
      networkPolicy('p', `ingress: [{action: Allow, source: {namespaceSelector: 'has(${key})'}}]`),
    );
    expect(plan.policies).toEqual([]);
    expect(warningLines(plan)[0]).toContain('Felix drops the whole policy');
  });

  test('three owners of one address', () => {
    const plan = planOf(
      joinDocuments(
        pod('c', '10.0.0.1'),
        pod('a', '10.0.0.1'),
        pod('b', '10.0.0.1'),
        pod('v6', 'fd00::1'),
        pod('v6b', 'fd00::1'),
      ),
    );
    expect(plan.sharedAddresses.map(({ endpoints }) => endpoints)).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
  });

  test('an account name is absent under --as-is, and then a label of that key survives', () => {
    const bare = pod('a', '10.0.0.1', { labels: '{projectcalico.org/serviceaccount: mine}' }).replace(
      '  serviceAccountName: default\n',
      '',
    );
    const plan = planOf(
      joinDocuments(
        namespace('app'),
        bare,
        globalPolicy('g', 'ingress: [{action: Allow, source: {serviceAccounts: {names: [mine]}}}]'),
      ),
      { asIs: true },
    );
    expect(groupOf(plan, 'wep:app/a').profiles).toEqual(['kns.app']);
    expect(peers(plan, ingressRule(plan, 'gnp:g').source)).toEqual(['10.0.0.1/32']);
  });

  test('keys sort by bytes even with characters beyond the basic plane', () => {
    expect(sortByKey(['\u{10000}', '\uffff', 'a'], (key) => key)).toEqual(['a', '\uffff', '\u{10000}']);
    expect(sortByKey(['b', 'a-', 'a'], (key) => key)).toEqual(['a', 'a-', 'b']);
  });

  test('a tuple of a protocol without a name prints its number', () => {
    expect(portProtocolName(47)).toBe('47');
  });

  test('members of an IPv6 tuple', () => {
    const spec = '  containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}]}]';
    const plan = planOf(
      joinDocuments(
        pod('a', 'fd00::a', { spec }),
        globalPolicy('g', 'ingress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]'),
      ),
    );
    expect(membersOf(plan, 0)).toEqual(['fd00::a,tcp:80']);
  });
});
