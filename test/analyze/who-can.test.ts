/** `who-can edit`, `label`, `reach` and `--diff` on small clusters, and the labels that make a selector true. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Entry, type WhoCanContext, whoCanContext } from '../../src/analyze/who-can.ts';
import { diffReach } from '../../src/analyze/who-can-diff.ts';
import { findPolicies, whoCanEdit } from '../../src/analyze/who-can-edit.ts';
import { whoCanLabel } from '../../src/analyze/who-can-label.ts';
import { labelsThatMatch } from '../../src/analyze/who-can-labels.ts';
import { type ReachReport, whoCanReach } from '../../src/analyze/who-can-reach.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { admissionObjects } from '../../src/rbac/admission.ts';
import { parseSelector } from '../../src/selector/selector.ts';
import { binding, document, loadRbac, role, rule } from '../rbac/support.ts';

function contextOf(text: string, depth = 2): WhoCanContext {
  const { resources, index } = loadRbac(text);
  return whoCanContext(resources, index, { depth, users: new Map() });
}

/** Someone has rules, in a namespace or everywhere. */
function grant(subject: string, rules: readonly string[], namespace = ''): string {
  const name = `${subject.replaceAll(/[^a-z0-9]/gi, '-').toLowerCase()}${namespace}`;
  const kind = namespace === '' ? 'ClusterRole' : 'Role';
  return role(name, rules.map(rule), namespace) + binding(name, `${kind}/${name}`, [subject], namespace);
}

const calico = (kind: string, name: string, spec: object, namespace?: string): string =>
  document({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name, ...(namespace ? { namespace } : {}) }, spec });

const account = (namespace: string, name: string, labels: object = {}): string =>
  document({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels } });

let podCount = 0;
function pod(namespace: string, name: string, serviceAccountName: string, labels: object = {}): string {
  podCount++;
  return document({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { nodeName: 'n1', serviceAccountName },
    status: { phase: 'Running', podIP: `10.0.0.${podCount}` },
  });
}

const subjectsOf = (entries: readonly Entry[]): string[] =>
  entries.map(({ subject, links }) => `${subject}: ${links.map(({ way }) => way).join(', ')}`);

