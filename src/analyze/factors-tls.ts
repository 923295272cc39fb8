/**
 * One TLS session out of the two beginnings of a connection: which certificates were shown, and whether their keys were, too.
 *
 *     client                                   server
 *     ClientHello                        ─►
 *                                        ◄─    ServerHello            says the version and the cipher
 *  1.2                                   ◄─    Certificate, CertificateRequest, ServerHelloDone
 *     Certificate, …, CertificateVerify  ─►                           in the clear
 *  1.3                                   ◄─    { …, CertificateRequest, Certificate, CertificateVerify, Finished }
 *     { Certificate, CertificateVerify, Finished }  ─►                {} encrypted with the handshake secrets
 *
 * Both directions are read as far as they go, again and again as they grow: a direction stops where it needs what the other one has
 * not said yet. A certificate is only as good as the signature beside it: who shows one without the key is nobody, so the signature over
 * the handshake is checked here, as the server did (RFC 8446, 4.4.3; RFC 5246, 7.4.8).
 *
 * Not TLS from the first byte on is plain text. PostgreSQL asks in plain text for TLS (SSLRequest, answered `S`) and goes on with it;
 * other protocols that begin in the clear and change to TLS later count as plain text.
 */
import {
  CERTIFICATE,
  CERTIFICATE_REQUEST,
  CERTIFICATE_VERIFY,
  CLIENT_HELLO,
  type ClientHello,
  COMPRESSED_CERTIFICATE,
  FINISHED,
  HANDSHAKE_MESSAGE_BYTES_MAX,
  type HandshakeMessage,
  NEW_SESSION_TICKET,
  parseCertificates,
  parseCertificateVerify,
  parseClientHello,
  parseServerHello,
  parseSessionTicket,
  SERVER_HELLO,
  type ServerHello,
  TLS_1_2,
  TLS_1_3,
} from '../wire/tls-handshake.ts';
import {
  TLS_ALERT,
  TLS_APPLICATION_DATA,
  TLS_CHANGE_CIPHER_SPEC,
  TLS_HANDSHAKE,
  TLS_HEADER_BYTES,
  TLS_RECORD_MALFORMED,
  TLS_RECORD_PARTIAL,
  tlsBodyBytes,
} from '../wire/tls-record.ts';
import { type KeyStore, RecordOpener, type SecretLabel, suiteHash } from './factors-keys.ts';
import { isSignatureOf, signedBytes } from './factors-proof.ts';
import { openingOf, unopened } from './factors-tls-opening.ts';
import type { Proof, SessionMemory, TlsGap, TlsGapKind, TlsOutcome } from './factors-tls-outcome.ts';
import { decompressed, Side } from './factors-tls-side.ts';
import type { HalfStream } from './tcp-stream.ts';

/** Records of early data, under keys that nobody asks for, that may come before the client's handshake goes on. */
const EARLY_RECORDS_MAX = 64;

const CLIENT_KEY_EXCHANGE = 16;

export class TlsSession {
  readonly #keys: KeyStore;
  readonly #memory: SessionMemory;
  readonly #client: Side;
  readonly #server: Side;
  #transport: 'tls' | 'plain' | undefined;
  #hello: ClientHello | undefined;
  #answer: ServerHello | undefined;
  #wasAsked = false;
  #gap: TlsGap | undefined;
  #alert: string | undefined;
  #earlyRecords = 0;
  #offersEarlyData = false;
  #hasRetry = false;
  readonly #tickets: string[] = [];
  #knownProof: Proof | undefined;

  constructor(client: HalfStream, server: HalfStream, keys: KeyStore, memory: SessionMemory) {
    this.#client = new Side(client);
    this.#server = new Side(server);
    this.#keys = keys;
    this.#memory = memory;
  }

  /** Nothing that may still come can change the outcome. */
  get isDone(): boolean {
    return this.#transport === 'plain' || this.#gap !== undefined || (this.#client.isDone && this.#server.isDone);
  }

