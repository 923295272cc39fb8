/** `margay identities show`: owners of addresses as a list, by address, then time. */
import { parseAddress, parsePrefix, prefixContains } from '../base/ip.ts';
import { formatMoment } from '../base/time.ts';
import { compareRecords, type IdentityRecord, recordLine } from '../identity/record.ts';
import type { ShowOptions } from './commands/identities.ts';
import { EXIT_BAD_INPUT, EXIT_FINE } from './exit.ts';
import { identitySource } from './identities-source.ts';
import type { Output } from './output.ts';
import { renderCsv, renderJson, renderTable } from './render.ts';

export async function show(what: readonly string[], options: ShowOptions, output: Output): Promise<number> {
  const { records } = await identitySource(options, output);
  const wanted = what.map((text) => ({ text, fits: matcherOf(text) }));
  const rows = records.filter((record) => wanted.length === 0 || wanted.some(({ fits }) => fits(record)));
  const sorted = [...rows].sort(compareRecords);
  output.stdout.write(await render(sorted, options.output, output));
  const missing = wanted.filter(({ fits }) => !records.some(fits));
  for (const { text } of missing) output.stderr.write(`margay: nothing is known of '${text}'\n`);
  return missing.length > 0 ? EXIT_BAD_INPUT : EXIT_FINE;
}

function matcherOf(text: string): (record: IdentityRecord) => boolean {
  const address = parseAddress(text);
  const prefix = address === undefined ? parsePrefix(text) : { ...address, length: address.version === 4 ? 32 : 128 };
  if (prefix !== undefined) return ({ ip }) => prefixContains(prefix, parseAddress(ip)!);
  return ({ namespace, pod, uid }) => `${namespace}/${pod}` === text || uid === text;
}

const COLUMNS = ['ADDRESS', 'FROM', 'TO', 'POD', 'SERVICE ACCOUNT', 'NODE'] as const;
const WIDE_COLUMNS = [...COLUMNS, 'UID', 'LABELS'] as const;

async function render(
  records: readonly IdentityRecord[],
  format: ShowOptions['output'],
  output: Output,
): Promise<string> {
  if (format === 'jsonl') return records.map((record) => `${recordLine(record)}\n`).join('');
  if (format === 'json') return renderJson(records.map((record) => JSON.parse(recordLine(record)) as unknown));
  const isWide = format !== 'table';
  const table = { head: isWide ? WIDE_COLUMNS : COLUMNS, rows: records.map((record) => row(record, isWide)) };
  return format === 'csv' ? renderCsv(table) : renderTable(table, output);
}

function row(record: IdentityRecord, isWide: boolean): string[] {
  const { ip, fromMs, toMs, namespace, pod, serviceAccount, node, uid, labels } = record;
  const moment = (ms: number): string => (Number.isFinite(ms) ? formatMoment(ms) : '');
  const cells = [ip, moment(fromMs), moment(toMs), `${namespace}/${pod}`, serviceAccount, node];
  return isWide ? [...cells, uid, [...labels].map(([key, value]) => `${key}=${value}`).join(',')] : cells;
}
