/** The service definitions of authz.proto and health.proto, with messages as plain objects. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { CheckRequest, CheckResponse } from './envoy.ts';

/**
 * The package carries its .proto files as they are, in src/authz: two levels above this module is its top, for the sources, for what
 * tsc writes and for the bundle alike.
 */
const FOLDER = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'src', 'authz');

/** What arrives where a message cannot be read. */
export const MALFORMED = Symbol('malformed');

export const AUTHORIZATION_SERVICE = 'envoy.service.auth.v3.Authorization';
const HEALTH_SERVICE = 'grpc.health.v1.Health';

/** Requests that cannot be read arrive as MALFORMED: an error of gRPC is an answer that a proxy may be told to take for a yes. */
export function authorizationService(): ServiceDefinition {
  const service = loadService('authz.proto', AUTHORIZATION_SERVICE);
  const { Check: check } = service;
  if (check === undefined) throw new Error('authz.proto lacks the method Check');
  const read = check.requestDeserialize as (bytes: Buffer) => CheckRequest;
  const write = check.responseSerialize as (message: CheckResponse) => Buffer;
  const requestDeserialize = (bytes: Buffer): CheckRequest | typeof MALFORMED => {
    try {
      return read(bytes);
    } catch {
      return MALFORMED;
    }
  };
  return { Check: { ...check, requestDeserialize, responseSerialize: write } } as ServiceDefinition;
}

export function healthService(): ServiceDefinition {
  return loadService('health.proto', HEALTH_SERVICE);
}

function loadService(file: string, name: string): ServiceDefinition {
  const definitions = loadSync(join(FOLDER, file), {
    keepCase: true,
    longs: Number,
    enums: Number,
    defaults: false,
  });
  return definitions[name] as ServiceDefinition;
}
