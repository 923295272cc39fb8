import { describe, expect, test } from 'vitest';
import { plainRule } from '../../src/compile/convert-kubernetes.ts';
import { ipSetMembers } from '../../src/compile/ip-sets.ts';
import type { Plan } from '../../src/compile/plan.ts';
import { ruleProblems } from '../../src/compile/rule-limits.ts';
import { SelectorCache } from '../../src/compile/selectors.ts';
import { EMPTY_ENTITY } from '../../src/model/rule.ts';
import {
  account,
  globalNetworkSet,
  globalPolicy,
  hostEndpoint,
  ingressRule,
  joinDocuments,
  namespace,
  networkPolicy,
  networkSet,
  permissivePlanOf,
  planOf,
  pod,
  policyOf,
  runs,
  setTexts,
  UNCONSTRAINED,
  warningLines,
} from './cluster.ts';

/** A cluster with one of everything: two namespaces with pods of two accounts, a set of each kind, a host. */
const WORLD = joinDocuments(
  namespace('app', '{env: dev}'),
  namespace('web', '{env: prod}'),
  account('api', '{tier: gold}'),
  account('api', '{tier: tin}', 'web'),
  account('job', '{team: x}'),
  pod('db', '10.0.0.1', { labels: '{role: db}', serviceAccount: 'api' }),
  pod('job', '10.0.0.2', { labels: '{role: job}', serviceAccount: 'job' }),
  pod('db', '10.0.1.1', { namespace: 'web', labels: '{role: db}', serviceAccount: 'api' }),
  networkSet('set', '[192.0.2.0/24]', '{role: lb}'),
  globalNetworkSet('outside', '[198.51.100.0/24]', '{role: lb}'),
  hostEndpoint('host', 'node: n1, interfaceName: eth0, expectedIPs: [192.168.1.1]', '{role: lb}'),
);

const DB = '10.0.0.1/32';
const JOB = '10.0.0.2/32';
const WEB_DB = '10.0.1.1/32';
const SET = '192.0.2.0/24';
const OUTSIDE = '198.51.100.0/24';
const HOST = '192.168.1.1/32';

/** Plan with one rule of this source, in an NP of `app` or in a GNP. */
function withSource(kind: 'np' | 'gnp', source: string): Plan {
  const spec = `ingress: [{action: Allow, source: ${source}}]`;
  return permissivePlanOf(joinDocuments(WORLD, kind === 'np' ? networkPolicy('p', spec) : globalPolicy('p', spec)));
}

const idOf = (kind: 'np' | 'gnp'): string => (kind === 'np' ? 'np:app/p' : 'gnp:p');

/** Members of the set the source must be in; `any`, or `not [...]`, if it is not a positive set. */
function matched(kind: 'np' | 'gnp', source: string): string[] | string {
  const plan = withSource(kind, source);
  const side = ingressRule(plan, idOf(kind)).source;
  if (side.ipSets.length === 1) return ipSetMembers(plan, side.ipSets[0]!);
  return side.notIpSets.length === 1 ? `not ${ipSetMembers(plan, side.notIpSets[0]!).join(' ')}` : 'any';
}

