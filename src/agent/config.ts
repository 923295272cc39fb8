/**
 * The agent's configuration: flags over environment over file over defaults, all checked before anything starts.
 *
 *   flags ──────────┐
 *   MARGAY_* ───────┤─► the first that names a setting ─► zod ─► what excludes each other ─► AgentConfig, and where each value came from
 *   YAML file ──────┤
 *   defaults ───────┘
 *
 * Every error is reported, not the first one; names that nobody knows are errors with the name that was meant.
 */
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { parseListen } from '../authz/listen.ts';
import { escapeControls, PolicyError } from '../base/errors.ts';
import { redisConfig } from '../identity/redis-config.ts';
import type { Dataplane } from '../model/flow.ts';
import type { ConfigValue } from './api.ts';
import type { EngineSource } from './engine.ts';
import { camelName, environmentName, SETTINGS, type Setting, type SettingForm } from './settings.ts';

export interface AgentConfig {
  readonly filename: readonly string[];
  readonly recursive: boolean;
  readonly kubernetes: boolean;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly strict: boolean;
  readonly permissive: boolean;
  readonly asIs: boolean;
  readonly node: string | undefined;
  readonly dataplane: Dataplane;
  readonly redis: string | undefined;
  readonly cluster: string;
  readonly verifyKey: string | undefined;
  /** Seconds. */
  readonly identityStaleAfter: number;
  readonly identityDeadAfter: number;
  readonly source: string;
  readonly interface: readonly string[];
  readonly filter: string;
  readonly snapBytes: number;
  readonly ringMib: number;
  readonly captureMib: number;
  readonly splits: number;
  readonly capturePoint: 'unknown' | 'veth' | 'host';
  readonly deduplicate: 'auto' | 'yes' | 'no';
  readonly flowEntries: number;
  readonly conntrackEntries: number;
  readonly findingsMib: number;
  readonly runAs: string;
  readonly untilEnd: boolean;
  readonly listen: string;
  readonly allowRemote: boolean;
  readonly allowHost: readonly string[];
  readonly tokenFile: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly flowsKept: number;
  readonly metricsBy: 'none' | 'namespace' | 'account';
  readonly flowLog: string | undefined;
  readonly format: 'native' | 'goldmane' | 'hubble';
  /** Seconds. */
  readonly flowLogInterval: number;
  readonly flowLogMaxMib: number;
  readonly flowLogKeep: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'auto' | 'json' | 'pretty';
}

/** What was asked for, by where it was asked. */
export interface ConfigInputs {
  /** By `camelName`; undefined = not given. Numbers are texts still. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Path of the YAML file. */
  readonly file: string | undefined;
}

export interface ResolvedConfig {
  readonly config: AgentConfig;
  readonly values: readonly ConfigValue[];
}

/** All that is wrong with a configuration, a line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

interface Given {
  readonly value: unknown;
  readonly from: string;
}

/** Throws `ConfigError` with everything that is wrong. */
export function resolveConfig(inputs: ConfigInputs): ResolvedConfig {
  const { values, raw, problems } = collectConfig(inputs);
  const all = [...problems, ...problemsTogether(raw)];
  if (all.length > 0) throw new ConfigError(all);
  return { config: raw as unknown as AgentConfig, values };
}

/** Every value with its place, whatever is wrong with some of them: what `config print` shows. */
export function collectConfig({ flags, env, file }: ConfigInputs): {
  readonly values: readonly ConfigValue[];
  readonly raw: Readonly<Record<string, unknown>>;
  readonly problems: string[];
} {
  const problems: string[] = [];
  const path = file ?? env.MARGAY_CONFIG;
  const inFile = path === undefined || path === '' ? new Map<string, Given>() : readFileValues(path, problems);
  checkEnvironment(env, problems);
  const values: ConfigValue[] = [];
  const raw: Record<string, unknown> = {};
  for (const setting of SETTINGS) {
    const given = firstGiven(setting, flags, env, inFile);
    const parsed = schemaOf(setting).safeParse(given.value);
    if (!parsed.success) {
      const what = parsed.error.issues.map(({ message }) => message).join('; ');
      problems.push(`${given.from}: ${escapeControls(shown(given.value))}: ${what}`);
    }
    const value = parsed.success ? parsed.data : given.value;
    // What is wrong is told; the other checks go on with the default.
    raw[camelName(setting.key)] = parsed.success ? value : setting.default;
    values.push({ key: setting.key, value: setting.isSecret === true ? '(hidden)' : safe(value), from: given.from });
  }
  for (const name of SECRETS) {
    if (env[name]) values.push({ key: secretKey(name), value: '(hidden)', from: `environment ${name}` });
  }
  return { values, raw, problems };
}

