/**
 * `explain` says why, the tables say what: on all worlds of the conformance folder both must end at the same rule (explain
 * asserts it), each rule must match exactly if all its parts hold, and the changes that it proposes must do what they promise.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { evaluateFlow } from '../../src/analyze/evaluate-flow.ts';
import { type Explanation, explainFlow } from '../../src/analyze/explain.ts';
import type { Change } from '../../src/analyze/explain-change.ts';
import { explanationLines, wrapLines } from '../../src/analyze/explain-text.ts';
import { packPlan } from '../../src/compile/pack.ts';
import { planCluster } from '../../src/compile/plan-cluster.ts';
import { formatProblem, loadResources } from '../../src/load/load.ts';
import type { Flow } from '../../src/model/flow.ts';
import { openTables } from '../../src/tables/tables.ts';

interface ManifestRule {
  action?: string;
  source?: { serviceAccounts?: { names?: string[] }; nets?: string[]; ports?: number[] };
  destination?: { serviceAccounts?: { names?: string[] }; nets?: string[]; ports?: number[] };
}

interface Manifest {
  apiVersion?: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  spec?: { ingress?: ManifestRule[]; egress?: ManifestRule[]; [setting: string]: unknown };
}

function open(manifests: readonly Manifest[]) {
  const { resources, errors } = loadResources(manifests.map((manifest) => JSON.stringify(manifest)));
  expect(errors.map(formatProblem)).toEqual([]);
  const plan = planCluster(resources);
  const tables = openTables(packPlan(plan));
  return {
    explain: (flow: Flow) => explainFlow(resources, plan, tables, flow),
    evaluate: (flow: Flow) => evaluateFlow(tables, flow),
  };
}

function readManifests(path: string): Manifest[] {
  return parseAllDocuments(readFileSync(path, 'utf8')).map((document) => document.toJS());
}

function readWorld(folder: string): { manifests: Manifest[]; flows: Flow[] } {
  const manifests = readManifests(`${folder}/cluster.yaml`);
  const lines = readFileSync(`${folder}/flows.jsonl`, 'utf8').trimEnd().split('\n');
  return { manifests, flows: lines.map((line) => JSON.parse(line)) };
}

const worlds = (kind: string): string[] =>
  readdirSync(`test/conformance/${kind}`).map((name) => `test/conformance/${kind}/${name}`);

describe.each(['basic', 'worlds', 'hosts'])('on conformance/%s', (kind) => {
  test('every flow is explained to the rule where the tables end', () => {
    let count = 0;
    for (const folder of worlds(kind)) {
      const { manifests, flows } = readWorld(folder);
      const { explain } = open(manifests);
      for (const flow of flows.filter((_, i) => i % 3 === 0)) {
        const explanation = explain(flow);
        expect(partsFit(explanation), `${folder} ${JSON.stringify(flow)}`).toBe(true);
        expect(explanationLines(explanation)[0]).toMatch(/ is (allowed|denied|not policed)| has no certain verdict/);
        count++;
      }
    }
    expect(count).toBeGreaterThan(300);
  });
});

/** A rule matches if and only if every part of it holds. */
function partsFit({ checks }: Explanation): boolean {
  const rules = checks.flatMap(({ tiers, profiles }) => [
    ...tiers.flatMap(({ policies }) => policies.flatMap((policy) => policy.rules)),
    ...profiles.flatMap((profile) => profile.rules),
  ]);
  return rules.every(({ outcome, parts }) => {
    if (outcome === 'not-reached') return parts.length === 0;
    return parts.every(({ holds }) => holds) === (outcome !== 'does-not-match');
  });
}

describe('proposed changes', () => {
  const lessons = ['sa-names', 'sa-labels', 'sa-selector', 'tiers'].map((name) => {
    const manifests = [...readManifests(`pcaps/${name}/cluster.yaml`), ...readManifests(`pcaps/${name}/policies.yaml`)];
    const records = readFileSync(`pcaps/${name}/expected.jsonl`, 'utf8').trimEnd().split('\n');
    const flows = records.map((line): Flow => {
      const { source_ip, dest_ip, proto, source_port, dest_port, icmp_type, icmp_code } = JSON.parse(line);
      return {
        src: source_ip,
        dst: dest_ip,
        protocol: proto,
        src_port: source_port,
        dst_port: dest_port,
        icmp_type,
        icmp_code,
      };
    });
    return [`pcaps/${name}`, { manifests, flows }] as const;
  });
  const small = worlds('basic').map((folder) => {
    const { manifests, flows } = readWorld(folder);
    return [folder, { manifests, flows: flows.filter((_, i) => i % 24 === 0) }] as const;
  });

  test('do what they promise, when made', () => {
    const kinds = new Map<string, number>();
    for (const [folder, { manifests, flows }] of [...lessons, ...small]) {
      const { explain } = open(manifests);
      for (const flow of flows) {
        for (const change of explain(flow).changes) {
          const changed = apply(change, manifests);
          const note = `${folder} ${JSON.stringify(flow)}: ${change.text}`;
          // Another policy may look at a label that a change gives; such changes name only what a rule asks for.
          const isLabel = change.text.startsWith('give ');
          const { action, reason } = open(changed).evaluate(flow);
          if (change.text.startsWith('set ')) expect(reason ?? '', note).not.toMatch(/^(vxlan|ipip)$/);
          else if (!isLabel) expect(action, note).toBe(change.but === undefined ? change.to : 'deny');
          const kind = change.text.split(' ').slice(0, 2).join(' ');
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        }
      }
    }
    // All kinds of proposals occurred, or this test would show nothing.
    for (const kind of ['add a', 'change the', 'take out', 'no policy', 'give ServiceAccount'])
      expect(kinds.get(kind), kind).toBeGreaterThan(0);
  });
});