  /** It has stopped for want of secrets, which a later part of the capture may bring. */
  get isWaitingForKeys(): boolean {
    if (this.isDone || this.#answer?.version !== TLS_1_3 || this.#hello === undefined) return false;
    return this.#keys.secrets('CLIENT_HANDSHAKE_TRAFFIC_SECRET', this.#hello.random).length === 0;
  }

  /** Reads on. Call it whenever one of the streams has grown, and once at the end. */
  advance(): void {
    if (this.#transport === undefined) this.#sniff();
    if (this.#transport !== 'tls') return;
    let before = -1;
    while (before !== this.#client.position + this.#server.position && this.#gap === undefined) {
      before = this.#client.position + this.#server.position;
      this.#advanceSide(this.#client, true);
      this.#advanceSide(this.#server, false);
    }
  }

  /** What is known, when no more bytes come; `end` says why they don't if it is not the connection's end. */
  outcome(end?: TlsGap): TlsOutcome {
    this.advance();
    const { serverName = '', alpn = [] } = this.#hello ?? {};
    const transport = this.#transport ?? unopened(this.#client.stream, this.#server.stream);
    const isResumed = this.#isResumed();
    const certificates = transport === 'tls' ? this.#clientCertificates(isResumed) : undefined;
    const proof = this.#proof(certificates, isResumed);
    return {
      transport,
      version: this.#answer === undefined ? undefined : versionName(this.#answer.version),
      serverName,
      alpn,
      clientCertificates: certificates,
      proof,
      wasAsked: this.#wasAsked || (this.#server.isDone && !isResumed ? false : undefined),
      serverCertificates: this.#server.certificates,
      mayAuthenticateLater: this.#hello?.offersPostHandshakeAuth === true && this.#answer?.version === TLS_1_3,
      isResumed,
      alert: this.#alert,
      gap: this.#finalGap(transport, certificates, proof, end),
    };
  }

  #finalGap(
    transport: TlsOutcome['transport'],
    certificates: readonly Uint8Array[] | undefined,
    proof: Proof,
    end: TlsGap | undefined,
  ): TlsGap | undefined {
    if (transport === 'plain' || transport === 'silent') return undefined;
    if (this.#client.stream.hasConflict) {
      return { kind: 'conflicting-segments', detail: 'segments say different things about the same bytes' };
    }
    if (certificates === undefined) return this.#gap ?? end ?? this.#openEnd();
    if (certificates.length === 0 || proof !== 'none') return undefined;
    const detail = 'a certificate was shown, and the proof that its key is there cannot be read';
    return this.#gap ?? end ?? { kind: 'handshake-incomplete', detail };
  }

  #sniff(): void {
    const opening = openingOf(this.#client.stream, this.#server.stream);
    this.#transport = opening.transport;
    this.#client.position = opening.clientBytes;
    this.#server.position = opening.serverBytes;
    if (opening.missing !== undefined) this.#fail('handshake-not-captured', opening.missing);
  }

  #advanceSide(side: Side, isClient: boolean): void {
    const { stream } = side;
    while (!side.isDone && this.#gap === undefined) {
      const bodyBytes = tlsBodyBytes(stream.bytes, side.position, stream.length);
      if (bodyBytes === TLS_RECORD_PARTIAL) return;
      if (bodyBytes === TLS_RECORD_MALFORMED) {
        this.#fail(
          'handshake-malformed',
          `byte ${side.position} of the ${isClient ? 'client' : 'server'} starts no record`,
        );
        return;
      }
      const end = side.position + TLS_HEADER_BYTES + bodyBytes;
      if (end > stream.length) return;
      const record = stream.bytes.subarray(side.position, end);
      const at = side.position;
      side.position = end;
      if (!this.#record(side, isClient, record)) {
        side.position = at;
        return;
      }
    }
  }

