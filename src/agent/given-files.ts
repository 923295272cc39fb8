/** Files that options of the agent name: read, and checked before anything is served with them. Errors name the option. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

/** Shorter ones can be guessed. */
const TOKEN_LENGTH_MIN = 16;

/** The first line of the file. */
export function readToken(path: string): string {
  const token = readGiven('--token-file', path).split(/\r?\n/)[0]!.trim();
  if (token.length >= TOKEN_LENGTH_MIN) return token;
  throw Object.assign(new Error(`--token-file: the token in ${path} is shorter than ${TOKEN_LENGTH_MIN} characters`), {
    code: 'TOKEN',
  });
}

/** A certificate (or a chain of them, the server's first) and its key, both PEM. */
export function readTls(certPath: string, keyPath: string): { readonly cert: string; readonly key: string } {
  const cert = readGiven('--tls-cert', certPath);
  const key = readGiven('--tls-key', keyPath);
  const certificate = parsed('--tls-cert', certPath, 'certificate', () => new X509Certificate(cert));
  const privateKey = parsed('--tls-key', keyPath, 'key without a passphrase', () => createPrivateKey(key));
  if (certificate.checkPrivateKey(privateKey)) return { cert, key };
  throw tlsError(`--tls-key: the key in ${keyPath} is not that of the certificate in ${certPath}`);
}

function parsed<T>(option: string, path: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw tlsError(`${option}: ${path} holds no ${what} in PEM form (${(error as Error).message})`);
  }
}

function tlsError(message: string): Error {
  return Object.assign(new Error(message), { code: 'TLS' });
}

function readGiven(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(option, error as Error);
  }
}

/** Says as whom: started as root, the agent is somebody else by now. */
export function fileError(option: string, error: Error): Error {
  let user = String(process.getuid?.());
  try {
    user = userInfo().username;
  } catch {
    // A number without a name.
  }
  return Object.assign(new Error(`${option}: ${error.message}, as user '${user}'`), { code: 'FILE' });
}
