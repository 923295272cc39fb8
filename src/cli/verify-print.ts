/** How a verification is printed, for each form of `-o`. Connections wait in a file of their own where there are many (spool.ts). */
import type { ReportCell } from '../analyze/report-data.ts';
import type { VerifyResult } from '../analyze/verify.ts';
import type { VerifyRecord } from '../analyze/verify-record.ts';
import { escapeControls } from '../base/errors.ts';
import type { Output } from './output.ts';
import { type Brevity, endText, IN_FULL, ruleText, serviceText, targetText } from './record-text.ts';
import { type Cell, counted, renderTable } from './render.ts';
import type { RecordSpool } from './spool.ts';

export type VerifyFormat = 'table' | 'wide' | 'json' | 'jsonl' | 'junit' | 'md';

const FINDINGS_SHOWN_MAX = 50;
const ROWS_SHOWN_MAX = 1000;

/** Whether a form shows no connection but findings, so that the others need not be kept. */
export function showsFindingsAlone(format: VerifyFormat): boolean {
  return format === 'table' || format === 'md';
}

/** Prints the answer; of `jsonl` the connections are out already. */
export async function printVerify(
  format: VerifyFormat,
  result: VerifyResult,
  spool: RecordSpool,
  output: Output,
): Promise<void> {
  switch (format) {
    case 'jsonl':
      return;
    case 'json':
      printJson(result, spool, output);
      return;
    case 'junit':
      printJunit(result, spool, output);
      return;
    case 'md':
      printMarkdown(result, spool, output);
      return;
    case 'table':
    case 'wide':
      await printTables(result, spool, output, format === 'wide');
      return;
    default:
      format satisfies never;
  }
}

/** The captures as documents have them. */
function capturesOf({ captures }: VerifyResult): object[] {
  return captures.map(({ file, point, packets, linkType, lost, missed, clockOffsetMs, error }) => ({
    file,
    point,
    packets,
    link_type: linkType ?? null,
    lost,
    missed,
    ...(clockOffsetMs === undefined ? {} : { clock_offset_ms: Math.round(clockOffsetMs * 1000) / 1000 }),
    error,
  }));
}

function printJson(result: VerifyResult, spool: RecordSpool, { stdout }: Output): void {
  const { totals, matrix, incomplete } = result;
  stdout.write(`{"totals": ${JSON.stringify(totals)},\n"matrix": ${JSON.stringify(matrix)},\n`);
  stdout.write(`"incomplete": ${JSON.stringify(incomplete)},\n"captures": ${JSON.stringify(capturesOf(result))},\n`);
  stdout.write('"connections": [');
  let separator = '\n';
  for (const line of spool.lines()) {
    stdout.write(separator + line);
    separator = ',\n';
  }
  stdout.write('\n]}\n');
}

/* ---- tables ---- */

async function printTables(result: VerifyResult, spool: RecordSpool, output: Output, isWide: boolean): Promise<void> {
  const { stdout } = output;
  const findings: VerifyRecord[] = [];
  const records: VerifyRecord[] = [];
  let findingCount = 0;
  for (const line of spool.lines()) {
    const record = JSON.parse(line) as VerifyRecord;
    if (record.finding !== undefined && ++findingCount <= FINDINGS_SHOWN_MAX) findings.push(record);
    if (isWide && records.length < ROWS_SHOWN_MAX) records.push(record);
  }
  findings.sort(byWeight);
  const hasMany = result.captures.length > 1;
  for (const record of findings) stdout.write(findingText(record, hasMany));
  if (findingCount > findings.length) {
    stdout.write(`… and ${counted(findingCount - findings.length, 'more finding')}: -o jsonl prints them all\n\n`);
  }
  if (isWide && records.length > 0) {
    stdout.write(`${await renderTable(connectionTable(records, hasMany), output)}\n`);
    const rest = result.totals.connections - records.length;
    if (rest > 0) stdout.write(`… and ${counted(rest, 'more connection')}: -o jsonl prints them all\n\n`);
  }
  stdout.write(`${await renderTable(matrixTable(result.matrix), output)}\n`);
  stdout.write(summaryText(result));
}

