/**
 * Timestamps of pcapng: 64 bits that count ticks of any length, to whole seconds and nanoseconds, exactly.
 *
 * An interface says how long its tick is (`if_tsresol`): 10^-n seconds, or 2^-n if the top bit is set. Doubles hold 53
 * bits and BigInt allocates, so the division is done by hand, in three digits: the upper 32 bits, then twice 16 bits,
 * each with the remainder of the digit before in front of it. With a divisor below 2^37 every intermediate value stays
 * below 2^53 and so is exact. Example, nanoseconds, ticks = 1 700 000 000 123 456 789 = 395 812 046 * 2^32 + low:
 * the first digit gives 0 remainder 395 812 046 (divisor 10^9), the second and third extend it to 1 700 000 000
 * remainder 123 456 789.
 *
 * Ticks shorter than a nanosecond are first divided down to nanoseconds (the rest is dropped: records have no finer
 * time), binary ticks are shifted, and their fraction multiplied by 10^9 digit by digit.
 */

/** Result of `splitTicks`, overwritten by every call: seconds, nanoseconds. (Doubles in an object would be boxed.) */
export const splitTime = new Float64Array(2);
export const SPLIT_SECONDS = 0;
export const SPLIT_NANOS = 1;

/** Tick length and shift of an interface's clock. */
export interface Clock {
  /** Ticks in a second as a power of this base, 2 or 10. */
  readonly base: 2 | 10;
  /** 0 to 127. */
  readonly exponent: number;
  /** Seconds to add (`if_tsoffset`), exact below 2^53. */
  readonly offsetSeconds: number;
}

export const MICROSECOND_CLOCK: Clock = { base: 10, exponent: 6, offsetSeconds: 0 };

/** The clock of an `if_tsresol` byte and an `if_tsoffset`. */
export function clockOf(resolution: number, offsetSeconds: number): Clock {
  return { base: (resolution & 0x80) !== 0 ? 2 : 10, exponent: resolution & 0x7f, offsetSeconds };
}

/** Ticks (uint32 halves) of `clock` as `splitTime`: seconds since 1970, rounded down, and nanoseconds. */
export function splitTicks(high: number, low: number, clock: Clock): void {
  if (clock.base === 2) splitBinary(high, low, clock.exponent);
  else splitDecimal(high, low, clock.exponent);
  splitTime[SPLIT_SECONDS]! += clock.offsetSeconds;
}

const NANOS = 1_000_000_000;

/** Scratch of `divide`: quotient halves (uint32) and remainder. */
const quotient = new Float64Array(3);
const HIGH = 0;
const LOW = 1;
const REMAINDER = 2;

function splitDecimal(high: number, low: number, exponent: number): void {
  if (exponent <= 9) {
    const scale = 10 ** exponent;
    divide(high, low, scale);
    splitTime[SPLIT_SECONDS] = quotient[HIGH]! * 4294967296 + quotient[LOW]!;
    splitTime[SPLIT_NANOS] = quotient[REMAINDER]! * (NANOS / scale);
    return;
  }
  // Down to nanoseconds, in steps small enough for `divide`. 2^64 < 10^20, so three steps reach zero.
  let steps = exponent - 9;
  quotient[HIGH] = high;
  quotient[LOW] = low;
  while (steps > 0 && (quotient[HIGH]! !== 0 || quotient[LOW]! !== 0)) {
    const step = Math.min(steps, 9);
    divide(quotient[HIGH]!, quotient[LOW]!, 10 ** step);
    steps -= step;
  }
  divide(quotient[HIGH]!, quotient[LOW]!, NANOS);
  splitTime[SPLIT_SECONDS] = quotient[HIGH]! * 4294967296 + quotient[LOW]!;
  splitTime[SPLIT_NANOS] = quotient[REMAINDER]!;
}

/** 64-bit `high:low` by `divisor` (1 to 10^9), by long division. */
function divide(high: number, low: number, divisor: number): void {
  const top = Math.floor(high / divisor);
  let value = (high - top * divisor) * 65536 + (low >>> 16);
  const middle = Math.floor(value / divisor);
  value = (value - middle * divisor) * 65536 + (low & 0xffff);
  const bottom = Math.floor(value / divisor);
  // Digits below the first are less than 65 536, because the remainder before them is less than the divisor.
  quotient[HIGH] = top;
  quotient[LOW] = middle * 65536 + bottom;
  quotient[REMAINDER] = value - bottom * divisor;
}

function splitBinary(high: number, low: number, exponent: number): void {
  if (exponent === 0) {
    splitTime[SPLIT_SECONDS] = high * 4294967296 + low;
    splitTime[SPLIT_NANOS] = 0;
    return;
  }
  // The fraction as 64 bits below the binary point, and the whole seconds above it.
  let seconds = 0;
  let fractionHigh = 0;
  let fractionLow = 0;
  if (exponent >= 96) {
    // Less than 2^-32 seconds: less than a nanosecond.
    splitTime[SPLIT_SECONDS] = 0;
    splitTime[SPLIT_NANOS] = 0;
    return;
  }
  if (exponent < 32) {
    seconds = high * 2 ** (32 - exponent) + (low >>> exponent);
    fractionHigh = (low << (32 - exponent)) >>> 0;
  } else if (exponent === 32) {
    seconds = high;
    fractionHigh = low;
  } else if (exponent < 64) {
    const shift = exponent - 32;
    seconds = high >>> shift;
    fractionHigh = ((high << (32 - shift)) | (low >>> shift)) >>> 0;
    fractionLow = (low << (32 - shift)) >>> 0;
  } else if (exponent === 64) {
    fractionHigh = high;
    fractionLow = low;
  } else {
    const shift = exponent - 64;
    fractionHigh = high >>> shift;
    fractionLow = ((high << (32 - shift)) | (low >>> shift)) >>> 0;
  }
  splitTime[SPLIT_SECONDS] = seconds;
  splitTime[SPLIT_NANOS] = fractionToNanos(fractionHigh, fractionLow);
}

/** floor(fraction * 10^9) of a 64-bit binary fraction, by multiplying 16-bit digits from the lowest up. */
function fractionToNanos(high: number, low: number): number {
  let carry = Math.floor(((low & 0xffff) * NANOS) / 65536);
  carry = Math.floor(((low >>> 16) * NANOS + carry) / 65536);
  carry = Math.floor(((high & 0xffff) * NANOS + carry) / 65536);
  return Math.floor(((high >>> 16) * NANOS + carry) / 65536);
}
