/** Programs that read a capture from its first packet to its last, without any policy. */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { LIBPCAP, TCPDUMP_COPYING, TCPDUMP_READING, TSHARK } from '../names.ts';
import { WORK } from '../paths.ts';
import { emptyCapture } from '../prepare.ts';
import { runProcess } from '../process.ts';
import { compiled, need, PeerMissing, source } from './build.ts';

export interface Reader {
  readonly name: string;
  /** Packets that it is given: the slow ones read the first packets of the same traffic, in a file of their own. */
  readonly packetsMax: number;
  /** A whole pass. */
  readonly run: (capture: string) => ReaderRun;
}

export interface ReaderRun {
  readonly seconds: number;
  /** Time of processors; undefined where it is not known. */
  readonly cpuSeconds: number | undefined;
}

const ALL = Number.POSITIVE_INFINITY;
const READ_BYTES = 1 << 20;

export function tcpdumpReading(): Reader {
  need('tcpdump', 'tcpdump');
  const run = (capture: string): ReaderRun => runProcess('tcpdump', ['-r', capture, '-w', '/dev/null', 'arp']);
  return { name: TCPDUMP_READING, packetsMax: ALL, run };
}

export function tcpdumpCopying(): Reader {
  need('tcpdump', 'tcpdump');
  const run = (capture: string): ReaderRun => runProcess('tcpdump', ['-r', capture, '-w', '/dev/null']);
  return { name: TCPDUMP_COPYING, packetsMax: ALL, run };
}

export function libpcapLoop(): Reader {
  const program = compiled('libpcap loop', 'libpcap-loop', ['-lpcap']);
  return { name: LIBPCAP, packetsMax: ALL, run: (capture) => runProcess(program, [capture]) };
}

export function tshark(): Reader {
  need('tshark', 'tshark');
  const args = ['-n', '-Y', 'tcp.dstport==80', '-T', 'fields', '-e', 'ip.src', '-r'];
  const seconds = (capture: string): number => runProcess('tshark', [...args, capture]).seconds;
  // Its dissectors take about a second to start, which is no part of a packet's price.
  return {
    name: TSHARK,
    packetsMax: 100_000,
    run: (capture) => ({ seconds: seconds(capture) - seconds(emptyCapture()), cpuSeconds: undefined }),
  };
}

export const NPM_DECODERS: readonly (readonly [mode: string, name: string])[] = [
  ['pcap-parser', 'npm pcap-parser, reading alone'],
  ['pcap-parser+cap', 'npm pcap-parser with decoders of cap'],
  ['pcap-offline', 'npm pcap, offline session with its decoder'],
  ['pcap-memory', 'npm pcap, decoder on frames in memory'],
];

/** Decoders from the npm registry, installed into bench/.work/npm. The script times itself, loading left out. */
export function npmDecoder(mode: string, name: string): Reader {
  const modules = join(WORK, 'npm');
  const script = source('npm-decoders.mjs');
  try {
    runProcess('node', [script, modules, mode, '--check']);
  } catch (error) {
    const words = String(error).split('failed: ')[1]?.split('\n')[0] ?? '';
    throw new PeerMissing(`${name}: not installed (npm run bench -- --install-peers): ${words}`);
  }
  return {
    name,
    packetsMax: 1_000_000,
    run: (capture) => {
      const { seconds } = JSON.parse(runProcess('node', [script, modules, mode, capture]).stdout) as {
        seconds: number;
      };
      return { seconds, cpuSeconds: undefined };
    },
  };
}

/** The page cache's own speed in this run: `readSync` from the first byte to the last, and nothing else. */
export function bareRead(capture: string): number {
  const start = performance.now();
  const file = openSync(capture, 'r');
  const buffer = new Uint8Array(READ_BYTES);
  while (readSync(file, buffer, 0, READ_BYTES, null) > 0);
  closeSync(file);
  return (performance.now() - start) / 1000;
}
