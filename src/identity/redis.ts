/**
 * Redis as a store (shared-store.ts), by `ioredis`, which is imported here alone.
 *
 * Two connections: one for commands, each answered within two seconds or given up, and one that waits for the log. Both fail at once when they
 * are not connected, since the callers try again by themselves and must know what did not happen.
 *
 * Answers carry no name of their question: a byte stream that was disturbed (a proxy that repeats a piece) can give one question the answer of
 * another. So each round of commands ends with an ECHO of a number of its own; if that does not come back, the connection is dropped and the round
 * has failed.
 */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import { BUCKETS, bucketOf, type Keys, keysOf, type RawEntry, SCHEMA } from './keys.ts';
import { WrongTypeError } from './publisher.ts';
import type { RedisConfig } from './redis-config.ts';
import {
  BEGIN_SCRIPT,
  HASHES_SCRIPT,
  LEAD_SCRIPT,
  READY_SCRIPT,
  RESIGN_SCRIPT,
  WIPE_SCRIPT,
  WRITE_SCRIPT,
} from './script.ts';
import type {
  AgentReport,
  Batch,
  Fields,
  Lead,
  RawDetails,
  Refused,
  ReportingStore,
  WritableStore,
  WriteAnswer,
} from './shared-store.ts';

const COMMAND_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** Entries of the log in one answer. */
const LOG_ENTRIES_AT_ONCE = 1_000;
/** Keys looked at in one SCAN, and hashes read in one round. */
const SCAN_COUNT = 500;
/** Hashes that one run of the script reads: half a millisecond of the server's time. */
const HASHES_AT_ONCE = 50;
/** Entries that the log keeps: minutes of the busiest cluster, and what the server has memory for. */
const LOG_ENTRIES_MAX = 100_000;

export type Command = readonly [string, ...(string | number)[]];

interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

export interface RedisStoreOptions {
  readonly config: RedisConfig;
  readonly cluster: string;
  readonly logEntries?: number;
}

/** The store of a cluster. Nothing is connected before the first question. */
export class RedisStore implements WritableStore, ReportingStore {
  connections = 0;
  readonly #keys: Keys;
  readonly #name: string;
  readonly #commands: Connection;
  readonly #stream: Connection;
  readonly #logEntries: number;
  #mayRunScripts = true;

  constructor({ config, cluster, logEntries = LOG_ENTRIES_MAX }: RedisStoreOptions) {
    this.#keys = keysOf(cluster);
    this.#name = config.name;
    this.#logEntries = logEntries;
    const onReady = (): void => {
      this.connections++;
    };
    this.#commands = new Connection(config, onReady);
    this.#stream = new Connection(config, onReady);
  }