  /** Takes a whole record; false if it has to wait for what the other side says. */
  #record(side: Side, isClient: boolean, record: Uint8Array): boolean {
    const body = record.subarray(TLS_HEADER_BYTES);
    const isOld = this.#answer !== undefined && this.#answer.version < TLS_1_3;
    switch (record[0]) {
      case TLS_HANDSHAKE:
        this.#handshake(side, isClient, body);
        return true;
      case TLS_CHANGE_CIPHER_SPEC:
        if (this.#answer === undefined) return false;
        // TLS 1.3 sends it for old middleboxes alone.
        if (!isOld) return true;
        side.hasChangedCipher = true;
        side.isDone = true;
        if (this.#client.isDone && this.#server.isDone) this.#remember();
        return true;
      case TLS_ALERT:
        if (!side.hasChangedCipher && body.length === 2)
          this.#alert = `${isClient ? 'client' : 'server'} alert ${body[1]}`;
        return true;
      case TLS_APPLICATION_DATA:
        if (isOld) return this.#fail('handshake-malformed', 'data before the handshake has ended');
        if (this.#answer === undefined && !isClient) {
          return this.#fail('handshake-not-captured', "the server's hello is not in the capture");
        }
        return this.#answer !== undefined && !this.#answer.isRetry && this.#sealed(side, isClient, record);
      default:
        return true;
    }
  }

  #handshake(side: Side, isClient: boolean, body: Uint8Array): void {
    side.reader.push(body);
    for (let message = side.reader.next(); message !== undefined; message = side.reader.next()) {
      this.#message(side, isClient, message);
      if (side.isDone || this.#gap !== undefined) return;
    }
    if (side.reader.isTooLong) {
      this.#fail('handshake-too-long', `a message claims more than ${HANDSHAKE_MESSAGE_BYTES_MAX} bytes`);
    }
  }

  #message(side: Side, isClient: boolean, message: HandshakeMessage): void {
    const { type, body, raw } = message;
    side.messages.push(raw);
    switch (type) {
      case CLIENT_HELLO:
        if (!isClient) return;
        this.#hello = parseClientHello(body) ?? this.#malformed('ClientHello');
        if (this.#hello?.offersEarlyData === true) this.#offersEarlyData = true;
        return;
      case SERVER_HELLO:
        if (isClient) return;
        this.#answer = parseServerHello(body) ?? this.#malformed('ServerHello');
        if (this.#answer?.isRetry === true) this.#hasRetry = true;
        return;
      case CERTIFICATE:
      case COMPRESSED_CERTIFICATE:
        this.#certificates(side, message);
        return;
      case CERTIFICATE_REQUEST:
        if (!isClient) this.#wasAsked = true;
        return;
      case CERTIFICATE_VERIFY:
        side.verify = parseCertificateVerify(body);
        side.verifyAt = side.messages.length - 1;
        return;
      case NEW_SESSION_TICKET: {
        const ticket = isClient ? undefined : parseSessionTicket(body);
        if (ticket !== undefined && ticket !== '') this.#tickets.push(`ticket ${ticket}`);
        return;
      }
      case FINISHED:
        // Seen in TLS 1.3 alone: older versions have it behind ChangeCipherSpec.
        side.isDone = true;
        return;
      default:
    }
  }

  /** One message of certificates is all that a side has; a second one would leave open which of them counted. */
  #certificates(side: Side, { type, body }: HandshakeMessage): void {
    if (side.certificates !== undefined) {
      this.#fail('handshake-malformed', 'there is a second Certificate');
      return;
    }
    const version = this.#answer?.version ?? TLS_1_2;
    side.certificates =
      (type === CERTIFICATE ? parseCertificates(body, version) : decompressed(body)) ?? this.#malformed('Certificate');
    side.isSealed = side.openedRecords > 0;
  }

  #malformed(name: string): undefined {
    this.#fail('handshake-malformed', `the ${name} is not one`);
    return undefined;
  }

