/** How `factors` is printed. */
import type { FactorsResult } from '../analyze/factors.ts';
import {
  type FactorsRecord,
  FINDING_TEXTS,
  type FindingName,
  type MatrixCell,
  type MatrixRow,
} from '../analyze/factors-record.ts';
import type { Output } from './output.ts';
import { counted, renderTable } from './render.ts';

/** Rows of the table of connections; `-o jsonl` has no limit. */
const ROWS_MAX = 1000;
/** Connections named under a finding. */
const EXAMPLES_MAX = 5;

/** One document, with a connection a line, as replay has it: in pieces, since the whole may be longer than a text can be. */
export function* documentPieces({ totals, matrix, records, gaps, sources }: FactorsResult): Generator<string> {
  const shown = sources.map(({ file, packets, passedOver, linkType, error }) => {
    return { file, packets, passed_over: passedOver, link_type: linkType ?? null, error };
  });
  yield `{"totals": ${JSON.stringify(totals)},\n"matrix": ${JSON.stringify(matrix)},\n"connections": [`;
  let separator = '\n';
  for (const record of records) {
    yield separator + JSON.stringify(record);
    separator = ',\n';
  }
  yield `\n],\n"gaps": ${JSON.stringify(gaps)},\n"sources": ${JSON.stringify(shown)}}\n`;
}

export async function renderFactors(result: FactorsResult, output: Output): Promise<string> {
  const parts: string[] = [];
  if (result.records.length > 0) parts.push(await connectionsTable(result.records, output));
  if (result.matrix.length > 0) parts.push(await matrixTable(result.matrix, output));
  const findings = findingLines(result.records);
  if (findings !== '') parts.push(findings);
  parts.push(summaryLines(result));
  return parts.join('\n');
}

async function connectionsTable(records: readonly FactorsRecord[], output: Output): Promise<string> {
  const shown = records.slice(0, ROWS_MAX);
  const table = await renderTable(
    {
      head: ['packet', 'from', 'to', 'address says', 'certificate says', 'factors', 'address', 'certificate', 'both'],
      rows: shown.map((record) => [
        record.first_packet,
        endText(record, 'source'),
        endText(record, 'dest'),
        record.network ?? 'nobody',
        certificateText(record),
        record.factors ?? '',
        record.verdicts.address,
        record.verdicts.certificate ?? '',
        record.verdicts.both ?? '',
      ]),
    },
    output,
  );
  const rest = records.length - shown.length;
  const more = rest > 0 ? `… and ${counted(rest, 'more connection')}: -o jsonl prints them all\n` : '';
  return `${table}${more}(the last three columns: what would get in by its address alone, by its certificate alone, by both)\n`;
}

function endText(record: FactorsRecord, end: 'source' | 'dest'): string {
  const [type, namespace, name] =
    end === 'source'
      ? [record.source_type, record.source_namespace, record.source_name]
      : [record.dest_type, record.dest_namespace, record.dest_name];
  const [ip, port] = end === 'source' ? [record.source_ip, record.source_port] : [record.dest_ip, record.dest_port];
  const who = type === 'wep' ? `${namespace}/${name}` : ip;
  if (end === 'source') return who;
  return `${who} ${record.proto} ${port ?? ''}${record.hbone === true ? ' (HBONE)' : ''}`;
}

/** What stands in for a certificate where there is none to name. */
function certificateText(record: FactorsRecord): string {
  const { crypto, certificate, transport, tls, proto, gaps } = record;
  switch (crypto) {
    case 'account':
      return certificate?.account ?? '';
    case 'invalid':
      return `nobody (${record.findings[0]?.name ?? 'invalid'})`;
    case 'unknown':
      return `unknown (${gaps[0]?.name ?? 'no evidence'})`;
    default:
      if (transport === 'silent') return 'nothing (no data)';
      if (transport === 'tls') return `nothing (${tls?.version ?? 'TLS'})`;
      return certificate === undefined ? `nothing (${proto === 'tcp' ? 'plain text' : proto})` : 'nothing';
  }
}

