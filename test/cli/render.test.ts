import { describe, expect, test } from 'vitest';
import { ProgressBar, progressLine, shortNumber } from '../../src/cli/progress.ts';
import { csvCell, renderCsv, renderTable } from '../../src/cli/render.ts';
import { RecordSpool } from '../../src/cli/spool.ts';
import { capture, margay } from './support.ts';

const PLAIN = {
  stdout: { write: () => {}, isTerminal: false, columns: undefined },
  stderr: { write: () => {}, isTerminal: false, columns: undefined },
  hasColor: false,
  isClosed: () => false,
  interruptible: () => new AbortController().signal,
  flush: () => {},
};

describe('CSV', () => {
  test.each<[string | number, string]>([
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "x"', '"say ""x"""'],
    ['two\nlines', '"two\nlines"'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    [-1, '-1'],
    ['', ''],
  ])('%j is written as %j', (cell, text) => expect(csvCell(cell)).toBe(text));

  test('has a head and a line a row', () => {
    expect(renderCsv({ head: ['a', 'b'], rows: [[1, 'x']] })).toBe('a,b\n1,x\n');
  });
});

describe('tables', () => {
  test('align wide characters, put numbers to the right, show what is empty and what is hidden', async () => {
    const rows = [
      ['東京', 5],
      ['', 123],
      ['a\u001b[31mb', 7],
    ] as const;
    expect(await renderTable({ head: ['name', 'count'], rows }, PLAIN)).toBe(
      ['NAME          COUNT', '東京              5', '-               123', 'a\\u{1b}[31mb      7', ''].join('\n'),
    );
  });

  test('colour verdicts where colour is wanted, and only there', async () => {
    const red = '\u001b[31m';
    expect((await margay(['replay', ...capture('sa-names')], { hasColor: true })).stdout).toContain(`${red}deny`);
    expect((await margay(['replay', ...capture('sa-names')])).stdout).not.toContain('\u001b');
  });
});

describe('the progress bar', () => {
  test('shows share, rate and time left', () => {
    const state = { file: 'a.pcap', bytesRead: 430, sizeBytes: 1000, packets: 2_100_000 };
    expect(progressLine(state, 1000)).toBe(
      '[############----------------]  43%  2.1M packets  2.1M/s  2 s left  a.pcap',
    );
  });

  test('of a stream has no share', () => {
    const state = { file: 'standard input', bytesRead: 430, sizeBytes: undefined, packets: 950 };
    expect(progressLine(state, 500)).toBe('950 packets  1.9k/s  standard input');
  });

  test.each([
    [0, '0'],
    [999, '999'],
    [1200, '1.2k'],
    [34_000, '34k'],
    [2_100_000, '2.1M'],
    [12e9, '12G'],
  ])('writes %d as %s', (value, text) => expect(shortNumber(value)).toBe(text));

  test('comes after a while, at most ten times a second, within the line, and goes again', () => {
    const written: string[] = [];
    let now = 0;
    const stream = { write: (text: string) => written.push(text), isTerminal: true, columns: 40 };
    const bar = new ProgressBar(stream, () => now);
    for (now = 0; now < 1000; now += 10) bar.update({ file: 'a', bytesRead: now, sizeBytes: 1000, packets: now });
    expect(written.length).toBe(7);
    expect(written.every((text) => text.length <= 39 + '\r\u001b[2K'.length)).toBe(true);
    bar.end();
    bar.end();
    expect(written.at(-1)).toBe('\r\u001b[2K');
    expect(written.length).toBe(8);
  });

  test('of short work never shows', () => {
    const written: string[] = [];
    const bar = new ProgressBar({ write: (text) => written.push(text), isTerminal: true, columns: 80 }, () => 5);
    bar.update({ file: 'a', bytesRead: 1, sizeBytes: 2, packets: 1 });
    bar.end();
    expect(written).toEqual([]);
  });
});

describe('the spool', () => {
  test.each([1, 2, 3, 7, 100])('gives records back in order, with runs of %d', (run) => {
    const spool = new RecordSpool(run);
    const keys = Array.from({ length: 50 }, (_, i) => ((i * 37) % 50) + 1);
    for (const key of keys) spool.add(key, { key, text: `näme\n${'x'.repeat(key * 40)}` });
    const found = [...spool.lines()].map((line) => JSON.parse(line));
    spool.close();
    expect(spool.count).toBe(50);
    expect(found.map(({ key }) => key)).toEqual(keys.toSorted((a, b) => a - b));
    expect(found.every(({ key, text }) => text === `näme\n${'x'.repeat(key * 40)}`)).toBe(true);
  });

  test('of nothing is empty', () => {
    const spool = new RecordSpool();
    expect([...spool.lines()]).toEqual([]);
    spool.close();
    spool.close();
  });
});
