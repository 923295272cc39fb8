/**
 * `verify --report`: one page of HTML with the data inside.
 *
 * The page is built by itself (`dist/web/report.html`); its data element holds `null`, in whose place the JSON goes. Nothing in the JSON may
 * end the element: `<` is written as an escape, and so are the two line ends that scripts of old did not take. Memory is bounded by
 * the limits of the report: connections are kept while they are among the most important.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { explainFlow } from '../analyze/explain.ts';
import { explanationLines } from '../analyze/explain-text.ts';
import { decidingCheck, flowOfRecord } from '../analyze/read-record.ts';
import type { ReportConnection, ReportData, ReportEnd } from '../analyze/report-data.ts';
import type { VerifyResult } from '../analyze/verify.ts';
import type { VerifyRecord } from '../analyze/verify-record.ts';
import { CHECK_NAMES, type Dataplane } from '../model/flow.ts';
import {
  REPORT_CONNECTIONS_MAX,
  REPORT_EDGES_MAX,
  REPORT_EXPLANATIONS_MAX,
  REPORT_FINDINGS_MAX,
  REPORT_NODES_MAX,
} from '../model/limits.ts';
import type { Tables } from '../tables/tables.ts';
import { UsageError } from './exit.ts';
import type { Cluster } from './inputs.ts';
import { byWeight } from './verify-print.ts';
import { readVersion } from './version.ts';

const ELEMENT = '<script type="application/json" id="report-data">';
const MARKER = `${ELEMENT}null</script>`;

interface Kept {
  readonly id: number;
  readonly record: VerifyRecord;
}

/** Gathers what a report shows while connections are settled. */
export class ReportBuilder {
  readonly #template: string;
  readonly #findings: Kept[] = [];
  #others: Kept[] = [];
  #findingCount = 0;
  #otherCount = 0;

  /** Throws UsageError if the page is not built. */
  constructor() {
    this.#template = readTemplate();
  }