function firstGiven(
  setting: Setting,
  flags: ConfigInputs['flags'],
  env: ConfigInputs['env'],
  inFile: ReadonlyMap<string, Given>,
): Given {
  const { key, form } = setting;
  const flag = flags[camelName(key)];
  if (flag !== undefined) return { value: flag, from: `flag --${key}` };
  const name = environmentName(key);
  const text = env[name];
  if (text !== undefined && text !== '') {
    const parts = text.split(',').map((part) => part.trim());
    const value = form.type === 'list' ? parts.filter((part) => part !== '') : text;
    return { value, from: `environment ${name}` };
  }
  return inFile.get(key) ?? { value: setting.default, from: 'default' };
}

/** How one setting must look, whatever it comes from: texts of flags and the environment, values of YAML. */
function schemaOf({ form, default: standard }: Setting): z.ZodType {
  const required = schemaOfForm(form);
  if (standard !== undefined) return required;
  return form.type === 'list' ? required.optional().transform((value) => value ?? []) : required.optional();
}

function schemaOfForm(form: SettingForm): z.ZodType {
  switch (form.type) {
    case 'text':
      return z.string({ error: 'must be a text' }).refine((text) => !text.includes('\0'), 'must not hold a zero byte');
    case 'list':
      return z
        .union([z.array(z.string({ error: 'must be a list of texts' })), z.string().transform((one) => [one])], {
          error: 'must be a list of texts',
        })
        .transform((all) => [...all]);
    case 'switch':
      return z.union([z.boolean(), z.enum(['true', 'false', '1', '0']).transform((v) => v === 'true' || v === '1')], {
        error: 'must be true or false',
      });
    case 'number': {
      const error = `must be a whole number from ${form.min} to ${form.max}`;
      const whole = z.number({ error }).refine((v) => Number.isInteger(v) && v >= form.min && v <= form.max, error);
      return z.preprocess(
        (value) => (typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value),
        whole,
      );
    }
    case 'choice':
      return z.enum(form.choices as [string, ...string[]], { error: `must be one of ${form.choices.join(', ')}` });
    default:
      return form satisfies never;
  }
}

/** The settings of a YAML file; what is wrong with it goes to `problems`. */
function readFileValues(path: string, problems: string[]): Map<string, Given> {
  const values = new Map<string, Given>();
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    problems.push(`--config: ${escapeControls(path)} can't be read (${(error as NodeJS.ErrnoException).code})`);
    return values;
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'silent', uniqueKeys: true });
  for (const { message, pos } of document.errors) {
    problems.push(`${path}:${lines.linePos(pos[0]).line}: ${escapeControls(message.split('\n')[0]!)}`);
  }
  if (document.errors.length > 0 || document.contents === null) return values;
  const root = document.contents as { items?: readonly { key: unknown; value: unknown }[] };
  if (
    !Array.isArray(root.items) ||
    !root.items.every((item) => typeof item === 'object' && item !== null && 'key' in item)
  ) {
    problems.push(`${path}:1: must be a map of settings, such as 'listen: 127.0.0.1:9099'`);
    return values;
  }
  for (const { key, value } of root.items) {
    const name = String((key as { value?: unknown } | null)?.value ?? key);
    const range = (key as { range?: readonly number[] } | null)?.range;
    const from = `file ${path}:${range === undefined ? 1 : lines.linePos(range[0]!).line}`;
    if (SETTINGS.some((setting) => setting.key === name)) values.set(name, { value: jsOf(value), from });
    else problems.push(`${from}: there is no setting '${escapeControls(name)}'${meant(name)}`);
  }
  return values;
}

function jsOf(node: unknown): unknown {
  const made = node as { toJSON?: () => unknown } | null;
  return typeof made?.toJSON === 'function' ? made.toJSON() : (node ?? undefined);
}

/** Settings that the environment alone may hold, since command lines are seen by everyone. */
const SECRETS = ['MARGAY_REDIS_PASSWORD'];
const OTHERS = [
  'MARGAY_CONFIG',
  'MARGAY_REDIS_PASSWORD',
  'MARGAY_REDIS_PASSWORD_FILE',
  'MARGAY_REDIS_USERNAME',
  'MARGAY_REDIS_CA_FILE',
  'MARGAY_REDIS_CERT_FILE',
  'MARGAY_REDIS_KEY_FILE',
];
/** Kubernetes puts these into every container where a Service is called margay. */
const OF_SERVICES = /_SERVICE_(HOST|PORT(_\w+)?)$|^MARGAY(_\w+)?_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$/;