/** Proven before likely before possible, then leaks, then more packets. */
export function byWeight(a: VerifyRecord, b: VerifyRecord): number {
  const weight = ({ certainty, finding }: VerifyRecord): number =>
    2 * ['proven', 'likely', 'possible'].indexOf(certainty ?? 'possible') + (finding === 'leak' ? 0 : 1);
  return weight(a) - weight(b) || b.packets - a.packets || (a.start_time < b.start_time ? -1 : 1);
}

function findingText(record: VerifyRecord, hasManyCaptures: boolean): string {
  const { finding, certainty, text, causes = [], evidence } = record;
  const from = portText(endText(record, 'source'), record.source_port);
  const lines = [
    `${finding === 'leak' ? 'LEAK' : 'BLOCKED'} (${certainty})  ${from} -> ${targetText(record)}`,
    `  ${text}`,
    ...(evidence.length === 0 ? [] : [`  Evidence: ${evidenceText(record, hasManyCaptures)}`]),
    ...causes.map((cause) => `  Perhaps: ${cause.text}.`),
  ];
  return `${lines.map(escapeControls).join('\n')}\n\n`;
}

/** `packets 4 (SYN), 5 (SYN-ACK)`, by capture where there are several: `a.pcap 4 (SYN); b.pcap 9 (arrived)`. */
function evidenceText({ evidence }: VerifyRecord, hasManyCaptures: boolean): string {
  const byCapture = new Map<string, Map<number, string[]>>();
  for (const { capture, packet, what } of evidence) {
    const packets = byCapture.get(capture) ?? new Map<number, string[]>();
    byCapture.set(capture, packets);
    packets.set(packet, [...(packets.get(packet) ?? []), what]);
  }
  return [...byCapture]
    .map(([capture, packets]) => {
      const shown = [...packets].map(([packet, whats]) => `${packet} (${whats.join(', ')})`).join(', ');
      return `${hasManyCaptures ? `${capture} ` : ''}${packets.size === 1 ? 'packet' : 'packets'} ${shown}`;
    })
    .join('; ');
}

function portText(end: string, port: number | undefined): string {
  return port === undefined ? end : `${end} port ${port}`;
}

function connectionTable(
  records: readonly VerifyRecord[],
  hasManyCaptures: boolean,
): { head: string[]; rows: Cell[][] } {
  const brevity: Brevity = IN_FULL;
  return {
    head: [
      ...(hasManyCaptures ? ['capture'] : []),
      'packet',
      'predicted',
      'observed',
      'outcome',
      'finding',
      'from',
      'to',
      'rule at',
      'packets',
    ],
    rows: records.map((record) => [
      ...(hasManyCaptures ? [record.capture] : []),
      record.first_packet,
      record.predicted,
      record.observed,
      record.outcome,
      record.finding === undefined ? '' : `${record.finding} (${record.certainty})`,
      portText(endText(record, 'source', brevity), record.source_port),
      targetText(record, brevity),
      ruleText(record, brevity),
      record.packets,
    ]),
  };
}

function matrixTable(matrix: readonly ReportCell[]): { head: string[]; rows: Cell[][] } {
  const observed = [...new Set(matrix.map((cell) => cell.observed))];
  const predicted = [...new Set(matrix.map((cell) => cell.predicted))];
  const cellText = ({ connections, findings }: ReportCell): string =>
    findings === 0 ? String(connections) : `${connections} (${counted(findings, 'finding')})`;
  return {
    head: ['predicted', ...observed],
    rows: predicted.map((row) => [
      row,
      ...observed.map((column) => cellText(matrix.find((cell) => cell.predicted === row && cell.observed === column)!)),
    ]),
  };
}

function summaryText(result: VerifyResult): string {
  const { totals, captures } = result;
  const { packets, bytes, leaks, blocked, connections } = totals;
  const found =
    leaks + blocked === 0
      ? 'no finding'
      : `${counted(leaks, 'leak')} and ${blocked} blocked (${totals.proven} proven, ${totals.likely} likely, ${totals.possible} possible)`;
  const files = captures.map(({ file, point }) => {
    const name = file === '-' ? 'standard input' : file;
    return point === 'unknown' ? name : `${name} (${point})`;
  });
  const shown = files.length <= 4 ? files.join(', ') : `${files.length} captures`;
  return (
    `${counted(connections, 'connection')}: ${found}\n` +
    `${counted(packets, 'packet')}, ${bytes} bytes in ${escapeControls(shown)}: ${packetCounts(result)}\n`
  );
}

