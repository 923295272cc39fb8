/** Certificates for tests, made here byte by byte, so that they can say what no tool would write. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface TestCertificate {
  /** Common name. */
  readonly subject: string;
  readonly keyType: NonNullable<CertificateParts['keyType']>;
  readonly der: Buffer;
  readonly pem: string;
  readonly key: string;
}

/** An alternative name: URI and DNS by their text, anything else as a whole GeneralName in DER. */
export type TestName = { readonly uri: string } | { readonly dns: string } | { readonly der: Buffer };

export interface CertificateParts {
  readonly names?: readonly TestName[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly keyType?: 'p256' | 'p384' | 'rsa' | 'ed25519';
  readonly subject?: string;
  /** Who signs it; default: itself. */
  readonly issuer?: TestCertificate;
  /** May sign others. */
  readonly isAuthority?: boolean;
}

const keys = new Map<string, { privateKey: KeyObject; publicKey: KeyObject }>();

/** One key of a type for all certificates: making RSA keys takes time. */
function keyPair(type: NonNullable<CertificateParts['keyType']>) {
  const known = keys.get(type);
  if (known !== undefined) return known;
  const made =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : type === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: type === 'p256' ? 'P-256' : 'P-384' });
  keys.set(type, made);
  return made;
}

export function spiffe(namespace: string, account: string, trustDomain = 'cluster.local'): TestName {
  return { uri: `spiffe://${trustDomain}/ns/${namespace}/sa/${account}` };
}

/** A certificate, signed by itself if nobody else is named. */
export function makeCertificate(parts: CertificateParts = {}): TestCertificate {
  const { keyType = 'p256', subject = 'margay test' } = parts;
  const { privateKey, publicKey } = keyPair(keyType);
  const signer = parts.issuer ?? { keyType, subject };
  const isEdwards = signer.keyType === 'ed25519';
  const algorithm = sequence(
    isEdwards ? oid('2b6570') : signer.keyType === 'rsa' ? RSA_SHA256 : oid('2a8648ce3d040302'),
  );
  const nameOf = (text: string): Buffer => sequence(tlv(0x31, sequence(oid('55040a'), tlv(0x0c, Buffer.from(text)))));
  const names = parts.names ?? [];
  const extensions = [
    ...(names.length === 0 ? [] : [extension('551d11', sequence(...names.map(generalName)))]),
    ...(parts.isAuthority === true ? [extension('551d13', sequence(tlv(0x01, Buffer.from([255]))))] : []),
  ];
  const serial = createHash('sha256')
    .update(JSON.stringify([names, subject]))
    .digest()
    .subarray(0, 8);
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.concat([Buffer.from([1]), serial])),
    algorithm,
    nameOf(signer.subject),
    sequence(
      time(parts.notBefore ?? new Date('2026-01-01T00:00:00Z')),
      time(parts.notAfter ?? new Date('2046-01-01T00:00:00Z')),
    ),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length === 0 ? [] : [tlv(0xa3, sequence(...extensions))]),
  );
  const signature = sign(isEdwards ? null : 'sha256', body, keyPair(signer.keyType).privateKey);
  const der = sequence(body, algorithm, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { subject, keyType, der, pem: toPem(der), key };
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), tlv(0x04, value));
}

function generalName(name: TestName): Buffer {
  if ('uri' in name) return tlv(0x86, Buffer.from(name.uri, 'latin1'));
  return 'dns' in name ? tlv(0x82, Buffer.from(name.dns, 'latin1')) : name.der;
}

/** Tag, length, content. */
export function tlv(tag: number, content: Buffer): Buffer {
  const length = content.length;
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

const RSA_SHA256 = Buffer.concat([oid('2a864886f70d01010b'), Buffer.from([5, 0])]);

/** UTCTime, good to 2049. */
function time(date: Date): Buffer {
  return tlv(
    0x17,
    Buffer.from(
      `${date
        .toISOString()
        .replace(/[-:T]|\.\d+/g, '')
        .slice(2, 14)}Z`,
    ),
  );
}

function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
