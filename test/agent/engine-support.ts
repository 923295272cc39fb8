/** Engines for tests: a small cluster, options with defaults, and events that are kept. */
import { expect } from 'vitest';
import type { Accounting, Finding, SourceStatus } from '../../src/agent/api.ts';
import { LocalHost } from '../../src/agent/child-host.ts';
import type { CaptureEngine, EngineEvents, EngineOptions, FlowUpdate, RuleHits } from '../../src/agent/engine.ts';
import type { EngineTuning } from '../../src/agent/supervised-child.ts';
import { createEngine } from '../../src/agent/supervisor.ts';
import { parseAddress } from '../../src/base/ip.ts';
import { compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';

const POD = (name: string, ip: string, node: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}
spec: {nodeName: ${node}, serviceAccountName: ${name}, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: ${ip}, podIPs: [{ip: ${ip}}]}
---`;

/** `web` 10.0.0.1 and `db` 10.0.0.2 on two nodes; the ingress rules of `db` are `rules`. */
export function cluster(rules: string): SharedArrayBuffer {
  const text = `${POD('web', '10.0.0.1', 'n1')}${POD('db', '10.0.0.2', 'n2')}
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {selector: app == "db", types: [Ingress], ingress: [${rules}]}
`;
  const { resources, errors } = loadResources([{ name: 'cluster.yaml', text }]);
  expect(errors).toEqual([]);
  return compile(resources);
}

export const ALLOWS = '{action: Allow}';
export const DENIES = '';
export const ALLOWS_80 = '{action: Allow, protocol: TCP, destination: {ports: [80]}}';

export function word(text: string): number {
  return parseAddress(text)!.words[0];
}

/** Everything that an engine told. */
export class Told implements EngineEvents {
  readonly flows = new Map<string, FlowUpdate>();
  readonly hits: RuleHits[] = [];
  readonly findings: Finding[] = [];
  readonly logs: string[] = [];
  sources: readonly SourceStatus[] = [];
  updates = 0;
  hasEnded = false;

  onFlows(updates: readonly FlowUpdate[]): void {
    this.updates += updates.length;
    for (const update of updates) this.flows.set(update.id, update);
  }

  onRuleHits(hits: RuleHits): void {
    this.hits.push(hits);
  }

  onFinding(finding: Finding): void {
    this.findings.push(finding);
  }

  onSources(sources: readonly SourceStatus[]): void {
    this.sources = sources;
  }

  onLog(level: string, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.logs.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`);
  }

  onEnd(): void {
    this.hasEnded = true;
  }
}

export const OPTIONS: EngineOptions = {
  sources: [],
  filter: '',
  snapBytes: 256,
  ringBytes: 4 * 1024 * 1024,
  captureBytes: 64 * 1024 * 1024,
  splits: 1,
  flowEntries: 4096,
  conntrackEntries: 65_536,
  capturePoint: 'unknown',
  isDeduplicating: undefined,
  findingsBytes: 1024 * 1024,
};

export async function start(
  options: Partial<EngineOptions>,
  tuning: Partial<EngineTuning> = {},
  prefix: readonly string[] = [],
): Promise<{ engine: CaptureEngine; told: Told }> {
  const told = new Told();
  const engine = await createEngine(
    { ...OPTIONS, ...options },
    told,
    { reportMs: 50, ...tuning },
    new LocalHost(prefix),
  );
  return { engine, told };
}

/** Waits until `isTrue`, asked every 10 ms, and says `what` did not happen if that takes too long. */
export async function until(what: string, isTrue: () => boolean, limitMs = 30_000): Promise<void> {
  const start = performance.now();
  while (!isTrue()) {
    if (performance.now() - start > limitMs) throw new Error(`did not happen within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The invariant, exactly. */
export function expectSound(accounting: Accounting): void {
  const { seen, judged, duplicate, undecoded, lost, allow, deny, unpoliced, uncertain } = accounting;
  expect(judged + duplicate + undecoded + lost).toBe(seen);
  expect(allow + deny + unpoliced + uncertain).toBe(judged);
  const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);
  expect(sum(accounting.undecodedByReason)).toBe(undecoded);
  expect(sum(accounting.lostByReason)).toBe(lost);
}
