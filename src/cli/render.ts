/**
 * Answers as text: tables, CSV, JSON, YAML.
 *
 * Names come from manifests and captures, which anybody may have written. On their way to a terminal control characters
 * are shown as escapes, so that no name can move the cursor or colour a verdict; in CSV a cell that a spreadsheet would
 * take for a formula gets an apostrophe in front. JSON and YAML escape by themselves.
 */
import { styleText } from 'node:util';
import { escapeControls } from '../base/errors.ts';
import type { Output } from './output.ts';

export type Cell = string | number;

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** Blank-separated columns with a head line, as kubectl prints them; numbers to the right. */
export async function renderTable(table: Table, output: Output): Promise<string> {
  const { default: CliTable } = await import('cli-table3');
  const isNumeric = table.head.map(
    (_, column) => table.rows.length > 0 && table.rows.every((row) => typeof row[column] === 'number'),
  );
  const grid = new CliTable({
    head: table.head.map((text) => text.toUpperCase()),
    chars: BLANK_BORDERS,
    colAligns: isNumeric.map((numeric) => (numeric ? 'right' : 'left')),
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of table.rows) {
    grid.push(row.map((cell) => paint(shown(cell), output)));
  }
  return `${grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}

const BLANK_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** An empty cell is shown as `-`: a gap would look like a shifted column. */
function shown(cell: Cell): string {
  const text = typeof cell === 'number' ? String(cell) : escapeControls(cell);
  return text === '' ? '-' : text;
}

const VERDICT_COLORS: Readonly<Record<string, 'green' | 'red' | 'yellow' | 'cyan'>> = {
  allow: 'green',
  deny: 'red',
  pass: 'cyan',
  uncertain: 'yellow',
};

/** A verdict in its colour, on terminals; anything else as it is. */
export function paint(text: string, output: Output): string {
  const color = output.hasColor && Object.hasOwn(VERDICT_COLORS, text) ? VERDICT_COLORS[text] : undefined;
  return color === undefined ? text : styleText(color, text, { validateStream: false });
}

/** RFC 4180, with line feeds alone, as every reader of CSV takes them. */
export function renderCsv(table: Table): string {
  return renderCsvRows([table.head, ...table.rows]);
}

/** Lines without a head, to follow others. */
export function renderCsvRows(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(csvCell).join(',')}\n`).join('');
}

export function csvCell(cell: Cell): string {
  if (typeof cell === 'number') return String(cell);
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function renderJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

export async function renderYaml(value: unknown): Promise<string> {
  const { stringify } = await import('./yaml-text.ts');
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** `1 packet`, `2 packets`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
