/**
 * Our own errors: a broken invariant is a bug of the program, so it names itself and stops. Control path only; the
 * packet path reports through numbers.
 */

/** A broken invariant of the program; never the user's fault. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Stops with `InvariantError` unless `condition` holds; `invariant` states what should have been true. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new InvariantError(`broken invariant: ${invariant}`);
}

/** Closes a switch over a discriminated union: does not compile while a case is missing, stops if one comes anyway. */
export function unreachable(value: never): never {
  throw new InvariantError(`broken invariant: unexpected case ${JSON.stringify(value)}`);
}

/** `value` if it is an integer from `low` to `high`, both included; `what` names the quantity in the error. */
export function checkedInteger(value: number, low: number, high: number, what: string): number {
  assert(
    Number.isSafeInteger(value) && value >= low && value <= high,
    `${what} is an integer from ${low} to ${high}, got ${value}`,
  );
  return value;
}

/** `value` as an unsigned 8-bit number, or `InvariantError`. */
export function checkedUint8(value: number, what: string): number {
  return checkedInteger(value, 0, 0xff, what);
}

/** `value` as an unsigned 16-bit number, or `InvariantError`. */
export function checkedUint16(value: number, what: string): number {
  return checkedInteger(value, 0, 0xffff, what);
}

/** `value` as an unsigned 32-bit number, or `InvariantError`. */
export function checkedUint32(value: number, what: string): number {
  return checkedInteger(value, 0, 0xffff_ffff, what);
}

/** `value` as a signed 32-bit number, or `InvariantError`. */
export function checkedInt32(value: number, what: string): number {
  return checkedInteger(value, -0x8000_0000, 0x7fff_ffff, what);
}