  async meta(): Promise<{ fields: Fields; runId: string }> {
    const names = ['schema', 'epoch', 'rev', 'fence', 'buckets', 'count', 'state', 'updated'];
    const [values, info] = await this.#commands.run([
      ['HMGET', this.#keys.meta, ...names],
      ['INFO', 'server'],
    ]);
    const texts = textsOf(values);
    const fields = Object.fromEntries(names.flatMap((name, i) => (texts[i] === null ? [] : [[name, texts[i]!]])));
    return { fields, runId: /^run_id:(\w+)/m.exec(String(info))?.[1] ?? '' };
  }

  async buckets(first: number, count: number): Promise<readonly Fields[]> {
    const commands = Array.from({ length: count }, (_, i): Command => ['HGETALL', this.#keys.ep(first + i)]);
    return (await this.#commands.run(commands)).map(fieldsOf);
  }

  async details(take: (details: readonly RawDetails[]) => void): Promise<void> {
    for await (const keys of this.#scan()) {
      const wanted = keys.flatMap((key) => {
        const [kind = '', ...rest] = key.slice(this.#keys.prefix.length).split(':');
        return kind === 'pod' || kind === 'sa' || kind === 'ns'
          ? [{ redisKey: key, kind, key: rest.join(':') } as const]
          : [];
      });
      if (wanted.length === 0) continue;
      const hashes = await this.#hashes(wanted.map(({ redisKey }) => redisKey));
      const details = wanted.map(({ kind, key }, i) => ({ kind, key, fields: fieldsOf(hashes[i]) }));
      // A key that was deleted since the scan has no fields.
      take(details.filter(({ fields }) => Object.keys(fields).length > 0));
    }
  }

  /**
   * The fields of many hashes: by a script that reads some dozen of them at once and answers in one text, a third of the work of as many
   * answers; one by one for a user who may not run it.
   */
  async #hashes(keys: readonly string[]): Promise<readonly unknown[]> {
    if (this.#mayRunScripts) {
      const calls: ScriptCall[] = [];
      for (let i = 0; i < keys.length; i += HASHES_AT_ONCE)
        calls.push({ keys: keys.slice(i, i + HASHES_AT_ONCE), args: [] });
      try {
        return (await this.#scripts(HASHES_SCRIPT, calls, '_RO')).flatMap(
          (text) => JSON.parse(String(text)) as unknown[],
        );
      } catch (error) {
        if (!(error instanceof Error) || !error.message.includes('NOPERM')) throw error;
        this.#mayRunScripts = false;
      }
    }
    return this.#commands.run(keys.map((key): Command => ['HGETALL', key]));
  }

  async *#scan(): AsyncGenerator<string[]> {
    let cursor = '0';
    do {
      const [answer] = await this.#commands.run([
        ['SCAN', cursor, 'MATCH', `${this.#keys.prefix}*`, 'COUNT', SCAN_COUNT],
      ]);
      const [next, keys] = answer as [unknown, unknown];
      cursor = String(next);
      const texts = textsOf(keys).filter((key) => key !== null);
      if (texts.length > 0) yield texts;
    } while (cursor !== '0');
  }

  async signatures(): Promise<Fields> {
    const [answer] = await this.#commands.run([['HGETALL', this.#keys.sig]]);
    return fieldsOf(answer);
  }

  async follow(rev: number, blockMs: number): Promise<readonly RawEntry[]> {
    const [answer] = await this.#stream.run(
      [['XREAD', 'COUNT', LOG_ENTRIES_AT_ONCE, 'BLOCK', blockMs, 'STREAMS', this.#keys.log, `${rev}-0`]],
      blockMs + COMMAND_TIMEOUT_MS,
    );
    if (!Array.isArray(answer)) return [];
    const entries = (answer as unknown[][])[0]?.[1];
    if (!Array.isArray(entries)) throw new Error(`${this.#name}: an answer to XREAD that is none`);
    return entries.map((entry: unknown) => {
      const [id, fields] = entry as [unknown, unknown];
      return { id: String(id), fields: fieldsOf(fields) };
    });
  }

  async report({ node, epoch, rev, lag, refused }: AgentReport, expiryMs: number): Promise<void> {
    const key = this.#keys.agent(node);
    await this.#commands.run([
      ['HSET', key, 'epoch', epoch, 'rev', rev, 'lag', lag, 'refused', refused],
      ['PEXPIRE', key, expiryMs],
    ]);
  }

  async lead(id: string, ttlMs: number): Promise<Lead> {
    const answer = await this.#script(LEAD_SCRIPT, [this.#keys.leader, this.#keys.meta], [id, ttlMs, Date.now()]);
    const [isLeader, fence, epoch, rev] = (answer as unknown[]).map(String);
    return { isLeader: isLeader === '1', fence: Number(fence), epoch: epoch ?? '', rev: rev ?? '' };
  }

  async resign(id: string): Promise<void> {
    await this.#script(RESIGN_SCRIPT, [this.#keys.leader], [id]);
  }

  async write(batches: readonly Batch[]): Promise<WriteAnswer[]> {
    const answers = await this.#scripts(
      WRITE_SCRIPT,
      batches.map((batch) => this.#writeCall(batch)),
    );
    return answers.map(answerOf);
  }

  #writeCall({ epoch, fence, rev, changes }: Batch): ScriptCall {
    const { meta, log } = this.#keys;
    const indexes = new Map<string, number>();
    const args: (string | number)[] = [epoch, fence, rev, this.#logEntries, Date.now()];
    for (const { op, kind, key, value } of changes) {
      const hash = this.#hashOf(kind, key);
      let index = indexes.get(hash);
      if (index === undefined) {
        index = indexes.size + 3;
        indexes.set(hash, index);
      }
      args.push(index, op, kind, key, value);
    }
    return { keys: [meta, log, ...indexes.keys()], args };
  }

  #hashOf(kind: Batch['changes'][number]['kind'], key: string): string {
    if (kind === 'ep') return this.#keys.ep(bucketOf(key));
    return kind === 'sig' ? this.#keys.sig : this.#keys.of(kind, key);
  }

  async begin(epoch: string, fence: number): Promise<WriteAnswer> {
    const { meta, log, sig, leader, prefix } = this.#keys;
    const begun = answerOf(
      await this.#script(BEGIN_SCRIPT, [meta, log, sig], [fence, epoch, SCHEMA, BUCKETS, Date.now()]),
    );
    if ('refused' in begun) return begun;
    for await (const keys of this.#scan()) {
      const old = keys.filter((key) => key !== meta && key !== leader && !key.startsWith(`${prefix}agent:`));
      if (old.length === 0) continue;
      const wiped = answerOf(await this.#script(WIPE_SCRIPT, [meta, ...old], [epoch, fence]));
      if ('refused' in wiped) return wiped;
    }
    return begun;
  }

  async ready(epoch: string, fence: number): Promise<WriteAnswer> {
    return answerOf(await this.#script(READY_SCRIPT, [this.#keys.meta], [epoch, fence, Date.now()]));
  }

  async #script(text: string, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return (await this.#scripts(text, [{ keys, args }]))[0];
  }

  /** By its hash, and as a whole where the server does not know it yet; some or all of the calls may have been done when it throws. */
  async #scripts(text: string, calls: readonly ScriptCall[], suffix = ''): Promise<unknown[]> {
    const commands = (name: string, body: string): Command[] =>
      calls.map(({ keys, args }) => [`${name}${suffix}`, body, keys.length, ...keys, ...args]);
    try {
      return await this.#commands.run(commands('EVALSHA', shaOf(text)));
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes('NOSCRIPT')) throw error;
      return this.#commands.run(commands('EVAL', text));
    }
  }

  async close(): Promise<void> {
    this.#commands.close();
    this.#stream.close();
  }
}

