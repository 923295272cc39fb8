/** How a replay is printed, for each form of `-o` and each of connections, packets and summary. */
import type { ConnectionRecord } from '../analyze/connections.ts';
import type { RuleCount } from '../analyze/counters.ts';
import type { PacketRecord, ReplayOptions, ReplayResult } from '../analyze/replay.ts';
import type { ReplayStats } from '../analyze/stage-times.ts';
import type { Output } from './output.ts';
import { brevityOf, csvRecordTable, recordTable, wideRecordTable } from './record-table.ts';
import type { AnyRecord } from './record-text.ts';
import { counted, renderCsv, renderCsvRows, renderTable, type Table } from './render.ts';
import { renderTotals, rulesTable, topDenies } from './replay-summary.ts';
import { RecordSpool } from './spool.ts';

export type ReplayFormat = 'table' | 'wide' | 'json' | 'jsonl' | 'csv';
export type ReplayMode = 'connections' | 'packets' | 'summary';

export interface Printer {
  connection(record: ConnectionRecord): void;
  packet(line: PacketRecord): void;
  /** Takes lines of JSON as they are, where nothing else is asked of them. */
  readonly asText: Pick<ReplayOptions, 'onConnectionText' | 'onPacketText'>;
  /** Prints what had to wait for the end. */
  finish(result: ReplayResult, rules: readonly RuleCount[], stats?: ReplayStats): Promise<void>;
  /** Gives files back; after a failure, too. */
  close(): void;
}

/** Rows of a table for people; `-o jsonl` and `-o csv` have no limit. */
const TABLE_ROWS_MAX = 1000;

export function createPrinter(mode: ReplayMode, format: ReplayFormat, output: Output, node?: string): Printer {
  if (mode === 'summary') return new SummaryPrinter(format, output);
  if (mode === 'packets') return new PacketPrinter(format, output, node);
  return new ConnectionPrinter(format, output, node);
}

function documentEnd({ totals, sources }: ReplayResult): { totals: unknown; sources: unknown } {
  const shown = sources.map(({ file, packets, link_type, error }) => ({
    file,
    packets,
    link_type: link_type ?? null,
    error,
  }));
  return { totals, sources: shown };
}

/** The last field of a document that is written by hand. */
function statsField(stats: ReplayStats | undefined): string {
  return stats === undefined ? '' : `,\n"stats": ${JSON.stringify(stats)}`;
}

class ConnectionPrinter implements Printer {
  readonly asText: Printer['asText'];
  readonly #format: ReplayFormat;
  readonly #output: Output;
  readonly #spool = new RecordSpool();
  readonly #node: string | undefined;
  readonly #byAction = new Map<string, number>();
  #pending = 0;

  constructor(format: ReplayFormat, output: Output, node: string | undefined) {
    this.#node = node;
    this.#format = format;
    this.#output = output;
    this.asText = format === 'jsonl' ? { onConnectionText: (text) => output.stdout.write(`${text}\n`) } : {};
  }

  connection(record: ConnectionRecord): void {
    this.#byAction.set(record.action, (this.#byAction.get(record.action) ?? 0) + 1);
    if (record.pending !== undefined) this.#pending++;
    if (this.#format === 'jsonl') this.#output.stdout.write(`${JSON.stringify(record)}\n`);
    else this.#spool.add(record.first_packet, record);
  }

  packet(): void {}

  async finish(result: ReplayResult, rules: readonly RuleCount[], stats?: ReplayStats): Promise<void> {
    switch (this.#format) {
      case 'jsonl':
        return;
      case 'json':
        this.#writeJson(result, stats);
        return;
      case 'csv':
        this.#writeCsv();
        return;
      case 'table':
      case 'wide':
        await this.#writeTables(result, rules, this.#format === 'wide');
        return;
      default:
        this.#format satisfies never;
    }
  }

  close(): void {
    this.#spool.close();
  }

  /** One connection a line: the document is as easy to look at as to parse. */
  #writeJson(result: ReplayResult, stats: ReplayStats | undefined): void {
    const { stdout } = this.#output;
    const { totals, sources } = documentEnd(result);
    stdout.write(`{"totals": ${JSON.stringify(totals)},\n"connections": [`);
    let separator = '\n';
    for (const line of this.#spool.lines()) {
      stdout.write(separator + line);
      separator = ',\n';
    }
    stdout.write(`\n],\n"sources": ${JSON.stringify(sources)}${statsField(stats)}}\n`);
  }

