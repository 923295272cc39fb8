// @ts-check
// Capture decoders from the npm registry, as their own documentation uses them.
//
//   node npm-decoders.mjs FOLDER MODE CAPTURE     prints {"packets","seconds","sum"}; the clock leaves out loading the packages
//   node npm-decoders.mjs FOLDER MODE --check     loads the packages and ends
//
// FOLDER holds their node_modules (bench/.work/npm, filled by `npm run bench -- --install-peers`).
import { openSync, readSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder = '', mode = '', capture = ''] = process.argv.slice(2);
const load = createRequire(join(folder, 'package.json'));
const RECORD_HEADER_BYTES = 16;

let packets = 0;
let sum = 0;

const runs = { 'pcap-parser': parse, 'pcap-parser+cap': parse, 'pcap-offline': offline, 'pcap-memory': memory };
const run = runs[/** @type {keyof typeof runs} */ (mode)];
if (run === undefined) throw new Error(`no mode '${mode}'`);
const start = run();
if (capture !== '--check') {
  const startedMs = performance.now();
  await start();
  const seconds = (performance.now() - startedMs) / 1000;
  process.stdout.write(`${JSON.stringify({ packets, seconds, sum })}\n`);
}

/** A stream of events, each with a header and a frame. */
function parse() {
  const parser = load('pcap-parser');
  const decoders = mode === 'pcap-parser' ? undefined : load('cap').decoders;
  return () =>
    new Promise((resolve, reject) => {
      const stream = parser.parse(capture);
      stream.on('packet', (/** @type {{ data: Buffer }} */ packet) => {
        packets++;
        if (decoders === undefined) sum += packet.data.length;
        else decode(decoders, packet.data);
      });
      stream.on('end', () => resolve(undefined));
      stream.on('error', reject);
    });
}

/**
 * @param {any} decoders
 * @param {Buffer} frame
 */
function decode({ Ethernet, IPV4, TCP, UDP, PROTOCOL }, frame) {
  const ethernet = Ethernet(frame);
  if (ethernet.info.type !== PROTOCOL.ETHERNET.IPV4) return;
  const ip = IPV4(frame, ethernet.offset);
  if (ip.info.protocol === PROTOCOL.IP.TCP) sum += TCP(frame, ip.offset).info.dstport;
  else if (ip.info.protocol === PROTOCOL.IP.UDP) sum += UDP(frame, ip.offset).info.dstport;
}

/** libpcap through a native binding, then a decoder in JavaScript. */
function offline() {
  const pcap = load('pcap');
  return () =>
    new Promise((resolve) => {
      const session = pcap.createOfflineSession(capture);
      session.on('packet', (/** @type {any} */ raw) => {
        packets++;
        sum += pcap.decode.packet(raw).payload.payload.payload.dport ?? 0;
      });
      session.on('complete', () => resolve(undefined));
    });
}

/** The same decoder on frames that are in memory already. */
function memory() {
  const pcap = load('pcap');
  const frames = capture === '--check' ? [] : readFrames();
  return async () => {
    for (const frame of frames) {
      packets++;
      sum += pcap.decode.packet(frame).payload.payload.payload.dport ?? 0;
    }
  };
}

/** The whole file as what `pcap.decode` takes: header and frame of each record. */
function readFrames() {
  const { size } = statSync(capture);
  const bytes = Buffer.alloc(size);
  const file = openSync(capture, 'r');
  for (let at = 0; at < size; ) at += readSync(file, bytes, at, size - at, at);
  const frames = [];
  for (let at = 24; at < size; ) {
    const captured = bytes.readUInt32LE(at + 8);
    const body = at + RECORD_HEADER_BYTES;
    frames.push({
      link_type: 'LINKTYPE_ETHERNET',
      header: bytes.subarray(at, body),
      buf: bytes.subarray(body, body + captured),
    });
    at = body + captured;
  }
  return frames;
}
