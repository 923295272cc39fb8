/** A real client of gRPC, as Envoy is one: it loads the same .proto files and sends what it is told to. */
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import type { CheckRequest, CheckResponse, PeerAttributes } from '../../src/authz/envoy.ts';
import { authorizationService, healthService } from '../../src/authz/protos.ts';

const INSECURE: ChannelCredentials = credentials.createInsecure();
const NO_METADATA = new Metadata();

export class AuthzClient {
  readonly #client: Client;
  readonly #check = authorizationService().Check!;
  readonly #health: ServiceDefinition = healthService();

  /** Each client has a connection of its own. */
  constructor(address: string) {
    this.#client = new Client(address, INSECURE, { 'grpc.use_local_subchannel_pool': 1 });
  }

  /** The answer, or the error of gRPC. */
  check(request: CheckRequest): Promise<CheckResponse> {
    return this.#unary(this.#check.path, this.#check.requestSerialize(request) as Buffer, (bytes) =>
      this.#check.responseDeserialize(bytes),
    ) as Promise<CheckResponse>;
  }

  /** Sends these bytes as the message. */
  send(bytes: Buffer, path = this.#check.path): Promise<CheckResponse> {
    return this.#unary(path, bytes, (answer) => this.#check.responseDeserialize(answer)) as Promise<CheckResponse>;
  }

  async code(request: CheckRequest): Promise<number> {
    const response = await this.check(request);
    return response.status.code ?? 0;
  }

  health(service = ''): Promise<number> {
    const method = this.#health.Check!;
    return this.#unary(method.path, method.requestSerialize({ service }) as Buffer, (bytes) =>
      method.responseDeserialize(bytes),
    ).then((answer) => (answer as { status?: number }).status ?? 0);
  }

  /** States of the service as they come; ends when the server ends the stream. */
  async *watch(service = ''): AsyncGenerator<number> {
    const method = this.#health.Watch!;
    const stream = this.#client.makeServerStreamRequest(
      method.path,
      (value: object) => method.requestSerialize(value) as Buffer,
      (bytes: Buffer) => method.responseDeserialize(bytes) as { status?: number },
      { service },
    );
    for await (const answer of stream) yield (answer as { status?: number }).status ?? 0;
  }

  close(): void {
    this.#client.close();
  }

  #unary(path: string, bytes: Buffer, read: (bytes: Buffer) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        (value: Buffer) => value,
        read,
        bytes,
        NO_METADATA,
        { deadline: Date.now() + 20_000 },
        (error: ServiceError | null, answer: unknown) => {
          if (error === null) resolve(answer);
          else reject(error);
        },
      );
    });
  }
}

/** A peer as Envoy describes it. */
export function peer(address: string, port: number, principal?: string): PeerAttributes {
  return {
    address: { socket_address: { address, port_value: port } },
    ...(principal === undefined ? {} : { principal }),
  };
}

/** A message of Envoy's network filter, or with `http` of its HTTP filter. */
export function message(
  source: PeerAttributes,
  destination: PeerAttributes,
  http?: { readonly id?: string; readonly method?: string; readonly path?: string },
): CheckRequest {
  return { attributes: { source, destination, ...(http === undefined ? {} : { request: { http } }) } };
}

export function account(namespace: string, name: string, domain = 'cluster.local'): string {
  return `spiffe://${domain}/ns/${namespace}/sa/${name}`;
}