const shas = new Map<string, string>();

function shaOf(text: string): string {
  const sha = shas.get(text) ?? createHash('sha1').update(text).digest('hex');
  shas.set(text, sha);
  return sha;
}

type ClientOptions = Omit<RedisOptions, 'replyMapping' | 'protocol'>;

/** A client that connects when it is first used and comes back by itself, half a second to a second apart in the end. */
export function openClient(config: RedisConfig, options: ClientOptions): Redis {
  const { host, port, db, username, password, tls } = config;
  const base: ClientOptions = {
    host,
    port,
    db,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    // A server name must be no address.
    ...(tls === undefined ? {} : { tls: isIP(host) === 0 ? { ...tls, servername: host } : { ...tls } }),
    lazyConnect: true,
    autoResubscribe: false,
    disableClientInfo: true,
    keepAlive: 5_000,
    retryStrategy: (times) => Math.min(1_000, 25 * 2 ** Math.min(times, 6)) * (0.5 + Math.random() / 2),
    reconnectOnError: (error) => /^(READONLY|LOADING|MASTERDOWN)/.test(error.message),
  };
  return new Redis({ ...base, ...options, protocol: 2 });
}

/** One connection that fails at once when it is away, and comes back by itself. */
export class Connection {
  readonly #redis: Redis;
  readonly #config: RedisConfig;
  #trouble = '';
  #nonce = 0;
  #isOpened = false;

