import { describe, expect, test } from 'vitest';
import { load, warningsOf } from './support.ts';

interface WorkloadFields {
  readonly name?: string;
  readonly spec?: object;
  readonly template?: object;
  readonly owner?: object;
}

function workload(kind: string, { name = 'web', spec = {}, template = {}, owner }: WorkloadFields = {}): string {
  const apiVersion = kind.endsWith('Job') ? 'batch/v1' : 'apps/v1';
  const metadata = { name, namespace: 'a', ...(owner === undefined ? {} : { ownerReferences: [owner] }) };
  const podSpec = { metadata: { labels: { app: name } }, ...template };
  const inner = { ...spec, template: podSpec };
  return JSON.stringify({
    apiVersion,
    kind,
    metadata,
    spec: kind === 'CronJob' ? { schedule: '* * * * *', jobTemplate: { spec: inner } } : inner,
  });
}

const podsOf = (...texts: string[]) => load(texts.join('\n')).resources.pods;
const node = (name: string): string => JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

describe('workloads without pods', () => {
  test('get the pods they ask for, with addresses in the order of the input', () => {
    const pods = podsOf(workload('Deployment', { spec: { replicas: 2 } }), workload('StatefulSet', { name: 'db' }));
    expect(
      pods.map(({ meta, podIP, podIPs, nodeName, isSynthesised, phase }) => [
        meta.name,
        podIP,
        podIPs,
        nodeName,
        isSynthesised,
        phase,
      ]),
    ).toEqual([
      ['web-0', '198.18.0.1', ['198.18.0.1'], 'synthetic-node', true, 'Running'],
      ['web-1', '198.18.0.2', ['198.18.0.2'], 'synthetic-node', true, 'Running'],
      ['db-0', '198.18.0.3', ['198.18.0.3'], 'synthetic-node', true, 'Running'],
    ]);
    expect(pods.map(({ meta }) => meta.labels.get('app'))).toEqual(['web', 'web', 'db']);
    expect(pods.map(({ meta }) => meta.namespace)).toEqual(['a', 'a', 'a']);
  });

  test('are warned of', () => {
    const why = 'the input has no pods, so it is taken to run';
    const fix = 'add the pods (kubectl get pods -A -o json) to judge real addresses';
    expect(warningsOf(workload('Deployment', { spec: { replicas: 2 } }))).toEqual([
      `t.yaml:1: Deployment a/web: ${why} 2 pods, web-0 to web-1, with the made-up addresses 198.18.0.1 to 198.18.0.2; ${fix}`,
    ]);
    expect(warningsOf(workload('Deployment'))).toEqual([
      `t.yaml:1: Deployment a/web: ${why} pod web-0 with the made-up address 198.18.0.1; ${fix}`,
    ]);
    expect(warningsOf(workload('Deployment', { template: { spec: { hostNetwork: true } } }))).toEqual([
      `t.yaml:1: Deployment a/web: ${why} pod web-0 with the addresses of the node; ${fix}`,
    ]);
  });

  test('their template is that of the pods', () => {
    const template = {
      metadata: { labels: { x: 'y' }, annotations: { k: 'v' } },
      spec: {
        nodeName: 'fixed',
        serviceAccountName: 'sa',
        containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 80 }] }],
        initContainers: [{ name: 'i', ports: [{ name: 'init', containerPort: 81 }] }],
      },
    };
    const [pod] = podsOf(workload('Deployment', { template }), node('n1'));
    expect(pod).toMatchObject({
      nodeName: 'fixed',
      serviceAccountName: 'sa',
      containerPorts: [{ name: 'http', containerPort: 80, protocol: 'TCP' }],
      initContainerPorts: [{ name: 'init', containerPort: 81, protocol: 'TCP' }],
    });
    expect([...pod!.meta.labels]).toEqual([['x', 'y']]);
    expect([...pod!.meta.annotations]).toEqual([['k', 'v']]);
  });

  test.each([
    ['ReplicaSet', {}, 1],
    ['StatefulSet', { replicas: 3 }, 3],
    ['Deployment', { replicas: 0 }, 0],
    ['Job', {}, 1],
    ['Job', { parallelism: 2 }, 2],
    ['CronJob', { parallelism: 2 }, 2],
    ['CronJob', {}, 1],
    ['DaemonSet', {}, 1],
  ])('%s %j has %i', (kind, spec, count) => {
    expect(podsOf(workload(kind, { spec }))).toHaveLength(count);
  });

  test('nodes are taken in turn; a daemon set has a pod on each', () => {
    const nodes = [node('n1'), node('n2')];
    expect(podsOf(...nodes, workload('Deployment', { spec: { replicas: 3 } })).map(({ nodeName }) => nodeName)).toEqual(
      ['n1', 'n2', 'n1'],
    );
    expect(podsOf(...nodes, workload('DaemonSet')).map(({ nodeName }) => nodeName)).toEqual(['n1', 'n2']);
  });

  test('a replica set of a deployment in the input has no pods beside those of the deployment', () => {
    const owned = workload('ReplicaSet', { name: 'web-1a2b', owner: { kind: 'Deployment', name: 'web' } });
    expect(podsOf(workload('Deployment'), owned)).toHaveLength(1);
    expect(podsOf(owned)).toHaveLength(1);
  });

  test('more than the limit is an error', () => {
    const { errors } = load(workload('Deployment', { spec: { replicas: 100_001 } }));
    expect(errors).toMatchObject([
      { kind: 'Deployment', message: 'more than 100000 pods would have to be made for workloads' },
    ]);
  });

  test('the template is checked like a pod', () => {
    expect(load(workload('Deployment', { template: { spec: { nodeName: 1 } } })).errors).toMatchObject([
      { field: 'spec.template.spec.nodeName' },
    ]);
  });
});

test('with pods in the input, workloads are left alone', () => {
  const pod = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a"},"status":{"podIP":"10.0.0.1"}}';
  const text = `${workload('Deployment')}\n${pod}`;
  expect(load(text).resources.pods.map(({ meta }) => meta.name)).toEqual(['p']);
  expect(warningsOf(text)).toEqual([]);
  expect(load(text).ignored).toEqual([]);
});

test('an account of the template defaults like that of a pod', () => {
  expect(podsOf(workload('Deployment'))[0]!.serviceAccountName).toBe('default');
  expect(load(workload('Deployment'), { asIs: true }).resources.pods[0]!.serviceAccountName).toBe('');
});
