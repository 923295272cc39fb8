/** The assembler's code does in the engine what it says: numbers of every length, control, memory, vectors. */
import { describe, expect, test } from 'vitest';
import * as wasm from '../../src/base/wasm.ts';

type Binary = (a: number, b: number) => number;

function run(write: (f: wasm.FunctionBody) => wasm.Code, memory?: Uint8Array): Binary {
  const f = new wasm.FunctionBody('f', 2, true);
  f.code = write(f);
  const instance = wasm.instantiate([f], 1)!;
  if (memory !== undefined) new Uint8Array(instance.memory).set(memory);
  return instance.exports.f as Binary;
}

describe('int32', () => {
  test.each([0, 1, 63, 64, -1, -64, -65, 127, 128, 8191, 8192, -8193, 0x7fff_ffff, -0x8000_0000, 0x00ff_ffff])(
    'constant %d',
    (value) => expect(run(() => wasm.i32(value))(0, 0)).toBe(value),
  );

  test.each<[string, (a: wasm.Code, b: wasm.Code) => wasm.Code, Binary]>([
    ['add', wasm.add, (a, b) => (a + b) | 0],
    ['sub', wasm.sub, (a, b) => (a - b) | 0],
    ['mul', wasm.mul, Math.imul],
    ['and', wasm.and, (a, b) => a & b],
    ['or', wasm.or, (a, b) => a | b],
    ['xor', wasm.xor, (a, b) => a ^ b],
    ['shl', wasm.shl, (a, b) => a << b],
    ['shrU', wasm.shrU, (a, b) => (a >>> b) | 0],
    ['rotl', wasm.rotl, (a, b) => (a << b) | (a >>> (32 - (b & 31)))],
    ['ltS', wasm.ltS, (a, b) => (a < b ? 1 : 0)],
    ['gtS', wasm.gtS, (a, b) => (a > b ? 1 : 0)],
    ['gtU', wasm.gtU, (a, b) => (a >>> 0 > b >>> 0 ? 1 : 0)],
    ['geS', wasm.geS, (a, b) => (a >= b ? 1 : 0)],
  ])('%s', (_name, instruction, expected) => {
    const f = run((body) => instruction(body.parameters[0]!.get, body.parameters[1]!.get));
    for (const a of [0, 1, 5, -1, -7, 0x7fff_ffff, -0x8000_0000]) {
      for (const b of [1, 3, 7, 31]) expect([a, b, f(a, b)]).toEqual([a, b, expected(a, b)]);
    }
  });
});

test('a loop with a way out, a branch, and a select', () => {
  // Sums the numbers below `a`, leaving out those above `b`.
  const f = run((body) => {
    const [a, b] = body.parameters as [wasm.Local, wasm.Local];
    const [i, sum] = [body.local(), body.local()];
    return [
      ...wasm.block(
        wasm.loop(
          wasm.brIf(1, wasm.geS(i.get, a.get)),
          wasm.when(wasm.gtS(i.get, b.get), [], sum.set(wasm.add(sum.get, i.get))),
          i.set(wasm.add(i.get, wasm.i32(1))),
          wasm.br(0),
        ),
      ),
      ...wasm.select(sum.get, wasm.i32(-1), wasm.gtS(a.get, wasm.i32(0))),
    ];
  });
  expect([f(10, 100), f(10, 3), f(0, 5)]).toEqual([45, 6, -1]);
});

test('memory of any alignment, and float64', () => {
  const f = run((body) => {
    const [address, value] = body.parameters as [wasm.Local, wasm.Local];
    return [
      ...wasm.store(address.get, value.get, 101),
      ...wasm.addToFloat(address, value.get, 2 ** 32, 200),
      ...wasm.addToFloat(address, value.get, 2 ** 32, 200),
      ...wasm.or(wasm.load16(address.get, 101), wasm.shl(wasm.load16(address.get, 103), wasm.i32(16))),
    ];
  });
  expect(f(8, 0x1234_5678)).toBe(0x1234_5678);
  expect(f(9, -5)).toBe(-5);
});

test('vectors: starts that are at most a port', () => {
  const starts = Uint16Array.from([0, 80, 81, 443, 444, 0x8000, 0xffff, 0xffff]);
  const f = run(
    (body) =>
      wasm.popcnt(wasm.signs16(wasm.atMost16(wasm.loadVector(wasm.i32(0)), wasm.splat16(body.parameters[0]!.get)))),
    new Uint8Array(starts.buffer),
  );
  const expected = (port: number): number => starts.filter((start) => start <= port).length;
  for (const port of [0, 79, 80, 81, 443, 0x7fff, 0x8000, 0xfffe, 0xffff]) expect(f(port, 0)).toBe(expected(port));
});

test('vectors: bytes in another order', () => {
  const f = run(
    (body) => [
      ...body.parameters[0]!.set(
        wasm.lane32(
          wasm.shuffle(wasm.loadVector(wasm.i32(3)), wasm.zeroVector, [3, 2, 1, 0, ...Array(12).fill(16)]),
          0,
        ),
      ),
      ...wasm.xor(body.parameters[0]!.get, wasm.lane32(wasm.zeroVector, 2)),
    ],
    Uint8Array.from({ length: 32 }, (_, i) => i),
  );
  expect(f(0, 0)).toBe(0x0304_0506);
});

test('code that the engine refuses gives nothing', () => {
  const f = new wasm.FunctionBody('f', 0, true);
  expect(wasm.instantiate([f], 1)).toBeUndefined();
});
