/** Shared by the decoder tests: decode one frame into an object with names. */
import { decodePacket } from '../../src/wire/decode.ts';
import {
  FLAG_IPV6,
  PACKET_DST,
  PACKET_DST_PORT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SRC,
  PACKET_SRC_PORT,
  PACKET_WORDS,
} from '../../src/wire/record.ts';

/** Value of the words that a decoder must not leave behind or depend on. */
export const STALE = 0x5a5a5a5a;

export interface Decoded {
  readonly status: number;
  readonly words: Int32Array;
  readonly flags: number;
}

/**
 * Decodes `frame` as if the capture had kept its first `captured` bytes.
 *
 * The frame stands at the end of its memory and at an odd place, so a read behind it throws; the words around the
 * record are checked to be untouched.
 */
export function decodeFrame(frame: Uint8Array, linkType = 1, captured = frame.length, wire = frame.length): Decoded {
  const memory = new Uint8Array(3 + captured);
  memory.set(frame.subarray(0, captured), 3);
  const out = new Int32Array(PACKET_WORDS + 4).fill(STALE);
  const status = decodePacket(new DataView(memory.buffer), 3, captured, wire, linkType, out, 2);
  if (out[1] !== STALE || out[PACKET_WORDS + 2] !== STALE) throw new Error('the decoder wrote outside its record');
  const words = out.slice(2, 2 + PACKET_WORDS);
  if (words[0] !== status) throw new Error('the record holds another status than the one returned');
  return { status, words, flags: words[PACKET_FLAGS]! };
}

/** What a flow is made of, as plain values. */
export function flowOf(words: Int32Array): object {
  const isIpv6 = (words[PACKET_FLAGS]! & FLAG_IPV6) !== 0;
  const wordCount = isIpv6 ? 4 : 1;
  return {
    protocol: words[PACKET_PROTOCOL],
    srcPort: words[PACKET_SRC_PORT],
    dstPort: words[PACKET_DST_PORT],
    src: [...words.subarray(PACKET_SRC, PACKET_SRC + wordCount)],
    dst: [...words.subarray(PACKET_DST, PACKET_DST + wordCount)],
  };
}