describe('edit', () => {
  const CLUSTER =
    calico('Tier', 'security', { order: 10 }) +
    calico('NetworkPolicy', 'deny', { tier: 'security', order: 5, selector: 'all()', ingress: [] }, 'a') +
    calico('NetworkPolicy', 'plain', { order: 2000, selector: 'all()', ingress: [] }, 'a') +
    calico('NetworkPolicy', 'early', { order: 1, selector: 'all()', ingress: [] }, 'a') +
    pod('a', 'web-0', 'default');
  const GET = 'get tiers.projectcalico.org';

  function editors(id: string, ...rules: readonly string[]): string[] {
    const context = contextOf(CLUSTER + grant('User/ann', rules));
    const plan = planCluster(context.resources);
    return subjectsOf(whoCanEdit(context, plan, findPolicies(plan, id)).entries);
  }

  test.each<readonly [string, string, readonly string[], readonly string[]]>([
    ['its own name', 'np:a/deny', [GET, 'update tier.networkpolicies.projectcalico.org deny'], ['change-policy']],
    [
      'all of the tier',
      'np:a/deny',
      [GET, 'delete tier.networkpolicies.projectcalico.org security.*'],
      ['change-policy'],
    ],
    ['without get on the tier', 'np:a/deny', ['update tier.networkpolicies.projectcalico.org'], []],
    ['another tier', 'np:a/deny', [GET, 'update tier.networkpolicies.projectcalico.org default.*'], []],
    ['the plain resource', 'np:a/deny', [GET, 'update networkpolicies.projectcalico.org'], []],
    ['Calico’s storage', 'np:a/deny', ['delete networkpolicies.crd.projectcalico.org'], ['past-the-api']],
    ['the tier itself', 'np:a/deny', ['patch tiers.projectcalico.org security'], ['change-tier']],
    [
      'an earlier policy',
      'np:a/plain',
      [GET, 'create tier.networkpolicies.projectcalico.org security.first'],
      ['policy-in-front'],
    ],
    ['a later tier is not in front', 'np:a/deny', [GET, 'create tier.networkpolicies.projectcalico.org default.x'], []],
    [
      'a Kubernetes policy before order 2000',
      'np:a/plain',
      ['create networkpolicies.networking.k8s.io'],
      ['policy-in-front'],
    ],
    ['a Kubernetes policy after order 1', 'np:a/early', ['create networkpolicies.networking.k8s.io'], []],
    ['a Kubernetes policy after another tier', 'np:a/deny', ['create networkpolicies.networking.k8s.io'], []],
    [
      'a ClusterNetworkPolicy before tier default',
      'np:a/plain',
      ['create clusternetworkpolicies.policy.networking.k8s.io'],
      ['policy-in-front'],
    ],
    [
      'a new tier',
      'np:a/deny',
      ['create tiers.projectcalico.org', 'create tier.globalnetworkpolicies.projectcalico.org'],
      ['new-tier'],
    ],
    ['a new tier without policies', 'np:a/deny', ['create tiers.projectcalico.org'], []],
  ])('by %s', (_, id, rules, ways) => {
    expect(editors(id, ...rules)).toEqual(ways.map((way) => `User ann: ${way}`));
  });

  test('with get on tiers for everybody, and the rest for some', () => {
    const everyone = grant('Group/system:authenticated', [GET]);
    const context = contextOf(
      CLUSTER + everyone + grant('User/ann', ['update tier.networkpolicies.projectcalico.org deny'], 'a'),
    );
    const plan = planCluster(context.resources);
    expect(subjectsOf(whoCanEdit(context, plan, findPolicies(plan, 'a/deny')).entries)).toEqual([
      'User ann: change-policy',
    ]);
  });

  test('of Kubernetes policies goes by their own group', () => {
    const knp = document({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'k', namespace: 'a' },
      spec: { podSelector: {} },
    });
    const context = contextOf(CLUSTER + knp + grant('User/ann', ['delete networkpolicies.networking.k8s.io k'], 'a'));
    const plan = planCluster(context.resources);
    expect(subjectsOf(whoCanEdit(context, plan, findPolicies(plan, 'knp:a/k')).entries)).toEqual([
      'User ann: change-policy',
    ]);
  });
});

describe('label', () => {
  const WEB = { namespace: 'a', name: 'web' };
  const CLUSTER = account('a', 'web', { role: 'web' }) + account('a', 'api', { role: 'intern' });

  function labellers(rules: readonly string[], selector = 'role == "intern"', more = ''): string[] {
    const context = contextOf(CLUSTER + grant('User/ann', rules) + more);
    return subjectsOf(whoCanLabel(context, WEB, parseSelector(selector)).entries);
  }

  test.each<readonly [string, readonly string[]]>([
    ['update serviceaccounts', ['label-account']],
    ['patch serviceaccounts web', ['label-account']],
    ['patch serviceaccounts other', []],
    ['create serviceaccounts', ['new-account']],
    ['create networksets.projectcalico.org', ['network-set']],
    ['patch globalnetworksets.projectcalico.org', ['network-set']],
    ['update hostendpoints.crd.projectcalico.org', ['host-endpoint']],
    ['patch pods', []],
    ['get serviceaccounts', []],
  ])('%s', (text, ways) => {
    expect(labellers([text])).toEqual(ways.map((way) => `User ann: ${way}`));
  });

  test('says which accounts match, and which labels make one match', () => {
    const { matches, matching, labels, without } = whoCanLabel(
      contextOf(CLUSTER),
      WEB,
      parseSelector('role == "intern" && !has(x)'),
    );
    expect({ matches, matching, labels, without }).toEqual({
      matches: false,
      matching: ['api'],
      labels: { role: 'intern' },
      without: ['x'],
    });
  });

  test('an admission policy gates labels that are set, and labels that are taken off', () => {
    const gate = admissionObjects(WEB, ['role'], ['security']).map(document).join('');
    expect(labellers(['update serviceaccounts'], 'role == "intern"', gate)).toEqual([]);
    expect(labellers(['create serviceaccounts'], 'role == "intern"', gate)).toEqual([]);
    expect(labellers(['update serviceaccounts'], 'team == "x"', gate)).toEqual(['User ann: label-account']);
    expect(labellers(['update serviceaccounts'], '!has(role)', gate)).toEqual([]);
    expect(labellers(['create serviceaccounts'], '!has(role)', gate)).toEqual(['User ann: new-account']);
  });
});