const CELL_HEADS: readonly (readonly [string, readonly MatrixCell[]])[] = [
  ['yes/yes', ['yes/yes']],
  ['yes/no', ['yes/no']],
  ['yes/absent', ['yes/absent']],
  ['no/yes', ['no/yes']],
  ['no/no', ['no/no']],
  ['no/absent', ['no/absent']],
  ['unknown', ['yes/unknown', 'no/unknown']],
];

async function matrixTable(rows: readonly MatrixRow[], output: Output): Promise<string> {
  const hasUnknown = rows.some(({ cells }) => cells['yes/unknown'] + cells['no/unknown'] > 0);
  const heads = hasUnknown ? CELL_HEADS : CELL_HEADS.slice(0, -1);
  const table = await renderTable(
    {
      head: ['rule that names accounts', 'at', 'accounts', ...heads.map(([head]) => head)],
      rows: rows.map(({ policy, index, action, rule, accounts, cells }) => [
        `rule ${index} of ${policy} (${action})`,
        rule,
        accounts,
        ...heads.map(([, of]) => of.reduce((sum, cell) => sum + cells[cell], 0)),
      ]),
    },
    output,
  );
  return `${table}(connections by what fits: address/certificate)\n`;
}

function findingLines(records: readonly FactorsRecord[]): string {
  const byName = new Map<FindingName, FactorsRecord[]>();
  for (const record of records) {
    for (const { name } of record.findings) byName.set(name, [...(byName.get(name) ?? []), record]);
  }
  let lines = '';
  for (const [name, of] of byName) {
    lines += `${name} (${of.length}): ${FINDING_TEXTS[name]}\n`;
    for (const record of of.slice(0, EXAMPLES_MAX)) {
      const { detail } = record.findings.find((finding) => finding.name === name)!;
      lines += `  packet ${record.first_packet}, ${address(record.source_ip, record.source_port)} -> ${address(record.dest_ip, record.dest_port)}: ${detail}\n`;
    }
    if (of.length > EXAMPLES_MAX) lines += `  … and ${of.length - EXAMPLES_MAX} more: -o jsonl prints them all\n`;
  }
  return lines;
}

function address(ip: string, port: number | undefined): string {
  if (port === undefined) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function summaryLines({ totals, matrix, records, sources }: FactorsResult): string {
  const { by_factors: by, flows } = totals;
  const asked = by['2 of 2'] + by['1 of 2'] + by['0 of 2'];
  const lines: string[] = [];
  if (matrix.length === 0) lines.push('No ingress rule names a service account: nothing here rests on one.');
  lines.push(
    `${counted(asked, 'connection')} of ${flows} that a rule with accounts asks about: ` +
      `${by['2 of 2']} with 2 of 2 factors, ${by['1 of 2']} with 1 of 2, ${by['0 of 2']} with 0 of 2`,
  );
  if (asked > 0) {
    lines.push(
      `By the address alone ${totals.opened_by_address_alone} more would get in than by both, ` +
        `by the certificate alone ${totals.opened_by_certificate_alone} more`,
    );
  }
  const refused = records.filter(({ peer_authentication: peer }) => peer?.refuses !== undefined);
  if (refused.length > 0) lines.push(refusedLine(refused));
  for (const { file, packets } of sources) lines.push(`${counted(packets, 'packet')} in ${file}`);
  return lines.map((line) => `${line}\n`).join('');
}

function refusedLine(refused: readonly FactorsRecord[]): string {
  const policies = new Set(refused.map(({ peer_authentication: peer }) => `${peer?.policy} (${peer?.place})`));
  const reasons = new Set(
    refused.map(({ peer_authentication: peer }) => peer?.refuses?.replace(/^STRICT refuses /, '')),
  );
  const which = policies.size === 1 ? 'PeerAuthentication' : 'PeerAuthentications';
  return `Istio would have refused ${refused.length} of them: ${which} ${[...policies].join(', ')} is STRICT (${[...reasons].join(', ')})`;
}
