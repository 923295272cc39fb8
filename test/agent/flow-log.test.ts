/** The flow log: what adds up, what is turned over, and what happens when the disk says no. */
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, afterEach, expect, test } from 'vitest';
import { FlowLog, type FlowLogOptions } from '../../src/agent/flow-log.ts';
import { RECORD_SCHEMA } from '../../src/analyze/record-schema.ts';
import { until } from './engine-support.ts';
import { update } from './records.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-flowlog-'));
const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const troubles: (string | undefined)[] = [];

async function openLog(options: Partial<FlowLogOptions> = {}): Promise<FlowLog> {
  troubles.length = 0;
  const log = new FlowLog({
    path: join(folder, `${Math.random().toString(36).slice(2)}.jsonl`),
    stdout: { write: () => {} },
    format: 'native',
    node: 'n1',
    maxBytes: 1e9,
    keep: 3,
    intervalMs: 3_600_000,
    onTrouble: (trouble) => troubles.push(trouble),
    ...options,
  });
  await log.open();
  return log;
}

interface Line {
  readonly [key: string]: unknown;
  readonly packets: number;
  readonly bytes: number;
}

function linesOf(path: string): Line[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

test('a flow is a line each interval and one at its end; packets and bytes of its lines are those of the flow', async () => {
  const path = join(folder, 'sums.jsonl');
  const log = await openLog({ path, intervalMs: 30 });
  log.take(update('a', { packets: 3, bytes: 200 }));
  await until('a first line', () => log.lines === 1);
  log.take(update('a', { packets: 5, bytes: 300, end_time: '2026-01-01T00:00:02.000000Z' }));
  await until('a second line', () => log.lines === 2);
  const by = { deny: 5, allow: 4 };
  log.take(
    update(
      'a',
      { packets: 9, bytes: 700, packets_by_action: by, end_time: '2026-01-01T00:00:03.000000Z' },
      { isOpen: false },
    ),
  );
  log.take(update('b', { packets: 1, bytes: 60 }));
  await log.close(1_000);
  const lines = linesOf(path);
  const ofA = lines.filter(({ flow_id }) => flow_id === 'a');
  expect(ofA.map(({ packets, bytes, start_time, is_open }) => [packets, bytes, start_time, is_open])).toEqual([
    [3, 200, '2026-01-01T00:00:00.000000Z', true],
    [2, 100, '2026-01-01T00:00:01.000000Z', true],
    [4, 400, '2026-01-01T00:00:02.000000Z', false],
  ]);
  expect(ofA.map(({ packets_by_action }) => packets_by_action)).toEqual([undefined, undefined, { allow: 4 }]);
  expect(lines.every(({ generation, node }) => generation === 7 && node === 'n1')).toBe(true);
  // What is open at the end has its line, too, and what did not change since has no second one.
  expect(lines.filter(({ flow_id }) => flow_id === 'b')).toHaveLength(1);
  expect([log.lines, log.dropped]).toEqual([4, 0]);
});

test('a native line is a record of the schema, with what the log adds', async () => {
  const path = join(folder, 'schema.jsonl');
  const log = await openLog({ path });
  log.take(update('a', {}, { isOpen: false, finding: 'leak' }));
  await log.close(1_000);
  const { flow_id, generation, is_open, node, finding, ...record } = linesOf(path)[0]!;
  expect([flow_id, generation, is_open, node, finding]).toEqual(['a', 7, false, 'n1', 'leak']);
  const validate = new Ajv({ strict: false }).compile(RECORD_SCHEMA);
  expect(validate(record), JSON.stringify(validate.errors)).toBe(true);
});

test('a file that is full is turned over; so many older ones stay', async () => {
  const path = join(folder, 'turned.jsonl');
  const log = await openLog({ path, maxBytes: 5_000, keep: 2 });
  for (let i = 0; i < 60; i++) {
    log.take(update(`f${i}`, {}, { isOpen: false }));
    await until('it is written', () => log.lines === i + 1);
  }
  await log.close(1_000);
  expect([existsSync(`${path}.1`), existsSync(`${path}.2`), existsSync(`${path}.3`)]).toEqual([true, true, false]);
  const ids = [`${path}.2`, `${path}.1`, path].flatMap((each) => linesOf(each).map(({ flow_id }) => flow_id));
  // The newest ones, none twice, none missing between.
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, i) => `f${60 - ids.length + i}`));
  for (const each of [path, `${path}.1`]) expect(readFileSync(each).length).toBeLessThanOrEqual(5_000);
});

