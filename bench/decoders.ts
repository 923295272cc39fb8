/** Decoders that take hundreds of nanoseconds a packet and more: npm packages and tshark, on the first packets of e1k. */
import { alternate, type Runner } from './alternate.ts';
import { type Measurement, measured, ratio } from './measurement.ts';
import { over, replayName } from './names.ts';
import { orSkipped } from './peers/build.ts';
import { NPM_DECODERS, npmDecoder, type Reader, tshark } from './peers/readers.ts';
import { captureFile, clusterFile } from './prepare.ts';
import { runReplay } from './replay.ts';
import { scenarioOf } from './scenario.ts';
import { buildWorkload } from './workload.ts';

export async function runDecoders(packets: number, rounds: number, skipped: string[]): Promise<Measurement[]> {
  const name = 'decoders';
  const scenario = scenarioOf('e1k');
  const workload = buildWorkload(scenario.shape);
  const cluster = clusterFile(workload);
  const form = 'best';
  const ours = replayName(form, false);
  const full = captureFile(scenario, workload, packets);
  const readers: Reader[] = [];
  for (const [mode, title] of NPM_DECODERS) {
    const reader = await orSkipped(() => npmDecoder(mode, title), skipped);
    if (reader !== undefined) readers.push(reader);
  }
  const shark = await orSkipped(tshark, skipped);
  if (shark !== undefined) readers.push(shark);
  const runners: Runner[] = [
    { name: ours, run: () => (runReplay({ cluster, capture: full, form }).judgeSeconds * 1e9) / packets },
    ...readers.map(({ name: title, packetsMax, run }) => {
      const count = Math.min(packets, packetsMax);
      const capture = captureFile(scenario, workload, count);
      return { name: title, run: () => (run(capture).seconds * 1e9) / count };
    }),
  ];
  const values = await alternate(name, rounds, runners);
  return [
    ...runners.map((runner) => measured(name, runner.name, 'ns/packet', values.get(runner.name)!)),
    ...readers.map((reader) => {
      const note = { note: `it reads the first ${Math.min(packets, reader.packetsMax).toLocaleString('en')} packets` };
      return ratio(name, over(reader.name, ours), values.get(reader.name)!, values.get(ours)!, note);
    }),
  ];
}
