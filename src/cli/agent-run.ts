/** `margay agent`: the process around the agent: streams, signals, exit code. */
import { type AgentConfig, ConfigError, resolveConfig } from '../agent/config.ts';
import { LaunchError, type Launched, launch } from '../agent/launch.ts';
import { type AgentOptions, configInputs } from './agent-options.ts';
import { EXIT_BAD_INPUT, EXIT_TROUBLE } from './exit.ts';
import type { Output } from './output.ts';
import { readVersion } from './version.ts';

/** After the first signal; a process that hangs must not outlive its grace. */
const END_MS = 4_800;
const SAME_WISH_MS = 1_000;

export async function agent(options: AgentOptions, output: Output): Promise<number> {
  const resolved = resolveOrTell(options, output);
  if (resolved === undefined) return EXIT_BAD_INPUT;
  // Node.js would open a debugger.
  process.on('SIGUSR1', () => {});
  const launched = await launchOrTell(resolved.config, output);
  if (launched.kind === 'ended') return launched.code;
  // The parents stay small.
  const [{ runAgent }, { createLog, DescriptorSink }, { createEngine }] = await Promise.all([
    import('../agent/agent.ts'),
    import('../agent/log.ts'),
    import('../agent/supervisor.ts'),
  ]);
  const { logLevel, logFormat } = resolved.config;
  const [stdout, stderr] = [new DescriptorSink(1), new DescriptorSink(2)];
  const isPretty = logFormat === 'pretty' || (logFormat === 'auto' && output.stderr.isTerminal);
  const log = createLog({
    level: logLevel,
    isPretty,
    hasColor: output.stderr.isTerminal && (process.env.NO_COLOR ?? '') === '',
    sink: stderr,
  });
  for (const note of launched.notes) log.log('warn', note);
  const stop = new AbortController();
  let firstMs = 0;
  const onSignal = (): void => {
    if (stop.signal.aborted) {
      // Parents and groups pass one wish on several times.
      if (performance.now() - firstMs > SAME_WISH_MS) process.exit(EXIT_TROUBLE);
      return;
    }
    firstMs = performance.now();
    setTimeout(() => process.exit(EXIT_TROUBLE), END_MS).unref();
    stop.abort();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
  const code = await runAgent(resolved, {
    version: readVersion(),
    log,
    stdout,
    logDropped: () => stderr.dropped,
    createEngine: (asked, events) => createEngine(asked, events, {}, launched.host),
    signals: {
      stop: stop.signal,
      listen: (reload, dump) => {
        process.on('SIGHUP', reload);
        process.on('SIGUSR2', dump);
        return () => {
          process.off('SIGHUP', reload);
          process.off('SIGUSR2', dump);
        };
      },
    },
  }).catch((error: unknown) => {
    // The stream to the keeper would hold this process, and this process the keeper.
    launched.host.close();
    throw error;
  });
  await Promise.all([stdout.drain(300), stderr.drain(300)]);
  // Whatever holds the loop still, the end has come.
  process.exit(code);
}

/** The agent is several processes; this one may turn out to be another one's parent. */
async function launchOrTell({ source, runAs }: AgentConfig, output: Output): Promise<Launched> {
  try {
    return await launch({ source, runAs });
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    output.stderr.write(`margay: ${error.message}\n`);
    return { kind: 'ended', code: EXIT_TROUBLE };
  }
}

function resolveOrTell(options: AgentOptions, output: Output): ReturnType<typeof resolveConfig> | undefined {
  try {
    return resolveConfig(configInputs(options));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) output.stderr.write(`margay: ${problem}\n`);
    return undefined;
  }
}
