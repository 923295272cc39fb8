/** Stores for the command line: Redis by URL and environment, and the keys that signatures need. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RedisStore } from '../identity/redis.ts';
import { redisConfig } from '../identity/redis-config.ts';
import { Signer } from '../identity/sign.ts';
import { UsageError } from './exit.ts';
import type { IdentityOptions } from './options.ts';

/** The name of a cluster that has none. */
const CLUSTER = 'default';

/** Redis as a store; nothing is connected yet. Throws `UsageError` and `PolicyError` for options that make no sense. */
export async function openRedis({ redis, cluster = CLUSTER }: IdentityOptions): Promise<RedisStore> {
  if (redis === undefined) throw new UsageError('--redis is missing: name the server, redis://host:6379');
  const config = redisConfig(redis);
  const { RedisStore: Store } = await import('../identity/redis.ts');
  try {
    return new Store({ config, cluster });
  } catch (error) {
    throw new UsageError(`--cluster: ${(error as Error).message}`);
  }
}

/** The text of a key file. */
export function readKey(option: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${option}: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Who signs, by a PEM file of an Ed25519 private key. */
export function openSigner(path: string | undefined): Signer | undefined {
  const pem = readKey('--sign-key', path);
  if (pem === undefined) return undefined;
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw new UsageError(`--sign-key: ${path} holds no private key; openssl genpkey -algorithm ed25519 makes one`);
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new UsageError(`--sign-key: ${path} holds no Ed25519 key`);
  return new Signer(key);
}
