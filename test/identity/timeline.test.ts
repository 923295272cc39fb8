/**
 * Addresses that change their owner: tables with a timeline against tables compiled for each moment alone.
 *
 * Addresses, pods and labels come from tiny pools, so that reuse, two owners at once, gaps and spans without bounds are the common case.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { packPlan, packTimedPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { overlayIdentities, podsAt } from '../../src/identity/overlay.ts';
import { type IdentityRecord, parseRecord } from '../../src/identity/record.ts';
import { loadResources } from '../../src/load/load.ts';
import type { Resources } from '../../src/model/resources.ts';
import { OwnerTimeline } from '../../src/tables/live.ts';
import { openTables } from '../../src/tables/tables.ts';

const POLICIES = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop, labels: {team: front}}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.0.0.0/29, 'fd00::/125']}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == "db"
  types: [Ingress, Egress]
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [web]}}, destination: {ports: [5432]}}
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {selector: team == "ops"}}, destination: {ports: [metrics]}}
  egress:
  - {action: Deny, destination: {nets: [10.0.0.2/32]}}
  - {action: Allow}
`;

function recordsOf(lines: readonly object[]): IdentityRecord[] {
  return lines.map((line, i) => {
    const parsed = parseRecord(line, { file: 'ids.jsonl', line: i + 1 });
    if ('refused' in parsed) throw new Error(parsed.refused);
    return parsed.value;
  });
}

function clusterOf(records: readonly IdentityRecord[]): Resources {
  const set = { records, accounts: new Map(), namespaces: new Map(), isWhole: false };
  return loadResources([{ name: 'policies.yaml', text: POLICIES }], {
    amend: (resources) => overlayIdentities(resources, set).resources,
  }).resources;
}

const PODS = [
  { pod: 'web-0', uid: 'u1', service_account: 'web', labels: { app: 'web' } },
  { pod: 'web-0', uid: 'u2', service_account: 'web', labels: { app: 'web' } },
  {
    pod: 'db-0',
    uid: 'u3',
    service_account: 'db',
    labels: { app: 'db' },
    ports: [{ name: 'metrics', protocol: 'TCP', port: 9187 }],
  },
  { pod: 'ops-0', uid: 'u4', service_account: 'web', service_account_labels: { team: 'ops' }, labels: { app: 'ops' } },
  {
    pod: 'odd-0',
    uid: 'u5',
    service_account: 'db',
    labels: { app: 'odd' },
    annotations: { 'cni.projectcalico.org/allowedSourcePrefixes': '["10.9.0.0/16"]' },
  },
].map((pod) => ({ namespace: 'shop', node: 'node-1', ...pod }));
const IPS = ['10.0.0.1', '10.0.0.2', '10.0.1.9', 'fd00::1', 'fd01::1'];

const timeText = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 10, minute)).toISOString();
const minuteMs = (minute: number): number => Date.UTC(2026, 0, 1, 10, minute);

const arbLine = fc
  .record({
    pod: fc.constantFrom(...PODS),
    ip: fc.constantFrom(...IPS),
    from: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined }),
    length: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
  })
  .map(({ pod, ip, from, length }) => ({
    ...pod,
    ip,
    ...(from === undefined ? {} : { from: timeText(from) }),
    ...(length === undefined ? {} : { to: timeText((from ?? 0) + length) }),
  }));

function flows(): { src: string; dst: string; dst_port: number }[] {
  return IPS.flatMap((src) =>
    [...IPS, '192.0.2.1'].flatMap((dst) =>
      src.includes(':') === dst.includes(':') ? [5432, 9187].map((dst_port) => ({ src, dst, dst_port })) : [],
    ),
  );
}

describe('a timeline', () => {
  test('gives at every moment, forwards and backwards, the answers of tables compiled for it', () => {
    fc.assert(
      fc.property(
        fc.array(arbLine, { maxLength: 6 }),
        fc.array(fc.integer({ min: -2, max: 14 }), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (lines, minutes, needsIdentity) => {
          const resources = clusterOf(recordsOf(lines));
          const { buffer, timeline } = packTimedPlan(planCluster(resources), { needsIdentity });
          const tables = openTables(buffer);
          const player = timeline === undefined ? undefined : new OwnerTimeline(tables, timeline);
          for (const half of minutes) {
            const ms = minuteMs(0) + half * 30_000;
            player?.moveTo(ms, () => {});
            const then = { ...resources, pods: podsAt(resources.pods, ms) };
            const alone = openTables(packPlan(planCluster(then), { needsIdentity }));
            for (const flow of flows())
              expect(evaluateFlow(tables, flow), `${JSON.stringify(flow)} at ${half}`).toEqual(
                evaluateFlow(alone, flow),
              );
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test('of bounds at one moment is one change, and the moment itself belongs to the new owner', () => {
    const resources = clusterOf(
      recordsOf([
        { ...PODS[0], ip: '10.0.0.1', to: timeText(1) },
        { ...PODS[2], ip: '10.0.0.1', from: timeText(1) },
      ]),
    );
    const { buffer, timeline } = packTimedPlan(planCluster(resources));
    expect(timeline!.times).toEqual(Float64Array.of(minuteMs(1)));
    const tables = openTables(buffer);
    const player = new OwnerTimeline(tables, timeline!);
    const owner = () => evaluateFlow(tables, { src: '10.0.0.1', dst: '192.0.2.1', dst_port: 1 }).source_name;
    player.moveTo(minuteMs(1) - 0.001, () => {});
    expect(owner()).toBe('web-0');
    player.moveTo(minuteMs(1), () => {});
    expect(owner()).toBe('db-0');
  });

  test('is none where manifests alone speak, and the bytes are those of a plain compile', () => {
    const resources = clusterOf(recordsOf([{ ...PODS[0], ip: '10.0.0.1' }]));
    const { buffer, timeline } = packTimedPlan(planCluster(resources));
    expect(timeline).toBeUndefined();
    expect(new Uint8Array(buffer)).toEqual(new Uint8Array(packPlan(planCluster(resources))));
  });
});