  add(record: VerifyRecord, id: number): void {
    if (record.finding === undefined) {
      this.#otherCount++;
      this.#others.push({ id, record });
      if (this.#others.length >= 2 * REPORT_CONNECTIONS_MAX) this.#others = first(this.#others, REPORT_CONNECTIONS_MAX);
      return;
    }
    this.#findingCount++;
    this.#findings.push({ id, record });
    if (this.#findings.length >= 2 * REPORT_FINDINGS_MAX) this.#cutFindings();
  }

  /** Writes the page. */
  write(
    path: string,
    result: VerifyResult,
    cluster: Cluster,
    tables: Tables,
    options: { readonly manifests: readonly string[]; readonly dataplane: Dataplane; readonly explains: boolean },
  ): void {
    this.#cutFindings();
    const files = new Map(result.captures.map(({ file }, index) => [file, index]));
    const findings = this.#findings.map(({ record, id }, rank) => ({
      ...connectionOf(record, id, files),
      ...(options.explains && rank < REPORT_EXPLANATIONS_MAX
        ? explained(record, cluster, tables, options.dataplane)
        : {}),
    }));
    const room = Math.max(0, REPORT_CONNECTIONS_MAX - findings.length);
    const others = first(this.#others, room).map(({ record, id }) => connectionOf(record, id, files));
    const data: ReportData = {
      version: 1,
      generated_at: new Date().toISOString(),
      margay: readVersion(),
      inputs: { manifests: options.manifests, captures: capturesOf(result) },
      totals: totalsOf(result),
      incomplete: result.incomplete,
      timeline: result.timeline,
      matrix: result.matrix,
      graph: result.graph(REPORT_NODES_MAX, REPORT_EDGES_MAX),
      findings: { items: findings, left_out: this.#findingCount - findings.length },
      connections: {
        items: [...findings.map(({ explanation: _, ...rest }: ReportConnection) => rest), ...others],
        left_out: this.#findingCount + this.#otherCount - findings.length - others.length,
      },
    };
    writeFileSync(path, pageOf(this.#template, data));
  }

  #cutFindings(): void {
    this.#findings.sort((a, b) => byWeight(a.record, b.record));
    this.#findings.length = Math.min(this.#findings.length, REPORT_FINDINGS_MAX);
  }
}

/** The page with `data` in it. */
export function pageOf(template: string, data: ReportData): string {
  const at = template.indexOf(MARKER);
  if (at < 0) throw new UsageError('the page of reports has no place for its data; build margay anew (npm run build)');
  const json = JSON.stringify(data)
    .replaceAll('<', '\\u003c')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
  return `${template.slice(0, at)}${ELEMENT}${json}${template.slice(at + ELEMENT.length + 'null'.length)}`;
}

function readTemplate(): string {
  // From the sources, from what tsc wrote and from the bundle, the package's root is two folders up.
  const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
  const path = join(root, 'dist', 'web', 'report.html');
  if (!existsSync(path)) throw new UsageError(`--report: ${path} is missing; build margay first (npm run build)`);
  return readFileSync(path, 'utf8');
}

function first(kept: readonly Kept[], count: number): Kept[] {
  return [...kept].sort((a, b) => a.id - b.id).slice(0, count);
}

function capturesOf({ captures }: VerifyResult): ReportData['inputs']['captures'] {
  return captures.map(({ file, point, packets, lost, clockOffsetMs, error }, i) => ({
    file,
    point,
    packets,
    lost,
    ...(clockOffsetMs === undefined || i === 0 ? {} : { clock_offset_ms: Math.round(clockOffsetMs * 1000) / 1000 }),
    error,
  }));
}

function totalsOf({ totals, span }: VerifyResult): ReportData['totals'] {
  const { allow, deny, unpoliced, uncertain, undecoded, seen_again, connections, leaks, blocked, bytes } = totals;
  return {
    packets: totals.packets,
    bytes,
    allow,
    deny,
    unpoliced,
    uncertain,
    undecoded,
    seen_again,
    connections,
    leaks,
    blocked,
    ...(span === undefined ? {} : { start_time: span.start, end_time: span.end }),
  };
}

function connectionOf(record: VerifyRecord, id: number, files: ReadonlyMap<string, number>): ReportConnection {
  const { icmp_type, icmp_code, reason, direction, finding, certainty, causes = [] } = record;
  const rule = decidingCheck(record)?.rule;
  return {
    id,
    start_time: record.start_time,
    end_time: record.end_time,
    proto: record.proto,
    ...(icmp_type === undefined ? {} : { icmp_type }),
    ...(icmp_code === undefined ? {} : { icmp_code }),
    source: endOf(record, 'source'),
    dest: endOf(record, 'dest'),
    predicted: record.predicted,
    ...(reason === undefined ? {} : { reason }),
    ...(direction === undefined ? {} : { direction }),
    ...(rule === undefined ? {} : { rule }),
    traces: CHECK_NAMES.flatMap((name) => {
      const check = record[name as 'egress'];
      return check === undefined ? [] : [{ check: name, trace: check.trace }];
    }),
    observed: record.observed,
    outcome: record.outcome,
    ...(finding === undefined ? {} : { finding }),
    ...(certainty === undefined ? {} : { certainty }),
    causes,
    text: record.text,
    packets: record.packets,
    bytes: record.bytes,
    evidence: record.evidence.map(({ capture, packet, what }) => ({ capture: files.get(capture) ?? 0, packet, what })),
  };
}

function endOf(record: VerifyRecord, side: 'source' | 'dest'): ReportEnd {
  const port = record[`${side}_port`];
  const namespace = record[`${side}_namespace`];
  const name = record[`${side}_name`];
  const account = record[`${side}_service_account`];
  const labels = record[`${side}_labels`];
  return {
    ip: record[`${side}_ip`],
    ...(port === undefined ? {} : { port }),
    type: record[`${side}_type`],
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(account === undefined ? {} : { service_account: account }),
    ...(labels === undefined ? {} : { labels }),
  };
}

/** The chain of rules, where the flow can be judged by itself. */
function explained(
  record: VerifyRecord,
  { resources, plan }: Cluster,
  tables: Tables,
  dataplane: Dataplane,
): { readonly explanation?: readonly string[] } {
  const flow = flowOfRecord(record);
  if (flow === undefined) return {};
  const explanation = explainFlow(resources, plan, tables, flow, { dataplane });
  // Some packets are judged by more than their flow: what tracking of connections calls invalid, a source that is not the pod's.
  return explanation.record.action === record.predicted ? { explanation: explanationLines(explanation) } : {};
}
