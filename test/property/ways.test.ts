/**
 * One answer whatever the way to it: tables written and read again, in a worker thread, over folded tables or bit rows, and
 * from documents in another order. Worlds and flows are those of agreement.test.ts, fewer of them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluateFlow, writeFlow } from '../../src/analyze/evaluate-flow.ts';
import { createWasmLane } from '../../src/analyze/wasm-lane.ts';
import { compile } from '../../src/compile/compile.ts';
import { judgeFolded } from '../../src/match/folded.ts';
import { decidingStep, judgeNewPacket } from '../../src/match/judge.ts';
import {
  createPlainJudge,
  createScriptLoops,
  judgePlain,
  type PlainJudge,
  type PlainLoops,
} from '../../src/match/plain.ts';
import { layOutDirect } from '../../src/match/plain-direct.ts';
import { createLoops6 } from '../../src/match/plain6.ts';
import { createJudge } from '../../src/match/state.ts';
import type { Flow } from '../../src/model/flow.ts';
import { VERDICT_ALLOW, VERDICT_DENY, VERDICT_UNPOLICED } from '../../src/model/flow.ts';
import { NONE, STEP_DENY, STEP_JUMP, STEP_NONE, STEP_SIZE, VALUE_STEP_SHIFT } from '../../src/tables/layout.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { createPlainColumns, type PlainColumns } from '../../src/wire/plain.ts';
import { createPlain6Columns, PLAIN6_ADDRESS_WORDS } from '../../src/wire/plain6.ts';
import { PACKET_DST, PACKET_DST_PORT, PACKET_PROTOCOL, PACKET_SRC, PACKET_WORDS } from '../../src/wire/record.ts';
import { type EvalWorker, startEvalWorker } from '../support/eval-worker.ts';
import { drawFlows, loadWorld, randomFrom, type World, world } from './world.ts';

const SEED = Number(process.env.MARGAY_SEED ?? 20_260_801) + 1;

function worlds(count: number, check: (drawn: World) => void | Promise<void>): Promise<void> | void {
  const property = fc.asyncProperty(world, async (drawn) => check(drawn));
  return fc.assert(property, { numRuns: count, seed: SEED, endOnFailure: true });
}

describe('the same records', () => {
  let worker: EvalWorker;
  const folder = mkdtempSync(join(tmpdir(), 'margay-tables-'));
  beforeAll(() => {
    worker = startEvalWorker();
  });
  afterAll(async () => {
    await worker.close();
    rmSync(folder, { recursive: true });
  });

  test('from tables that were written to a file and read again', () =>
    worlds(60, (drawn) => {
      const buffer = compile(loadWorld(drawn).resources);
      const file = join(folder, 'tables');
      writeFileSync(file, new Uint8Array(buffer));
      const bytes = readFileSync(file);
      const again = openTables(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      const tables = openTables(buffer);
      for (const flow of drawFlows(drawn.flowSeed, 100)) {
        expect(evaluateFlow(again, flow)).toEqual(evaluateFlow(tables, flow));
      }
    }));

  test('in a worker thread over shared memory', () =>
    worlds(60, async (drawn) => {
      const buffer = compile(loadWorld(drawn).resources);
      const tables = openTables(buffer);
      const flows = drawFlows(drawn.flowSeed, 100);
      expect(await worker.evaluate(buffer, flows)).toEqual(flows.map((flow) => evaluateFlow(tables, flow)));
    }));
});

describe('the same deciding step', () => {
  test('over folded tables as over bit rows, packet by packet', async () => {
    let folded = 0;
    await worlds(150, (drawn) => {
      const tables = openTables(compile(loadWorld(drawn).resources));
      const judge = createJudge(tables);
      const packet = new Int32Array(PACKET_WORDS);
      for (const flow of drawFlows(drawn.flowSeed, 300)) {
        writeFlow(flow, packet);
        const value = judgeFolded(tables, packet, 0);
        if (value === NONE) continue;
        folded++;
        judgeNewPacket(judge, packet, 0);
        const { verdict, step } = answerOf(value);
        const expected = { flow, verdict: judge.verdict, step: saidBy(tables, decidingStep(judge)) };
        expect({ flow, verdict, step: saidBy(tables, step) }).toEqual(expected);
      }
    });
    expect(folded).toBeGreaterThan(10_000);
  });

  test('in the plain loops as one by one', async () => {
    let plain = 0;
    await worlds(100, (drawn) => {
      const tables = openTables(compile(loadWorld(drawn).resources));
      const flows = drawFlows(drawn.flowSeed, 600).filter(isPlain).slice(0, 128);
      plain += checkPlain(tables, flows);
    });
    expect(plain).toBeGreaterThan(2000);
  });

  test('in the loops of IPv6 as one by one', async () => {
    let plain = 0;
    await worlds(100, (drawn) => {
      const tables = openTables(compile(loadWorld(drawn).resources));
      const flows = drawFlows(drawn.flowSeed, 300).filter(isPlain6).slice(0, 128);
      plain += checkPlain6(tables, flows);
    });
    expect(plain).toBeGreaterThan(2000);
  });
});

/** What the plain loops take: TCP and UDP over IPv4. */
function isPlain({ src, protocol }: Flow): boolean {
  return src.includes('.') && (protocol === 'tcp' || protocol === 'udp');
}

