/**
 * Functions whose arrays the optimiser takes for constants.
 *
 * V8 compiles a function once for all closures made of it, so an array that a closure has captured is loaded, its kind checked and its
 * length compared anew at every access: some ten instructions a read. But for a function that only one closure was ever made of, it takes
 * what the closure captured by `const` (or as a parameter that nobody assigns to) for constants, and a read of a typed
 * array is one comparison and one load: the loops of match/plain.ts ran 1.6 times faster (e1k, Node.js 20.20).
 *
 * So hot loops are written as a factory that captures its arrays, and each copy of it is a function that V8 has not seen before:
 *
 *   const sum = specialize((values: Int32Array) => () => { let s = 0; for (let i = 0; i < values.length; i++) s += values[i]!; return s; })(array);
 *
 * The factory must name nothing outside itself but globals, imports included: its text is all that is copied. A copy costs its parse, and its
 * first optimisation, so make one a table or a capture, not one a packet.
 */
export function specialize<Arguments extends readonly unknown[], Result>(
  factory: (...args: Arguments) => Result,
): (...args: Arguments) => Result {
  return new Function(`'use strict'; return (${factory.toString()});`)() as (...args: Arguments) => Result;
}