  constructor(config: RedisConfig, onReady: () => void) {
    this.#config = config;
    this.#redis = openClient(config, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
    });
    this.#redis.on('error', (error: Error) => {
      this.#trouble = plainMessage(error);
    });
    let isFirst = true;
    this.#redis.on('ready', () => {
      this.#trouble = '';
      // The first connection takes the place of none.
      if (!isFirst) onReady();
      isFirst = false;
    });
  }

  /** The answers, in order. Throws the first error among them, or what is wrong with the connection. */
  async run(commands: readonly Command[], timeoutMs = COMMAND_TIMEOUT_MS): Promise<unknown[]> {
    await this.#ready();
    const nonce = `${process.pid}-${++this.#nonce}`;
    const pipeline = this.#redis.pipeline([
      ...commands.map((command) => ['call', ...command]),
      ['call', 'ECHO', nonce],
    ]);
    const replies = await this.#within(timeoutMs, pipeline.exec());
    const echo = replies?.at(-1);
    if (replies === null || echo === undefined || echo[0] !== null || echo[1] !== nonce) {
      const failed = replies?.find(([error]) => error !== null)?.[0];
      if (failed != null && /^(NOAUTH|NOPERM|LOADING)/.test(failed.message)) throw this.#error(failed);
      this.#redis.disconnect(true);
      throw failed == null
        ? new Error(`${this.#config.name}: the answers do not fit the questions`)
        : this.#error(failed);
    }
    return replies.slice(0, -1).map(([error, answer]) => {
      if (error !== null) throw this.#error(error);
      return answer;
    });
  }

  async #ready(): Promise<void> {
    const redis = this.#redis;
    if (redis.status === 'ready') return;
    if (!this.#isOpened) {
      this.#isOpened = true;
      redis.connect().catch(() => {});
    }
    const isReady = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => done(false), CONNECT_TIMEOUT_MS);
      const onReady = (): void => done(true);
      const onError = (): void => done(false);
      const done = (value: boolean): void => {
        clearTimeout(timer);
        redis.off('ready', onReady);
        redis.off('error', onError);
        resolve(value);
      };
      redis.on('ready', onReady);
      redis.on('error', onError);
    });
    if (!isReady)
      throw new Error(
        `Redis at ${this.#config.name} can't be reached${this.#trouble === '' ? '' : `: ${this.#trouble}`}`,
      );
  }

  /** Without an answer in time the connection is worth nothing: a later answer would be taken for that to another question. */
  async #within<T>(timeoutMs: number, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`Redis at ${this.#config.name} did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([promise, late]);
    } catch (error) {
      promise.catch(() => {});
      if (this.#redis.status === 'ready') this.#redis.disconnect(true);
      throw this.#error(error as Error);
    } finally {
      clearTimeout(timer);
    }
  }

  #error(error: Error): Error {
    const message = plainMessage(error);
    if (message.startsWith('WRONGTYPE')) return new WrongTypeError(`a key holds another type than ours (${message})`);
    if (message.startsWith('Redis at')) return error;
    return new Error(`Redis at ${this.#config.name}: ${message}`);
  }

  close(): void {
    this.#redis.disconnect(false);
  }
}

/** An error in words that say what to do; never with a password, which no message of the server repeats. */
export function plainMessage(error: Error): string {
  const { message } = error;
  if (message.startsWith('NOAUTH')) return 'NOAUTH: it wants a password; give it in MARGAY_REDIS_PASSWORD_FILE';
  if (message.startsWith('WRONGPASS')) return 'WRONGPASS: user or password is wrong, or the user is disabled';
  if (message.startsWith('NOPERM')) return `${message.slice(0, 200)}; see the ACLs in the README`;
  if (message.startsWith('OOM')) return 'OOM: it has no memory left; raise maxmemory';
  return message.slice(0, 300);
}

function textsOf(answer: unknown): (string | null)[] {
  if (!Array.isArray(answer)) throw new Error('an answer of Redis that is no list');
  return answer.map((value: unknown) => (value === null ? null : String(value)));
}

/** A flat list of names and values; later ones of a name win. */
function fieldsOf(answer: unknown): Fields {
  // An empty list of Lua's is an empty object in JSON.
  const texts = Array.isArray(answer) ? textsOf(answer) : [];
  // Without a prototype, so that every name is a name; and many times faster than from a list of pairs.
  const fields = Object.create(null) as Record<string, string>;
  for (let i = 0; i + 1 < texts.length; i += 2) fields[texts[i] ?? ''] = texts[i + 1] ?? '';
  return fields;
}

const REFUSALS: readonly string[] = ['epoch', 'fence', 'rev', 'type'];

function answerOf(answer: unknown): WriteAnswer {
  const [word, detail] = textsOf(answer);
  if (word === 'ok') return { rev: Number(detail) };
  if (!REFUSALS.includes(word ?? '')) throw new Error('an answer of a script that is none');
  return { refused: word as Refused };
}
