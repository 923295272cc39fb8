/**
 * Where Redis is and how to get in. The address is an option; what is secret comes from files or the environment, never from the command line,
 * where every user of the machine can read it:
 *
 *   MARGAY_REDIS_PASSWORD_FILE, MARGAY_REDIS_PASSWORD     the password; the file's first line
 *   MARGAY_REDIS_USERNAME                                  the user, unless the URL names one
 *   MARGAY_REDIS_CA_FILE                                   whom to trust for rediss://, beside the system's authorities
 *   MARGAY_REDIS_CERT_FILE, MARGAY_REDIS_KEY_FILE          the own certificate, where the server asks for one
 */
import { readFileSync } from 'node:fs';
import { PolicyError } from '../base/errors.ts';

export interface RedisConfig {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** `undefined` = no TLS. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  /** For messages: host and port, nothing secret. */
  readonly name: string;
}

/** Reads a `redis[s]://[user@]host[:port][/db]` URL and the environment. Throws `PolicyError`. */
export function redisConfig(url: string, env: Readonly<Record<string, string | undefined>> = process.env): RedisConfig {
  const parsed = parseUrl(url);
  if (parsed.password !== '') {
    throw configError('a password in the URL is seen by everyone who lists processes', PASSWORD_FIX);
  }
  const isTls = parsed.protocol === 'rediss:';
  const db = /^\/?$/.test(parsed.pathname) ? '0' : parsed.pathname.slice(1);
  if (!/^\d{1,4}$/.test(db)) throw configError(`'${db}' is no number of a database`, URL_FIX);
  const port = parsed.port === '' ? 6379 : Number(parsed.port);
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const username = parsed.username === '' ? env.MARGAY_REDIS_USERNAME : decodeURIComponent(parsed.username);
  const file = (name: string): string | undefined => (env[name] ? readSecret(env[name], name) : undefined);
  const password = file('MARGAY_REDIS_PASSWORD_FILE')?.split(/\r?\n/)[0] ?? env.MARGAY_REDIS_PASSWORD;
  const [ca, cert, key] = [file('MARGAY_REDIS_CA_FILE'), file('MARGAY_REDIS_CERT_FILE'), file('MARGAY_REDIS_KEY_FILE')];
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  return {
    host,
    port,
    db: Number(db),
    username: username || undefined,
    password: password || undefined,
    tls: isTls ? tls : undefined,
    name: `${host}:${port}`,
  };
}

const URL_FIX = 'write redis[s]://[user@]host[:port][/database]';
const PASSWORD_FIX = 'put it into the file that MARGAY_REDIS_PASSWORD_FILE names, or into MARGAY_REDIS_PASSWORD';

function parseUrl(url: string): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw configError('the address is no URL', URL_FIX);
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw configError(`the address starts with ${parsed.protocol}//`, URL_FIX);
  }
  if (parsed.hostname === '') throw configError('the address names no host', URL_FIX);
  return parsed;
}

function readSecret(path: string, name: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw configError(
      `the file that ${name} names can't be read (${(error as NodeJS.ErrnoException).code})`,
      'correct the path',
    );
  }
}

function configError(problem: string, fix: string): PolicyError {
  return new PolicyError('redis-config', `--redis: ${problem}`, { fix });
}
