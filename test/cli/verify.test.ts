/** `margay verify` as a user types it: forms of the answer, exit codes, errors, and the files it writes. */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/analyze/report-data.ts';
import type { VerifyRecord } from '../../src/analyze/verify-record.ts';
import { VERIFY_SCHEMA } from '../../src/analyze/verify-schema.ts';
import { pageOf } from '../../src/cli/verify-report.ts';
import { openCapture } from '../../src/packets/pcap-file.ts';
import { createRecordBatch } from '../../src/packets/source.ts';
import { writePcapng } from '../../src/packets/write.ts';
import { capture, LESSONS, lesson, margay } from './support.ts';

const TIERS = ['verify', ...capture('tiers')];
const CAPTURE = 'pcaps/tiers/capture.pcapng';
const folder = mkdtempSync(join(tmpdir(), 'margay-verify-'));
const path = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasTshark = isInstalled('tshark');

function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
}

describe('the answer', () => {
  test('a finding is exit code 1, none is 0, and --exit-zero and --certainty choose', async () => {
    const found = await margay(TIERS);
    expect([found.code, found.stderr]).toEqual([1, '']);
    expect(found.stdout).toMatch(
      /^LEAK \(proven\) {2}lab\/payments-0 \(payments\) port \d+ -> shop\/ledger-0 tcp 5432\n/m,
    );
    expect(found.stdout).toMatch(/Evidence: packets 35 \(SYN\), 36 \(SYN-ACK\), 37 \(ACK\)/);
    expect(found.stdout).toMatch(/^deny +14 \(14 findings\) +1 \(1 finding\) +1 +3$/m);
    expect((await margay([...TIERS, '--exit-zero'])).code).toBe(0);
    // Nothing is denied in a cluster without policies.
    const open = ['verify', '-f', 'pcaps/tiers/cluster.yaml', '-r', await piece('open.pcapng', 1, 30)];
    expect((await margay(open)).code).toBe(0);
    const refused = await piece('refused.pcapng', 31, 32);
    const weak = ['verify', ...lesson('tiers'), '-r', refused];
    expect((await margay(weak)).code).toBe(1);
    expect((await margay([...weak, '--certainty', 'likely'])).code).toBe(1);
    expect((await margay([...weak, '--certainty', 'proven'])).code).toBe(0);
  });

  test('every record keeps to the schema, on all lessons', async () => {
    const validate = new Ajv({ strict: false, allErrors: true }).compile(VERIFY_SCHEMA);
    const outcomes = new Set<string>();
    for (const name of LESSONS) {
      const { stdout } = await margay(['verify', ...capture(name), '-o', 'jsonl']);
      for (const line of stdout.trimEnd().split('\n')) {
        const record = JSON.parse(line) as VerifyRecord;
        expect(validate(record), JSON.stringify(validate.errors)).toBe(true);
        outcomes.add(record.outcome);
      }
    }
    expect([...outcomes].sort()).toEqual(['answered', 'established', 'no-answer', 'refused', 'too-short']);
    const { stdout } = await margay(['schema', 'verify']);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify(VERIFY_SCHEMA)));
    expect((await margay(['verify', '--schema'])).stdout).toBe(stdout);
  });

  test('json has totals that add up, the matrix, the captures, and the connections in order', async () => {
    const { stdout } = await margay([...TIERS, '-o', 'json']);
    const { totals, matrix, captures, incomplete, connections } = JSON.parse(stdout);
    const { allow, deny, unpoliced, uncertain, undecoded, seen_again } = totals;
    expect([totals.packets, allow + deny + unpoliced + uncertain + undecoded + seen_again]).toEqual([257, 257]);
    expect([totals.leaks, totals.blocked, totals.proven, totals.likely, totals.possible]).toEqual([15, 0, 14, 1, 0]);
    const sum = (of: (cell: { connections: number; packets: number; findings: number }) => number): number =>
      matrix.reduce((total: number, cell: never) => total + of(cell), 0);
    expect([sum((cell) => cell.connections), sum((cell) => cell.findings)]).toEqual([connections.length, 15]);
    expect(sum((cell) => cell.packets)).toBe(257);
    expect(captures).toEqual([expect.objectContaining({ file: CAPTURE, packets: 257, point: 'unknown', error: null })]);
    expect(incomplete).toEqual([]);
    const packets = connections.map((record: VerifyRecord) => record.first_packet);
    expect(packets).toEqual([...packets].sort((a: number, b: number) => a - b));
  });

  test('junit is well-formed, a test case a connection, a failure a finding', async () => {
    const { stdout } = await margay([...TIERS, '-o', 'junit']);
    const file = path('junit.xml');
    writeFileSync(file, stdout);
    execFileSync('python3', ['-c', 'import sys,xml.dom.minidom as m; m.parse(sys.argv[1])', file]);
    expect(stdout.match(/<testcase /g)).toHaveLength(31);
    expect(stdout.match(/<failure /g)).toHaveLength(15);
    expect(stdout).toContain('<testsuite name="connections" tests="31" failures="15">');
  });

  test('markdown keeps names from being markup', async () => {
    const { stdout } = await margay([...TIERS, '-o', 'md']);
    expect(stdout).toMatch(/^# margay verify$/m);
    expect(stdout).toContain('| predicted | delivered | refused | unanswered | unknown |');
    expect(stdout.match(/^\| leak /gm)).toHaveLength(15);
  });

  test('a pipe is read once', async () => {
    const pipe = path('pipe');
    execFileSync('mkfifo', [pipe]);
    const writer = spawn('sh', ['-c', `cat ${CAPTURE} > ${pipe}`]);
    const { code, stdout } = await margay(['verify', ...lesson('tiers'), '-r', pipe, '-o', 'json']);
    expect([code, JSON.parse(stdout).totals.packets]).toEqual([1, 257]);
    await new Promise((resolve) => (writer.exitCode === null ? writer.on('close', resolve) : resolve(undefined)));
    const beside = await margay(['verify', ...lesson('tiers'), '-r', pipe, '-r', CAPTURE]);
    expect(beside.stderr).toMatch(/pipe' cannot be laid over other captures/);
    const annotated = await margay(['verify', ...lesson('tiers'), '-r', pipe, '--annotate', path('x.pcapng')]);
    expect([beside.code, annotated.code]).toEqual([2, 2]);
  });

  test('a Ctrl-C ends it with what was read', async () => {
    const stopped = await margay(TIERS, { isInterrupted: true });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/reading was interrupted/);
  });

  test('a capture that is cut off is exit code 3, and 1 with findings, which says so too', async () => {
    const bytes = readFileSync(CAPTURE);
    const cut = path('cut.pcapng');
    writeFileSync(cut, bytes.subarray(0, 2000));
    const clean = await margay(['verify', '-f', 'pcaps/tiers/cluster.yaml', '-r', cut]);
    expect(clean.code, clean.stdout).toBe(3);
    expect(clean.stderr).toMatch(/^margay: .*cut\.pcapng: .*the block is cut off/m);
    writeFileSync(cut, bytes.subarray(0, bytes.length - 10));
    const both = await margay(['verify', ...lesson('tiers'), '-r', cut]);
    expect(both.code).toBe(1);
    expect(both.stderr).toMatch(/the block is cut off/);
  });
});

