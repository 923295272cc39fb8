/** Service addresses (semantics 6.9): pod policy sees the backend, preDNAT and doNotTrack policy the address as it was sent. */
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';

const CLUSTER = `
apiVersion: v1
kind: Namespace
metadata: {name: app}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.1.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: app, labels: {app: db}}
spec: {nodeName: n1, serviceAccountName: default, containers: [{name: c, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.5}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: app}
spec: {clusterIP: 10.96.0.9, externalIPs: [203.0.113.80], ports: [{port: 5432, targetPort: 6432, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: app, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.5]}]
ports: [{port: 6432, protocol: TCP}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: app}
spec:
  selector: app == 'db'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [6432]}}]
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: eth0, labels: {host: n1}}
spec: {node: n1, interfaceName: eth0}
`;

function tablesWith(policy: string): Tables {
  const { resources, errors } = loadResources([{ name: 'c.yaml', text: `${CLUSTER}---\n${policy}` }]);
  expect(errors).toEqual([]);
  return openTables(compile(resources));
}

function preDnat(net: string, port: number): Tables {
  return tablesWith(`
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: edge}
spec:
  selector: has(host)
  preDNAT: true
  applyOnForward: true
  types: [Ingress]
  ingress: [{action: Deny, protocol: TCP, destination: {nets: [${net}], ports: [${port}]}}]
`);
}

const FROM_OUTSIDE = { src: '198.51.100.7', dst: '203.0.113.80', dst_port: 5432 } as const;

describe('a packet to a service address', () => {
  test('is judged by pod policy as one to its backend and target port', () => {
    const record = evaluateFlow(preDnat('192.0.2.0/24', 1), FROM_OUTSIDE);
    expect(record.action).toBe('allow');
    expect(record.ingress?.trace).toEqual(['0|default|np:app/db|allow|0']);
    expect(evaluateFlow(preDnat('192.0.2.0/24', 1), { ...FROM_OUTSIDE, dst: '10.1.0.5' }).action).toBe('deny');
  });

  test('is judged by preDNAT policy as it was sent', () => {
    expect(evaluateFlow(preDnat('203.0.113.80/32', 5432), FROM_OUTSIDE)).toMatchObject({
      action: 'deny',
      direction: 'prednat',
    });
    expect(evaluateFlow(preDnat('10.1.0.5/32', 6432), FROM_OUTSIDE).action).toBe('allow');
    expect(evaluateFlow(preDnat('203.0.113.80/32', 6432), FROM_OUTSIDE).action).toBe('allow');
  });
});