  #writeCsv(): void {
    const { stdout } = this.#output;
    stdout.write(renderCsv(csvRecordTable([])));
    for (const line of this.#spool.lines()) {
      const { rows } = csvRecordTable([JSON.parse(line) as AnyRecord]);
      stdout.write(renderCsvRows(rows));
    }
  }

  async #writeTables(result: ReplayResult, rules: readonly RuleCount[], isWide: boolean): Promise<void> {
    const records: ConnectionRecord[] = [];
    for (const line of this.#spool.lines()) {
      if (records.length >= TABLE_ROWS_MAX) break;
      records.push(JSON.parse(line) as ConnectionRecord);
    }
    const { stdout } = this.#output;
    const rest = this.#spool.count - records.length;
    if (records.length > 0) {
      const { brevity, legend } = brevityOf(records, this.#node);
      stdout.write(
        await renderTable(isWide ? wideRecordTable(records, this.#node) : recordTable(records, brevity), this.#output),
      );
      if (rest > 0) stdout.write(`… and ${counted(rest, 'more connection')}: -o jsonl prints them all\n`);
      if (!isWide && legend !== '') stdout.write(`(${legend})\n`);
      stdout.write('\n');
    }
    stdout.write(await topDenies(rules, this.#output));
    stdout.write(await renderTotals(result, this.#output, this.#byAction));
    if (this.#pending > 0) {
      stdout.write(
        `${counted(this.#pending, 'connection')} would differ if the staged policies were enforced: see -o wide\n`,
      );
    }
  }
}

class PacketPrinter implements Printer {
  readonly asText: Printer['asText'];
  readonly #format: ReplayFormat;
  readonly #output: Output;
  readonly #node: string | undefined;
  readonly #collected: PacketRecord[] = [];
  #count = 0;

  constructor(format: ReplayFormat, output: Output, node: string | undefined) {
    this.#node = node;
    this.#format = format;
    this.#output = output;
    this.asText = format === 'jsonl' ? { onPacketText: (text) => output.stdout.write(`${text}\n`) } : {};
    if (format === 'csv') output.stdout.write(renderCsv(csvRecordTable([])));
    if (format === 'json') output.stdout.write('{"packets": [');
  }

  connection(): void {}

  packet(line: PacketRecord): void {
    const { stdout } = this.#output;
    this.#count++;
    if (this.#format === 'jsonl') stdout.write(`${JSON.stringify(line)}\n`);
    else if (this.#format === 'json') stdout.write(`${this.#count === 1 ? '\n' : ',\n'}${JSON.stringify(line)}`);
    else if (this.#format === 'csv') stdout.write(renderCsvRows(csvRecordTable([line]).rows));
    else if (this.#count <= TABLE_ROWS_MAX) this.#collected.push(line);
  }

  async finish(result: ReplayResult, _rules: readonly RuleCount[], stats?: ReplayStats): Promise<void> {
    const { stdout } = this.#output;
    if (this.#format === 'json') {
      const { totals, sources } = documentEnd(result);
      const end = `"totals": ${JSON.stringify(totals)},\n"sources": ${JSON.stringify(sources)}${statsField(stats)}`;
      stdout.write(`\n],\n${end}}\n`);
    }
    if (this.#format !== 'table' && this.#format !== 'wide') return;
    const { brevity, legend } = brevityOf(this.#collected, this.#node);
    const table: Table =
      this.#format === 'wide' ? wideRecordTable(this.#collected, this.#node) : recordTable(this.#collected, brevity);
    if (this.#collected.length > 0) stdout.write(await renderTable(table, this.#output));
    const rest = this.#count - this.#collected.length;
    if (rest > 0) stdout.write(`… and ${counted(rest, 'more packet')}: -o jsonl prints them all\n`);
    if (this.#format === 'table' && legend !== '') stdout.write(`(${legend})\n`);
    stdout.write(`\n${await renderTotals(result, this.#output)}`);
  }

  close(): void {}
}

class SummaryPrinter implements Printer {
  readonly asText = {};
  readonly #format: ReplayFormat;
  readonly #output: Output;

  constructor(format: ReplayFormat, output: Output) {
    this.#format = format;
    this.#output = output;
  }

  connection(): void {}

  packet(): void {}

  async finish(result: ReplayResult, rules: readonly RuleCount[], stats?: ReplayStats): Promise<void> {
    const { stdout } = this.#output;
    if (this.#format === 'json' || this.#format === 'jsonl') {
      const { totals, sources } = documentEnd(result);
      const document = { totals, rules, sources, ...(stats === undefined ? {} : { stats }) };
      stdout.write(`${JSON.stringify(document, null, this.#format === 'json' ? 2 : 0)}\n`);
    } else if (this.#format === 'csv') {
      stdout.write(renderCsv(rulesTable(rules)));
    } else {
      if (rules.length > 0) stdout.write(`${await renderTable(rulesTable(rules), this.#output)}\n`);
      stdout.write(await renderTotals(result, this.#output));
    }
  }

  close(): void {}
}
