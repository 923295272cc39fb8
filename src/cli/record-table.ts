/** Records as rows: the short table, the wide one, and CSV with the names of the record's fields. */
import { decidingCheck } from '../analyze/read-record.ts';
import type { LineError } from './flow-lines.ts';
import {
  type AnyRecord,
  type Brevity,
  endText,
  IN_FULL,
  reasonText,
  ruleText,
  serviceText,
  targetText,
} from './record-text.ts';
import type { Cell, Table } from './render.ts';

type Row = (AnyRecord & Extras) | LineError;

/** Fields that only some records have. */
interface Extras {
  readonly id?: unknown;
  readonly packet?: number;
  readonly start_time?: string;
  readonly end_time?: string;
  readonly time?: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly observed?: string;
  readonly community_id?: string;
}

/** The short table: fits a hundred columns where names are not too long. */
export function recordTable(rows: readonly Row[], brevity: Brevity = IN_FULL): Table {
  const has = (name: 'id' | 'packet'): boolean =>
    rows.some((row) => name in row && (row as Extras)[name] !== undefined);
  const [hasId, hasPacket] = [has('id'), has('packet')];
  return {
    head: [...(hasId ? ['id'] : []), ...(hasPacket ? ['packet'] : []), 'verdict', 'from', 'to', 'why', 'rule at'],
    rows: rows.map((row) => [
      ...(hasId ? [plain(row.id)] : []),
      ...('error' in row
        ? ['error', '', '', row.error, `line ${row.line}`]
        : [
            ...(hasPacket ? [row.packet ?? ''] : []),
            row.action,
            endText(row, 'source', brevity),
            targetText(row, brevity),
            reasonText(row, brevity),
            ruleText(row, brevity),
          ]),
    ]),
  };
}

/** Everything a reader may want of a record, names in full. */
export function wideRecordTable(rows: readonly Row[], node?: string): Table {
  const columns: readonly (readonly [string, (row: AnyRecord & Extras) => Cell])[] = [
    ['id', (row) => plain(row.id)],
    ['packet', (row) => row.packet ?? ''],
    ['time', (row) => row.time ?? row.start_time ?? ''],
    ['verdict', (row) => row.action],
    ['from', (row) => endText(row, 'source')],
    ['source', (row) => addressText(row.source_ip, row.source_port)],
    ['to', (row) => endText(row, 'dest')],
    ['destination', (row) => addressText(row.dest_ip, row.dest_port)],
    ['service', serviceText],
    ['check', (row) => row.direction ?? ''],
    ['why', (row) => reasonText(row, { ...IN_FULL, node })],
    ['rule at', (row) => ruleText(row)],
    ['trace', (row) => decidingCheck(row)?.trace.join(' ') ?? ''],
    ['pending', (row) => row.pending?.action ?? ''],
    ['packets', (row) => row.packets ?? ''],
    ['bytes', (row) => row.bytes ?? ''],
    ['observed', (row) => row.observed ?? ''],
  ];
  const cells = rows.map((row) => columns.map(([name, cell]) => ('error' in row ? errorCell(row, name) : cell(row))));
  const isUsed = columns.map((_, column) => cells.some((row) => row[column] !== ''));
  return {
    head: columns.filter((_, column) => isUsed[column]).map(([name]) => name),
    rows: cells.map((row) => row.filter((_, column) => isUsed[column])),
  };
}

/** One column a field of the record; the same columns whatever the records hold, so that files can be joined. */
export function csvRecordTable(rows: readonly Row[]): Table {
  return {
    head: CSV_COLUMNS.map(([name]) => name),
    rows: rows.map((row) => CSV_COLUMNS.map(([name, cell]) => ('error' in row ? errorCell(row, name) : cell(row)))),
  };
}

const CSV_COLUMNS: readonly (readonly [string, (row: AnyRecord & Extras) => Cell])[] = [
  ['id', (row) => plain(row.id)],
  ['packet', (row) => row.packet ?? ''],
  ['start_time', (row) => row.time ?? row.start_time ?? ''],
  ['end_time', (row) => row.end_time ?? ''],
  ['action', (row) => row.action],
  ['reason', (row) => row.reason ?? ''],
  ['direction', (row) => row.direction ?? ''],
  ['rule', (row) => ruleText(row)],
  ['proto', (row) => row.proto ?? ''],
  ['source_ip', (row) => row.source_ip ?? ''],
  ['source_port', (row) => row.source_port ?? ''],
  ['dest_ip', (row) => row.dest_ip ?? ''],
  ['dest_port', (row) => row.dest_port ?? ''],
  ['icmp_type', (row) => row.icmp_type ?? ''],
  ['icmp_code', (row) => row.icmp_code ?? ''],
  ['source_type', (row) => row.source_type ?? ''],
  ['source_namespace', (row) => row.source_namespace ?? ''],
  ['source_name', (row) => row.source_name ?? ''],
  ['source_service_account', (row) => row.source_service_account ?? ''],
  ['dest_type', (row) => row.dest_type ?? ''],
  ['dest_namespace', (row) => row.dest_namespace ?? ''],
  ['dest_name', (row) => row.dest_name ?? ''],
  ['dest_service_account', (row) => row.dest_service_account ?? ''],
  ['egress_trace', (row) => row.egress?.trace.join(' ') ?? ''],
  ['ingress_trace', (row) => row.ingress?.trace.join(' ') ?? ''],
  ['forward_trace', (row) => row.forward?.trace.join(' ') ?? ''],
  ['pending_action', (row) => row.pending?.action ?? ''],
  ['packets', (row) => row.packets ?? ''],
  ['bytes', (row) => row.bytes ?? ''],
  ['observed', (row) => row.observed ?? ''],
  ['community_id', (row) => row.community_id ?? ''],
  ['error', () => ''],
];

function errorCell(row: LineError, name: string): Cell {
  if (name === 'id') return plain(row.id);
  if (name === 'verdict' || name === 'action') return 'error';
  return name === 'why' || name === 'error' ? `line ${row.line}: ${row.error}` : '';
}

function plain(id: unknown): Cell {
  if (id === undefined || id === null) return '';
  return typeof id === 'string' || typeof id === 'number' ? id : JSON.stringify(id);
}

function addressText(address: string | undefined, port: number | undefined): string {
  if (address === undefined || port === undefined) return address ?? '';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * What a short table of these records can leave out, and the sentence that says so: the namespace most ends are in, and
 * the directory that all rules' files are in.
 */
export function brevityOf(
  rows: readonly AnyRecord[],
  node?: string,
): { readonly brevity: Brevity; readonly legend: string } {
  const counts = new Map<string, number>();
  for (const row of rows) {
    for (const namespace of [row.source_namespace, row.dest_namespace]) {
      if (namespace !== undefined) counts.set(namespace, (counts.get(namespace) ?? 0) + 1);
    }
  }
  const [namespace = ''] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  const files = rows.map((row) => ruleText(row)).filter((rule) => rule !== '');
  const first = files[0] ?? '';
  const directory = first.slice(0, first.lastIndexOf('/') + 1);
  const isShared = directory !== '' && files.every((file) => file.startsWith(directory));
  const parts = [
    ...(namespace === '' ? [] : [`names without a namespace are in ${namespace}`]),
    ...(isShared ? [`files in ${directory}`] : []),
  ];
  return { brevity: { namespace, directory: isShared ? directory : '', node }, legend: parts.join(', ') };
}