/** The manifests with the change made. */
function apply(change: Change, manifests: readonly Manifest[]): Manifest[] {
  const copy = structuredClone(manifests) as Manifest[];
  const { text, yaml } = change;
  if (text.startsWith('no policy decides')) return [...copy, { ...parse(yaml!) }];
  const rule = /rule (\d+) of ([\w:./-]*\w)/.exec(text);
  const words = text.split(' ');
  if (text.startsWith('take out rule')) {
    const { spec } = policyOf(copy, rule![2]!);
    spec[change.direction]!.splice(Number(rule![1]), 1);
  } else if (text.startsWith('add a rule')) {
    const [, direction, id] = /spec\.(\w+) in ([\w:./-]+)/.exec(text) as unknown as [
      string,
      'ingress' | 'egress',
      string,
    ];
    const before = /before rule (\d+)/.exec(text)?.[1];
    const { spec } = policyOf(copy, id);
    const list = spec[direction] ?? [];
    spec[direction] = list;
    list.splice(before === undefined ? list.length : Number(before), 0, ...(parse(yaml!) as ManifestRule[]));
  } else if (text.startsWith('change the action')) {
    policyOf(copy, rule![2]!).spec[change.direction]![Number(rule![1])]!.action = 'Deny';
  } else if (/^add .* to (source|destination)\./.test(text)) {
    const [side, field] = words[3]!.split('.') as ['source' | 'destination', 'serviceAccounts' | 'nets' | 'ports'];
    const target = policyOf(copy, rule![2]!).spec[change.direction]![Number(rule![1])]![side]!;
    if (field === 'serviceAccounts') target.serviceAccounts!.names!.push(words[1]!);
    else if (field === 'nets') target.nets!.push(words[1]!);
    else target.ports!.push(Number(words[1]));
  } else if (text.startsWith('set ')) {
    const setting = words[1]!.replace(':', '');
    const metadata = { name: 'default' };
    copy.push({ apiVersion: 'projectcalico.org/v3', kind: 'FelixConfiguration', metadata, spec: { [setting]: true } });
  } else {
    expect(text).toMatch(/^give (ServiceAccount|pod|network set) /);
  }
  return copy;
}

function policyOf(manifests: readonly Manifest[], id: string) {
  const [kind, path] = [id.slice(0, id.indexOf(':')), id.slice(id.indexOf(':') + 1)];
  const found = manifests.find(({ kind: name, metadata }) =>
    kind === 'np'
      ? name === 'NetworkPolicy' && `${metadata.namespace}/${metadata.name}` === path
      : name === 'GlobalNetworkPolicy' && metadata.name === path,
  );
  return found as Manifest & { spec: NonNullable<Manifest['spec']> };
}

describe('in words', () => {
  const load = (name: string) =>
    open([...readManifests(`pcaps/${name}/cluster.yaml`), ...readManifests(`pcaps/${name}/policies.yaml`)]);

  test.each<[string, string, Flow, RegExp]>([
    [
      'an account that is not listed',
      'sa-names',
      { src: '10.244.1.11', dst: '10.244.2.10', dst_port: 5432 },
      /the service account of prod-engineering\/web-0 is web, not api-service or user-auth-service/,
    ],
    [
      'the right account of another namespace',
      'sa-names',
      { src: '10.244.2.20', dst: '10.244.2.10', dst_port: 5432 },
      /the namespace of staging\/api-0 is staging, not prod-engineering/,
    ],
    [
      'an address outside',
      'sa-names',
      { src: '203.0.113.50', dst: '10.244.2.10', dst_port: 5432 },
      /203\.0\.113\.50 belongs to no pod, host endpoint or network set/,
    ],
    [
      "a pod's label for its account's",
      'sa-labels',
      { src: '10.244.2.11', dst: '10.244.1.10', dst_port: 5432 },
      /the label app of service account reports is reports, not web-frontend \(the pod's own label app=web-frontend does not count here\)/,
    ],
    [
      'a node and its own pod',
      'sa-names',
      { src: '192.168.56.12', dst: '10.244.2.10', dst_port: 5432 },
      /Calico never polices what a node sends to its own pods/,
    ],
    [
      'VXLAN from a pod',
      'sa-names',
      { src: '10.244.1.11', dst: '10.244.2.10', protocol: 'udp', dst_port: 4789 },
      /a pod may not send VXLAN packets/,
    ],
    [
      'a pass',
      'tiers',
      { src: '10.244.1.11', dst: '10.244.2.10', dst_port: 8080 },
      /Passed: the rest of the tier is skipped/,
    ],
  ])('%s', (_what, name, flow, words) => {
    expect(explanationLines(load(name).explain(flow)).join('\n')).toMatch(words);
  });

  test('lines are broken between words, and YAML is left alone', () => {
    const lines = ['  a bb ccc dddd', '       - yaml: too long to fit', 'x'.repeat(20)];
    expect(wrapLines(lines, 10)).toEqual([
      '  a bb ccc',
      '      dddd',
      '       - yaml: too long to fit',
      'x'.repeat(20),
    ]);
  });
});
