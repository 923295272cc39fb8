import { describe, expect, test } from 'vitest';
import { calicoObject, errorsOf, load, policy, warningsOf } from './support.ts';

function bare(apiVersion: string, kind: string): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name: 'x' } });
}

describe('kinds that are not loaded', () => {
  test('are counted', () => {
    const texts = [
      bare('v1', 'Secret'),
      bare('v1', 'ConfigMap'),
      bare('v1', 'Secret'),
      bare('example.com/v1', 'Role'),
      bare('projectcalico.org/v3', 'IPPool'),
    ];
    expect(load(texts.join('\n'))).toMatchObject({
      errors: [],
      warnings: [],
      ignored: [
        { apiVersion: 'v1', kind: 'Secret', count: 2 },
        { apiVersion: 'v1', kind: 'ConfigMap', count: 1 },
        { apiVersion: 'example.com/v1', kind: 'Role', count: 1 },
        { apiVersion: 'projectcalico.org/v3', kind: 'IPPool', count: 1 },
      ],
    });
  });

  test.each([
    ['v1', 'Pods', "unknown kind of v1; did you mean 'Pod'?"],
    ['v1', 'pod', "unknown kind of v1; did you mean 'Pod'?"],
    ['projectcalico.org/v3', 'NetworkPolcy', "unknown kind of projectcalico.org/v3; did you mean 'NetworkPolicy'?"],
    [
      'projectcalico.org/v3',
      'GlobalNetworkSets',
      "unknown kind of projectcalico.org/v3; did you mean 'GlobalNetworkSet'?",
    ],
    [
      'projectcalico.org/v2',
      'Tier',
      'Tier of projectcalico.org/v2 is not served; use apiVersion: projectcalico.org/v3',
    ],
    [
      'crd.projectcalico.org/v3',
      'Tier',
      'Tier of crd.projectcalico.org/v3 is not served; use apiVersion: crd.projectcalico.org/v1',
    ],
    [
      'networking.k8s.io/v1beta1',
      'NetworkPolicy',
      'NetworkPolicy of networking.k8s.io/v1beta1 is not served; use apiVersion: networking.k8s.io/v1',
    ],
    [
      'extensions/v1beta1',
      'NetworkPolicy',
      'NetworkPolicy of extensions/v1beta1 is not served; use apiVersion: networking.k8s.io/v1',
    ],
    [
      'policy.networking.k8s.io/v1beta1',
      'ClusterNetworkPolicy',
      'ClusterNetworkPolicy of policy.networking.k8s.io/v1beta1 is not served; use apiVersion: policy.networking.k8s.io/v1alpha2',
    ],
    ['apps/v1beta1', 'Deployment', 'Deployment of apps/v1beta1 is not served; use apiVersion: apps/v1'],
  ])('%s %s is meant to be one that is', (apiVersion, kind, message) => {
    expect(errorsOf(bare(apiVersion, kind))).toEqual([`t.yaml:1: ${kind} x: kind: ${message}`]);
  });

  test.each([
    ['v1', 'Node'],
    ['extensions/v1beta1', 'Ingress'],
    ['networking.k8s.io/v1', 'Ingress'],
    ['example.com/v1', 'Pod'],
    ['example.com/v1', 'NetworkPolicy'],
    ['apps/v1', 'ControllerRevision'],
  ])('%s %s is not', (apiVersion, kind) => {
    expect(errorsOf(bare(apiVersion, kind))).toEqual([]);
  });

  test.each(['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'])('%s is policy that Calico does not read', (kind) => {
    const text = bare('policy.networking.k8s.io/v1alpha1', kind);
    expect(warningsOf(text)).toEqual([
      `t.yaml:1: ${kind} x: kind: Calico does not read this kind, so the policy has no effect; use ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2`,
    ]);
    expect(load(text).ignored).toHaveLength(1);
  });
});

