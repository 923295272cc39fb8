/** The thread that decompresses a capture ahead of its reader (unpack-ahead.ts). */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { type ByteSource, openByteSource, PrefixedSource } from './byte-source.ts';
import { createDecompressor, DecompressingSource, OUTPUT_CHUNK_BYTES } from './gzip.ts';
import { CaptureError, READ_CHUNK_BYTES } from './source.ts';
import type { UnpackedChunk, UnpackStart } from './unpack-ahead.ts';

const { path, compression, limits, buffers } = workerData as UnpackStart;
const port = parentPort as MessagePort;
const free: ArrayBuffer[] = [...buffers];
let wake: () => void = () => {};
port.on('message', (buffer: ArrayBuffer) => {
  free.push(buffer);
  wake();
});

const reopen = (): ByteSource => openByteSource(path);
const source = new DecompressingSource(path, await openInput(), createDecompressor(compression)!, reopen, limits);
try {
  for (;;) {
    while (free.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const chunk = new Uint8Array(free.pop()!);
    const { length, error } = await fill(chunk);
    const message: UnpackedChunk = { buffer: chunk.buffer, length, bytesRead: source.bytesRead, error };
    port.postMessage(message, [chunk.buffer]);
    if (length === 0 || error !== undefined) break;
  }
} finally {
  source.close();
  port.close();
}

/** In the pieces in which a reader that has looked for the format itself would go on. */
async function openInput(): Promise<ByteSource> {
  const input = reopen();
  const first = new Uint8Array(READ_CHUNK_BYTES);
  const count = await input.read(first, 0, first.length);
  return new PrefixedSource(first.subarray(0, count), input);
}

/** As much as there is while a whole output fits: small chunks cost a message each, split ones would move the places in errors. */
async function fill(chunk: Uint8Array): Promise<{ length: number; error: UnpackedChunk['error'] }> {
  let length = 0;
  try {
    while (chunk.length - length >= OUTPUT_CHUNK_BYTES) {
      const count = await source.read(chunk, length, chunk.length - length);
      if (count === 0) break;
      length += count;
    }
    return { length, error: undefined };
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    const { kind, offset, message } = error;
    return { length, error: { kind, offset, message } };
  }
}