describe('reach', () => {
  const allowFrom = (source: object): string =>
    calico('NetworkPolicy', 'p', { selector: 'app == "db"', ingress: [{ action: 'Allow', source }] }, 'a');
  const DB = pod('a', 'db-0', 'db', { app: 'db' });
  const ACCOUNTS = account('a', 'db') + account('a', 'web', { role: 'web' }) + account('a', 'idle');

  function reach(text: string, depth = 2): ReachReport {
    const context = contextOf(text, depth);
    return whoCanReach(context, { namespace: 'a', pod: 'db-0', port: 5432, protocol: 'tcp' }, false);
  }

  const shown = ({ accounts }: ReachReport): string[] =>
    accounts.map(({ account: name, by, pod_labels: labels = {} }) => {
      const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
      return `${name} ${by}${pairs.length === 0 ? '' : ` ${pairs.join(',')}`}`;
    });

  test('by the name of the account', () => {
    const text = DB + ACCOUNTS + allowFrom({ serviceAccounts: { names: ['web'] } });
    expect(shown(reach(text))).toEqual(['a/web new-pod']);
    expect(shown(reach(text + pod('a', 'web-0', 'web')))).toEqual(['a/web pod']);
  });

  test('by labels of the pod, which whoever makes the pod chooses', () => {
    const report = reach(
      DB + ACCOUNTS + allowFrom({ selector: 'app == "api"' }) + grant('User/ann', ['create pods'], 'a'),
    );
    expect(shown(report)).toEqual([
      'a/db new-pod app=api',
      'a/default new-pod app=api',
      'a/idle new-pod app=api',
      'a/web new-pod app=api',
    ]);
    expect(report.entries[0]!.targets).toHaveLength(4);
  });

  test('by labels of the account, which takes a right of its own', () => {
    const text = DB + account('a', 'idle') + allowFrom({ serviceAccounts: { selector: 'role == "web"' } });
    const both = ['create pods', 'patch serviceaccounts'];
    expect(reach(text + grant('User/ann', ['create pods'], 'a')).entries).toEqual([]);
    expect(
      reach(text + grant('User/ann', ['create pods'], 'a') + grant('User/ann', ['create serviceaccounts'], 'b'))
        .entries,
    ).toEqual([]);
    const [entry] = reach(text + grant('User/ann', both, 'a')).entries;
    expect(entry).toMatchObject({
      subject: 'User ann',
      steps: 2,
      targets: ['an account of a with role=web'],
      links: [{ way: 'label-account' }, { way: 'create-pod' }],
    });
    expect(reach(text + grant('User/ann', both, 'a'), 1).entries).toEqual([]);
  });

  test('into a pod only where a pod has the path', () => {
    const text =
      DB + account('a', 'web') + allowFrom({ selector: 'app == "api"' }) + grant('User/ann', ['create pods/exec'], 'a');
    expect(reach(text + pod('a', 'web-0', 'web', { app: 'web' })).entries).toEqual([]);
    const { entries } = reach(text + pod('a', 'api-0', 'web', { app: 'api' }));
    expect(subjectsOf(entries)).toEqual(['User ann: exec']);
    const relabel =
      DB + account('a', 'web') + allowFrom({ selector: 'app == "api"' }) + grant('User/ann', ['patch pods'], 'a');
    expect(subjectsOf(reach(relabel + pod('a', 'web-0', 'web', { app: 'web' })).entries)).toContain(
      'User ann: change-pod',
    );
  });

  test('tells pods from tokens', () => {
    const text = DB + ACCOUNTS + allowFrom({ serviceAccounts: { names: ['web'] } });
    const { entries } = reach(text + grant('User/ann', ['create serviceaccounts/token web'], 'a'));
    expect(entries).toMatchObject([{ subject: 'User ann', gives: 'api' }]);
  });

  test('knows the policies that decide, and who can change them', () => {
    const text = DB + ACCOUNTS + allowFrom({ serviceAccounts: { names: ['web'] } });
    const rules = ['get tiers.projectcalico.org', 'update tier.networkpolicies.projectcalico.org'];
    const { policies, editors } = reach(text + grant('User/sue', rules));
    expect(policies).toEqual(['np:a/p']);
    expect(subjectsOf(editors)).toContain('User sue: change-policy');
  });

  test('refuses a target that is no endpoint', () => {
    expect(() => reach(ACCOUNTS)).toThrow('pod a/db-0 is not in the input');
  });
});

