/** Captures of TCP connections for tests, out of the bytes that both sides said. */
import { parseAddress } from '../../src/base/ip.ts';
import { buildFrame, type FrameSpec, type SyntheticAddress } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, pcapngBlock, writePcapng } from '../../src/packets/write.ts';

export interface Ends {
  readonly src: string;
  readonly srcPort: number;
  readonly dst: string;
  readonly dstPort: number;
}

/** A frame of a connection before it has a time. */
export interface Segment {
  readonly isClient: boolean;
  readonly spec: FrameSpec;
}

const SYN = 2;
const ACK = 16;
const FIN = 1;
const CLIENT_ISN = 0xffff_ff00 | 0;
const SERVER_ISN = 77_000;

export function address(text: string): SyntheticAddress {
  const parsed = parseAddress(text)!;
  return parsed.version === 4 ? parsed.words[0] : parsed.words;
}

/** A whole connection: SYN, SYN-ACK, the pieces cut to `bytesMax`, FIN of both. */
export function connection(
  ends: Ends,
  pieces: readonly { readonly isClient: boolean; readonly bytes: Uint8Array }[],
  { bytesMax = 1448, hasHandshake = true, hasEnd = true, clientIsn = CLIENT_ISN } = {},
): Segment[] {
  const next = { client: clientIsn, server: SERVER_ISN };
  const segments: Segment[] = [];
  const add = (isClient: boolean, tcpFlags: number, payload?: Uint8Array): void => {
    const own = isClient ? 'client' : 'server';
    const [src, srcPort, dst, dstPort] = isClient
      ? [ends.src, ends.srcPort, ends.dst, ends.dstPort]
      : [ends.dst, ends.dstPort, ends.src, ends.srcPort];
    const spec = { src: address(src), dst: address(dst), protocol: 6, srcPort, dstPort, tcpFlags, tcpSeq: next[own] };
    segments.push({ isClient, spec: payload === undefined ? spec : { ...spec, payload } });
    next[own] = (next[own] + (payload?.length ?? 0) + (tcpFlags & (SYN | FIN) ? 1 : 0)) | 0;
  };
  const skip = (isClient: boolean): void => {
    next[isClient ? 'client' : 'server']++;
  };
  if (hasHandshake) {
    add(true, SYN);
    add(false, SYN | ACK);
    add(true, ACK);
  } else {
    skip(true);
    skip(false);
  }
  for (const { isClient, bytes } of pieces) {
    for (let at = 0; at < bytes.length; at += bytesMax) add(isClient, ACK, bytes.subarray(at, at + bytesMax));
  }
  if (hasEnd) {
    add(true, FIN | ACK);
    add(false, FIN | ACK);
  }
  return segments;
}

/** The segments as records, a millisecond apart. */
export function recordsOf(segments: readonly Segment[], startSeconds = 1_790_000_000): CaptureRecord[] {
  return segments.map(({ spec }, index) => ({
    bytes: buildFrame(spec),
    seconds: startSeconds + Math.floor(index / 1000),
    nanos: (index % 1000) * 1_000_000,
  }));
}

/** A decryption secrets block with a key log. */
function secretsBlock(keyLog: string): Uint8Array {
  const text = new TextEncoder().encode(keyLog);
  const body = new Uint8Array(8 + text.length);
  const view = new DataView(body.buffer);
  view.setUint32(0, 0x544c534b, true);
  view.setUint32(4, text.length, true);
  body.set(text, 8);
  return pcapngBlock(10, body, true);
}

/** A capture with the secrets in front of the packets, or behind them. */
export function captureOf(records: readonly CaptureRecord[], keyLog = '', isBehind = false): Uint8Array {
  const file = writePcapng(records);
  const secrets = keyLog === '' ? new Uint8Array(0) : secretsBlock(keyLog);
  // Section header and interface come first.
  const view = new DataView(file.buffer, file.byteOffset);
  const head = view.getUint32(4, true);
  const body = head + view.getUint32(head + 4, true);
  const [front, rest] = [file.subarray(0, body), file.subarray(body)];
  return Buffer.concat(isBehind ? [file, secrets] : [front, secrets, rest]);
}
