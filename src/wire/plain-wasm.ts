/**
 * The scan of plain.ts in WebAssembly: walks the records of an ordinary pcap file in its memory and fills the columns of plain frames.
 *
 * One load takes the 16 bytes from the time to live to the destination port; one shuffle turns addresses and port, which lie there in
 * network byte order, into numbers. The tests are those of plain.ts, written for little-endian words:
 *
 *   offset 12   08 00 45 ..        & 00ff ffff = 0045 0008       Ethernet type IPv4, version 4, five words of header
 *          20   ff ff tt pp        & ff00 ff3f = 0600 0000       no fragment, TCP (or 1100 0000, UDP)
 *
 * A test holds that both scans leave the same columns.
 */
import * as wasm from '../base/wasm.ts';
import {
  add,
  and,
  br,
  brIf,
  FunctionBody,
  geS,
  gtS,
  gtU,
  i32,
  load,
  load16,
  ltS,
  mul,
  or,
  rotl,
  select,
  shl,
  shrU,
  store,
  sub,
  when,
  xor,
} from '../base/wasm.ts';
import { PLAIN_FORM } from './plain.ts';

/** Byte addresses of the columns of a scan, and of the words that it leaves its results in (SCAN_*). */
export interface WasmScanColumns {
  readonly src: number;
  readonly dst: number;
  readonly keys: number;
  readonly bytes: number;
  readonly frames: number;
  readonly others: number;
  readonly otherNumbers: number;
  readonly results: number;
}

/* Words from `results` on. */
export const SCAN_COUNT = 0;
export const SCAN_BYTE_COUNT = 1;
export const SCAN_OTHER_COUNT = 2;
export const SCAN_RECORD_COUNT = 3;
export const SCAN_POSITION = 4;
export const SCAN_WORDS = 5;

/** From the 16 bytes at offset 22 of the frame: source, destination, and the destination port with zeroes, as little-endian words. */
const LANES = [7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 16, 16, 16, 16, 16, 16];
const { recordHeaderBytes, leastBytes, tcpHeadersBytes, tcpExcessBytes, bytesMax } = PLAIN_FORM;

/** The function `scan(base, position, end)`: addresses of the view's first byte, the first record and the end of what is read. */
export function scanFunction(columns: WasmScanColumns, limit: number, capturedMax: number): FunctionBody {
  const f = new FunctionBody('scan', 3, false);
  const [base, position, end] = f.parameters as [wasm.Local, wasm.Local, wasm.Local];
  /** Byte offsets of the next row of the columns. */
  const [plain, other] = [f.local(), f.local()];
  const [taken, byteCount, captured, next, record, wire] = [
    f.local(),
    f.local(),
    f.local(),
    f.local(),
    f.local(),
    f.local(),
  ];
  const [total, isUdp, longest] = [f.local(), f.local(), f.local()];
  const ends = f.local(wasm.V128);
  const frame = (offset: number): number => recordHeaderBytes + offset;

  const differs = or(
    xor(and(load(record.get, frame(12)), i32(0x00ff_ffff)), i32(0x0045_0008)),
    xor(and(load(record.get, frame(20)), i32(0xff00_ff3f | 0)), shl(add(i32(6), mul(isUdp.get, i32(11))), i32(24))),
  );
  const least = sub(i32(tcpHeadersBytes), mul(isUdp.get, i32(tcpExcessBytes)));
  const short = or(
    or(sub(captured.get, least), sub(total.get, least)),
    or(sub(longest.get, total.get), or(sub(i32(bytesMax), wire.get), wire.get)),
  );
  const take = [
    ...ends.set(wasm.shuffle(wasm.loadVector(record.get, frame(22)), wasm.zeroVector, LANES)),
    ...store(plain.get, wasm.lane32(ends.get, 0), columns.src),
    ...store(plain.get, wasm.lane32(ends.get, 1), columns.dst),
    ...store(plain.get, or(wasm.lane32(ends.get, 2), shl(isUdp.get, i32(16))), columns.keys),
    ...store(plain.get, wire.get, columns.bytes),
    ...store(plain.get, sub(record.get, base.get), columns.frames),
    ...byteCount.set(add(byteCount.get, wire.get)),
    ...plain.set(add(plain.get, i32(4))),
  ];
  const putAside = [
    ...store(other.get, sub(record.get, base.get), columns.others),
    ...store(other.get, taken.get, columns.otherNumbers),
    ...other.set(add(other.get, i32(4))),
  ];
  const parse = [
    ...wire.set(load(record.get, 12)),
    // Bit 28 of the word is bit 4 of the protocol: 1 in 17, 0 in 6.
    ...isUdp.set(and(shrU(load(record.get, frame(20)), i32(28)), i32(1))),
    ...total.set(add(swapped16(load16(record.get, frame(16)), longest), i32(14))),
    ...longest.set(select(wire.get, captured.get, gtS(wire.get, captured.get))),
    ...when(or(differs, and(short, i32(0x8000_0000 | 0))), putAside, take),
  ];
  f.code = [
    ...wasm.block(
      wasm.loop(
        brIf(1, geS(taken.get, i32(limit))),
        brIf(1, ltS(sub(end.get, position.get), i32(recordHeaderBytes))),
        brIf(1, gtU(captured.tee(load(position.get, 8)), i32(capturedMax))),
        brIf(1, gtS(next.tee(add(add(position.get, i32(recordHeaderBytes)), captured.get)), end.get)),
        record.set(position.get),
        position.set(next.get),
        when(ltS(captured.get, i32(leastBytes)), putAside, parse),
        taken.set(add(taken.get, i32(1))),
        br(0),
      ),
    ),
    ...store(i32(0), shrU(plain.get, i32(2)), columns.results + 4 * SCAN_COUNT),
    ...store(i32(0), byteCount.get, columns.results + 4 * SCAN_BYTE_COUNT),
    ...store(i32(0), shrU(other.get, i32(2)), columns.results + 4 * SCAN_OTHER_COUNT),
    ...store(i32(0), taken.get, columns.results + 4 * SCAN_RECORD_COUNT),
    ...store(i32(0), sub(position.get, base.get), columns.results + 4 * SCAN_POSITION),
  ];
  return f;
}

/** A number of 16 bits in the other byte order; `scratch` is overwritten. */
function swapped16(value: wasm.Code, scratch: wasm.Local): wasm.Code {
  return or(and(rotl(scratch.tee(value), i32(8)), i32(0xff00)), shrU(scratch.get, i32(8)));
}
