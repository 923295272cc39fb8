/** A table as a cluster at once, against the long way by records: the same plan. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { entriesOf } from '../../src/identity/entries.ts';
import { overlayTable } from '../../src/identity/of-table.ts';
import { overlayObjects } from '../../src/identity/overlay.ts';
import { IdentityTable } from '../../src/identity/table.ts';
import { loadResources } from '../../src/load/load.ts';
import { recordOf } from './support/cluster.ts';

const OBJECTS = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24, 'fd00::/64']}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a, namespace: shop, labels: {team: manifest}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: manifest}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: p}
spec:
  selector: app == "x"
  serviceAccountSelector: team == "store"
  namespaceSelector: has(env)
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [a]}}, destination: {ports: [http]}}
  - {action: Deny, source: {namespaceSelector: env == "store"}}
`;

const arbPod = fc.record({
  ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', '192.168.0.1'),
  namespace: fc.constantFrom('shop', 'other'),
  pod: fc.constantFrom('p1', 'p2', 'p3'),
  uid: fc.constantFrom('u1', 'u2', 'u3', 'u4'),
  service_account: fc.constantFrom('a', 'b', ''),
  node: fc.constantFrom('n1', 'n2', ''),
  labels: fc.constantFrom({}, { app: 'x' }, { app: 'y', z: '1' }),
  ports: fc.constantFrom([], [{ name: 'http', protocol: 'TCP', port: 80 }]),
});

test('is the cluster that its records make', () => {
  const { resources, errors } = loadResources([{ name: 'objects.yaml', text: OBJECTS }]);
  expect(errors).toEqual([]);
  fc.assert(
    fc.property(fc.array(arbPod, { maxLength: 8 }), fc.constantFrom('store', 'manifest'), (pods, team) => {
      const table = new IdentityTable();
      // As a publisher writes them: one pod a uid.
      const byUid = new Map(pods.map((each) => [each.uid, each]));
      const records = pods.map(({ ip, uid }) => recordOf({ ...byUid.get(uid)!, ip }));
      const accounts = new Map([
        ['shop/a', new Map([['team', team]])],
        ['other/b', new Map([['team', 'store']])],
      ]);
      const namespaces = new Map([['other', new Map([['env', 'store']])]]);
      for (const [name, { value }] of entriesOf({ records, accounts, namespaces, isWhole: false }, 0)) {
        const [kind, ...key] = name.split(' ');
        table.apply({ op: 'set', kind: kind as 'ep', key: key[0]!, value });
      }
      // Where an account was told of is not the same place; all else is.
      const plan = (cluster: typeof resources): unknown =>
        JSON.parse(JSON.stringify(planCluster(cluster), (key, value) => (key === 'origin' ? undefined : value)));
      expect(plan(overlayTable(resources, table))).toEqual(plan(overlayObjects(resources, table.toSet('(redis)'))));
    }),
    { numRuns: 150 },
  );
});