test('a file that somebody moved away is opened anew', async () => {
  const path = join(folder, 'moved.jsonl');
  const log = await openLog({ path });
  log.take(update('a', {}, { isOpen: false }));
  await until('it is written', () => log.lines === 1);
  renameSync(path, `${path}.old`);
  await log.reopen();
  log.take(update('b', {}, { isOpen: false }));
  await log.close(1_000);
  expect(linesOf(path).map(({ flow_id }) => flow_id)).toEqual(['b']);
});

test('a device that is full: every line is counted, and it is said once', async () => {
  const log = await openLog({ path: '/dev/full' });
  for (let i = 0; i < 50; i++) log.take(update(`f${i}`, {}, { isOpen: false }));
  await until('it is told', () => troubles.length > 0);
  await log.close(1_000);
  expect(log.lines).toBe(0);
  expect(log.dropped).toBe(50);
  expect(troubles.filter((each) => each !== undefined).length).toBe(1);
  expect(troubles[0]).toContain('ENOSPC');
});

test('a disk that fills up and is emptied: whole lines alone stay, and writing goes on by itself', async ({ skip }) => {
  const disk = join(folder, 'disk');
  mkdirSync(disk, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'margay-test', disk], { stdio: 'pipe' });
  } catch {
    skip('no right to mount a tmpfs here');
  }
  cleanUp.push(() => execFileSync('umount', [disk]));
  const path = join(disk, 'flows.jsonl');
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(40_960));
  const log = await openLog({ path });
  let taken = 0;
  const take = (): void => log.take(update(`f${taken++}`, {}, { isOpen: false }));
  for (let i = 0; i < 100; i++) take();
  await until('the disk is full', () => log.dropped > 0);
  rmSync(join(disk, 'ballast'));
  await until('it goes on', () => {
    if (log.lines + log.dropped === taken && taken < 130) take();
    return troubles.at(-1) === undefined && troubles.length >= 2;
  });
  await log.close(2_000);
  expect(linesOf(path)).toHaveLength(log.lines);
  expect(log.lines + log.dropped).toBe(taken);
});

/** Another program that reads a pipe to its end. */
class PipeReader {
  text = '';
  readonly ended: Promise<unknown>;

  constructor(path: string) {
    const reader = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'ignore'] });
    reader.stdout.on('data', (part: Buffer) => {
      this.text += part.toString('utf8');
    });
    this.ended = new Promise((resolve) => reader.once('close', resolve));
  }
}

test('a pipe whose reader stands still: lines are dropped, nothing waits; what is read are whole lines', async () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  // Holds the pipe open, so that neither end waits for the other to open it.
  const holder = openSync(path, 'r+');
  const log = await openLog({ path });
  const labels = { text: 'x'.repeat(5_000) };
  for (let i = 0; i < 400; i++) log.take(update(`f${i}`, { source_labels: labels }, { isOpen: false }));
  await until('lines are dropped', () => log.dropped > 100);
  expect(troubles[0]).toContain('EAGAIN');
  const reader = new PipeReader(path);
  let taken = 400;
  await until('it goes on', () => {
    if (log.lines + log.dropped === taken) log.take(update(`g${taken++}`, {}, { isOpen: false }));
    return troubles.at(-1) === undefined;
  });
  await log.close(5_000);
  closeSync(holder);
  await reader.ended;
  const lines = reader.text.split('\n').filter((line) => line !== '');
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  expect(lines).toHaveLength(log.lines);
  expect(log.lines + log.dropped).toBe(taken);
});

/** A pipe that is full, and a log that has more for it. */
async function fullPipe(name: string): Promise<{ log: FlowLog; path: string; holder: number; taken: number }> {
  const path = join(folder, name);
  execFileSync('mkfifo', [path]);
  const holder = openSync(path, 'r+');
  const log = await openLog({ path });
  const taken = 120;
  for (let i = 0; i < taken; i++)
    log.take(update(`f${i}`, { source_labels: { text: 'x'.repeat(5_000) } }, { isOpen: false }));
  await until('the pipe is full', () => (troubles.at(-1) ?? '').includes('EAGAIN'));
  return { log, path, holder, taken };
}