function checkEnvironment(env: ConfigInputs['env'], problems: string[]): void {
  const known = new Set([...SETTINGS.map(({ key }) => environmentName(key)), ...OTHERS]);
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith('MARGAY_') || known.has(name) || OF_SERVICES.test(name)) continue;
    const key = name.slice('MARGAY_'.length).toLowerCase().replaceAll('_', '-');
    problems.push(`environment ${escapeControls(name)}: there is no such setting${meant(key)}`);
  }
}

function secretKey(name: string): string {
  return name.slice('MARGAY_'.length).toLowerCase().replaceAll('_', '-');
}

function meant(name: string): string {
  const close = SETTINGS.map(({ key }) => key).filter((key) => distance(name, key) <= 2);
  return close.length === 0 ? '; margay config print lists all' : `; did you mean '${close[0]}'?`;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** What is wrong with values that are fine each by itself. */
export function problemsTogether(raw: Readonly<Record<string, unknown>>): string[] {
  const problems: string[] = [];
  // Each has the form that its setting asks for.
  checkTogether(raw as unknown as AgentConfig, problems);
  return problems;
}

function checkTogether(config: AgentConfig, problems: string[]): void {
  const tell = (problem: string): number => problems.push(problem);
  const { filename, kubernetes, source, flowLog } = config;
  if (filename.length === 0 && !kubernetes) {
    tell('-f is missing: name the files or directories that hold the policies, or give --kubernetes');
  }
  if (filename.length > 0 && kubernetes) tell('-f and --kubernetes exclude each other: policies come from one place');
  if (filename.includes('-')) tell('-f -: standard input cannot be watched; name a file or a directory');
  if (!kubernetes && (config.kubeconfig ?? config.context) !== undefined) {
    tell('--kubeconfig and --context are for --kubernetes; give it, too');
  }
  if (!/^(cap|tcpdump|-|file:.+)$/s.test(source)) {
    tell(`--source '${escapeControls(source)}' is none; give cap, tcpdump, file:PATH or -`);
  }
  if (config.interface.length === 0) tell('--interface: give at least one, or any');
  if (config.interface.length > 1 && config.interface.includes('any')) {
    tell('--interface any holds all others; give it alone');
  }
  for (const name of config.interface) {
    if (!/^[^\s/]{1,15}$/.test(name)) tell(`--interface '${escapeControls(name)}' is no name of an interface`);
  }
  if (config.redis !== undefined) collectError(() => redisConfig(config.redis!, {}), problems);
  if (config.redis === undefined && config.verifyKey !== undefined) tell('--verify-key is for --redis; give it, too');
  if (config.identityDeadAfter < config.identityStaleAfter) {
    tell('--identity-dead-after must not be shorter than --identity-stale-after');
  }
  if (flowLog === '') tell('--flow-log is empty; name a file');
  checkListen(config, problems);
}

function checkListen(config: AgentConfig, problems: string[]): void {
  const { listen, allowRemote, tokenFile, tlsCert, tlsKey } = config;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) problems.push('--tls-cert and --tls-key belong together');
  const address = collectError(() => parseListen(listen, '--listen', true), problems);
  if (address === undefined) return;
  if (address.kind === 'unix') {
    problems.push('--listen: the page needs HOST:PORT');
    return;
  }
  if (collectError(() => parseListen(listen, '--listen'), []) !== undefined) return;
  if (!allowRemote) {
    problems.push(
      `--listen '${escapeControls(listen)}' is not on the loopback interface; use 127.0.0.1, or add --allow-remote with ` +
        '--token-file or --tls-cert',
    );
  } else if (tokenFile === undefined && tlsCert === undefined) {
    problems.push(
      '--allow-remote needs --token-file or --tls-cert: names of pods and who talks to whom are no public matter',
    );
  }
}

/** What `read` gives, or undefined with its error among the problems. */
function collectError<T>(read: () => T, problems: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** Passwords in URLs are refused, but must not be shown either. */
function safe(value: unknown): unknown {
  return typeof value === 'string' ? value.replace(/^(\w+:\/\/[^/@\s]*):[^/@\s]*@/, '$1:(hidden)@') : (value ?? null);
}

function shown(value: unknown): string {
  const text = JSON.stringify(safe(value)) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** The sources that a configuration asks for. */
export function sourcesOf(config: AgentConfig): readonly EngineSource[] {
  const { source } = config;
  if (source === '-') return [{ kind: 'stdin' }];
  if (source.startsWith('file:')) return [{ kind: 'file', path: source.slice('file:'.length) }];
  const kind = source === 'tcpdump' ? 'tcpdump' : 'cap';
  return config.interface.map((interfaceName) => ({ kind, interfaceName }));
}
