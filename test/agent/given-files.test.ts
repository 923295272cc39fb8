/** What is wrong with a file that an option names is said with the option and the file. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readTls, readToken } from '../../src/agent/given-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'margay-given-'));
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  writeFileSync(at('text'), 'no PEM at all\n');
  for (const name of ['a', 'b']) {
    const options = `-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=${name}`;
    const files = `-keyout ${name}.key -out ${name}.crt`;
    execFileSync('openssl', `req -x509 ${options} ${files}`.split(' '), { cwd: folder, stdio: 'pipe' });
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

test('a certificate and its key', () => {
  const { cert, key } = readTls(at('a.crt'), at('a.key'));
  expect(cert).toMatch(/^-----BEGIN CERTIFICATE-----/);
  expect(key).toMatch(/PRIVATE KEY/);
});

test.each([
  ['a.crt', 'b.key', /^--tls-key: the key in .*b\.key is not that of the certificate in .*a\.crt$/],
  ['text', 'a.key', /^--tls-cert: .*text holds no certificate in PEM form/],
  ['a.key', 'a.key', /^--tls-cert: .*a\.key holds no certificate in PEM form/],
  ['a.crt', 'text', /^--tls-key: .*text holds no key without a passphrase in PEM form/],
  ['absent', 'a.key', /^--tls-cert: ENOENT.*, as user '/],
])('%s with %s', (cert, key, message) => {
  expect(() => readTls(at(cert), at(key))).toThrow(message);
});

test('a token that can be guessed is refused', () => {
  writeFileSync(at('token'), 'short\n');
  expect(() => readToken(at('token'))).toThrow(/^--token-file: .* shorter than 16 characters$/);
  writeFileSync(at('token'), '0123456789abcdef\r\nmore\n');
  expect(readToken(at('token'))).toBe('0123456789abcdef');
});