/** Counts that add up to the packets read. */
function packetCounts({ totals }: VerifyResult): string {
  const parts: [string, number][] = [
    ['allow', totals.allow],
    ['deny', totals.deny],
    ['unpoliced', totals.unpoliced],
    ['uncertain', totals.uncertain],
    ['undecoded', totals.undecoded],
    ['seen again', totals.seen_again],
  ];
  return parts
    .filter(([name, count]) => count > 0 || name === 'allow' || name === 'deny')
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

/* ---- junit ---- */

/** One test case a policed connection, in the order of first packets; a finding is a failure. */
function printJunit({ totals, incomplete }: VerifyResult, spool: RecordSpool, { stdout }: Output): void {
  const failures = totals.leaks + totals.blocked;
  stdout.write('<?xml version="1.0" encoding="UTF-8"?>\n');
  stdout.write(`<testsuites name="margay verify" tests="${totals.connections}" failures="${failures}">\n`);
  stdout.write(`<testsuite name="connections" tests="${totals.connections}" failures="${failures}">\n`);
  for (const line of spool.lines()) {
    const record = JSON.parse(line) as VerifyRecord;
    const name = `${portText(endText(record, 'source'), record.source_port)} -> ${targetText(record)}`;
    const head = `<testcase classname="${xml(serviceText(record))}" name="${xml(name)}"`;
    if (record.finding === undefined) {
      stdout.write(`${head}/>\n`);
      continue;
    }
    const causes = (record.causes ?? []).map(({ text }) => `Perhaps: ${text}.`);
    const body = [record.text, `Evidence: ${evidenceText(record, true)}`, ...causes].join('\n');
    const type = `${record.finding}-${record.certainty}`;
    stdout.write(
      `${head}><failure type="${xml(type)}" message="${xml(record.text)}">${xml(body)}</failure></testcase>\n`,
    );
  }
  if (incomplete.length > 0) stdout.write(`<system-out>${xml(incomplete.join('\n'))}</system-out>\n`);
  stdout.write('</testsuite>\n</testsuites>\n');
}

/** Text for elements and attributes; what XML 1.0 has no character for becomes U+FFFD. */
function xml(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/* ---- markdown ---- */

function printMarkdown(result: VerifyResult, spool: RecordSpool, { stdout }: Output): void {
  const findings: VerifyRecord[] = [];
  for (const line of spool.lines()) {
    const record = JSON.parse(line) as VerifyRecord;
    if (record.finding !== undefined && findings.length < ROWS_SHOWN_MAX) findings.push(record);
  }
  findings.sort(byWeight);
  const { head, rows } = matrixTable(result.matrix);
  stdout.write(`# margay verify\n\n${markdown(summaryText(result).trimEnd())}\n\n`);
  stdout.write(markdownTable(head, rows));
  if (result.incomplete.length > 0) {
    stdout.write(`\n## Incomplete\n\n${result.incomplete.map((line) => `- ${markdown(line)}\n`).join('')}`);
  }
  if (findings.length === 0) return;
  stdout.write('\n## Findings\n\n');
  const hasMany = result.captures.length > 1;
  stdout.write(
    markdownTable(
      ['finding', 'from', 'to', 'rule at', 'why', 'perhaps', 'evidence'],
      findings.map((record) => [
        `${record.finding} (${record.certainty})`,
        portText(endText(record, 'source'), record.source_port),
        targetText(record),
        ruleText(record, IN_FULL),
        record.text,
        (record.causes ?? []).map(({ text }) => text).join('; '),
        evidenceText(record, hasMany),
      ]),
    ),
  );
}

function markdownTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]): string => `| ${cells.map((cell) => markdown(String(cell))).join(' | ')} |\n`;
  return `${line(head)}| ${head.map(() => '---').join(' | ')} |\n${rows.map(line).join('')}`;
}

/** Names are hostile text: nothing of it may become markup, a link or another cell. */
function markdown(text: string): string {
  return escapeControls(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/[\\`*_{}[\]()#+!|~]/g, (character) => `\\${character}`);
}
