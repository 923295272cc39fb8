/** Tables that follow a store while they are in use: after every change they answer as tables compiled for that state. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { LiveOwners } from '../../src/analyze/live-owners.ts';
import { fullPrefix, parseAddress } from '../../src/base/ip.ts';
import { packPlan, packTimedPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { changesBetween, entriesOf } from '../../src/identity/entries.ts';
import { overlayIdentities } from '../../src/identity/overlay.ts';
import { IdentityTable } from '../../src/identity/table.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Resources } from '../../src/model/resources.ts';
import { openTables } from '../../src/tables/tables.ts';
import { recordOf } from './support/cluster.ts';

const POLICIES = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24, 'fd00::/64']}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == "db"
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [web]}}, destination: {ports: [5432]}}
  - {action: Deny, source: {nets: [10.0.0.0/30]}}
  - {action: Allow, protocol: UDP}
`;

const IPS = ['10.0.0.1', '10.0.0.2', '10.0.0.5', '10.0.0.6', 'fd00::1', 'fd00::2'];
const POOL = IPS.map((ip) => fullPrefix(parseAddress(ip)!));
/** One pod of each kind on each kind of address, so that everything that comes is like something that is there. */
const MODELS = [
  ['web', '10.0.0.1'],
  ['db', '10.0.0.2'],
  ['web', '10.0.0.5'],
  ['db', '10.0.0.6'],
  ['web', 'fd00::1'],
  ['db', 'fd00::2'],
] as const;

function line(kind: string, ip: string, name: string): object {
  return {
    ip,
    namespace: 'shop',
    pod: name,
    uid: `uid-${name}`,
    service_account: kind,
    node: 'n1',
    labels: { app: kind },
  };
}

function tableOf(lines: readonly object[]): IdentityTable {
  const table = new IdentityTable();
  const set = { records: lines.map(recordOf), accounts: new Map(), namespaces: new Map(), isWhole: true };
  for (const change of changesBetween(new Map(), entriesOf(set, 0))) table.apply(change);
  return table;
}

function resourcesOf(table: IdentityTable): Resources {
  return loadResources([{ name: 'p.yaml', text: POLICIES }], {
    amend: (all) => overlayIdentities(all, table.toSet('(redis)')).resources,
  }).resources;
}

function live(lines: readonly object[], spareEndpoints: number) {
  const table = tableOf(lines);
  const plan = planCluster(resourcesOf(table));
  const { buffer, live: data } = packTimedPlan(plan, { needsIdentity: true, live: { pool: POOL, spareEndpoints } });
  const tables = openTables(buffer);
  const owners = new LiveOwners(tables, data!, plan, table);
  /** Applies what leads from the table to `next`. */
  const become = (next: readonly object[]): void => {
    const wanted = tableOf(next);
    const entries = (of: IdentityTable) =>
      new Map(
        [...of.changes()].map((change) => [
          `${change.kind} ${change.key} ${change.kind === 'ep' ? change.value.slice(-12) : ''}`,
          change as never,
        ]),
      );
    for (const change of changesBetween(entries(table), entries(wanted))) {
      table.apply(change);
      owners.apply(change);
    }
  };
  return { table, tables, owners, become };
}

const FLOWS = IPS.flatMap((src) =>
  [...IPS, '192.0.2.1']
    .filter((dst) => dst.includes(':') === src.includes(':'))
    .flatMap((dst) => [
      { src, dst, dst_port: 5432 },
      { src, dst, dst_port: 53, protocol: 'udp' },
    ]),
);

describe('live tables', () => {
  test('answer after every change as tables compiled for it', () => {
    const arbState = fc.array(fc.constantFrom('web', 'db', ''), { minLength: IPS.length, maxLength: IPS.length });
    fc.assert(
      fc.property(fc.array(arbState, { minLength: 1, maxLength: 4 }), (states) => {
        const { table, tables, owners, become } = live(
          MODELS.map(([kind, ip], i) => line(kind, ip, `${kind}-${i}`)),
          40,
        );
        states.forEach((kinds, step) => {
          become(kinds.flatMap((kind, i) => (kind === '' ? [] : [line(kind, IPS[i]!, `${kind}-${i}-of-${step}`)])));
          const alone = openTables(packPlan(planCluster(resourcesOf(table)), { needsIdentity: true }));
          for (const flow of FLOWS)
            expect(evaluateFlow(tables, flow), JSON.stringify(flow)).toEqual(evaluateFlow(alone, flow));
        });
        expect(owners.isOutdated).toBe(false);
      }),
      { numRuns: 15 },
    );
  });

  const start = MODELS.map(([kind, ip], i) => line(kind, ip, `${kind}-${i}`));
  const flow = { src: '10.0.0.5', dst: '192.0.2.1', dst_port: 1 };

  test('know when they know nothing like it, and do not guess', () => {
    const { tables, owners, become } = live(start, 4);
    become([...start.filter((_, i) => i !== 2), { ...line('web', '10.0.0.5', 'new'), labels: { app: 'other' } }]);
    expect(owners.isOutdated).toBe(true);
    expect(evaluateFlow(tables, flow)).toMatchObject({ action: 'uncertain', reason: 'no-identity' });
  });

  test('are in doubt while two own an address, and no longer', () => {
    const { tables, owners, become } = live(start, 4);
    become([...start, line('web', '10.0.0.5', 'next')]);
    expect(evaluateFlow(tables, flow)).toMatchObject({ action: 'uncertain', reason: 'no-identity' });
    become([...start.filter((_, i) => i !== 2), line('web', '10.0.0.5', 'next')]);
    expect(evaluateFlow(tables, flow)).toMatchObject({ action: 'allow', source_name: 'next' });
    expect(owners.isOutdated).toBe(false);
  });

  test('ask for new ones when spares run out, labels change, or an address is of no pool', () => {
    const spent = live(start, 0);
    spent.become([...start.filter((_, i) => i !== 2), line('web', '10.0.0.5', 'new')]);
    expect(spent.owners.isOutdated).toBe(true);
    const changed = live(start, 4);
    changed.become([
      ...start.filter((_, i) => i !== 2),
      { ...line('web', '10.0.0.5', 'web-2'), labels: { app: 'db' } },
    ]);
    expect(changed.owners.isOutdated).toBe(true);
    const foreign = live(start, 4);
    foreign.become([...start, line('web', '10.9.9.9', 'far')]);
    expect(foreign.owners.isOutdated).toBe(true);
  });
});