  /** Ends reading; true, as for a record that is done with. */
  #fail(kind: TlsGapKind, detail: string): true {
    this.#gap ??= { kind, detail };
    return true;
  }

  /** An encrypted record of a TLS 1.3 handshake; false while there is no secret for it. */
  #sealed(side: Side, isClient: boolean, record: Uint8Array): boolean {
    const hello = this.#hello;
    const cipherSuite = this.#answer!.cipherSuite;
    // The server may be ahead of what is there of the client.
    if (hello === undefined) return false;
    if (suiteHash(cipherSuite) === undefined) {
      return this.#fail('unsupported-cipher', `cipher suite 0x${cipherSuite.toString(16)}`);
    }
    if (side.opener === undefined) {
      const label: SecretLabel = isClient ? 'CLIENT_HANDSHAKE_TRAFFIC_SECRET' : 'SERVER_HANDSHAKE_TRAFFIC_SECRET';
      const secrets = this.#keys.secrets(label, hello.random);
      if (secrets.length === 0) return false;
      for (const secret of secrets) {
        const opener = RecordOpener.of(cipherSuite, secret);
        const opened = opener?.open(record);
        if (opened === undefined) continue;
        side.opener = opener;
        this.#opened(side, isClient, opened);
        return true;
      }
      this.#unopened(side, isClient, hello, secrets.length);
      return true;
    }
    const opened = side.opener.open(record);
    if (opened === undefined) this.#unopened(side, isClient, hello, 1);
    else this.#opened(side, isClient, opened);
    return true;
  }

  #opened(
    side: Side,
    isClient: boolean,
    { type, content }: { readonly type: number; readonly content: Uint8Array },
  ): void {
    side.openedRecords++;
    if (type === TLS_HANDSHAKE) this.#handshake(side, isClient, content);
    else if (type === TLS_ALERT && content.length === 2) {
      this.#alert = `${isClient ? 'client' : 'server'} alert ${content[1]}`;
      // Whoever breaks off has not said all that it had to show.
      if (isClient) this.#fail('handshake-incomplete', `it ended with a ${this.#alert}`);
      else side.isDone = true;
    }
  }

  /** A record that the secrets do not open: early data of the client, or the wrong secrets. */
  #unopened(side: Side, isClient: boolean, hello: ClientHello, secrets: number): void {
    if (isClient && this.#offersEarlyData && side.openedRecords === 0 && this.#earlyRecords++ < EARLY_RECORDS_MAX)
      return;
    if (!isClient) {
      // The client's own certificate can still be read.
      side.isDone = true;
      return;
    }
    const which = secrets === 1 ? 'the secret' : `each of the ${secrets} secrets`;
    const detail = `${which} of client random ${hello.random.slice(0, 16)}… fails on record ${side.openedRecords + 1} of the client`;
    this.#fail('keys-do-not-fit', detail);
  }

  #isResumed(): boolean {
    const [hello, answer] = [this.#hello, this.#answer];
    if (hello === undefined || answer === undefined) return false;
    if (answer.version >= TLS_1_3) return answer.usesPreSharedKey;
    // A full handshake of old TLS has a Certificate of the server (anonymous ciphers are not in use); a resumed one goes on at once.
    return this.#server.certificates === undefined && this.#server.hasChangedCipher;
  }

  #clientCertificates(isResumed: boolean): readonly Uint8Array[] | undefined {
    const { certificates, isDone, isSealed } = this.#client;
    if (certificates !== undefined && (this.#answer?.version ?? TLS_1_2) >= TLS_1_3 && !isSealed) {
      this.#fail('handshake-malformed', 'a certificate in the clear where TLS 1.3 was spoken');
      return undefined;
    }
    if (certificates !== undefined) return certificates;
    if (isResumed) return this.#resumedCertificates();
    if (!isDone) return undefined;
    if (this.#answer!.version < TLS_1_3 && !this.#client.messages.some((raw) => raw[0] === CLIENT_KEY_EXCHANGE)) {
      this.#fail('handshake-malformed', 'the client ends its handshake without a key');
      return undefined;
    }
    // Everything up to the end of the client's handshake was read, and there was none.
    return [];
  }

  #resumedCertificates(): readonly Uint8Array[] | undefined {
    const { ticket = '', sessionId = '' } = this.#hello ?? {};
    const known = this.#memory.get(`ticket ${ticket}`) ?? this.#memory.get(`id ${sessionId}`);
    if (known === undefined) {
      this.#fail('resumed-session', 'it goes on with an earlier session, whose handshake was not read');
    }
    return known;
  }

  /** At the end of a full handshake of TLS 1.2: the names under which it may go on. */
  #remember(): void {
    const certificates = this.#isResumed() ? this.#clientCertificates(true) : (this.#client.certificates ?? []);
    const id = this.#answer?.sessionId ?? '';
    const names = [...this.#tickets, ...(id === '' ? [] : [`id ${id}`])];
    if (certificates === undefined || names.length === 0 || this.#proof(certificates, false) === 'wrong') return;
    for (const name of names) this.#memory.put(name, certificates);
  }

  /** Checked once: asked for at the end of a handshake, and again for the outcome. */
  #proof(certificates: readonly Uint8Array[] | undefined, isResumed: boolean): Proof {
    const known = this.#knownProof;
    if (known !== undefined) return known;
    const proof = this.#check(certificates, isResumed);
    if (proof === 'signature' || proof === 'wrong') this.#knownProof = proof;
    return proof;
  }

  #check(certificates: readonly Uint8Array[] | undefined, isResumed: boolean): Proof {
    const own = certificates?.[0];
    if (own === undefined) return 'none';
    const isAccepted = this.#server.hasChangedCipher && this.#alert === undefined;
    if (isResumed) return isAccepted ? 'handshake' : 'none';
    const { verify: verification, messages, verifyAt } = this.#client;
    const signed = signedBytes(this.#answer, messages.slice(0, verifyAt), this.#server.messages, this.#hasRetry);
    const checked =
      verification === undefined || signed === undefined
        ? undefined
        : isSignatureOf(this.#memory.certificates.parse(own), verification, signed, this.#answer?.version ?? TLS_1_2);
    if (checked === false) return 'wrong';
    if (checked === true) return 'signature';
    return isAccepted ? 'handshake' : 'none';
  }

  /** Why there is no more, if nothing else has said so. */
  #openEnd(): TlsGap {
    const [client, server] = [this.#client.stream, this.#server.stream];
    if (this.isWaitingForKeys) {
      const where = 'give a key log (--keylog), or put it into the capture (editcap --inject-secrets)';
      return {
        kind: 'no-keys',
        detail: `TLS 1.3 encrypts certificates, and the secrets of this session are missing; ${where}`,
      };
    }
    if (this.#hello === undefined && (!client.hasStart || !client.hasData)) {
      return { kind: 'handshake-not-captured', detail: 'the capture has no beginning of the connection' };
    }
    let why = 'it ends, or lacks segments, before the client has shown what it has';
    if (client.isCut || server.isCut) why = 'the capture kept only a part of some packets (snap length)';
    else if (client.isFull || server.isFull) why = 'it is longer, or more torn, than what is kept of a stream';
    else if (this.#alert !== undefined) why = `it ended with a ${this.#alert}`;
    return { kind: 'handshake-incomplete', detail: why };
  }
}

function versionName(version: number): string {
  if (version === 0x0300) return 'SSL 3.0';
  return version > 0x0300 && version <= TLS_1_3 ? `TLS 1.${version - 0x0301}` : `0x${version.toString(16)}`;
}
