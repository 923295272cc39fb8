/**
 * What Kubernetes takes as a name, a label or a port name. Each check gives what is wrong in words, or `undefined`.
 *
 * Source: k8s.io/apimachinery/pkg/util/validation/validation.go. Lengths are in bytes; the patterns allow ASCII alone.
 */

const LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

const LABEL_LENGTH_MAX = 63;
const SUBDOMAIN_LENGTH_MAX = 253;

/** A DNS label: the name of a namespace or a tier. */
export function labelProblem(text: string): string | undefined {
  if (text.length > LABEL_LENGTH_MAX) return `longer than ${LABEL_LENGTH_MAX} characters`;
  return LABEL.test(text)
    ? undefined
    : "not lower-case letters, digits and '-', beginning and ending with a letter or digit";
}

/** A DNS subdomain: the name of most objects. */
export function subdomainProblem(text: string): string | undefined {
  if (text.length > SUBDOMAIN_LENGTH_MAX) return `longer than ${SUBDOMAIN_LENGTH_MAX} characters`;
  if (SUBDOMAIN.test(text)) return undefined;
  return "not lower-case letters, digits, '-' and '.', every part beginning and ending with a letter or digit";
}

/** The key of a label: a name, which a DNS subdomain and a slash may precede. */
export function labelKeyProblem(text: string): string | undefined {
  const parts = text.split('/');
  if (parts.length > 2) return 'made of more than two parts';
  if (parts.length === 2) {
    const problem = parts[0] === '' ? 'empty' : subdomainProblem(parts[0]!);
    if (problem !== undefined) return `wrong before the slash: ${problem}`;
  }
  const name = parts.at(-1)!;
  if (name === '') return 'empty';
  if (name.length > LABEL_LENGTH_MAX) return `longer than ${LABEL_LENGTH_MAX} characters`;
  return QUALIFIED.test(name) ? undefined : QUALIFIED_RULE;
}

/** The value of a label; may be empty. */
export function labelValueProblem(text: string): string | undefined {
  if (text === '') return undefined;
  if (text.length > LABEL_LENGTH_MAX) return `longer than ${LABEL_LENGTH_MAX} characters`;
  return QUALIFIED.test(text) ? undefined : QUALIFIED_RULE;
}

const QUALIFIED_RULE = "not letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

const PORT_NAME_LENGTH_MAX = 15;

/** The name of a port (RFC 6335). */
export function portNameProblem(text: string): string | undefined {
  if (text.length > PORT_NAME_LENGTH_MAX) return `longer than ${PORT_NAME_LENGTH_MAX} characters`;
  if (!/^[-a-z0-9]+$/.test(text)) return "not lower-case letters, digits and '-'";
  if (!/[a-z]/.test(text)) return 'without a letter';
  if (text.includes('--')) return "with two '-' in a row";
  return text.startsWith('-') || text.endsWith('-') ? "beginning or ending with '-'" : undefined;
}