describe('a comparison', () => {
  const policy = (names: readonly string[]): string =>
    calico(
      'NetworkPolicy',
      'p',
      { selector: 'app == "db"', ingress: [{ action: 'Allow', source: { serviceAccounts: { names } } }] },
      'a',
    );
  const CLUSTER = pod('a', 'db-0', 'db', { app: 'db' }) + account('a', 'web') + account('a', 'api');

  function report(text: string): ReachReport {
    return whoCanReach(contextOf(CLUSTER + text), { namespace: 'a', pod: 'db-0', port: 5432, protocol: 'tcp' }, false);
  }

  test('says what a binding opens, and what closes without it', () => {
    const before = report(policy(['web']));
    const after = report(policy(['web']) + grant('Group/interns', ['create pods'], 'a'));
    const diff = diffReach(before, after);
    expect(diff.opened.map(({ message }) => message)).toEqual([
      'RoleBinding a/group-internsa lets Group interns reach a/db-0:5432 as a/web: create pods',
    ]);
    expect(diff.closed).toEqual([]);
    expect(diffReach(after, before).closed).toHaveLength(1);
    expect(diffReach(after, before).opened).toEqual([]);
  });

  test('says what a policy opens', () => {
    const rights = grant('Group/interns', ['create pods'], 'a');
    const diff = diffReach(report(policy(['web']) + rights), report(policy(['web', 'api']) + rights));
    expect(diff.opened.map(({ message }) => message)).toEqual([
      'policies let new pods of ServiceAccount a/api reach a/db-0:5432',
      'RoleBinding a/group-internsa lets Group interns reach a/db-0:5432 as a/api: create pods',
    ]);
  });

  test('takes another way to the same account for no change', () => {
    const by = (text: string): ReachReport => report(policy(['web']) + grant('Group/interns', [text], 'a'));
    const diff = diffReach(by('create pods'), by('create jobs.batch'));
    expect([diff.opened, diff.closed]).toEqual([[], []]);
    // A token alone is less than a pod.
    expect(diffReach(by('create serviceaccounts/token'), by('create pods')).opened).toHaveLength(1);
  });
});

describe('labels that match', () => {
  test.each<readonly [string, Record<string, string> | undefined]>([
    ['all()', {}],
    ['a == "x"', { a: 'x' }],
    ['a == "x" && has(b)', { a: 'x', b: 'any' }],
    ['a in {"x", "y"} && a != "x"', { a: 'y' }],
    ['!(a != "x")', { a: 'x' }],
    ['!has(a) || b == "y"', {}],
    ['a == "x" && a == "y"', undefined],
    ['a contains "mid"', { a: 'mid' }],
    ['has(a) && !has(a)', undefined],
  ])('%s', (text, expected) => {
    const [choice] = labelsThatMatch([parseSelector(text).root]);
    expect(choice === undefined ? undefined : Object.fromEntries(choice.labels)).toEqual(expected);
  });

  const leaf = fc.constantFrom(
    'a == "x"',
    'a != "x"',
    'has(b)',
    'b in {"x", "y"}',
    'a not in {"x"}',
    'c starts with "x"',
  );
  const { tree } = fc.letrec<{ tree: string }>((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.tuple(tie('tree'), tie('tree')).map(([left, right]) => `(${left} && ${right})`),
      fc.tuple(tie('tree'), tie('tree')).map(([left, right]) => `(${left} || ${right})`),
      tie('tree').map((inner) => `!(${inner})`),
    ),
  }));

  test('every choice makes the selector true', () => {
    fc.assert(
      fc.property(tree, (text) => {
        const selector = parseSelector(text);
        for (const { labels, absent } of labelsThatMatch([selector.root])) {
          expect([text, selector.matches(labels)]).toEqual([text, true]);
          for (const key of absent) expect(labels.has(key)).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });
});