describe('who matches a side of a rule (semantics 3.3)', () => {
  test.each([
    // source, in an NP of app, in a GNP
    ['{}', 'any', 'any'],
    ['{selector: role == "db"}', [DB], [DB, WEB_DB]],
    ['{selector: role == "lb"}', [SET], [SET, HOST, OUTSIDE]],
    ['{serviceAccounts: {names: [api]}}', [DB], [DB, WEB_DB]],
    ['{serviceAccounts: {selector: tier == "gold"}}', [DB], [DB]],
    ['{serviceAccounts: {names: [api, job], selector: has(tier)}}', [DB], [DB, WEB_DB]],
    ['{notSelector: role == "db"}', [JOB, SET], `not ${DB} ${WEB_DB}`],
    ['{selector: has(role), notSelector: role == "db"}', [JOB, SET], [JOB, SET, HOST, OUTSIDE]],
    ['{namespaceSelector: env == "prod"}', [WEB_DB], [WEB_DB]],
    ['{namespaceSelector: env == "prod", selector: role == "db"}', [WEB_DB], [WEB_DB]],
    ['{namespaceSelector: has(env), notSelector: role == "db"}', [JOB, SET], [JOB, SET]],
    ['{namespaceSelector: all()}', [DB, JOB, WEB_DB, SET], [DB, JOB, WEB_DB, SET]],
    ['{namespaceSelector: global()}', [HOST, OUTSIDE], [HOST, OUTSIDE]],
    ['{namespaceSelector: " "}', [DB, JOB, WEB_DB, SET], [DB, JOB, WEB_DB, SET]],
    ['{serviceAccounts: {selector: all()}}', [DB, JOB, SET], [DB, JOB, WEB_DB, SET, HOST, OUTSIDE]],
  ])('%s', (source, inNamespace, global) => {
    const yaml = source.replace(/: ((?:[a-z]+ (?:==|!=) "[^"]*")|(?:!?[a-z]+\([a-z]*\)))/g, ": '$1'");
    expect(matched('np', yaml)).toEqual(inNamespace);
    expect(matched('gnp', yaml)).toEqual(global);
  });

  test('row 28: notSelector alone in an NP stays inside the namespace', () => {
    expect(matched('np', "{notSelector: 'has(x)'}")).toEqual([DB, JOB, SET]);
  });

  test('row 29: in a GNP everything matches that is not in the set', () => {
    expect(matched('gnp', "{notSelector: 'has(x)'}")).toBe('not ');
  });

  test('row 30 and 31: an account name is that of the own namespace in an NP, of any in a GNP', () => {
    expect(matched('np', '{serviceAccounts: {names: [api]}}')).toEqual([DB]);
    expect(matched('gnp', '{serviceAccounts: {names: [api]}}')).toEqual([DB, WEB_DB]);
  });

  test('row 32: with a namespaceSelector the own namespace is no longer implied', () => {
    expect(matched('np', `{namespaceSelector: 'env == "prod"', serviceAccounts: {names: [api]}}`)).toEqual([WEB_DB]);
  });

  test('row 33: a negative namespaceSelector also matches hosts and global sets', () => {
    expect(matched('np', `{namespaceSelector: 'env != "prod"'}`)).toEqual([DB, JOB, SET, HOST, OUTSIDE]);
  });

  test('row 34: all() is every pod and namespaced set', () => {
    expect(matched('np', "{namespaceSelector: 'all()'}")).toEqual([DB, JOB, WEB_DB, SET]);
  });

  test('row 35: global() with a selector is hosts and global sets of that selector', () => {
    expect(matched('np', `{namespaceSelector: 'global()', selector: 'role == "lb"'}`)).toEqual([HOST, OUTSIDE]);
  });

  test('row 36: an account selector all() in a GNP is everything', () => {
    expect(matched('gnp', "{serviceAccounts: {selector: 'all()'}}")).toEqual([DB, JOB, WEB_DB, SET, HOST, OUTSIDE]);
  });

  test('row 37: a negative account selector in an NP matches the sets of the namespace too', () => {
    expect(matched('np', "{serviceAccounts: {selector: '!has(team)'}}")).toEqual([DB, SET]);
  });

  test('row 38: a quote in an account name drops the whole match, and is warned about', () => {
    const plan = withSource('np', `{serviceAccounts: {names: ["it's"], selector: 'has(tier)'}}`);
    expect(ingressRule(plan, 'np:app/p').source).toEqual(UNCONSTRAINED);
    expect(warningLines(plan)[0]).toContain('spec.ingress[0].source.serviceAccounts: a name with a quote');
    // Names are pasted: a name that closes the quote and opens another is two names.
    expect(matched('np', `{serviceAccounts: {names: ["api', 'job"]}}`)).toEqual([DB, JOB]);
  });

  test('row 39: serviceAccounts {} is no constraint', () => {
    expect(matched('np', '{serviceAccounts: {}}')).toBe('any');
  });

  test('row 45: a selector without endpoint is an empty set, positive or negative', () => {
    expect(matched('np', `{selector: 'role == "nobody"'}`)).toEqual([]);
    expect(matched('gnp', `{notSelector: 'role == "nobody"'}`)).toBe('not ');
  });

  test('row 46: destination accounts on an ingress rule test the destination address', () => {
    const spec = 'ingress: [{action: Allow, destination: {serviceAccounts: {names: [api]}}}]';
    const plan = planOf(joinDocuments(WORLD, networkPolicy('p', spec)));
    const rule = ingressRule(plan, 'np:app/p');
    expect(rule.source).toEqual(UNCONSTRAINED);
    expect(ipSetMembers(plan, rule.destination.ipSets[0]!)).toEqual([DB]);
  });
});

describe('canonical text, which decides the ID', () => {
  const text = (kind: 'np' | 'gnp', source: string): string[] => {
    const plan = withSource(kind, source);
    const side = ingressRule(plan, idOf(kind)).source;
    return [...setTexts(plan, side.ipSets), ...setTexts(plan, side.notIpSets).map((set) => `not ${set}`)];
  };
  const sa = 'projectcalico.org/serviceaccount';
  const ns = 'projectcalico.org/namespace';

  test.each([
    ['np', `{selector: role == 'db'}`, `(${ns} == "app" && role == "db")`],
    ['np', `{serviceAccounts: {names: [web, api]}}`, `(${ns} == "app" && ${sa} in {"api", "web"})`],
    [
      'np',
      `{serviceAccounts: {names: [api], selector: tier == 'gold'}}`,
      `(${ns} == "app" && (pcsa.tier == "gold" && ${sa} in {"api"}))`,
    ],
    [
      'np',
      `{selector: role == 'db', serviceAccounts: {names: [api], selector: tier == 'gold'}, notSelector: has(x)}`,
      `((${ns} == "app" && ((pcsa.tier == "gold" && ${sa} in {"api"}) && role == "db")) && !has(x))`,
    ],
    ['np', `{notSelector: has(x)}`, `(${ns} == "app" && !has(x))`],
    ['gnp', `{notSelector: has(x)}`, 'not has(x)'],
    ['gnp', `{serviceAccounts: {names: [api]}}`, `${sa} in {"api"}`],
    ['gnp', `{namespaceSelector: env == 'x' || all()}`, `(pcns.env == "x" || has(${ns}))`],
    // The replacement is textual and reaches into values.
    ['gnp', `{namespaceSelector: env == 'all()'}`, `pcns.env == "has(${ns})"`],
    ['gnp', `{namespaceSelector: '!global()'}`, `has(${ns})`],
  ] as const)('%s %s', (kind, source, expected) => {
    expect(text(kind, source)).toEqual([expected]);
  });

  test("the IDs are Calico's", () => {
    const plan = withSource('np', `{serviceAccounts: {names: [api], selector: tier == 'gold'}}`);
    expect(plan.ipSets.map(({ id }) => id)).toEqual(['s:ZwZU2LI69LjYtqRYLeFw7pTGXttb1CakDPSXTg']);
  });
});

describe('which endpoints a policy selects (semantics 3.4)', () => {
  /** Keys of the endpoints that run the policy in ingress. */
  const selected = (document: string, id: string): string[] => {
    const plan = permissivePlanOf(joinDocuments(WORLD, document));
    return plan.endpoints.map(({ key }) => key).filter((key) => runs(plan, key).some((line) => line.includes(id)));
  };
  const np = (spec: string): string[] => selected(networkPolicy('p', spec), 'np:app/p');
  const gnp = (spec: string): string[] => selected(globalPolicy('p', spec), 'gnp:p');
  const PODS = ['wep:app/db', 'wep:app/job', 'wep:web/db'];

  test('an NP its namespace, narrowed by selector and account selector', () => {
    expect(np('')).toEqual(['wep:app/db', 'wep:app/job']);
    expect(np(`selector: role == "db"`)).toEqual(['wep:app/db']);
    expect(np('serviceAccountSelector: has(team)')).toEqual(['wep:app/job']);
    expect(np(`selector: role == "db", serviceAccountSelector: has(team)`)).toEqual([]);
  });

  test('a GNP everything, hosts included', () => {
    expect(gnp('')).toEqual(['hep:host', ...PODS]);
    expect(gnp(`namespaceSelector: env == "prod"`)).toEqual(['wep:web/db']);
    expect(gnp(`namespaceSelector: env != "prod"`)).toEqual(['hep:host', 'wep:app/db', 'wep:app/job']);
  });

  test('row 40: all() with a namespaceSelector excludes hosts, an empty selector does not', () => {
    expect(gnp(`selector: all(), namespaceSelector: '!has(prod)'`)).toEqual(PODS);
    expect(gnp(`namespaceSelector: '!has(prod)'`)).toEqual(['hep:host', ...PODS]);
  });

  test('row 41: serviceAccountSelector all() asks for an account in a GNP, for nothing in an NP', () => {
    expect(gnp('serviceAccountSelector: all()')).toEqual(PODS);
    expect(np('serviceAccountSelector: all()')).toEqual(['wep:app/db', 'wep:app/job']);
  });

  test('row 42: an invalid namespaceSelector is ignored with a warning', () => {
    const plan = permissivePlanOf(
      joinDocuments(WORLD, globalPolicy('p', `selector: role == "db", namespaceSelector: 'env = 1'`)),
    );
    expect(policyOf(plan, 'gnp:p').selectorText).toBe('role == "db"');
    expect(warningLines(plan)).toEqual([
      'GlobalNetworkPolicy p spec.namespaceSelector: does not parse; Calico ignores it, so the policy applies to more endpoints',
    ]);
  });

  test('an invalid serviceAccountSelector likewise', () => {
    const plan = permissivePlanOf(joinDocuments(WORLD, networkPolicy('p', `serviceAccountSelector: 'env = 1'`)));
    expect(policyOf(plan, 'np:app/p').selectorText).toBe('projectcalico.org/namespace == "app"');
    expect(warningLines(plan)[0]).toContain('spec.serviceAccountSelector');
  });
});

describe('what drops a whole policy (semantics 3.2)', () => {
  /** The warnings, if the policy is gone. */
  const dropped = (document: string): string[] => {
    const plan = permissivePlanOf(joinDocuments(WORLD, document));
    expect(plan.policies).toEqual([]);
    expect(runs(plan, 'wep:app/db')).toEqual([]);
    return warningLines(plan);
  };
  const rule = (text: string): string => networkPolicy('p', `ingress: [{action: Allow}, {action: Allow, ${text}}]`);

  test.each(['selector', 'notSelector', 'namespaceSelector'])('row 43: an invalid %s inside one rule', (field) => {
    const [line] = dropped(rule(`source: {${field}: 'a = 1'}`));
    expect(line).toContain(`NetworkPolicy app/p spec.ingress[1].source.${field}: `);
    expect(line).toContain('Felix drops the whole policy');
  });

  test('row 43: or an invalid account selector', () => {
    expect(dropped(rule(`source: {serviceAccounts: {selector: 'a = 1'}}`))[0]).toContain('serviceAccounts.selector');
  });

  test('row 44: a blank selector drops an NP and is all() in a GNP', () => {
    expect(dropped(rule(`source: {selector: ' '}`))[0]).toContain('spec.ingress[1].source.selector');
    expect(matched('gnp', `{selector: ' '}`)).toEqual([DB, JOB, WEB_DB, SET, HOST, OUTSIDE]);
  });

  test('a policy selector that does not parse', () => {
    expect(dropped(networkPolicy('p', `selector: 'a = 1'`))[0]).toContain('spec.selector');
    expect(dropped(networkPolicy('p', `selector: ' '`))[0]).toContain('spec.selector');
  });

  test.each([
    ['protocol: banana', 'protocol'],
    ['notProtocol: 0', 'notProtocol'],
    ['protocol: TCP, source: {ports: [0]}', 'source.ports'],
    ['protocol: TCP, destination: {ports: [Http]}', 'destination.ports'],
    ['protocol: TCP, destination: {notPorts: [a-name-too-long-for-kubernetes]}', 'destination.notPorts'],
    ['destination: {ports: [80]}', 'destination.ports'],
    ['destination: {notPorts: [80]}', 'destination.notPorts'],
    ['protocol: UDPLite, destination: {ports: [80]}', 'destination.ports'],
  ])('%s', (text, field) => {
    const { policies, warnings } = permissivePlanOf(joinDocuments(WORLD, rule(text)));
    expect(policies).toEqual([]);
    expect(warnings.map((item) => item.field)).toContain(`spec.ingress[1].${field}`);
  });

  test('ICMP numbers out of range, which already the schema of the CRD refuses', () => {
    const icmp = { type: 255, code: 256 };
    const rule = {
      ...plainRule('Allow', 'ICMP', EMPTY_ENTITY, EMPTY_ENTITY, { file: '', line: 1 }),
      icmp,
      notICMP: icmp,
    };
    const fields = ruleProblems(rule, new SelectorCache()).map(({ field }) => field);
    expect(fields).toEqual(['icmp.type', 'icmp.code', 'notICMP.type', 'notICMP.code']);
  });

  test('all problems are named, not the first alone', () => {
    expect(
      dropped(
        networkPolicy(
          'p',
          `ingress: [{action: Allow, source: {selector: 'a = 1', notSelector: 'b = 2'}}, {action: Allow, protocol: x}]`,
        ),
      ),
    ).toHaveLength(3);
  });
});