describe('usage errors', () => {
  const cases: [string, string[], RegExp][] = [
    ['no capture', [], /-r is missing/],
    ['a capture that is not there', ['-r', 'nowhere.pcap'], /'nowhere\.pcap' does not exist/],
    ['a directory', ['--sent', 'pcaps'], /'pcaps' is a directory/],
    [
      'a pod that is not there',
      ['-r', `pod:shop/nobody=${CAPTURE}`],
      /no pod 'shop\/nobody'; it has kube-system\/coredns-0/,
    ],
    ['a node that is not there', ['-r', `node:node-9=${CAPTURE}`], /no node 'node-9'; it has node-1, node-2/],
    ['standard input beside others', ['-r', '-', '-r', CAPTURE], /standard input cannot be laid over other captures/],
    ['annotating the input', ['-r', CAPTURE, '--annotate', CAPTURE], /--annotate: .* is read as well/],
    ['a report over the input', ['-r', CAPTURE, '--report', `./pcaps/../${CAPTURE}`], /--report: .* is read as well/],
    [
      'a folder that is not there',
      ['-r', CAPTURE, '--annotate', '/nowhere/x.pcapng'],
      /directory '\/nowhere' does not exist/,
    ],
    ['a file as the folder', ['-r', CAPTURE, '--split', 'package.json'], /--split: 'package\.json' is no directory/],
    ['annotating standard input', ['-r', '-', '--annotate', '/tmp/x.pcapng'], /put standard input into a file first/],
  ];
  test.each(cases)('%s', async (_, args, message) => {
    const before = readFileSync(CAPTURE);
    const { code, stdout, stderr } = await margay(['verify', ...lesson('tiers'), ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(readFileSync(CAPTURE).equals(before)).toBe(true);
  });

  test('another name of the input is the input', async () => {
    const own = path('own.pcapng');
    writeFileSync(own, readFileSync(CAPTURE));
    linkSync(own, path('hard.pcapng'));
    symlinkSync(own, path('soft.pcapng'));
    for (const name of ['hard.pcapng', 'soft.pcapng']) {
      const { code, stderr } = await margay(['verify', ...lesson('tiers'), '-r', own, '--annotate', path(name)]);
      expect([code, stderr.includes('is read as well')]).toEqual([2, true]);
    }
    expect(readFileSync(own).equals(readFileSync(CAPTURE))).toBe(true);
  });
});

describe('captures with comments', () => {
  const annotated = path('annotated.pcapng');
  const split = path('split');

  beforeAll(async () => {
    const { code, stderr } = await margay([...TIERS, '--annotate', annotated, '--split', split]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/wrote 257 packets to .*annotated\.pcapng/);
  });

  test('hold every packet as it was', async () => {
    expect(await frames(annotated)).toEqual(await frames(CAPTURE));
    const parts = readdirSync(split).sort();
    expect(parts).toEqual(['allowed', 'denied', 'uncertain', 'undecoded', 'unpoliced'].map((name) => `${name}.pcapng`));
    const counts = await Promise.all(parts.map(async (name) => (await frames(join(split, name))).length));
    expect(counts).toEqual([145, 105, 0, 0, 7]);
    expect(readdirSync(folder).filter((name) => name.includes('.part'))).toEqual([]);
  });

  const needs = hasTshark ? '' : ' (skipped: needs tshark)';
  test.skipIf(!hasTshark)(`are shown by Wireshark with verdict, rule, accounts and evidence${needs}`, () => {
    const fields = ['-T', 'fields', '-e', 'frame.number', '-e', 'frame.comment'];
    const lines = execFileSync('tshark', ['-r', annotated, ...fields], { encoding: 'utf8', stdio: 'pipe' })
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(257);
    const comment = lines[35]!.split('\t')[1]!;
    expect(comment).toContain('margay: deny (ingress of shop/ledger-0: end of tier default');
    expect(comment).toContain('pcaps/tiers/policies.yaml:87');
    expect(comment).toContain('lab/payments-0 (account payments) -> shop/ledger-0 (account ledger)');
    expect(comment).toContain('leak, proven: predicted deny, observed delivered (established)');
    expect(comment).toContain('evidence: SYN-ACK');
    expect(lines.every((line) => line.split('\t')[1]!.startsWith('margay: '))).toBe(true);
  });
});

/** Packets `from` to `to` of the capture, as a file of their own. */
async function piece(name: string, from: number, to: number): Promise<string> {
  const records = (await frames(CAPTURE)).slice(from - 1, to).map((line) => {
    const [time = '', wireBytes, hex = ''] = line.split(' ');
    const [seconds, nanos] = time.split('.').map(Number);
    return { bytes: Buffer.from(hex, 'hex'), wireBytes: Number(wireBytes), seconds: seconds!, nanos: nanos! };
  });
  writeFileSync(path(name), writePcapng(records));
  return path(name);
}

async function frames(file: string): Promise<string[]> {
  const reader = await openCapture(file);
  const batch = createRecordBatch();
  const out: string[] = [];
  do {
    while (reader.next(batch) > 0) {
      for (let i = 0; i < batch.count; i++) {
        const bytes = batch.bytes.subarray(batch.offsets[i]!, batch.offsets[i]! + batch.capturedBytes[i]!);
        out.push(`${batch.seconds[i]}.${batch.nanos[i]} ${batch.wireBytes[i]} ${Buffer.from(bytes).toString('hex')}`);
      }
    }
  } while (await reader.fill());
  expect(reader.error).toBeUndefined();
  reader.close();
  return out;
}

describe('the report', () => {
  const ELEMENT = '<script type="application/json" id="report-data">';

  function dataOf(page: string): ReportData {
    const start = page.indexOf(ELEMENT) + ELEMENT.length;
    return JSON.parse(page.slice(start, page.indexOf('</script>', start))) as ReportData;
  }

  test('holds hostile names without ending its element, and gives them back as they were', () => {
    const hostile = '</script><img src=x onerror=alert(1)><!-- \u2028\u2029 $& $1';
    const data = { incomplete: [hostile] } as unknown as ReportData;
    const page = pageOf(`<html>${ELEMENT}null</script><script>run()</script></html>`, data);
    expect(page.split('</script>')).toHaveLength(3);
    expect(page).not.toMatch(/<img|<!--|\u2028|\u2029/);
    expect(dataOf(page).incomplete).toEqual([hostile]);
    expect(() => pageOf('<html></html>', data)).toThrow(/has no place for its data/);
  });

  const hasPage = existsSync('dist/web/report.html');
  test.skipIf(!hasPage)(
    `has totals, matrix, graph, findings and connections${hasPage ? '' : ' (skipped: needs npm run build)'}`,
    async () => {
      const file = path('report.html');
      const { code } = await margay([...TIERS, '--report', file]);
      expect(code).toBe(1);
      const page = readFileSync(file, 'utf8');
      const data = dataOf(page);
      expect(data.totals).toMatchObject({
        packets: 257,
        connections: 31,
        leaks: 15,
        blocked: 0,
        allow: 145,
        deny: 105,
      });
      expect(data.findings.items).toHaveLength(15);
      expect(data.findings.items[0]!.explanation!.join('\n')).toMatch(/Ingress of pod shop\/ledger-0: denied\./);
      expect(data.connections).toMatchObject({ left_out: 0 });
      expect(data.connections.items).toHaveLength(31);
      expect(new Set(data.connections.items.map(({ id }) => id)).size).toBe(31);
      expect(data.matrix).toHaveLength(16);
      const columns = [data.timeline.allow, data.timeline.deny, data.timeline.unpoliced];
      expect(columns.map((counts) => counts.reduce((sum, count) => sum + count, 0))).toEqual([145, 105, 7]);
      const ids = new Set(data.graph.nodes.map(({ id }) => id));
      expect(data.graph.edges.every(({ from, to }) => ids.has(from) && ids.has(to))).toBe(true);
      expect(data.graph.edges.reduce((sum, edge) => sum + edge.leaks, 0)).toBe(15);
      expect(data.inputs.captures[0]!.file).toBe(CAPTURE);
      // Nothing is asked of anywhere else.
      expect(page.replace(JSON.stringify(data).replaceAll('<', '\\u003c'), '')).not.toMatch(/(src|href)="?https?:/);
    },
  );
});
