/**
 * A small assembler for WebAssembly: just what the packet loops need.
 *
 * Code is a list of bytes, and each function below puts an instruction behind the code of its operands, so that nested calls read like
 * the expression that they mean:
 *
 *   const i = f.local();                                   // (local $i i32)
 *   i.set(add(i.get, i32(1)))                              // i = i + 1
 *   store(shl(i.get, i32(2)), i32(7), 4096)                // memory32[4096 + i * 4] = 7
 *
 * Numbers are written as LEB128: seven bits a byte, lowest first, bit 7 says that more come. A module has types, one imported memory,
 * functions, exports and code, in this order of sections. Source: WebAssembly Core Specification 2.0, chapter 5 (binary format), with
 * fixed-width SIMD; both are in every Node.js from 16.4 on.
 *
 * Nothing is checked here but what the engine checks, which refuses code whose types do not fit.
 */
export type Code = readonly number[];

/** Type of a value. */
const I32 = 0x7f;
export const V128 = 0x7b;

export interface Local {
  readonly get: Code;
  readonly set: (value: Code) => Code;
  /** Sets it and leaves the value. */
  readonly tee: (value: Code) => Code;
}

/** The body of one function while it is written: parameters first, then locals as they are asked for. */
export class FunctionBody {
  readonly name: string;
  readonly parameters: readonly Local[];
  readonly locals: number[] = [];
  /** Whether it returns an i32. */
  readonly hasResult: boolean;
  code: Code = [];
  readonly #parameterCount: number;

  constructor(name: string, parameterCount: number, hasResult: boolean) {
    this.name = name;
    this.hasResult = hasResult;
    this.#parameterCount = parameterCount;
    this.parameters = Array.from({ length: parameterCount }, (_, i) => localAt(i));
  }

  get parameterCount(): number {
    return this.#parameterCount;
  }

  /** A new local of `type` (I32 unless said), 0 at first. */
  local(type = I32): Local {
    this.locals.push(type);
    return localAt(this.#parameterCount + this.locals.length - 1);
  }
}

function localAt(index: number): Local {
  const at = unsigned(index);
  return {
    get: [0x20, ...at],
    set: (value) => [...value, 0x21, ...at],
    tee: (value) => [...value, 0x22, ...at],
  };
}

/** A module as bytes, which any thread can start. */
export interface Module {
  readonly code: Uint8Array;
  readonly pages: number;
}

/**
 * A module that imports `env.memory` of `pages` pages of 64 KiB and exports `functions` by name; `undefined` if this engine cannot run
 * them (no WebAssembly, no vectors).
 */
export function assemble(functions: readonly FunctionBody[], pages: number): Module | undefined {
  const code = assembleCode(functions, pages);
  return engineOf()?.validate(code) === true ? { code, pages } : undefined;
}

function assembleCode(functions: readonly FunctionBody[], pages: number): Uint8Array<ArrayBuffer> {
  const types = functions.map((f) => [
    0x60,
    ...vector(Array.from({ length: f.parameterCount }, () => [I32])),
    ...vector(f.hasResult ? [[I32]] : []),
  ]);
  const exports = functions.map((f, i) => [...text(f.name), 0x00, ...unsigned(i)]);
  const bodies = functions.map((f) => {
    const body = [...vector(f.locals.map((type) => [1, type])), ...f.code, 0x0b];
    return [...unsigned(body.length), ...body];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(types)),
    ...section(2, vector([[...text('env'), ...text('memory'), 0x02, 0x00, ...unsigned(pages)]])),
    ...section(3, vector(functions.map((_, i) => unsigned(i)))),
    ...section(7, vector(exports)),
    ...section(10, vector(bodies)),
  ]);
}

/** What is used of the engine; lib.dom, which no part of this program needs, would describe all of it. */
interface Engine {
  readonly validate: (code: Uint8Array) => boolean;
  readonly Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
}

/** A running module and its memory. */
export interface Instance {
  readonly memory: ArrayBuffer;
  readonly exports: Readonly<Record<string, unknown>>;
}

function engineOf(): Engine | undefined {
  return (globalThis as { WebAssembly?: Engine }).WebAssembly;
}

/** Whether this engine has any WebAssembly; `assemble` knows more, later. */
export function hasWasm(): boolean {
  return engineOf() !== undefined;
}

/** Starts a module over a new memory. */
export function start({ code, pages }: Module): Instance {
  const engine = engineOf()!;
  const memory = new engine.Memory({ initial: pages, maximum: pages });
  const { exports } = new engine.Instance(new engine.Module(code), { env: { memory } });
  return { memory: memory.buffer, exports };
}

