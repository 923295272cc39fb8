/**
 * One packet of a capture, judged where it stands among the others, and the packet that opened its connection.
 *
 * Two readings, each with memory for a single packet: the first stops at the packet, the second looks at what came before it for
 * the last packet of the same connection that policies were asked about. Standard input is read once, so there the opener is unknown.
 */
import type { PacketRecord, ReplayOptions } from '../analyze/replay.ts';
import type { Tables } from '../tables/tables.ts';

export interface PacketFound {
  /** Undefined: the capture ends before it. */
  readonly packet: PacketRecord | undefined;
  /** The packet of its connection that policies were asked about, if that is another one. */
  readonly opener: PacketRecord | undefined;
  readonly packetsRead: number;
  /** Why reading ended early, or null. */
  readonly error: string | null;
}

type JudgeHow = Pick<ReplayOptions, 'stateless' | 'capturePoint' | 'timeline'>;

export async function findPacket(tables: Tables, file: string, number: number, how: JudgeHow): Promise<PacketFound> {
  let packet: PacketRecord | undefined;
  const { packetsRead, error } = await readPackets(tables, file, how, (line) => {
    if (line.packet === number) packet = line;
    return line.packet < number;
  });
  const found = packet as PacketRecord | undefined;
  const base = { packet: found, opener: undefined, packetsRead, error };
  if (found?.source_ip === undefined || found.direction !== undefined) return base;
  if (found.action === 'unpoliced' || file === '-') return base;
  const key = connectionKey(found);
  let opener: PacketRecord | undefined;
  await readPackets(tables, file, how, (line) => {
    if (line.packet < number && line.direction !== undefined && connectionKey(line) === key) opener = line;
    return line.packet < number;
  });
  return { packet: found, opener, packetsRead, error };
}

/** Reads packets as long as `wantsMore` says so. */
async function readPackets(
  tables: Tables,
  file: string,
  how: JudgeHow,
  wantsMore: (line: PacketRecord) => boolean,
): Promise<{ readonly packetsRead: number; readonly error: string | null }> {
  const { replayCaptures } = await import('../analyze/replay.ts');
  const controller = new AbortController();
  const result = await replayCaptures(tables, [file], {
    ...how,
    signal: controller.signal,
    onPacket: (line) => {
      if (!wantsMore(line)) controller.abort();
    },
  });
  return { packetsRead: result.totals.packets, error: result.sources[0]?.error ?? null };
}

/** The same for both directions of a connection. */
function connectionKey(record: PacketRecord): string {
  const { proto, source_ip, source_port, dest_ip, dest_port, icmp_type } = record;
  const ends = [`${source_ip} ${source_port ?? ''}`, `${dest_ip} ${dest_port ?? ''}`].sort();
  return `${proto} ${icmp_type === undefined ? '' : 'icmp'} ${ends.join(' ')}`;
}