describe('unknown fields', () => {
  const text = policy({ ingress: [{ action: 'Allow', source: { serviceAcounts: { names: ['a'] }, 'x y': 1 } }] });
  const typo = "t.yaml:1: NetworkPolicy app/p: spec.ingress[0].source.serviceAcounts: unknown field 'serviceAcounts'";
  const other = 't.yaml:1: NetworkPolicy app/p: spec.ingress[0].source["x y"]: unknown field \'x y\'';

  test('are warnings, and the object is loaded', () => {
    expect(warningsOf(text)).toEqual([
      `${typo}, and it is ignored; did you mean 'serviceAccounts'?`,
      `${other}, and it is ignored; remove it, or correct its name or indentation`,
    ]);
    expect(load(text).resources.policies).toHaveLength(1);
  });

  test('are errors in a strict load', () => {
    expect(errorsOf(text, { strict: true })).toEqual([
      `${typo}; did you mean 'serviceAccounts'?`,
      `${other}; remove it, or correct its name or indentation`,
    ]);
  });

  test.each([
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: p, label: {a: b}}', "did you mean 'labels'?"],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodename: x}', "did you mean 'nodeName'?"],
    [
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: p}\nlabels: {}',
      'remove it, or correct its name or indentation',
    ],
    [
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {ingress: [{to: []}]}',
      'remove it, or correct its name or indentation',
    ],
  ])('%s', (yaml, fix) => {
    const [line] = warningsOf(yaml);
    expect(line?.endsWith(fix), line).toBe(true);
  });

  test('fields without a part in a verdict are known', () => {
    const yaml = `apiVersion: v1
kind: Pod
metadata: {name: p, creationTimestamp: null, managedFields: [{manager: x}], ownerReferences: []}
spec: {containers: [{name: c, image: i, env: [{name: A, value: b}]}], tolerations: [], volumes: [{name: v, emptyDir: {}}]}
status: {podIP: 10.0.0.1, qosClass: Burstable, whatever: [1]}`;
    expect(warningsOf(yaml)).toEqual([]);
  });
});

describe('objects as Calico stores them', () => {
  const stored = (kind: string, name: string, annotation: string | undefined, metadata: object = {}): string =>
    JSON.stringify({
      apiVersion: 'crd.projectcalico.org/v1',
      kind,
      metadata: {
        name,
        annotations: annotation === undefined ? {} : { 'projectcalico.org/metadata': annotation, own: '1' },
        ...metadata,
      },
      spec: {},
    });

  test('labels and annotations lie in an annotation', () => {
    const annotation = JSON.stringify({
      labels: { a: 'stored', b: 'x' },
      annotations: { own: '2' },
      creationTimestamp: null,
    });
    const text = stored('GlobalNetworkSet', 's', annotation, { labels: { a: 'outer', c: 'y' } });
    const { meta } = load(text).resources.networkSets[0]!;
    expect([...meta.labels].sort()).toEqual([
      ['a', 'stored'],
      ['b', 'x'],
      ['c', 'y'],
    ]);
    expect([...meta.annotations]).toEqual([['own', '2']]);
  });

  test('without that annotation they are as they are', () => {
    const { resources, errors } = load(stored('GlobalNetworkSet', 's', undefined, { labels: { a: 'b' } }));
    expect(errors).toEqual([]);
    expect([...resources.networkSets[0]!.meta.labels]).toEqual([['a', 'b']]);
  });

  test('the dataplane knows a policy by the name of the stored object', () => {
    const text = stored('GlobalNetworkPolicy', 'default.web', JSON.stringify({ name: 'web' }));
    expect(load(text).resources.policies[0]!.meta.name).toBe('default.web');
  });

  test.each(['{', '[]', '"x"'])('an annotation that Calico cannot read: %s', (annotation) => {
    expect(errorsOf(stored('GlobalNetworkSet', 's', annotation))).toEqual([
      't.yaml:1: GlobalNetworkSet s: metadata.annotations["projectcalico.org/metadata"]: not the JSON that Calico writes, and Calico cannot read the object; remove the annotation',
    ]);
  });

  test('in the v3 API the annotation means nothing', () => {
    const text = stored('GlobalNetworkSet', 's', '{"labels":{"a":"b"}}').replace(
      'crd.projectcalico.org/v1',
      'projectcalico.org/v3',
    );
    expect(load(text).resources.networkSets[0]!.meta.labels.size).toBe(0);
  });

  test('both groups hold the same objects', () => {
    expect(errorsOf(`${stored('GlobalNetworkSet', 'x', undefined)}\n${calicoObject('GlobalNetworkSet', {})}`)).toEqual([
      't.yaml:2: GlobalNetworkSet x: the same object is already at t.yaml:1; keep one of the two',
    ]);
  });
});