/** Assembles and starts at once. */
export function instantiate(functions: readonly FunctionBody[], pages: number): Instance | undefined {
  const module = assemble(functions, pages);
  return module === undefined ? undefined : start(module);
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): Code {
  return vector([...new TextEncoder().encode(value)].map((byte) => [byte]));
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value >>> 0; ; ) {
    const low = rest & 127;
    rest >>>= 7;
    if (rest === 0) return [...bytes, low];
    bytes.push(low | 128);
  }
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const low = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0);
    if (isLast) return [...bytes, low];
    bytes.push(low | 128);
  }
}

/* ---- control ---- */

export const block = (...code: Code[]): Code => [0x02, 0x40, ...code.flat(), 0x0b];
export const loop = (...code: Code[]): Code => [0x03, 0x40, ...code.flat(), 0x0b];
/** Jumps to the end of the block, or the start of the loop, `depth` levels out. */
export const br = (depth: number): Code => [0x0c, ...unsigned(depth)];
export const brIf = (depth: number, condition: Code): Code => [...condition, 0x0d, ...unsigned(depth)];
export const when = (condition: Code, then: Code, otherwise: Code = []): Code => [
  ...condition,
  0x04,
  0x40,
  ...then,
  ...(otherwise.length === 0 ? [] : [0x05, ...otherwise]),
  0x0b,
];

/* ---- int32 ---- */

export const i32 = (value: number): Code => [0x41, ...signed(value)];

const binary =
  (opcode: number) =>
  (a: Code, b: Code): Code => [...a, ...b, opcode];
export const ltS = binary(0x48);
export const gtS = binary(0x4a);
export const gtU = binary(0x4b);
export const geS = binary(0x4e);
export const add = binary(0x6a);
export const sub = binary(0x6b);
export const mul = binary(0x6c);
export const and = binary(0x71);
export const or = binary(0x72);
export const xor = binary(0x73);
export const shl = binary(0x74);
export const shrU = binary(0x76);
export const rotl = binary(0x77);
export const popcnt = (value: Code): Code => [...value, 0x69];
/** `a` if `condition` is not 0, else `b`; both are worked out. */
export const select = (a: Code, b: Code, condition: Code): Code => [...a, ...b, ...condition, 0x1b];

/* ---- memory: addresses in bytes, any alignment, little-endian ---- */

const access = (opcode: number, offset: number): Code => [opcode, 0x00, ...unsigned(offset)];
export const load = (address: Code, offset = 0): Code => [...address, ...access(0x28, offset)];
export const load16 = (address: Code, offset = 0): Code => [...address, ...access(0x2f, offset)];
export const store = (address: Code, value: Code, offset = 0): Code => [...address, ...value, ...access(0x36, offset)];

/* ---- float64 ---- */

/** Adds `addend` and the int32 `value` to the float64 at `address`. */
export const addToFloat = (address: Local, value: Code, addend: number, offset = 0): Code => [
  ...address.get,
  ...address.get,
  ...access(0x2b, offset),
  ...[...value, 0xb7],
  ...[0x44, ...new Uint8Array(new Float64Array([addend]).buffer)],
  0xa0,
  0xa0,
  ...access(0x39, offset),
];

/* ---- vectors of 128 bits ---- */

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
export const loadVector = (address: Code, offset = 0): Code => [...address, ...simd(0x00), 0x00, ...unsigned(offset)];
export const zeroVector: Code = [...simd(0x0c), ...new Array<number>(16).fill(0)];
/** Byte i of the result is byte `lanes[i]` of `a` and `b` put together. */
export const shuffle = (a: Code, b: Code, lanes: readonly number[]): Code => [...a, ...b, ...simd(0x0d), ...lanes];
export const splat16 = (value: Code): Code => [...value, ...simd(0x10)];
export const lane32 = (vector: Code, lane: number): Code => [...vector, ...simd(0x1b), lane];
/** Lanes of 16 bits, unsigned: all ones where `a <= b`. */
export const atMost16 = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x34)];
/** Two vectors of 16-bit lanes as one of 8-bit lanes, saturated. */
export const narrow16 = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x65)];
/** The sign bits of the lanes. */
export const signs8 = (vector: Code): Code => [...vector, ...simd(0x64)];
export const signs16 = (vector: Code): Code => [...vector, ...simd(0x84)];