/** Number of rows that the loops answered themselves. */
function checkPlain(tables: Tables, flows: readonly Flow[]): number {
  const packet = new Int32Array(PACKET_WORDS);
  const column = (): Int32Array => new Int32Array(flows.length);
  const [src, dst, keys, values] = [column(), column(), column(), column()];
  flows.forEach((flow, row) => {
    writeFlow(flow, packet);
    src[row] = packet[PACKET_SRC]!;
    dst[row] = packet[PACKET_DST]!;
    keys[row] = ((packet[PACKET_PROTOCOL] === 6 ? 0 : 1) << 16) | packet[PACKET_DST_PORT]!;
    values[row] = judgeFolded(tables, packet, 0);
  });
  const judged = ({ columns, loops }: { columns: PlainColumns; loops: PlainLoops }): PlainJudge => {
    for (const [name, rows] of Object.entries({ src, dst, keys })) columns[name as 'src'].set(rows);
    columns.bytes.fill(60);
    const made = createPlainJudge(tables, loops);
    judgePlain(made, flows.length, 60 * flows.length);
    return made;
  };
  const rowsOf = ({ steps, side, sideCount, counts }: PlainJudge): unknown => [
    steps.subarray(0, flows.length),
    side.subarray(0, sideCount),
    counts,
  ];
  const columns = createPlainColumns(flows.length);
  const judge = judged({ columns, loops: createScriptLoops(tables, columns, undefined) });
  const direct = layOutDirect(tables);
  expect(direct).toBeDefined();
  expect(rowsOf(judged({ columns, loops: createScriptLoops(tables, columns, direct) }))).toEqual(rowsOf(judge));
  for (const isWide of [false, true]) {
    const lane = createWasmLane(tables, isWide);
    expect(lane).toBeDefined();
    expect(rowsOf(judged(lane!))).toEqual(rowsOf(judge));
  }
  const bySide = new Set(judge.side.subarray(0, judge.sideCount));
  flows.forEach((flow, row) => {
    const isSide = values[row] === NONE;
    expect({ flow, isSide: bySide.has(row) }).toEqual({ flow, isSide });
    if (!isSide) expect({ flow, step: judge.steps[row] }).toEqual({ flow, step: values[row]! >> VALUE_STEP_SHIFT });
  });
  return flows.length - bySide.size;
}

function isPlain6({ src, protocol }: Flow): boolean {
  return src.includes(':') && (protocol === 'tcp' || protocol === 'udp');
}

/** Number of rows that the loops answered themselves, with the direct table and with the search. */
function checkPlain6(tables: Tables, flows: readonly Flow[]): number {
  const packet = new Int32Array(PACKET_WORDS);
  const columns = createPlain6Columns(flows.length);
  const expected = flows.map((flow, row) => {
    writeFlow(flow, packet);
    columns.addresses.set(packet.subarray(PACKET_SRC, PACKET_SRC + 4), PLAIN6_ADDRESS_WORDS * row);
    columns.addresses.set(packet.subarray(PACKET_DST, PACKET_DST + 4), PLAIN6_ADDRESS_WORDS * row + 4);
    columns.keys[row] = ((flow.protocol === 'udp' ? 1 : 0) << 16) | packet[PACKET_DST_PORT]!;
    columns.bytes[row] = 60;
    return judgeFolded(tables, packet, 0) >> VALUE_STEP_SHIFT;
  });
  const sides = expected.filter((step) => step === NONE).length;
  for (const direct of [layOutDirect(tables), undefined]) {
    const judge = createPlainJudge(tables, createLoops6(tables, columns, direct));
    judgePlain(judge, flows.length, 60 * flows.length);
    flows.forEach((flow, row) => {
      expect({ flow, step: judge.steps[row] }).toEqual({ flow, step: expected[row] });
    });
    expect(judge.sideCount).toBe(sides);
  }
  return flows.length - sides;
}

/** What a step says: functions name the first of several alike. Where evaluation goes on after it does not count. */
function saidBy(tables: Tables, step: number): number[] {
  if (step === NONE) return [];
  const record = [...tables.steps.subarray(step * STEP_SIZE, (step + 1) * STEP_SIZE)];
  return record.filter((_, word) => word !== STEP_JUMP);
}

function answerOf(value: number): { verdict: number; step: number } {
  const action = value & 3;
  if (action === STEP_NONE) return { verdict: VERDICT_UNPOLICED, step: NONE };
  return { verdict: action === STEP_DENY ? VERDICT_DENY : VERDICT_ALLOW, step: value >> VALUE_STEP_SHIFT };
}

test('the same bytes from the same documents in any order', () =>
  worlds(120, (drawn) => {
    const random = randomFrom(drawn.flowSeed);
    const order = drawn.documents
      .map((_, index) => ({ index, rank: random() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ index }) => index);
    // An invented Namespace is said to be where an object first names it, so these loads invent none.
    const asIs = { ...drawn, asIs: true };
    const [first, second] = [loadWorld(asIs), loadWorld(asIs, order)];
    expect(Buffer.from(compile(second.resources)).equals(Buffer.from(compile(first.resources)))).toBe(true);
  }));
