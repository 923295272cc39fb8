/**
 * Order of two strings by their UTF-8 bytes, as Go compares strings: negative, zero or positive.
 *
 * UTF-8 orders like code points, JavaScript's `<` like UTF-16 code units. They differ only where one side has a
 * surrogate (U+10000 and above) and the other a unit from U+E000 to U+FFFF: moving the surrogates above those units
 * repairs it. Example: `'\uffff' < '\u{10000}'` by bytes (ef… < f0…), though JavaScript says `0xffff > 0xd800`.
 */
export function compareBytewise(left: string, right: string): number {
  const lengthMin = Math.min(left.length, right.length);
  for (let index = 0; index < lengthMin; index++) {
    const leftUnit = left.charCodeAt(index);
    const rightUnit = right.charCodeAt(index);
    if (leftUnit !== rightUnit) return codePointRank(leftUnit) - codePointRank(rightUnit);
  }
  return left.length - right.length;
}

/** Rank of a UTF-16 code unit such that comparing ranks compares code points: surrogates last. */
function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
