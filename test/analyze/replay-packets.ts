/** Shared by the tests of the replay: captures written packet by packet, and what each packet got. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type PacketRecord, type ReplayOptions, replayCaptures } from '../../src/analyze/replay.ts';
import { parseAddress } from '../../src/base/ip.ts';
import { type CompileOptions, compile } from '../../src/compile/compile.ts';
import { loadResources } from '../../src/load/load.ts';
import { buildFrame, buildPacket, type FrameSpec, type SyntheticAddress } from '../../src/packets/synthetic.ts';
import { type CaptureRecord, type PcapngInterface, writePcap, writePcapng } from '../../src/packets/write.ts';
import { openTables, type Tables } from '../../src/tables/tables.ts';
import { type Document, documents } from '../rows/objects.ts';

export const SYN = 2;
export const ACK = 16;

export interface Sent extends Partial<Omit<FrameSpec, 'src' | 'dst'>> {
  readonly src: string;
  readonly dst: string;
  /** Seconds since the first packet; default: as many milliseconds as packets came before it. */
  readonly at?: number;
  readonly interface?: number;
  readonly direction?: number;
}

export function tablesOf(list: readonly Document[], options: CompileOptions = {}): Tables {
  const { resources, errors } = loadResources([{ name: 'world.yaml', text: documents(...list) }]);
  expect(errors).toEqual([]);
  return openTables(compile(resources, options));
}

/** One line a packet, as `--packets` prints it. TCP, port 40000 to 80 unless the packet says otherwise. */
export async function replayPackets(
  tables: Tables,
  packets: readonly Sent[],
  options: ReplayOptions = {},
  interfaces?: readonly PcapngInterface[],
): Promise<PacketRecord[]> {
  const records = packets.map((packet, index): CaptureRecord => recordOf(packet, index, buildFrame(specOf(packet))));
  return replayBytes(
    tables,
    interfaces === undefined ? writePcap(records) : writePcapng(records, { interfaces }),
    options,
  );
}

/** The same in a Linux cooked capture, version 2, with the packet type of each. */
export async function replayCooked(
  tables: Tables,
  packets: readonly (Sent & { readonly type: number })[],
  options: ReplayOptions,
): Promise<PacketRecord[]> {
  const records = packets.map((packet, index) => {
    const data = buildPacket(specOf(packet));
    const frame = new Uint8Array(20 + data.length);
    new DataView(frame.buffer).setUint16(0, packet.src.includes(':') ? 0x86dd : 0x0800);
    frame[10] = packet.type;
    frame.set(data, 20);
    return recordOf(packet, index, frame);
  });
  return replayBytes(tables, writePcap(records, { linkType: 276 }), options);
}

export async function replayBytes(tables: Tables, bytes: Uint8Array, options: ReplayOptions): Promise<PacketRecord[]> {
  const folder = mkdtempSync(join(tmpdir(), 'margay-'));
  const lines: PacketRecord[] = [];
  try {
    const file = join(folder, 'capture');
    writeFileSync(file, bytes);
    const { totals, sources } = await replayCaptures(tables, [file], {
      ...options,
      onPacket: (line) => lines.push(line),
    });
    expect(sources[0]!.error).toBe(null);
    expect(totals.packets).toBe(totals.allow + totals.deny + totals.unpoliced + totals.uncertain + totals.undecoded);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return lines;
}

function recordOf({ at, interface: number, direction }: Sent, index: number, bytes: Uint8Array): CaptureRecord {
  const time = at ?? index / 1000;
  return {
    bytes,
    seconds: 1000 + Math.floor(time),
    nanos: Math.round((time % 1) * 1e9),
    ...(number === undefined ? {} : { interface: number }),
    ...(direction === undefined ? {} : { direction }),
  };
}

/** The IP packet alone. */
export function packetBytes(packet: Sent): Uint8Array {
  return buildPacket(specOf(packet));
}

function specOf({ at: _at, interface: _interface, direction: _direction, src, dst, ...rest }: Sent): FrameSpec {
  const isTcp = (rest.protocol ?? 6) === 6;
  return {
    protocol: 6,
    srcPort: 40_000,
    dstPort: 80,
    ...(isTcp ? { tcpFlags: SYN } : {}),
    ...rest,
    src: addressOf(src),
    dst: addressOf(dst),
  };
}

function addressOf(text: string): SyntheticAddress {
  const { version, words } = parseAddress(text)!;
  return version === 4 ? words[0] : words;
}

/** `action reason`, or the action alone. */
export function answers(lines: readonly PacketRecord[]): string[] {
  return lines.map(({ action, reason }) => (reason === undefined ? action : `${action} ${reason}`));
}