test('a pipe that is read while the log is closed: the line that was cut is ended, and others go', async () => {
  const { log, path, holder, taken } = await fullPipe('read-late');
  const before = log.lines;
  const closing = log.close(20_000);
  const reader = new PipeReader(path);
  await closing;
  closeSync(holder);
  await reader.ended;
  const lines = reader.text.split('\n').filter((line) => line !== '');
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  expect(lines).toHaveLength(log.lines);
  expect(log.lines + log.dropped).toBe(taken);
  expect(log.lines).toBeGreaterThan(before);
});

test('a pipe that nobody reads while the log is closed: what was cut does not count as a line', async () => {
  const { log, path, holder, taken } = await fullPipe('read-never');
  await log.close(100);
  expect(log.lines + log.dropped).toBe(taken);
  const reader = new PipeReader(path);
  await until('all is read', () => reader.text.split('\n').length > log.lines);
  closeSync(holder);
  await reader.ended;
  expect(reader.text.split('\n').length - 1).toBe(log.lines);
});

test('goldmane: one line a reporter, in the names of its Flow', async () => {
  const path = join(folder, 'goldmane.jsonl');
  const log = await openLog({ path, format: 'goldmane' });
  log.take(update('a', {}, { isOpen: false }));
  await log.close(1_000);
  const lines = linesOf(path);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toEqual({
    Key: {
      source_name: 'web-0',
      source_namespace: 'shop',
      source_type: 'WorkloadEndpoint',
      dest_name: 'db-0',
      dest_namespace: 'shop',
      dest_type: 'WorkloadEndpoint',
      dest_port: 5432,
      dest_service_name: '-',
      dest_service_namespace: '-',
      dest_service_port_name: '-',
      dest_service_port: 0,
      proto: 'tcp',
      reporter: 'Dst',
      action: 'Deny',
      policies: {
        enforced_policies: [END_OF_TIER],
        pending_policies: [END_OF_TIER],
      },
    },
    start_time: 1_767_225_600,
    end_time: 1_767_225_601,
    source_labels: ['app=web'],
    dest_labels: ['app=db'],
    packets_in: 3,
    packets_out: 0,
    bytes_in: 222,
    bytes_out: 0,
    num_connections_started: 1,
    num_connections_completed: 1,
    num_connections_live: 0,
  });
  expect(lines[0]).toMatchObject({ Key: { reporter: 'Src', action: 'Allow' }, packets_out: 3, packets_in: 0 });
});

const END_OF_TIER = {
  kind: 'EndOfTier',
  namespace: '',
  name: '',
  tier: 'default',
  action: 'Deny',
  policy_index: 0,
  rule_index: -1,
  trigger: { kind: 'CalicoNetworkPolicy', namespace: 'shop', name: 'db', tier: 'default', action: 'ActionUnspecified' },
};

test('hubble: the line of its exporter', async () => {
  const path = join(folder, 'hubble.jsonl');
  const log = await openLog({ path, format: 'hubble' });
  log.take(update('a', {}, { isOpen: false }));
  log.take(update('b', { action: 'allow', source_type: 'net', source_ip: 'fd00::1', proto: 'udp' }, { isOpen: false }));
  await log.close(1_000);
  const [denied, allowed] = linesOf(path) as unknown as { flow: Record<string, unknown>; node_name: string }[];
  expect(denied).toMatchObject({
    node_name: 'n1',
    time: '2026-01-01T00:00:01.000000Z',
    flow: {
      verdict: 'DROPPED',
      drop_reason_desc: 'POLICY_DENIED',
      IP: { source: '10.0.0.1', destination: '10.0.0.2', ipVersion: 'IPv4' },
      l4: { TCP: { source_port: 40_000, destination_port: 5432 } },
      source: { namespace: 'shop', pod_name: 'web-0' },
      traffic_direction: 'INGRESS',
      is_reply: false,
      Type: 'L3_L4',
    },
  });
  expect(allowed!.flow).toMatchObject({ verdict: 'FORWARDED', IP: { ipVersion: 'IPv6' }, l4: { UDP: {} } });
  expect(allowed!.flow).not.toHaveProperty('drop_reason_desc');
});
